//! Protocols that are broken on purpose: each must be caught by one of the first seeds.
//!
//! All are tried with one seed before any is tried with the next, so that most are caught soon, and those that need many seeds
//! have all processors.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Result, ensure};
use harness::simulation::{Episode, Mutant, PlayedEpisode};
use strum::VariantArray as _;

use crate::plays::{play, processors};

/// Seeds that are tried at most, in this order: first those of the short scenes.
const SEEDS: [u64; 2] = [3, 5];
const MOST_SEEDS: u64 = 48;

/// A mutant, and who caught it.
pub(crate) struct CaughtMutant {
    pub(crate) mutant: Mutant,
    /// The first seed that fails, and what came of it.
    pub(crate) caught: Option<(u64, PlayedEpisode)>,
    /// With how many seeds it was tried.
    pub(crate) tries: usize,
}

/// What is to be tried, and what came of it so far.
#[derive(Default)]
struct Board {
    /// Mutants, each with how many seeds it was tried with.
    next: VecDeque<(Mutant, usize)>,
    /// By the place of the seed that caught it.
    caught: BTreeMap<Mutant, BTreeMap<usize, PlayedEpisode>>,
    tries: BTreeMap<Mutant, usize>,
    trouble: Option<anyhow::Error>,
}

/// Tries all mutants, or the one of this name. Seeds that catch one must be well where nothing is broken; `known` are known to be.
pub(crate) fn catch_all(name: &str, known: &BTreeSet<u64>) -> Result<Vec<CaughtMutant>> {
    let is_wanted = |mutant: &Mutant| name.is_empty() || mutant.to_string() == name;
    let wanted: Vec<Mutant> = Mutant::VARIANTS.iter().copied().filter(is_wanted).collect();
    ensure!(!wanted.is_empty(), "there is no mutant `{name}`");
    let seeds: Vec<u64> = SEEDS.into_iter().chain((1..=MOST_SEEDS).filter(|seed| !SEEDS.contains(seed))).collect();
    let next = wanted.iter().map(|mutant| (*mutant, 0)).collect();
    let board = Mutex::new(Board { next, ..Board::default() });
    thread::scope(|scope| {
        for _ in 0..processors() {
            scope.spawn(|| {
                loop {
                    let next = lock(&board).take(seeds.len());
                    let Some((mutant, at)) = next else { break };
                    let played = play(&Episode { seed: seeds[at], only: None, mutant: Some(mutant) });
                    lock(&board).note((mutant, at), played);
                }
            });
        }
    });
    let mut board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(trouble) = board.trouble {
        return Err(trouble);
    }
    let mut all = Vec::new();
    for mutant in wanted {
        let caught = board.caught.remove(&mutant).and_then(|mut all| all.pop_first());
        let caught = caught.map(|(at, played)| (seeds[at], played));
        all.push(CaughtMutant { mutant, caught, tries: board.tries.get(&mutant).copied().unwrap_or(0) });
    }
    let by: BTreeSet<u64> = all.iter().filter_map(|one| one.caught.as_ref().map(|(seed, _)| *seed)).collect();
    for seed in by.difference(known) {
        let whole = play(&Episode { seed: *seed, only: None, mutant: None })?;
        ensure!(whole.wrong.is_none(), "seed {seed} fails though nothing is broken");
    }
    Ok(all)
}

impl Board {
    /// What is to be tried next: a mutant, and the place of the seed.
    fn take(&mut self, seeds: usize) -> Option<(Mutant, usize)> {
        loop {
            let (mutant, at) = self.next.pop_front()?;
            if self.caught.contains_key(&mutant) || self.trouble.is_some() {
                continue;
            }
            if at + 1 < seeds {
                self.next.push_back((mutant, at + 1));
            }
            *self.tries.entry(mutant).or_default() += 1;
            return Some((mutant, at));
        }
    }

    fn note(&mut self, (mutant, at): (Mutant, usize), played: Result<PlayedEpisode>) {
        match played {
            Ok(played) if played.wrong.is_some() => drop(self.caught.entry(mutant).or_default().insert(at, played)),
            Ok(_) => {}
            Err(trouble) => self.trouble = Some(trouble),
        }
    }
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
