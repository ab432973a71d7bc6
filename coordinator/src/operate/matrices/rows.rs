//! Where the rows of a run come from: the state while it goes on; the store when it is over, or the state cannot be asked.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use domain::id::RunId;
use jiff::Timestamp;
use services::state::{ROWS_BLOCK, SharedState, StateError};
use store::Store;
use store::course::Course;

use crate::operate::OperateError;
use crate::operate::look_up::end_of;

/// Stars whose rows are in memory at once.
pub(in crate::operate) const BLOCK: u32 = ROWS_BLOCK;

/// The rows of a run.
pub(in crate::operate) struct MatrixRows {
    store: Store,
    pub(in crate::operate) course: Arc<Course>,
    /// When the run ended, if it is over.
    pub(super) ended: Option<Timestamp>,
    state: Option<SharedState>,
    /// That the store answers where the state should, and why; without a reason where the run ended meanwhile.
    stored_only: OnceLock<Option<String>>,
}

impl MatrixRows {
    /// Of a run; where the state cannot be had it is said why.
    pub(in crate::operate) async fn find(
        store: &Store,
        course: Arc<Course>,
        state: Result<SharedState, String>,
    ) -> Result<Self, OperateError> {
        let run = course.record.run;
        let ended = store.ask(move |store| end_of(store, run)).await?.map(|end| end.ended);
        let stored_only = OnceLock::new();
        let state = match (ended, state) {
            (Some(_), _) => None,
            (None, Ok(state)) => Some(state),
            (None, Err(reason)) => {
                _ = stored_only.set(Some(reason));
                None
            }
        };
        Ok(Self { store: store.clone(), course, ended, state, stored_only })
    }

    pub(super) fn run(&self) -> RunId {
        self.course.record.run
    }

    pub(in crate::operate) fn stars(&self) -> u32 {
        self.course.stars.len()
    }

    /// Bytes of a row.
    pub(super) fn width(&self) -> usize {
        self.course.pipeline.modules.len()
    }

    /// Why only what is settled was found, once that was looked for.
    pub(in crate::operate) fn stored_only(&self) -> Option<String> {
        self.stored_only.get().cloned().flatten()
    }

    /// The stars of a block.
    fn of_block(&self, block: u32) -> Range<u32> {
        let from = block.saturating_mul(BLOCK).min(self.stars());
        from..from.saturating_add(BLOCK).min(self.stars())
    }

    /// All rows of a block.
    pub(super) async fn block(&self, block: u32) -> Result<Vec<u8>, OperateError> {
        let range = self.of_block(block);
        let wanted = range.len() * self.width();
        // Whoever was told once that the state does not answer need not wait for it again.
        if let (Some(state), None) = (&self.state, self.stored_only.get()) {
            match state.rows(self.run(), block).await {
                Ok(mut rows) => {
                    // What somebody cut short by hand is nothing that others should pay for.
                    rows.resize(wanted, 0);
                    return Ok(rows);
                }
                Err(StateError::NoRun(run)) => {
                    let has_ended = self.store.ask(move |store| end_of(store, run)).await?.is_some();
                    let reason = (!has_ended).then(|| "Redis does not have the run".to_owned());
                    _ = self.stored_only.set(reason);
                }
                Err(error) if error.is_away() => _ = self.stored_only.set(Some(error.to_string())),
                Err(error) => return Err(error.into()),
            }
        }
        let (run, width) = (self.run(), self.width());
        Ok(self.store.ask(move |store: &Store| store.settled_rows(run, range, width)).await?)
    }

    /// The rows of stars that follow each other in the run's list.
    pub(in crate::operate) async fn range(&self, range: Range<u32>) -> Result<Vec<u8>, OperateError> {
        let mut found = Vec::with_capacity(range.len() * self.width());
        for block in range.start / BLOCK..range.end.div_ceil(BLOCK) {
            let (rows, of_block) = (self.block(block).await?, self.of_block(block));
            let from = (range.start.max(of_block.start) - of_block.start) as usize * self.width();
            let to = (range.end.min(of_block.end) - of_block.start) as usize * self.width();
            found.extend_from_slice(rows.get(from..to).unwrap_or_default());
        }
        Ok(found)
    }

    /// The rows of these stars, in their order.
    pub(in crate::operate) async fn of(&self, stars: &[u32]) -> Result<Vec<u8>, OperateError> {
        let width = self.width();
        let mut of_block: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (at, star) in stars.iter().enumerate() {
            of_block.entry(star / BLOCK).or_default().push(at);
        }
        let mut found = vec![0; stars.len() * width];
        for (block, wanted) in of_block {
            let rows = self.block(block).await?;
            for at in wanted {
                let from = (stars[at] % BLOCK) as usize * width;
                if let Some(row) = rows.get(from..from + width) {
                    found[at * width..(at + 1) * width].copy_from_slice(row);
                }
            }
        }
        Ok(found)
    }
}
