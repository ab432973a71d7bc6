//! How runs stand by their operators, read again only where something was decided since: the files that say it never change,
//! so that their names tell. (Not the time of their folder: network file systems may keep that back, or count in seconds.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::id::RunId;
use store::{Store, StoreError};

use crate::standing::{self, Standing};

/// What was read last of each run.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<BTreeMap<RunId, Reading>>);

struct Reading {
    /// Names of the files that were there when it was read.
    files: Vec<String>,
    orders: Arc<Standing>,
}

impl Remembered {
    /// What the store says that operators want of a run. Blocks on the disk.
    pub(crate) fn orders(&self, store: &Store, run: RunId) -> Result<Arc<Standing>, StoreError> {
        // The names first: what is decided while it is read is read again.
        let files = store.decision_files(run)?;
        if let Some(reading) = self.known().get(&run).filter(|reading| reading.files == files) {
            return Ok(Arc::clone(&reading.orders));
        }
        let orders = Arc::new(standing::read(store, run)?);
        self.known().insert(run, Reading { files, orders: Arc::clone(&orders) });
        Ok(orders)
    }

    /// Forgets all other runs.
    pub(crate) fn keep_only(&self, runs: &BTreeSet<RunId>) {
        self.known().retain(|run, _| runs.contains(run));
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<RunId, Reading>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domain::id::EventId;
    use jiff::Timestamp;
    use services::state::Phase;
    use store::runs::{Decided, Decision, RunEnd, Selection};

    use super::*;

    #[test]
    fn what_is_decided_is_seen_at_once_and_what_is_known_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path()).unwrap();
        let run = RunId::of(EventId::of("a", "1"), "P", "1");
        let remembered = Remembered::default();
        let orders = || remembered.orders(&store, run).unwrap();
        let decide = |what| {
            store.decide(run, &Decision { at: Timestamp::UNIX_EPOCH, by: "ada".to_owned(), what }).unwrap();
        };
        let first = orders();
        assert!(Arc::ptr_eq(&first, &orders()));
        decide(Decided::Pause);
        assert_eq!(orders().phase, Phase::Paused);
        decide(Decided::Retry { selection: Selection::default() });
        assert_eq!(orders().to_follow.len(), 1);
        store.mark_followed(run, 2).unwrap();
        assert!(orders().to_follow.is_empty());
        let (ended, counts, stars) = (Timestamp::UNIX_EPOCH, BTreeMap::new(), BTreeMap::new());
        store
            .end_run(
                run,
                &RunEnd { ended, decisions: 2, counts, stars, remarks: Default::default(), took: Default::default() },
            )
            .unwrap();
        let over = orders();
        assert!(over.is_over && Arc::ptr_eq(&over, &orders()));
        remembered.keep_only(&BTreeSet::new());
        assert!(!Arc::ptr_eq(&over, &orders()));
    }
}
