//! What is fixed of a run, read from the store once: its record, its pipeline as it was accepted, its stars.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::id::{ClassName, ModuleIndex, ModuleName, RunId, StarId, StarIndex};
use domain::pipeline::Pipeline;
use domain::run::{Graph, TaskState};
use services::state::Counts;
use store::runs::{RunRecord, StarList};
use store::{Store, StoreError, paths};

use crate::trouble::{Trouble, blocking, chain};

/// What is fixed of a run.
pub(crate) struct Course {
    pub(crate) record: RunRecord,
    pub(crate) pipeline: Pipeline,
    pub(crate) graph: Graph,
    pub(crate) stars: StarList,
}

/// Courses by run; each is read from the store when it is first asked for.
pub(crate) struct Catalog {
    store: Store,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    courses: BTreeMap<RunId, Arc<Course>>,
    /// Runs whose files are damaged; they are said once and hold nobody up.
    damaged: BTreeSet<RunId>,
}

impl Catalog {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// The course of a run; `None` when no such run was ever accepted, or its files are damaged.
    pub(crate) async fn course(&self, run: RunId) -> Result<Option<Arc<Course>>, Trouble> {
        {
            let known = self.known();
            if known.courses.contains_key(&run) || known.damaged.contains(&run) {
                return Ok(known.courses.get(&run).cloned());
            }
        }
        let store = self.store.clone();
        match blocking(move || Course::read(&store, run)).await {
            Ok(None) => Ok(None),
            Ok(Some(course)) => Ok(Some(self.known().courses.entry(run).or_insert_with(|| Arc::new(course)).clone())),
            Err(trouble @ Trouble::Store(StoreError::Damaged { .. })) => {
                self.leave_alone(run, &trouble);
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Has nothing more to do with a run whose files are damaged, until the next start.
    pub(crate) fn leave_alone(&self, run: RunId, trouble: &Trouble) {
        let mut known = self.known();
        known.courses.remove(&run);
        if known.damaged.insert(run) {
            tracing::error!(%run, error = chain(trouble), "the run is left alone");
        }
    }

    /// Forgets a run that is over.
    pub(crate) fn forget(&self, run: RunId) {
        self.known().courses.remove(&run);
    }

    /// Forgets all other runs: those that another coordinator ended.
    pub(crate) fn keep_only(&self, runs: &BTreeSet<RunId>) {
        self.known().courses.retain(|run, _| runs.contains(run));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Entries are inserted and removed whole, whatever panics between two of them.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Course {
    fn read(store: &Store, run: RunId) -> Result<Option<Self>, StoreError> {
        let Some(mut record) = store.run(run)? else { return Ok(None) };
        let path = store.at(paths::run(run)).join("pipeline.toml");
        let pipeline = record
            .load_pipeline()
            .map_err(|mistakes| StoreError::Damaged { path: path.clone(), reason: mistakes.to_string() })?;
        record.definition = String::new();
        record.data_model = String::new();
        Ok(Some(Self { graph: pipeline.graph(), stars: store.stars(run)?, pipeline, record }))
    }

    /// Modules that wait for nobody: what a star that enters asks for first.
    pub(crate) fn roots(&self) -> impl Iterator<Item = ModuleIndex> + '_ {
        self.graph.modules().filter(|module| {
            let node = &self.graph.nodes[module.at()];
            node.enabled && node.upstream.is_empty()
        })
    }

    /// The class of a module.
    pub(crate) fn class(&self, module: ModuleIndex) -> &ClassName {
        &self.pipeline.module(module).class
    }

    /// The classes that its modules use.
    pub(crate) fn classes(&self) -> BTreeSet<ClassName> {
        self.pipeline.modules.iter().map(|module| module.class.clone()).collect()
    }

    /// Names of stars, in their order. Blocks on the disk.
    pub(crate) fn names(&self, stars: &[StarIndex]) -> Result<Vec<StarId>, StoreError> {
        stars.iter().map(|star| self.stars.star(*star)).collect()
    }

    /// Tasks by module name and state, as ends of runs record them.
    pub(crate) fn by_name(&self, counts: &Counts) -> BTreeMap<ModuleName, BTreeMap<TaskState, u64>> {
        let name = |module: &ModuleIndex| self.pipeline.module(*module).name.clone();
        counts.iter().map(|(module, states)| (name(module), states.clone())).collect()
    }
}
