//! Runs that go on as the store alone has them: what was settled of them. No service is asked.

use std::collections::BTreeMap;

use domain::id::{ModuleIndex, RunId};
use domain::outcome::Remarks;
use domain::run::{Row, TaskState};
use services::state::Phase;
use store::runs::{RunRecord, StarEnd};
use store::{Store, StoreError};

use super::{ModuleSummary, RunPhase, RunSummary, StarsOutside};
use crate::operate::{Context, OperateError};
use crate::standing;

/// What the settled stars of a run ended with.
struct SettledSum {
    stars: u32,
    ends: BTreeMap<StarEnd, u64>,
    /// How often each byte of a row is there, by module.
    cells: Vec<[u64; 256]>,
}

/// A run of which the state does not tell, for this reason.
pub(super) async fn run(
    context: &Context,
    record: RunRecord,
    phase: RunPhase,
    reason: &str,
) -> Result<RunSummary, OperateError> {
    let course = context.course(record.run).await?;
    let (run, width) = (record.run, course.pipeline.modules.len());
    let look = move |store: &Store| {
        let settled = count(store, run, width)?;
        Ok::<_, StoreError>((settled, standing::read(store, run)?.phase, StarsOutside::of(store, run)?))
    };
    let (settled, decided, outside) = context.ask(look).await?;
    let phase = match (phase, decided) {
        (RunPhase::Open, Phase::Paused) => RunPhase::Paused,
        (RunPhase::Open, Phase::Cancelling) => RunPhase::Cancelling,
        (phase, _) => phase,
    };
    let modules = course.pipeline.indexed().map(|(index, module)| ModuleSummary {
        module: module.name.clone(),
        tasks: settled.tasks(index),
        remarks: Remarks::default(),
    });
    let words = format!("{reason}: as the store has it; {} of {} stars settled", settled.stars, record.stars);
    let summary = RunSummary {
        to_come: record.stars.saturating_sub(settled.stars),
        stored_only: Some(words),
        outside,
        ends: settled.ends.clone(),
        ..RunSummary::of(record, phase)
    };
    Ok(summary.with_modules(modules.collect()))
}

/// Counts in one pass over rows. Blocks on the disk.
fn count(store: &Store, run: RunId, width: usize) -> Result<SettledSum, StoreError> {
    let mut settled = SettledSum { stars: 0, ends: BTreeMap::new(), cells: vec![[0; 256]; width] };
    store.each_settled_row(run, |row| {
        let Some(end) = row.end else { return };
        settled.stars += 1;
        *settled.ends.entry(end).or_default() += 1;
        for (counts, byte) in settled.cells.iter_mut().zip(row.row) {
            counts[usize::from(byte)] += 1;
        }
    })?;
    Ok(settled)
}

impl SettledSum {
    fn tasks(&self, module: ModuleIndex) -> BTreeMap<TaskState, u64> {
        let mut tasks = BTreeMap::new();
        for (byte, count) in (0..=u8::MAX).zip(&self.cells[module.at()]).filter(|(_, count)| **count > 0) {
            if let Ok(row) = Row::from_bytes(vec![byte]) {
                *tasks.entry(row.cell(ModuleIndex(0)).state).or_default() += count;
            }
        }
        tasks
    }
}
