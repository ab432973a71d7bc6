//! From the faults of an episode that fails to the few that it takes.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use harness::simulation::{Episode, Fault};

use crate::plays::play;

/// How often an episode is played at most to find out.
pub(crate) const PLAYS: usize = 300;

/// Leaves out part after part of the faults, ever smaller ones, as long as the episode fails; what is left, and what is wrong
/// then.
pub(crate) fn shrink(episode: &Episode, faults: &[Fault], plays: usize) -> Result<(Vec<Fault>, String)> {
    let mut left = plays;
    let mut fails = |faults: &[Fault]| -> Result<Option<String>> {
        let Some(rest) = left.checked_sub(1) else { return Ok(None) };
        left = rest;
        let only: BTreeSet<Fault> = faults.iter().copied().collect();
        Ok(play(&Episode { only: Some(only), ..episode.clone() })?.wrong)
    };
    let mut few = faults.to_vec();
    let mut wrong = fails(&few)?.context("it does not fail when the same faults happen again")?;
    if let Some(none) = fails(&[])? {
        return Ok((Vec::new(), none));
    }
    let mut parts = 2;
    while few.len() > 1 {
        let size = few.len().div_ceil(parts);
        let mut smaller = None;
        for at in (0..few.len()).step_by(size) {
            let rest = [&few[..at], &few[(at + size).min(few.len())..]].concat();
            if let Some(said) = fails(&rest)? {
                smaller = Some((rest, said));
                break;
            }
        }
        match smaller {
            Some(found) => {
                (few, wrong) = found;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(few.len()),
        }
    }
    Ok((few, wrong))
}
