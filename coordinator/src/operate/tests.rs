//! What a store alone can answer and refuse: no service answers in any of these.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use domain::id::{EventId, Quarter, RunId, Sequence, StarId};
use domain::pipeline::Pipeline;
use domain::run::TaskState;
use jiff::Timestamp;
use services::queue::SharedQueue;
use services::state::SharedState;
use store::Store;
use store::runs::{RunEnd, RunRecord, Selection, StarEnd};

use super::module::OneModule;
use super::run::{AmendImages, Lever, PullLever, RetryTasks, StartRun};
use super::view::{OneStar, RunPhase};
use super::workers::OneHost;
use super::{Context, ErrorKind, Images, Installation, OperateError, module, queue, run, view, workers};

/// A → B.
const PIPELINE: &str = "name = 'P'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[externals]\nstar = ['DP1']\n\
    [classes.default]\ncpus = 1\nmemory = '256MB'\n\
    [modules.A]\nimage = 'i'\ngroup = 'G1'\ninputs.mandatory = ['DP1']\noutputs.mandatory = ['X']\n\
    [modules.B]\nimage = 'i'\ngroup = 'G2'\ninputs.mandatory = ['X']\noutputs.mandatory = ['Y']\n";

/// An installation of which nothing answers.
struct Silent;

fn silence<T>(what: &str) -> Result<T, OperateError> {
    Err(OperateError::new(ErrorKind::OutOfReach, format!("{what} is silent")))
}

#[async_trait]
impl Installation for Silent {
    async fn queue(&self) -> Result<SharedQueue, OperateError> {
        silence("the broker")
    }
    async fn state(&self) -> Result<SharedState, OperateError> {
        silence("the state")
    }
    async fn pipelines(&self) -> Result<Arc<[Pipeline]>, OperateError> {
        Ok(Arc::new([]))
    }
    async fn images(&self) -> Result<Arc<dyn Images>, OperateError> {
        silence("the engine")
    }
}

/// A store with one run over two stars.
struct SmallStore {
    _folder: tempfile::TempDir,
    context: Context,
    run: RunId,
    stars: Vec<StarId>,
}

impl SmallStore {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::init(folder.path()).unwrap();
        let mut stars = [1, 2].map(StarId::of_simulator).to_vec();
        stars.sort_unstable();
        let run = accept(&store, "1", &stars);
        Self { _folder: folder, context: Context::new(store, Arc::new(Silent), "tester"), run, stars }
    }

    /// One more run over the same stars.
    fn another(&self) -> RunId {
        accept(&self.context.store, "2", &self.stars)
    }

    fn end(&self) {
        self.end_of(self.run);
    }

    /// A of both stars succeeded, B failed.
    fn end_of(&self, run: RunId) {
        let states = |state| BTreeMap::from([(state, 2)]);
        let counts = [("A", TaskState::Succeeded), ("B", TaskState::Failed)];
        let end = RunEnd {
            ended: Timestamp::now(),
            decisions: 0,
            counts: counts.map(|(module, state)| (module.parse().unwrap(), states(state))).into(),
            stars: [(StarEnd::Failed, 2)].into(),
            remarks: Default::default(),
            took: Default::default(),
        };
        self.context.store.end_run(run, &end).unwrap();
    }

    async fn pull(&self, lever: Lever) -> Result<run::RunDecided, OperateError> {
        run::pull(&self.context, PullLever { run: self.run, lever }).await
    }

    async fn retry(&self, selection: Selection) -> Result<run::RunDecided, OperateError> {
        run::retry(&self.context, RetryTasks { run: self.run, selection }).await
    }

    async fn start(&self, change: impl FnOnce(&mut StartRun)) -> OperateError {
        let mut asked = StartRun {
            pipeline: "P".parse().unwrap(),
            version: None,
            stars: self.stars.clone(),
            quarter: None,
            only_group: None,
            take_over: false,
        };
        change(&mut asked);
        run::start(&self.context, asked).await.unwrap_err()
    }
}

/// Writes a run down that this event started.
fn accept(store: &Store, event: &str, stars: &[StarId]) -> RunId {
    let event = EventId::of("test", event);
    let run = RunId::of(event, "P", "1");
    let record = RunRecord {
        run,
        event,
        publisher: None,
        pipeline: "P".parse().unwrap(),
        version: "1".to_owned(),
        quarter: Quarter::FIRST,
        horizon: Sequence(1),
        accepted: Timestamp::now(),
        stars: u32::try_from(stars.len()).unwrap(),
        only_group: None,
        replay: None,
        definition: PIPELINE.to_owned(),
        data_model: String::new(),
    };
    store.create_run(&record, stars).unwrap();
    run
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, OperateError>, kind: ErrorKind, words: &str) {
    let error = answer.unwrap_err();
    assert!(error.kind == kind && error.message.contains(words), "{}: {error}", error.kind);
}

