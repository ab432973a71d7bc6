//! What is fixed of a run: its record, its pipeline as it was accepted, its graph, its stars.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use domain::id::{ClassName, ModuleIndex, ModuleName, RunId, StarId, StarIndex};
use domain::pipeline::{Mistakes, Pipeline};
use domain::run::{Graph, TaskState};
use quick_cache::sync::Cache;

use crate::runs::{RunRecord, StarList};
use crate::{Store, StoreError, paths};

/// Runs that are kept in memory; each holds a file open, and one that does not fit is read again.
const KEPT: usize = 256;

/// What is fixed of a run.
#[derive(Debug)]
pub struct Course {
    /// Its record, without the texts of its definition.
    pub record: RunRecord,
    /// The pipeline as it was when the run was accepted, limited as the run is; one for all runs of the same.
    pub pipeline: Arc<Pipeline>,
    /// The pipeline's graph.
    pub graph: Graph,
    /// Its stars.
    pub stars: StarList,
}

/// Pipelines that courses have: runs are many, and most are of the same few. By definition, data model and group.
static SHARED: Mutex<BTreeMap<[String; 3], Weak<Pipeline>>> = Mutex::new(BTreeMap::new());

/// The pipeline of a run, which is read where no course has it.
fn shared_pipeline(record: &RunRecord) -> Result<Arc<Pipeline>, Mistakes> {
    if record.replay.is_some() {
        return record.load_pipeline().map(Arc::new);
    }
    let group = record.only_group.as_ref().map(ToString::to_string).unwrap_or_default();
    let texts = [record.definition.clone(), record.data_model.clone(), group];
    let known = || SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pipeline) = known().get(&texts).and_then(Weak::upgrade) {
        return Ok(pipeline);
    }
    let pipeline = Arc::new(record.load_pipeline()?);
    let mut all = known();
    all.retain(|_, pipeline| pipeline.strong_count() > 0);
    all.insert(texts, Arc::downgrade(&pipeline));
    Ok(pipeline)
}

impl Course {
    /// Reads it; `None` when no such run was ever accepted. Blocks on the disk.
    pub fn read(store: &Store, run: RunId) -> Result<Option<Self>, StoreError> {
        let Some(mut record) = store.run(run)? else { return Ok(None) };
        let path = store.at(paths::definition(run));
        let pipeline = shared_pipeline(&record)
            .map_err(|mistakes| StoreError::Damaged { path: path.clone(), reason: mistakes.to_string() })?;
        record.definition = String::new();
        record.data_model = String::new();
        Ok(Some(Self { graph: pipeline.graph(), stars: store.stars(run)?, pipeline, record }))
    }

    /// Modules that wait for nobody: what a star that enters asks for first.
    pub fn roots(&self) -> impl Iterator<Item = ModuleIndex> + '_ {
        self.graph.modules().filter(|module| {
            let node = &self.graph.nodes[module.at()];
            node.enabled && node.upstream.is_empty()
        })
    }

    /// The class of a module.
    pub fn class(&self, module: ModuleIndex) -> &ClassName {
        &self.pipeline.module(module).class
    }

    /// The classes that its modules use.
    pub fn classes(&self) -> BTreeSet<ClassName> {
        self.pipeline.modules.iter().map(|module| module.class.clone()).collect()
    }

    /// Names of stars, in their order. Blocks on the disk.
    pub fn names(&self, stars: &[StarIndex]) -> Result<Vec<StarId>, StoreError> {
        stars.iter().map(|star| self.stars.star(*star)).collect()
    }

    /// A star's id as logs say it. Reads sixteen bytes of the list when it is written; a list that cannot be read gives the
    /// star's position.
    pub fn star_in_logs(&self, star: StarIndex) -> StarInLogs<'_> {
        StarInLogs { course: self, star }
    }

    /// A module's name as logs say it.
    pub fn module_in_logs(&self, module: ModuleIndex) -> &str {
        self.pipeline.modules.get(module.at()).map_or("unknown", |module| module.name.as_str())
    }

    /// Tasks by module name and state, as ends of runs record them.
    pub fn by_name(
        &self,
        counts: &BTreeMap<ModuleIndex, BTreeMap<TaskState, u64>>,
    ) -> BTreeMap<ModuleName, BTreeMap<TaskState, u64>> {
        let name = |module: &ModuleIndex| self.pipeline.module(*module).name.clone();
        counts.iter().map(|(module, states)| (name(module), states.clone())).collect()
    }
}

/// A star as logs say it.
#[derive(Debug, Clone, Copy)]
pub struct StarInLogs<'a> {
    course: &'a Course,
    star: StarIndex,
}

impl fmt::Display for StarInLogs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.course.stars.star(self.star) {
            Ok(id) => id.fmt(f),
            Err(_) => write!(f, "star {} of the run", self.star.0),
        }
    }
}

