//! Which generations of a star and quarter stay, and why. Pure.

use std::collections::BTreeMap;

use domain::id::Generation;
use schemars::JsonSchema;
use serde::Serialize;

/// Why a generation stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
pub enum KeptBecause {
    /// It is one of the newest, of which so many are to stay.
    #[strum(to_string = "newest")]
    Newest,
    /// The star file shows it.
    #[strum(to_string = "shown")]
    Shown,
    /// It is the last complete one.
    #[strum(to_string = "last complete")]
    LastComplete,
    /// A generation of the quarter after, which stays, read it.
    #[strum(to_string = "read by a later quarter")]
    ReadByLaterQuarter,
}

/// The generations of a star and quarter as they stand.
pub(super) struct Standings<'a> {
    /// All of them, oldest first.
    pub(super) numbers: &'a [Generation],
    /// So many of the newest stay.
    pub(super) keep: usize,
    /// The one that the star file shows.
    pub(super) shown: Generation,
    /// The last complete one.
    pub(super) last_complete: Option<Generation>,
    /// Those that generations of the quarter after read, each with one of these.
    pub(super) read: &'a BTreeMap<Generation, Generation>,
}

/// Those that stay, each with the first reason.
pub(super) fn kept(standings: &Standings<'_>) -> BTreeMap<Generation, KeptBecause> {
    let Standings { numbers, keep, shown, last_complete, read } = standings;
    let newest = numbers.len().saturating_sub((*keep).max(1));
    let why = |(at, number): (usize, &Generation)| {
        let because = if at >= newest {
            KeptBecause::Newest
        } else if number == shown {
            KeptBecause::Shown
        } else if Some(*number) == *last_complete {
            KeptBecause::LastComplete
        } else if read.contains_key(number) {
            KeptBecause::ReadByLaterQuarter
        } else {
            return None;
        };
        Some((*number, because))
    };
    numbers.iter().enumerate().filter_map(why).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staying(keep: usize, shown: u32, last_complete: Option<u32>, read: &[u32]) -> Vec<(u32, KeptBecause)> {
        let numbers: Vec<Generation> = [1, 2, 4, 5, 6].map(Generation).to_vec();
        let read = read.iter().map(|number| (Generation(*number), Generation(9))).collect();
        let standings = Standings {
            numbers: &numbers,
            keep,
            shown: Generation(shown),
            last_complete: last_complete.map(Generation),
            read: &read,
        };
        kept(&standings).into_iter().map(|(number, why)| (number.0, why)).collect()
    }

    #[test]
    fn what_is_shown_complete_or_read_stays_beside_the_newest() {
        use KeptBecause as K;
        assert_eq!(staying(1, 6, Some(6), &[]), [(6, K::Newest)]);
        assert_eq!(staying(0, 6, Some(6), &[]), [(6, K::Newest)], "the newest stays whatever is asked");
        assert_eq!(
            staying(2, 2, Some(4), &[1, 6]),
            [(1, K::ReadByLaterQuarter), (2, K::Shown), (4, K::LastComplete), (5, K::Newest), (6, K::Newest)]
        );
        assert_eq!(staying(9, 1, None, &[]).len(), 5);
    }
}