#[tokio::test]
async fn a_lever_is_pulled_once_and_says_who_pulled_it() {
    let place = SmallStore::new();
    let paused = place.pull(Lever::Pause).await.unwrap();
    assert_eq!((paused.number, paused.decision.map(|decision| decision.by)), (Some(1), Some("tester".to_owned())));
    let again = place.pull(Lever::Pause).await.unwrap();
    assert_eq!((again.number, again.decision), (None, None));
    let weight = NonZeroU32::new(7).unwrap();
    let weighed = place.pull(Lever::Priority { weight }).await.unwrap();
    assert!(weighed.effect.contains("was 1, now 7") && weighed.effect.contains("once it goes on"), "{weighed:?}");
    assert_eq!(place.pull(Lever::Cancel).await.unwrap().number, Some(3));
    refused(place.pull(Lever::Resume).await, ErrorKind::Refused, "is being cancelled");
    let nobody = RunId::of(EventId::of("nobody", "1"), "P", "1");
    let unknown = run::pull(&place.context, PullLever { run: nobody, lever: Lever::Pause }).await;
    refused(unknown, ErrorKind::NotFound, "`sas run list` shows all");
}

#[tokio::test]
async fn a_run_that_ended_can_only_be_tried_again() {
    let place = SmallStore::new();
    place.end();
    refused(place.pull(Lever::Pause).await, ErrorKind::Refused, "ended at");
    let of = |module: &str, state: Option<TaskState>| Selection {
        modules: [module.parse().unwrap()].into(),
        states: state.into_iter().collect(),
        ..Selection::default()
    };
    refused(place.retry(of("NONE", None)).await, ErrorKind::NotFound, "P 1 has no module NONE");
    refused(place.retry(of("A", None)).await, ErrorKind::AlreadySo, "no lost tasks of A: nothing to retry");
    refused(place.retry(of("A", Some(TaskState::Queued))).await, ErrorKind::Invalid, "have not ended");
    let stars = [StarId::of_simulator(3)].into();
    refused(place.retry(Selection { stars, ..Selection::default() }).await, ErrorKind::NotFound, "not a star of run");

    let summary = view::run(&place.context, place.run).await.unwrap();
    assert_eq!((summary.phase, summary.tasks[&TaskState::Failed]), (RunPhase::Ended, 2));
    let again = place.retry(Selection::default()).await.unwrap();
    assert!(again.number == Some(1) && again.effect.contains("2 lost tasks"), "{again:?}");
    // It goes on from here; how, only the state could say.
    refused(view::run(&place.context, place.run).await, ErrorKind::OutOfReach, "the state");
    let summary = view::known_run(&place.context, place.run).await.unwrap();
    assert!(summary.phase == RunPhase::Open && summary.stored_only.is_some_and(|why| why.contains("the state")));
    assert_eq!(view::runs(&place.context).await.unwrap().runs[0].phase, RunPhase::Open);
}

#[tokio::test]
async fn one_damaged_run_is_named_and_the_others_are_listed() {
    let place = SmallStore::new();
    place.end();
    let (first, second) = (place.run, place.another());
    place.end_of(second);
    let control = place.context.store.at(store::paths::run(second)).join("control");
    std::fs::write(control.join("000001.json"), "{").unwrap();
    let all = view::runs(&place.context).await.unwrap();
    assert_eq!(all.runs.iter().map(|run| run.run).collect::<Vec<_>>(), [first]);
    assert!(all.damaged.len() == 1 && all.damaged[0].contains("000001.json"), "{:?}", all.damaged);
}

#[tokio::test]
async fn only_so_many_runs_are_listed_as_are_asked_for() {
    let place = SmallStore::new();
    place.end();
    let second = place.another();
    place.end_of(second);
    let newest = view::newest_runs(&place.context, 1).await.unwrap();
    assert_eq!((newest.runs.len(), newest.damaged.len()), (1, 0));
    assert_eq!(view::runs(&place.context).await.unwrap().runs.len(), 2);
    assert_eq!(view::newest_run(&place.context).await.unwrap(), newest.runs[0].run);
}

#[tokio::test]
async fn a_star_is_shown_without_any_service_once_its_run_is_over() {
    let place = SmallStore::new();
    let asked = OneStar { star: place.stars[0], run: None };
    let before = view::star(&place.context, asked).await.unwrap();
    assert!(before.tasks.is_empty() && before.stored_only.is_some_and(|why| why.contains("the state")));
    place.end();
    let shown = view::star(&place.context, asked).await.unwrap();
    assert_eq!((shown.run, shown.tasks.len(), shown.file), (place.run, 2, None));
    let nobody = OneStar { star: StarId::of_simulator(3), run: None };
    refused(view::star(&place.context, nobody).await, ErrorKind::NotFound, "no run has star");
    let stranger = OneStar { run: Some(place.run), ..nobody };
    refused(view::star(&place.context, stranger).await, ErrorKind::NotFound, "is not a star of run");
}

