//! What is said at the end.

use std::collections::BTreeMap;
use std::time::Instant;

use harness::simulation::{FaultKind, PlayedEpisode};

use crate::mutants::CaughtMutant;

/// What was played, added up.
pub(crate) struct SimulationReport {
    began: Instant,
    seeds: u64,
    executions: u64,
    tasks: u64,
    faults: BTreeMap<FaultKind, u64>,
}

impl SimulationReport {
    /// Nothing yet.
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), seeds: 0, executions: 0, tasks: 0, faults: BTreeMap::new() }
    }

    /// Adds an episode.
    pub(crate) fn add(&mut self, played: PlayedEpisode) {
        self.seeds += 1;
        self.executions += played.executions;
        self.tasks += played.tasks;
        for fault in played.faults {
            *self.faults.entry(fault.kind).or_default() += 1;
        }
    }

    /// Prints seeds, faults by kind, executions and time.
    pub(crate) fn print_seeds(&self) {
        let all: u64 = self.faults.values().sum();
        for (kind, count) in &self.faults {
            println!("{:24} {count:>9}", kind.to_string());
        }
        println!(
            "{all} faults of {} kinds over {} seeds: {} tasks, {} executions, nothing lost, in {:.0} s",
            self.faults.len(),
            self.seeds,
            self.tasks,
            self.executions,
            self.began.elapsed().as_secs_f64()
        );
    }
}

/// Prints who caught which mutant, and in what time.
pub(crate) fn print_mutants(all: &[CaughtMutant], seconds: f64) {
    println!("\n{:26} {:>5} {:>5} {:>7}  caught by", "broken protocol", "tries", "seed", "faults");
    for CaughtMutant { mutant, caught, tries } in all {
        match caught {
            Some((seed, played)) => {
                let (faults, wrong) = (played.faults.len(), played.wrong.as_deref().unwrap_or_default());
                let said: String = wrong.lines().next().unwrap_or_default().chars().take(110).collect();
                println!("{:26} {tries:>5} {seed:>5} {faults:>7}  {said}", mutant.to_string());
            }
            None => println!("{:26} {tries:>5} {:>5} {:>7}  nobody", mutant.to_string(), "", ""),
        }
    }
    println!("{} broken protocols in {seconds:.0} s", all.len());
}
