//! What this worker knows of the runs that its tasks are of: their courses, and what was decided and fixed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::contract;
use domain::id::{ImageIdentity, ModuleIndex, RunId, StarId, StarIndex};
use domain::pipeline::Module;
use domain::product::Source;
use quick_cache::sync::Cache;
use store::course::Course;
use store::runs::Amendments;
use store::{Store, StoreError};

/// How many runs are kept in memory; more in flight at once cost reading them again.
const KEPT: usize = 64;

/// A run on this worker.
#[derive(Debug)]
pub(crate) struct RunHere {
    pub(crate) course: Course,
    /// The modules that each module reads from.
    reads: Vec<Vec<ModuleIndex>>,
    /// Identities of programs in this run, by subject.
    identities: Mutex<BTreeMap<String, ImageIdentity>>,
    met: AtomicBool,
    /// Images that operators amended, as far as this worker knows.
    amendments: Mutex<Arc<Amendments>>,
}

impl RunHere {
    fn of(course: Course) -> Self {
        let reads = course.pipeline.modules.iter().map(read_by).collect();
        Self { course, reads, identities: Mutex::default(), met: AtomicBool::new(false), amendments: Mutex::default() }
    }

    /// The modules whose products a module reads, or its conditions; others upstream only have to be settled.
    pub(crate) fn reads(&self, module: ModuleIndex) -> &[ModuleIndex] {
        &self.reads[module.at()]
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
        let run = self.course.record.run;
        let decisions = store.ask(move |store| store.decisions(run)).await?;
        let found = Arc::new(Amendments::of(&decisions));
        let mut known = self.amendments.lock().unwrap_or_else(PoisonError::into_inner);
        if found.number > known.number {
            *known = Arc::clone(&found);
        }
        Ok((found.number >= number).then_some(found))
    }

    /// The identity of a program in this run, as far as this worker knows it.
    pub(crate) fn identity(&self, subject: &str) -> Option<ImageIdentity> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner).get(subject).cloned()
    }

    /// Remembers the identity of a program in this run.
    pub(crate) fn remember(&self, subject: &str, identity: &ImageIdentity) {
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        identities.insert(subject.to_owned(), identity.clone());
    }
}

/// The modules that a module reads from, each once.
fn read_by(module: &Module) -> Vec<ModuleIndex> {
    let needs = contract::needs(module);
    let producers: BTreeSet<ModuleIndex> =
        needs.sources.iter().chain(needs.read.keys()).filter_map(Source::producer).collect();
    producers.into_iter().collect()
}

/// Runs by id, each read once.
#[derive(Debug)]
pub(crate) struct RunsHere {
    store: Store,
    kept: Cache<RunId, Arc<RunHere>>,
}

impl RunsHere {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, kept: Cache::new(KEPT) }
    }

    /// Reads a run again the next time.
    pub(crate) fn forget(&self, id: RunId) {
        self.kept.remove(&id);
    }

    /// A run, from memory or the store.
    pub(crate) async fn find(&self, id: RunId) -> Result<Arc<RunHere>, StoreError> {
        let read = async {
            let course = self.store.ask(move |store| Course::read(store, id)).await?;
            let course = course.ok_or_else(|| StoreError::NotFound { what: format!("run {id}") })?;
            Ok(Arc::new(RunHere::of(course)))
        };
        self.kept.get_or_insert_async(&id, read).await
    }

    /// The star at a position of a run's list.
    pub(crate) async fn star(&self, run: &Arc<RunHere>, index: StarIndex) -> Result<StarId, StoreError> {
        if let Some(star) = run.course.stars.kept(index) {
            return Ok(star);
        }
        let run = Arc::clone(run);
        self.store.ask(move |_| run.course.stars.star(index)).await
    }
}
