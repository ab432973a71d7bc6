//! One look at all rows of a run: counts by places in an order, and a sum that tells whether a block changed. Pure.

use std::hash::{DefaultHasher, Hasher};

use domain::run::TaskState;
use strum::VariantArray;

use super::order::StarPlaces;
use super::rows::BLOCK;
use super::{FEWEST_COUNTED, StarOrder, order};

/// How many states there are.
pub(super) const STATES: usize = TaskState::VARIANTS.len();

/// Counts and sums as they grow, block by block.
pub(super) struct Look {
    width: usize,
    /// For every [`FEWEST_COUNTED`] places, module and state how many tasks.
    pub(super) counts: Vec<u8>,
    /// For every block of places the sum of what its rows hash to: the order in which they were met does not matter.
    pub(super) sums: Vec<u64>,
}

impl Look {
    /// At nothing yet.
    pub(super) fn new(stars: u32, width: usize) -> Self {
        let counted = stars.div_ceil(FEWEST_COUNTED) as usize;
        Self { width, counts: vec![0; counted * width * STATES], sums: vec![0; stars.div_ceil(BLOCK) as usize] }
    }

    /// Takes the rows from star `first` on.
    pub(super) fn take(&mut self, first: u32, rows: &[u8], places: Option<&StarPlaces>) {
        let line = self.width * STATES;
        for (star, row) in (first..).zip(rows.chunks_exact(self.width.max(1))) {
            let place = places.map_or(star, |places| places.place(star));
            let mut hasher = DefaultHasher::new();
            hasher.write_u32(place);
            hasher.write(row);
            let Some(sum) = self.sums.get_mut((place / BLOCK) as usize) else { return };
            *sum = sum.wrapping_add(hasher.finish());
            let at = (place / FEWEST_COUNTED) as usize * line;
            for (counts, byte) in self.counts[at..at + line].chunks_exact_mut(STATES).zip(row) {
                if let Some(count) = counts.get_mut(usize::from(byte >> 4)) {
                    *count += 1;
                }
            }
        }
    }
}

/// Adds the ranks of these rows.
pub(super) fn rank_all(order: StarOrder, rows: &[u8], width: usize, ranks: &mut Vec<u16>) {
    ranks.extend(rows.chunks_exact(width.max(1)).map(|row| order::rank(order, row)));
}
