//! Deliveries of a channel that are not answered yet, and how few frames acknowledge some of them. Pure.
//!
//! A frame that acknowledges many acknowledges everything up to its tag. So it may only be used where nothing older is
//! undecided (R4): what is older and not among those to be acknowledged keeps the others apart.

use std::collections::BTreeSet;

/// Tags of deliveries that are not answered.
#[derive(Debug, Default)]
pub(super) struct Unanswered(BTreeSet<u64>);

/// One frame that acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AckFrame {
    pub(super) tag: u64,
    /// Whether it is about everything up to the tag, too.
    pub(super) multiple: bool,
}

impl Unanswered {
    /// A delivery arrived; tags of a channel grow.
    pub(super) fn arrived(&mut self, tag: u64) {
        self.0.insert(tag);
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A delivery was answered otherwise.
    pub(super) fn answered(&mut self, tag: u64) {
        self.0.remove(&tag);
    }

    /// The frames that acknowledge exactly these.
    pub(super) fn acknowledge(&mut self, tags: &BTreeSet<u64>) -> Vec<AckFrame> {
        tags.iter().for_each(|tag| self.answered(*tag));
        let undecided = self.0.first().copied().unwrap_or(u64::MAX);
        let (together, apart): (Vec<u64>, Vec<u64>) = tags.iter().partition(|tag| **tag < undecided);
        let together = together.last().map(|&tag| AckFrame { tag, multiple: true });
        together.into_iter().chain(apart.into_iter().map(|tag| AckFrame { tag, multiple: false })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(arrived: &[u64]) -> Unanswered {
        let mut unanswered = Unanswered::default();
        arrived.iter().for_each(|tag| unanswered.arrived(*tag));
        unanswered
    }

    fn acknowledged(unanswered: &mut Unanswered, tags: &[u64]) -> Vec<(u64, bool)> {
        let frames = unanswered.acknowledge(&tags.iter().copied().collect());
        frames.iter().map(|frame| (frame.tag, frame.multiple)).collect()
    }

    #[test]
    fn one_frame_acknowledges_all_where_nothing_older_is_undecided() {
        let mut all = with(&[1, 2, 3, 4]);
        assert_eq!(acknowledged(&mut all, &[3, 1, 2]), [(3, true)]);
        assert_eq!(acknowledged(&mut all, &[4]), [(4, true)]);
        assert_eq!(acknowledged(&mut all, &[]), []);
    }

    #[test]
    fn a_frame_for_many_never_passes_an_undecided_delivery() {
        let mut mixed = with(&[1, 2, 3, 4, 5]);
        assert_eq!(acknowledged(&mut mixed, &[1, 2, 4]), [(2, true), (4, false)]);
        assert_eq!(acknowledged(&mut mixed, &[5]), [(5, false)]);
        mixed.answered(3);
        mixed.arrived(6);
        assert_eq!(acknowledged(&mut mixed, &[6]), [(6, true)]);
    }

    #[test]
    fn in_any_order_each_delivery_is_acknowledged_once_and_no_other_with_it() {
        for order in 0..200_u64 {
            let tags: Vec<u64> = (1..=24).collect();
            let (mut unanswered, mut known) = (with(&tags), BTreeSet::new());
            let mut left: BTreeSet<u64> = tags.into_iter().collect();
            while !left.is_empty() {
                let chosen: BTreeSet<u64> = left
                    .iter()
                    .copied()
                    .filter(|tag| (tag * 7919 + order * 104_729) % (left.len() as u64 + 1) < 3)
                    .collect();
                let chosen = if chosen.is_empty() { left.iter().copied().take(1).collect() } else { chosen };
                let mut told = BTreeSet::new();
                for AckFrame { tag, multiple } in unanswered.acknowledge(&chosen) {
                    let by_frame = (1..=tag).filter(|at| (multiple || *at == tag) && !known.contains(at));
                    told.extend(by_frame);
                }
                assert_eq!(told, chosen);
                known.extend(told);
                left.retain(|tag| !chosen.contains(tag));
            }
        }
    }
}
