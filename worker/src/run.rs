//! What a worker knows of the runs that its tasks are of: read from the store once, and fixed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use domain::id::{RunId, StarId, StarIndex};
use domain::pipeline::Pipeline;
use store::runs::{Amendments, RunRecord, StarList};
use store::{Store, StoreError};

/// How many runs are kept in memory; more in flight at once cost reading them again.
const KEPT: usize = 64;

/// A run, with its pipeline ready to use.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) record: RunRecord,
    pub(crate) pipeline: Pipeline,
    stars: StarList,
    /// Identities of programs in this run, by subject.
    identities: Mutex<BTreeMap<String, String>>,
    met: AtomicBool,
    /// Images that operators amended, as far as this worker knows.
    amendments: Mutex<Arc<Amendments>>,
}

impl Run {
    fn read(store: &Store, id: RunId) -> Result<Self> {
        let record = store.run(id)?.with_context(|| format!("run {id} is not in the store"))?;
        let pipeline = record.load_pipeline()?;
        Ok(Self {
            stars: store.stars(id)?,
            record,
            pipeline,
            identities: Mutex::default(),
            met: AtomicBool::new(false),
            amendments: Mutex::default(),
        })
    }

    /// The star at a position of the run's list. A disk that does not answer holds up nobody but the caller.
    pub(crate) async fn star(self: &Arc<Self>, index: StarIndex) -> Result<StarId, StoreError> {
        let run = Arc::clone(self);
        match tokio::task::spawn_blocking(move || run.stars.star(index)).await {
            Ok(star) => star,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Whether this worker gets a task of the run for the first time; true once.
    pub(crate) fn is_new(&self) -> bool {
        !self.met.swap(true, Ordering::Relaxed)
    }

    /// The images that operators amended, the decision `number` and all before it included; `None` when that is not to be
    /// seen in the store yet.
    pub(crate) async fn amendments(&self, store: &Store, number: u64) -> Result<Option<Arc<Amendments>>, StoreError> {
        let known = self.amendments.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.number >= number {
            return Ok(Some(known));
        }
        let (store, run) = (store.clone(), self.record.run);
        let read = tokio::task::spawn_blocking(move || store.decisions(run)).await;
        let decisions = match read {
            Ok(decisions) => decisions?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let found = Arc::new(Amendments::of(&decisions));
        let mut known = self.amendments.lock().unwrap_or_else(PoisonError::into_inner);
        if found.number > known.number {
            *known = Arc::clone(&found);
        }
        Ok((found.number >= number).then_some(found))
    }

    /// The identity of a program in this run, as far as this worker knows it.
    pub(crate) fn identity(&self, subject: &str) -> Option<String> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner).get(subject).cloned()
    }

    /// Remembers the identity of a program in this run.
    pub(crate) fn remember(&self, subject: &str, identity: &str) {
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        identities.insert(subject.to_owned(), identity.to_owned());
    }
}

/// Runs by id; a run's record never changes.
#[derive(Debug)]
pub(crate) struct Runs {
    store: Store,
    known: Mutex<BTreeMap<RunId, Arc<Run>>>,
}

impl Runs {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// Reads a run again the next time.
    pub(crate) fn forget(&self, id: RunId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// A run, from memory or the store.
    pub(crate) async fn find(&self, id: RunId) -> Result<Arc<Run>> {
        if let Some(run) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(Arc::clone(run));
        }
        let store = self.store.clone();
        let run = tokio::task::spawn_blocking(move || Run::read(&store, id)).await?;
        let run = Arc::new(run.with_context(|| format!("failed to read run {id}"))?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(id, Arc::clone(&run));
        Ok(run)
    }
}