/// Courses by run, each read when it is first asked for, and by one of those who ask at once; clones are the same.
///
/// As many are kept as memory and open files allow, those that are asked for most. What is fixed never changes, so that none is
/// ever out of date.
#[derive(Clone, Debug)]
pub struct Courses {
    store: Store,
    kept: Arc<Cache<RunId, Arc<Course>>>,
}

/// Why there is no course to keep.
enum Absent {
    NoRun,
    Trouble(StoreError),
}

impl Courses {
    /// None yet.
    pub fn new(store: Store) -> Self {
        Self { store, kept: Arc::new(Cache::new(KEPT)) }
    }

    /// The course of a run; `None` when no such run was ever accepted.
    pub async fn find(&self, run: RunId) -> Result<Option<Arc<Course>>, StoreError> {
        let read = async {
            match self.store.ask(move |store| Course::read(store, run)).await {
                Ok(Some(course)) => Ok(Arc::new(course)),
                Ok(None) => Err(Absent::NoRun),
                Err(error) => Err(Absent::Trouble(error)),
            }
        };
        match self.kept.get_or_insert_async(&run, read).await {
            Ok(course) => Ok(Some(course)),
            Err(Absent::NoRun) => Ok(None),
            Err(Absent::Trouble(error)) => Err(error),
        }
    }

    /// Reads a run again the next time.
    pub fn forget(&self, run: RunId) {
        self.kept.remove(&run);
    }
}

#[cfg(test)]
mod tests {
    use domain::id::{EventId, Sequence};
    use domain::message::{DatasetEvent, DatasetUpdate, StarSelection};

    use super::*;

    fn store_with_run() -> (tempfile::TempDir, Store, RunId) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::init(directory.path()).unwrap();
        let update = DatasetUpdate {
            dataset: "l1/lightcurve".parse().unwrap(),
            quarter: 3.try_into().unwrap(),
            stars: StarSelection::Inline(Vec::new()),
            start: None,
        };
        let event: EventId = DatasetEvent::new("t", "1", String::new(), update).event_id();
        let run = RunId::of(event, "P", "1");
        let record = RunRecord {
            run,
            event,
            publisher: None,
            pipeline: "P".parse().unwrap(),
            version: "1".to_owned(),
            quarter: 3.try_into().unwrap(),
            horizon: Sequence(1),
            accepted: jiff::Timestamp::UNIX_EPOCH,
            stars: 2,
            only_group: None,
            replay: None,
            definition:
                "name = 'P'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[classes.default]\ncpus = 1\nmemory = '1GB'\n\
                [modules.M]\nimage = 'i'\nclass = 'default'\ntime_limit = '1m'\noutputs.mandatory = ['X']\n"
                    .to_owned(),
            data_model: String::new(),
        };
        store.create_run(&record, &[StarId::of_simulator(1), StarId::of_simulator(2)]).unwrap();
        (directory, store, run)
    }

    #[tokio::test]
    async fn a_course_is_read_once_and_what_is_not_there_is_asked_for_again() {
        let (_directory, store, run) = store_with_run();
        let courses = Courses::new(store.clone());
        let both = tokio::join!(courses.find(run), courses.find(run));
        let (first, second) = (both.0.unwrap().unwrap(), both.1.unwrap().unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!((first.stars.len(), first.roots().count()), (2, 1));
        std::fs::write(store.at(paths::run(run)).join("run.json"), "{").unwrap();
        assert!(courses.find(run).await.is_ok(), "what was read is kept");
        courses.forget(run);
        assert!(matches!(courses.find(run).await, Err(StoreError::Damaged { .. })));
        std::fs::remove_file(store.at(paths::run(run)).join("run.json")).unwrap();
        assert!(courses.find(run).await.unwrap().is_none());
    }

    #[test]
    fn runs_of_the_same_pipeline_have_one_between_them() {
        let (_directory, store, run) = store_with_run();
        let record = store.run(run).unwrap().unwrap();
        let other = RunRecord { run: RunId::of(EventId::of("test", "other"), "P", "1"), ..record.clone() };
        let group = RunRecord { only_group: Some("G".parse().unwrap()), ..record.clone() };
        let [one, two, limited] = [&record, &other, &group].map(|record| shared_pipeline(record).unwrap());
        assert!(Arc::ptr_eq(&one, &two));
        assert!(!Arc::ptr_eq(&one, &limited), "it has fewer modules");
        assert_eq!(limited.modules.iter().filter(|module| module.enabled).count(), 0);
    }

    #[tokio::test]
    async fn a_record_of_a_later_format_is_not_damaged() {
        let (_directory, store, run) = store_with_run();
        std::fs::write(store.at(paths::run(run)).join("run.json"), r#"{"format": 9, "what": "else"}"#).unwrap();
        let error = Courses::new(store).find(run).await.unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 9, .. }), "{error}");
        assert!(error.to_string().contains("newer version"), "{error}");
    }
}
