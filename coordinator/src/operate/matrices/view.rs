//! How a run looked last in one order, and what changed when.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::look::{Look, STATES, rank_all};
use super::order::StarPlaces;
use super::rows::{BLOCK, MatrixRows};
use super::{FEWEST_COUNTED, StarOrder};
use crate::operate::OperateError;

/// How old a look may be.
const FRESH: Duration = Duration::from_secs(1);

/// How old an order may be: stars that move all the time cannot be followed.
const ORDERED: Duration = Duration::from_secs(60);

/// Looking takes at most one part in so many of the time.
const SHARE: u32 = 4;

/// A run in one order.
pub(in crate::operate) struct MatrixView {
    order: StarOrder,
    /// None: in the order of the run's list.
    places: Option<Arc<StarPlaces>>,
    counts: Vec<u8>,
    sums: Vec<u64>,
    /// When each block of places was seen to have changed.
    changed: Vec<i64>,
    width: usize,
    tick: i64,
    looked: Option<Instant>,
    /// How long that took.
    took: Duration,
    ordered: Option<Instant>,
    /// The end of the run that it shows: nothing changes any more.
    ended: Option<Timestamp>,
}

/// StarPlaces that changed.
pub(in crate::operate) struct Changed {
    pub(in crate::operate) tick: i64,
    /// In order; none touches the next.
    pub(in crate::operate) ranges: Vec<Range<u32>>,
}

impl MatrixView {
    /// Of nothing yet.
    pub(super) fn new(order: StarOrder) -> Self {
        Self {
            order,
            places: None,
            counts: Vec::new(),
            sums: Vec::new(),
            changed: Vec::new(),
            width: 0,
            tick: 0,
            looked: None,
            took: Duration::ZERO,
            ordered: None,
            ended: None,
        }
    }

    /// Looks again, unless it did a moment ago or the run is over.
    pub(in crate::operate) async fn refresh(&mut self, rows: &MatrixRows) -> Result<(), OperateError> {
        let is_final = self.ended.is_some() && self.ended == rows.ended;
        let is_fresh = self.looked.is_some_and(|looked| looked.elapsed() < FRESH.max(self.took * SHARE));
        if is_final || is_fresh {
            return Ok(());
        }
        let began = Instant::now();
        let blocks = rows.stars().div_ceil(BLOCK);
        self.put_in_order(rows, blocks).await?;
        let mut look = Look::new(rows.stars(), rows.width());
        for block in 0..blocks {
            look.take(block * BLOCK, &rows.block(block).await?, self.places.as_deref());
        }
        self.take(look, rows.width(), Timestamp::now().as_millisecond());
        self.ended = rows.ended;
        (self.looked, self.took) = (Some(Instant::now()), began.elapsed());
        Ok(())
    }

    async fn put_in_order(&mut self, rows: &MatrixRows, blocks: u32) -> Result<(), OperateError> {
        let is_old = self.ordered.is_none_or(|ordered| ordered.elapsed() > ORDERED) || rows.ended.is_some();
        if self.order == StarOrder::Arrival || !is_old {
            return Ok(());
        }
        let mut ranks = Vec::with_capacity(rows.stars() as usize);
        for block in 0..blocks {
            rank_all(self.order, &rows.block(block).await?, rows.width(), &mut ranks);
        }
        (self.places, self.ordered) = (Some(Arc::new(StarPlaces::by_rank(&ranks))), Some(Instant::now()));
        Ok(())
    }

    /// Takes what was seen at `now`, in milliseconds. Every look has a tick of its own.
    pub(super) fn take(&mut self, look: Look, width: usize, now: i64) {
        self.tick = now.max(self.tick + 1);
        self.changed.resize(look.sums.len(), 0);
        for (at, sum) in look.sums.iter().enumerate() {
            if self.sums.get(at) != Some(sum) {
                self.changed[at] = self.tick;
            }
        }
        (self.sums, self.counts, self.width) = (look.sums, look.counts, width);
    }

    /// The stars in their order; none where that is the order of the run's list.
    pub(in crate::operate) fn places(&self) -> Option<Arc<StarPlaces>> {
        self.places.clone()
    }

    /// Which of these places changed since a tick.
    pub(in crate::operate) fn changed(&self, range: Range<u32>, since: i64) -> Changed {
        self.changed_lines(range, since, 1)
    }

    /// Which of these places changed, in whole lines.
    pub(in crate::operate) fn changed_lines(&self, range: Range<u32>, since: i64, stars_per_line: u32) -> Changed {
        // A line never ends beyond the next block: it has no more stars than a block.
        let has_changed = |from: u32, to: u32| {
            let blocks = (from / BLOCK) as usize..=((to - 1) / BLOCK) as usize;
            self.changed.get(blocks).is_some_and(|ticks| ticks.iter().any(|tick| *tick > since))
        };
        let mut ranges: Vec<Range<u32>> = Vec::new();
        let mut from = range.start;
        while from < range.end {
            // As many lines as the rest of the block has, but at least one.
            let lines = (((from / BLOCK + 1) * BLOCK - from) / stars_per_line).max(1);
            let to = from.saturating_add(lines * stars_per_line).min(range.end);
            if has_changed(from, to) {
                match ranges.last_mut() {
                    Some(last) if last.end == from => last.end = to,
                    Some(_) | None => ranges.push(from..to),
                }
            }
            from = to;
        }
        Changed { tick: self.tick, ranges }
    }

    /// Tasks by line, module and state.
    pub(in crate::operate) fn counts(&self, range: Range<u32>, stars_per_line: u32) -> Vec<u8> {
        let line = self.width * STATES;
        let (from, to) = (range.start / FEWEST_COUNTED, range.end.div_ceil(FEWEST_COUNTED));
        let counted = self.counts.get(from as usize * line..to as usize * line).unwrap_or_default();
        let mut bytes = Vec::with_capacity(range.len().div_ceil(stars_per_line as usize) * line * 2);
        let mut sums = vec![0_u16; line];
        for together in counted.chunks(line.max(1) * (stars_per_line / FEWEST_COUNTED).max(1) as usize) {
            sums.fill(0);
            for counts in together.chunks_exact(line) {
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += u16::from(*count));
            }
            bytes.extend(sums.iter().flat_map(|sum| sum.to_le_bytes()));
        }
        bytes
    }
}
