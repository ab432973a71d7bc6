//! Orders of stars other than that of the run's list. Pure.

use domain::run::TaskState;

use super::StarOrder;

/// Where each star of a run stands in an order.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::operate) struct StarPlaces {
    /// The star at each place.
    pub(in crate::operate) stars: Vec<u32>,
    /// The place of each star.
    of_star: Vec<u32>,
}

impl StarPlaces {
    /// By the ranks of all stars; those of one rank stay as the run's list has them.
    pub(super) fn by_rank(ranks: &[u16]) -> Self {
        let mut stars: Vec<u32> = (0..ranks.len() as u32).collect();
        stars.sort_by_key(|star| ranks[*star as usize]);
        let mut of_star = vec![0; stars.len()];
        for (place, star) in (0..).zip(&stars) {
            of_star[*star as usize] = place;
        }
        Self { stars, of_star }
    }

    /// The star at a place.
    pub(in crate::operate) fn star(&self, place: u32) -> u32 {
        self.stars.get(place as usize).copied().unwrap_or(place)
    }

    /// The place of a star.
    pub(super) fn place(&self, star: u32) -> u32 {
        self.of_star.get(star as usize).copied().unwrap_or(star)
    }
}

/// What a star's row says of its place; the smallest rank comes first.
pub(super) fn rank(order: StarOrder, row: &[u8]) -> u16 {
    let states = || row.iter().map(|byte| TaskState::from_repr(byte >> 4));
    let ended = states().flatten().filter(|state| state.is_settled()).count() as u16;
    match order {
        StarOrder::Arrival => 0,
        StarOrder::Progress => u16::MAX - ended,
        StarOrder::State => {
            let first = |holds: fn(TaskState) -> bool| states().position(|state| state.is_some_and(holds));
            let (class, at) = if let Some(at) = first(|state| matches!(state, TaskState::Failed | TaskState::Errored)) {
                (0, at as u16)
            } else if let Some(at) = first(TaskState::is_lost) {
                (1, at as u16)
            } else if ended as usize == row.len() {
                (3, 0)
            } else if states().all(|state| state == Some(TaskState::Blocked)) {
                (4, 0)
            } else {
                (2, u16::from(u8::MAX) - ended)
            };
            class << 8 | at.min(0xff)
        }
    }
}
