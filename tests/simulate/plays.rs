//! Seeds at play, as many at once as there are processors: each in a process of its own, for what one leaves behind in its
//! process would be the next one's chance.

use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use harness::simulation::{Episode, PlayedEpisode};

use crate::chance;

/// The first argument of a process that plays one seed; the second is the episode.
pub(crate) const PLAY: &str = "--play";

/// Plays an episode in this process, from a chance that follows from its seed, and prints what came of it.
pub(crate) fn play_here(episode: &str) -> Result<()> {
    let episode: Episode = serde_json::from_str(episode).context("no episode")?;
    if let Ok(filter) = std::env::var("RUST_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    // A thread that has drawn nothing yet.
    let playing = thread::spawn(move || {
        chance::seed(episode.seed);
        episode.play()
    });
    let played = playing.join().map_err(|_| anyhow!("it panicked"))??;
    println!("{}", serde_json::to_string(&played)?);
    Ok(())
}

/// Plays an episode in a process of its own.
pub(crate) fn play(episode: &Episode) -> Result<PlayedEpisode> {
    let itself = std::env::current_exe().context("this program has no file any more")?;
    let done = Command::new(itself).arg(PLAY).arg(serde_json::to_string(episode)?).output()?;
    if std::env::var_os("RUST_LOG").is_some() {
        std::io::stderr().write_all(&done.stderr)?;
    }
    let said = || format!("seed {}: {}", episode.seed, String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), said());
    serde_json::from_slice(&done.stdout).with_context(said)
}

/// How many episodes are played at once.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Plays episodes, as many at once as there are processors, one after the other from the first on until one fails; which, and
/// what came of it. Of those that are played at once the first counts.
pub(crate) fn first_that_fails(episodes: &[Episode]) -> Result<Option<(usize, PlayedEpisode)>> {
    for (round, some) in episodes.chunks(processors()).enumerate() {
        let played: Vec<_> = thread::scope(|scope| {
            let playing: Vec<_> = some.iter().map(|episode| scope.spawn(|| play(episode))).collect();
            playing.into_iter().map(|one| one.join().map_err(|_| anyhow!("a thread panicked"))).collect()
        });
        for (at, played) in played.into_iter().enumerate() {
            let played = played??;
            if played.wrong.is_some() {
                return Ok(Some((round * processors() + at, played)));
            }
        }
    }
    Ok(None)
}

/// Plays seeds from `first` on until so much went wrong, or one fails; each with its seed, in their order.
pub(crate) fn until(first: u64, faults: u64) -> Result<Vec<(u64, PlayedEpisode)>> {
    let (next, happened, stop) = (AtomicU64::new(first), AtomicU64::new(0), AtomicBool::new(false));
    let done: Mutex<Vec<(u64, Result<PlayedEpisode>)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..processors() {
            scope.spawn(|| {
                while happened.load(Ordering::Relaxed) < faults && !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let played = play(&Episode { seed, only: None, mutant: None });
                    match &played {
                        Ok(played) => {
                            let all = happened.fetch_add(played.faults.len() as u64, Ordering::Relaxed);
                            say(seed, all, played);
                            stop.fetch_or(played.wrong.is_some(), Ordering::Relaxed);
                        }
                        Err(_) => stop.store(true, Ordering::Relaxed),
                    }
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((seed, played));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(seed, _)| *seed);
    done.into_iter().map(|(seed, played)| Ok((seed, played?))).collect()
}

/// Says every hundred seeds how far it is.
fn say(seed: u64, faults: u64, played: &PlayedEpisode) {
    if seed.is_multiple_of(100) {
        println!("seed {seed}: {} faults so far", faults + played.faults.len() as u64);
    }
}
