//! How many slots take tasks, looked at once in a while: workers come and go seldom.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::id::ClassName;
use services::state::SharedState;
use tokio::time::Instant;

use crate::trouble::Trouble;

/// How often workers are looked at.
const WORKERS: Duration = Duration::from_secs(1);

/// Slots of workers that take tasks, by class, as they were when they were last looked at.
#[derive(Default)]
pub(super) struct Slots {
    seen: Option<Instant>,
    by_class: BTreeMap<ClassName, u64>,
}

impl Slots {
    /// Their numbers, looked at again once in a while.
    pub(super) async fn look(&mut self, state: &SharedState) -> Result<&BTreeMap<ClassName, u64>, Trouble> {
        if self.seen.is_none_or(|seen| seen.elapsed() >= WORKERS) {
            let workers = state.workers().await?;
            self.by_class.clear();
            for (class, slots) in workers.into_iter().filter(|worker| !worker.drained).flat_map(|worker| worker.slots) {
                *self.by_class.entry(class).or_default() += u64::from(slots);
            }
            self.seen = Some(Instant::now());
        }
        Ok(&self.by_class)
    }
}
