//! From the faults of an episode that fails to the few that it takes.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use harness::simulation::{Episode, Fault};

use crate::plays::{first_that_fails, play};

/// How often an episode is played at most to find out.
pub(crate) const PLAYS: usize = 300;

/// The few faults that an episode takes to fail.
pub(crate) struct FewFaults {
    pub(crate) faults: Vec<Fault>,
    /// What is wrong then.
    pub(crate) wrong: String,
    /// How often it was played.
    pub(crate) plays: usize,
}

/// Leaves out part after part of the faults, ever smaller ones, as long as the episode fails.
pub(crate) fn shrink(episode: &Episode, faults: &[Fault], most: usize) -> Result<FewFaults> {
    let with = |faults: &[Fault]| Episode { only: Some(faults.iter().copied().collect()), ..episode.clone() };
    let mut few = faults.to_vec();
    let first = play(&with(&few))?.wrong;
    let mut wrong = first.context("it does not fail when the same faults happen again")?;
    let mut plays = 2;
    if let Some(none) = play(&with(&[]))?.wrong {
        return Ok(FewFaults { faults: Vec::new(), wrong: none, plays });
    }
    let mut parts = 2;
    while few.len() > 1 && plays < most {
        let size = few.len().div_ceil(parts);
        let without = |at: usize| [&few[..at], &few[(at + size).min(few.len())..]].concat();
        let smaller: Vec<Vec<Fault>> = (0..few.len()).step_by(size).map(without).collect();
        let episodes: Vec<Episode> = smaller.iter().take(most - plays).map(|faults| with(faults)).collect();
        match first_that_fails(&episodes)? {
            Some((at, played)) => {
                plays += at + 1;
                // What did not happen any more without the others is not needed either.
                let happened: BTreeSet<Fault> = played.faults.iter().copied().collect();
                few = smaller[at].iter().copied().filter(|fault| happened.contains(fault)).collect();
                wrong = played.wrong.unwrap_or(wrong);
                parts = (parts - 1).max(2);
            }
            None => {
                plays += episodes.len();
                if size == 1 {
                    break;
                }
                parts = (parts * 2).min(few.len());
            }
        }
    }
    Ok(FewFaults { faults: few, wrong, plays })
}