#[tokio::test]
async fn a_module_is_held_and_released_once() {
    let SmallStore { context, _folder, .. } = SmallStore::new();
    let of = |pipeline: &str, module: &str| OneModule {
        pipeline: pipeline.parse().unwrap(),
        module: module.parse().unwrap(),
    };
    refused(module::hold(&context, of("P", "NONE")).await, ErrorKind::NotFound, "pipeline P has no module NONE");
    refused(module::hold(&context, of("Q", "A")).await, ErrorKind::NotFound, "no pipeline Q");
    assert_eq!(module::hold(&context, of("P", "A")).await.unwrap().number, Some(1));
    assert_eq!(module::hold(&context, of("P", "A")).await.unwrap().number, None);
    let held = module::list(&context).await.unwrap();
    assert_eq!((held.len(), held[0].by.as_str()), (1, "tester"));
    assert_eq!(module::release(&context, of("P", "A")).await.unwrap().number, Some(2));
    assert!(module::release(&context, of("P", "A")).await.unwrap().decision.is_none());
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_a_service_is_asked() {
    let place = SmallStore::new();
    let check =
        async |change: fn(&mut StartRun), kind, words: &str| refused::<()>(Err(place.start(change).await), kind, words);
    check(|asked| asked.pipeline = "NONE".parse().unwrap(), ErrorKind::NotFound, "no pipeline NONE").await;
    check(|asked| asked.only_group = Some("G9".parse().unwrap()), ErrorKind::NotFound, "it has G1, G2").await;
    check(|asked| asked.stars.clear(), ErrorKind::Invalid, "at least one").await;
    check(|_| (), ErrorKind::NotFound, "the store has no data of 2 stars").await;
    let store = &place.context.store;
    for star in &place.stars {
        std::fs::create_dir_all(store.at(store::paths::externals(*star, Quarter::FIRST))).unwrap();
    }
    check(|_| (), ErrorKind::Refused, "goes on and has").await;
    check(|asked| asked.take_over = true, ErrorKind::OutOfReach, "the broker").await;
    place.end();
    check(|_| (), ErrorKind::OutOfReach, "the broker").await;

    let amend = |module: &str| {
        let images = BTreeMap::from([(module.parse().unwrap(), "new".parse().unwrap())]);
        run::amend(&place.context, AmendImages { run: place.run, images })
    };
    refused(amend("NONE").await, ErrorKind::NotFound, "P 1 has no module NONE");
    refused(amend("A").await, ErrorKind::OutOfReach, "the engine");
    assert!(store.decisions(place.run).unwrap().is_empty(), "nothing is on record of what could not be resolved");
    refused(queue::list(&Silent).await, ErrorKind::OutOfReach, "the broker");
}

#[tokio::test]
async fn no_more_readers_than_agreed_are_out_at_once() {
    let place = SmallStore::new();
    let readers = super::Readers::new(&place.context.store, None, 2);
    let (one, _two) = (readers.lend().await.unwrap(), readers.lend().await.unwrap());
    let mut third = Box::pin(readers.lend());
    let soon = std::time::Duration::from_millis(50);
    assert!(tokio::time::timeout(soon, &mut third).await.is_err(), "it waits for its turn");
    drop(one);
    assert!(third.await.is_ok());
    let folders = std::fs::read_dir(place.context.store.at("scratch")).unwrap().count();
    assert_eq!(folders, 2, "an agent that was given back is lent again");
}

#[tokio::test]
async fn a_host_is_drained_and_resumed_though_nothing_answers() {
    let place = SmallStore::new();
    let host = || OneHost { host: "host-a".parse().unwrap() };
    let drained = workers::drain(&place.context, host()).await.unwrap();
    assert_eq!(drained.number, Some(1));
    assert!(drained.effect.contains("when the state answers again"), "{}", drained.effect);
    assert_eq!(workers::drain(&place.context, host()).await.unwrap().number, None);
    let known = place.context.store.drained_hosts().unwrap();
    assert_eq!((known.len(), known[0].host.as_str(), known[0].by.as_str()), (1, "host-a", "tester"));
    assert_eq!(workers::resume(&place.context, host()).await.unwrap().number, Some(2));
    assert!(place.context.store.drained_hosts().unwrap().is_empty());
    assert_eq!(workers::list(&place.context).await.unwrap_err().kind, ErrorKind::OutOfReach);
}
