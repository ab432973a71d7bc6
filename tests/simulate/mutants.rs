//! Protocols that are broken on purpose: each must be caught by one of the first seeds.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use anyhow::{Result, ensure};
use harness::simulation::{Episode, Mutant};
use strum::VariantArray as _;

use crate::plays::play;

/// Seeds that are tried at most.
const SEEDS: u64 = 48;

/// A mutant, and who caught it.
pub(crate) struct CaughtMutant {
    pub(crate) mutant: Mutant,
    /// The first seed that fails, after how many faults, and what it says.
    pub(crate) caught: Option<(u64, usize, String)>,
}

/// Tries all mutants, or the one of this name.
pub(crate) fn catch_all(name: &str) -> Result<Vec<CaughtMutant>> {
    let wanted = Mutant::VARIANTS.iter().copied().filter(|mutant| name.is_empty() || mutant.to_string() == name);
    let left: Mutex<Vec<Mutant>> = Mutex::new(wanted.rev().collect());
    let done: Mutex<Vec<Result<CaughtMutant>>> = Mutex::default();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some(mutant) = next else { break };
                    let outlook = catch(mutant);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(outlook);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut all: Vec<CaughtMutant> = done.into_iter().collect::<Result<_>>()?;
    ensure!(!all.is_empty(), "there is no mutant `{name}`");
    all.sort_by_key(|outlook| outlook.mutant);
    Ok(all)
}

fn catch(mutant: Mutant) -> Result<CaughtMutant> {
    for seed in 1..=SEEDS {
        let played = play(&Episode { seed, only: None, mutant: Some(mutant) })?;
        if let Some(wrong) = played.wrong {
            let whole = play(&Episode { seed, only: None, mutant: None })?;
            ensure!(whole.wrong.is_none(), "seed {seed} fails though nothing is broken");
            return Ok(CaughtMutant { mutant, caught: Some((seed, played.faults.len(), wrong)) });
        }
    }
    Ok(CaughtMutant { mutant, caught: None })
}
