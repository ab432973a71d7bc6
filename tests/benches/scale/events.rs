//! From an event of 300,000 stars to its first task, and to the end of its run; beside one of 3,000 stars.

use std::fmt::Write as _;
use std::fs;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};
use domain::id::{RunId, StarId};
use domain::message::StarSelection;
use harness::noop::NoopCluster;
use harness::results::{Figure, Limit, Results};
use store::paths;

const FEW: u32 = 3_000;
const MANY: u32 = 300_000;
/// Rounds, each on a cluster of its own, few and many in turns.
const ROUNDS: usize = 2;
/// Tasks of a star, one after the other. Stars of one task each are settled faster than they are put away, which no pipeline does.
const TASKS: u32 = 5;

/// What a run came to.
struct Passage {
    accepted: f64,
    first: f64,
    /// From the last task that ended to the end of the run, and from the last star that was settled.
    task_to_end: f64,
    end: f64,
    megabytes: f64,
    /// What of it is the program itself.
    program: f64,
    /// From the start of a coordinator, after the one before was killed, to the first task that it brings in.
    restart: f64,
}

pub(crate) async fn measure(results: &mut Results) -> Result<()> {
    println!(
        "{TASKS} tasks a star; times in s: event to accepted, to first task ended; last task ended, and last star settled, to run over; \
         restart"
    );
    println!(
        "{:<10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>14}{:>10}",
        "stars", "accepted", "first", "task", "star", "restart", "coordinator", "program"
    );
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        few.push(passage(FEW).await?);
        many.push(passage(MANY).await?);
    }
    let of = |rounds: &[Passage], value: fn(&Passage) -> f64| rounds.iter().map(value).collect::<Vec<_>>();
    let growth =
        |value: fn(&Passage) -> f64| few.iter().zip(&many).map(|(few, many)| value(many) / value(few)).collect();
    let mut add = |name, unit, values, limit| results.add(name, Figure::new(unit, values, limit));
    add("event_accept_s", "s", of(&many, |run| run.accepted), Limit::Most(0.3));
    add("first_task_s", "s", of(&many, |run| run.first), Limit::Most(0.4));
    add("first_task_growth", "times 3,000 stars", growth(|run| run.first), Limit::Most(1.5));
    add("last_task_to_end_s", "s", of(&many, |run| run.task_to_end), Limit::None);
    add("end_of_run_s", "s", of(&many, |run| run.end), Limit::Most(1.0));
    add("restart_s", "s", of(&many, |run| run.restart), Limit::Most(0.5));
    add("coordinator_rss_mb", "MB", of(&many, |run| run.megabytes), Limit::Most(48.0));
    add("coordinator_program_mb", "MB", of(&many, |run| run.program), Limit::None);
    add("rss_growth", "times 3,000 stars", growth(|run| run.megabytes), Limit::Most(1.15));
    Ok(())
}

/// One run over so many stars, from its event to its end.
async fn passage(stars: u32) -> Result<Passage> {
    let directory = tempfile::tempdir()?;
    let mut cluster = NoopCluster::start(directory.path(), &chain()).await?;
    let _worker = cluster.worker("worker", 4)?;
    // Everybody is there, and knows a run.
    let warm = cluster.begin("warm", StarSelection::Inline(vec![StarId::of_simulator(0)])).await?;
    cluster.until_accepted(warm).await?;
    cluster.until_over(warm).await?;

    let list = list(&cluster, stars)?;
    let began = Instant::now();
    let run = cluster.begin("measured", list).await?;
    let since = || began.elapsed().as_secs_f64();
    cluster.until_accepted(run).await?;
    let accepted = since();
    cluster.until_succeeded(run, 1).await?;
    let first = since();
    cluster.until_succeeded(run, u64::from(stars * TASKS)).await?;
    let last_task = Instant::now();
    cluster.until_over(run).await?;
    let (task_to_end, over) = (last_task.elapsed().as_secs_f64(), SystemTime::now());
    let end = over.duration_since(last_settled(&cluster, run)?).unwrap_or_default().as_secs_f64();
    let coordinator = cluster.coordinator.as_ref().context("it runs")?;
    let (megabytes, program) = (coordinator.most_memory()?, coordinator.program_in_memory()?);
    let restart = restart(&mut cluster, stars).await?;
    println!(
        "{stars:<10}{accepted:>10.3}{first:>10.3}{task_to_end:>10.3}{end:>10.3}{restart:>10.3}{megabytes:>11.1} MB{program:>7.1} MB"
    );
    Ok(Passage { accepted, first, task_to_end, end, megabytes, program, restart })
}

/// When the last stars of a run were put on record as settled.
fn last_settled(cluster: &NoopCluster, run: RunId) -> Result<SystemTime> {
    let mut last = SystemTime::UNIX_EPOCH;
    for file in fs::read_dir(cluster.cluster.store.join(paths::settled(run)))? {
        let facts = file?.metadata()?;
        last = last.max(if facts.is_file() { facts.modified()? } else { last });
    }
    Ok(last)
}

/// The modules.
fn chain() -> Vec<(String, Vec<String>)> {
    let before = |at: u32| (at > 0).then(|| format!("M{}", at.saturating_sub(1))).into_iter().collect();
    (0..TASKS).map(|at| (format!("M{at}"), before(at))).collect()
}

/// Kills the coordinator in the middle of another run, and starts one in its place. What the first was about to close when it
/// was killed waits for half a minute, in case it goes on; nobody waits for that here.
async fn restart(cluster: &mut NoopCluster, stars: u32) -> Result<f64> {
    let run = cluster.begin("restarted", list(cluster, stars)?).await?;
    cluster.until_succeeded(run, u64::from(stars / 3)).await?;
    cluster.coordinator.take().context("it runs")?.kill()?;
    let settled = cluster.succeeded(run).await?;
    let killed = Instant::now();
    cluster.start_coordinator("again")?;
    cluster.until_succeeded(run, settled + 1).await?;
    Ok(killed.elapsed().as_secs_f64())
}

/// The list of so many stars, in a file below the store, as ingestion of many stars names them.
pub(crate) fn list(cluster: &NoopCluster, stars: u32) -> Result<StarSelection> {
    let mut text = String::new();
    for star in 0..u64::from(stars) {
        writeln!(text, "{}", StarId::of_simulator(star))?;
    }
    fs::write(cluster.cluster.store.join("stars.txt"), text)?;
    Ok(StarSelection::File("stars.txt".to_owned()))
}
