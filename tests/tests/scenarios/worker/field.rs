//! A store with one star, a pipeline of light modules, a worker on queues and state of this process, and as much of a
//! coordinator as a single star needs.

mod given;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::id::{
    Attempt, ClassName, Epoch, GroupName, ImageIdentity, ImageName, ModuleIndex, RunId, StarId, StarIndex, Task,
    WorkerName,
};
use domain::message::{
    Completion, DatasetEvent, DatasetUpdate, Report, StarSelection, TaskMessage, WIRE_VERSION, parse_completions,
    to_json,
};
use domain::outcome::{FailureKind, Outcome};
use domain::pipeline::{Pipeline, load};
use domain::run::{Event, Graph, Star, TaskState, Verdict, advance};
use given::deliver;
pub(crate) use given::{light, pipeline};
use harness::{program, wait_until};
use services::queue::memory::MemoryQueue;
use services::queue::{Consumer, Outgoing, Queue, QueueName};
use services::state::memory::MemoryState;
use services::state::{Admission, Change, Detail, Phase, RunInfo, State, Written};
use services::traces::Traces;
use store::Store;
use store::agent::{Agent, AgentOptions};
use store::runs::{Amendment, Decided, Decision, RunRecord};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::config::{RunnerKind, WorkerConfig};
use worker::runner::docker::DockerConfig;
use worker::{WorkerParts, connect_runner, unique_name};

pub(crate) const QUARTER: u32 = 3;
const STAR: &str = "PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7";

/// Long enough for a Python module on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Field {
    _dir: TempDir,
    pub(crate) store: Store,
    pub(crate) queue: Arc<MemoryQueue>,
    pub(crate) state: Arc<MemoryState>,
    pub(crate) star: StarId,
    pub(crate) pipeline: Pipeline,
    pub(crate) run: RunId,
    graph: Graph,
    completions: Box<dyn Consumer>,
    agent: Agent,
    text: String,
    /// The group that runs begun from now on are limited to.
    pub(crate) only_group: Option<GroupName>,
}

/// A worker that runs in this process.
pub(crate) struct RunningWorker {
    pub(crate) name: WorkerName,
    shutdown: CancellationToken,
    work: JoinHandle<anyhow::Result<()>>,
}

impl RunningWorker {
    pub(crate) fn stop(&self) {
        self.shutdown.cancel();
    }

    pub(crate) async fn ended(self) {
        tokio::time::timeout(PATIENCE, self.work).await.expect("a worker that is told to ends").unwrap().unwrap();
    }
}

impl Field {
    /// A store whose star has the external `LC`; `modules` makes the pipeline's modules, given a directory for files.
    pub(crate) async fn new(modules: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = pipeline(&modules(dir.path()));
        std::fs::write(dir.path().join("pipeline.toml"), &text).unwrap();
        let pipeline = load("pipeline.toml", &text, None).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let store = Store::init(&dir.path().join("store")).unwrap();
        let writable = store.scratch("test").unwrap();
        let readable = vec![dir.path().to_owned()];
        let options = AgentOptions { program: Some(agent()), readable, ..AgentOptions::new(store.root(), &writable) };
        let mut agent = Agent::new(options);
        deliver(&store, &mut agent, dir.path()).await;
        let queue = Arc::new(MemoryQueue::new());
        let classes: Vec<ClassName> = pipeline.classes.keys().cloned().collect();
        queue.declare(&classes).await.unwrap();
        let completions = queue.consume(QueueName::Completions, 0).await.unwrap();
        let state = Arc::new(MemoryState::new());
        state.begin_epoch(Epoch(1)).await.unwrap();
        let (graph, star) = (pipeline.graph(), STAR.parse().unwrap());
        let mut field = Self {
            _dir: dir,
            store,
            queue,
            state,
            star,
            pipeline,
            run: run_id("none"),
            graph,
            completions,
            agent,
            text,
            only_group: None,
        };
        field.begin("first").await;
        field
    }

    /// Begins another run over the star, as if an event with this id had come, and admits the star.
    pub(crate) async fn begin(&mut self, event: &str) {
        let data = DatasetUpdate {
            dataset: "l1/lightcurve".parse().unwrap(),
            quarter: QUARTER.try_into().unwrap(),
            stars: StarSelection::Inline(vec![self.star]),
            start: None,
        };
        let event =
            self.store.accept_event(&DatasetEvent::new("test", event, "2026-01-01T00:00:00Z".into(), data)).unwrap();
        self.run = RunId::of(event.id, "FIELD", "1");
        let quarter = QUARTER.try_into().unwrap();
        let record = RunRecord {
            run: self.run,
            event: event.id,
            publisher: None,
            pipeline: self.pipeline.name.clone(),
            version: self.pipeline.version.clone(),
            quarter,
            horizon: event.sequence,
            accepted: event.accepted,
            stars: 1,
            only_group: self.only_group.clone(),
            replay: None,
            definition: self.text.clone(),
            data_model: String::new(),
        };
        self.store.create_run(&record, &[self.star]).unwrap();
        let modules = self.pipeline.modules.iter().map(|module| (module.name.clone(), module.class.clone()));
        let info = RunInfo {
            run: self.run,
            pipeline: record.pipeline,
            version: record.version,
            quarter,
            stars: 1,
            modules: modules.collect(),
            horizon: record.horizon,
            accepted: record.accepted,
            phase: Phase::Active,
            weight: 1,
            cursor: 0,
            held: Vec::new(),
            amended: 0,
        };
        self.state.open_run(&info, Duration::ZERO).await.unwrap();
        let externals = self.store.externals(self.star, quarter, info.horizon).unwrap();
        assert_eq!(externals.len(), 1, "the delivered external is in the store");
        let admission = Some(Admission { externals, ..Admission::default() });
        self.apply(Event::Admit, Change { admission, ..Change::default() }).await;
    }

    /// Starts a worker with one slot.
    pub(crate) async fn worker(&self, change: impl FnOnce(&mut WorkerConfig)) -> RunningWorker {
        let mut config = WorkerConfig {
            host: Some("here".to_owned()),
            runner: RunnerKind::Process,
            agent: Some(agent()),
            lease: Duration::from_secs(3),
            grace: Duration::ZERO,
            input_patience: Duration::from_secs(1),
            ..WorkerConfig::default()
        };
        change(&mut config);
        let name = unique_name("here").unwrap();
        let runner = connect_runner(&config, &DockerConfig::default(), &self.store, &name).await.unwrap();
        let shutdown = CancellationToken::new();
        let parts = WorkerParts {
            name: name.clone(),
            store: self.store.clone(),
            queue: self.queue.clone(),
            state: self.state.clone(),
            runner,
            traces: Traces::default(),
            config,
            slots: BTreeMap::from([("default".parse().unwrap(), 1)]),
        };
        let work = tokio::spawn(worker::run(parts, shutdown.clone()));
        RunningWorker { name, shutdown, work }
    }

    /// Waits for the next completion; what follows from it is done.
    pub(crate) async fn completion(&mut self) -> Completion {
        let delivery = tokio::time::timeout(PATIENCE, self.completions.next()).await.expect("an attempt ends");
        let mut completions = parse_completions(&delivery.body).unwrap();
        assert_eq!(completions.len(), 1, "one slot reports one by one");
        let completion = completions.remove(0);
        delivery.receipt.ack().await.unwrap();
        if completion.run != self.run {
            return completion;
        }
        let (module, attempt) = (completion.task.module, completion.attempt);
        let event = match &completion.result {
            Report::Ended(outcome) => Event::Ended { module, attempt, verdict: verdict(outcome) },
            Report::GivenBack => Event::GivenBack { module, attempt },
        };
        let details = Detail::of(&completion).map(|detail| (module, detail)).into_iter().collect();
        self.apply(event, Change { details, ..Change::default() }).await;
        completion
    }

    /// How the next attempt ends; it must be one of this module.
    pub(crate) async fn outcome(&mut self, module: &str) -> Outcome {
        let completion = self.completion().await;
        assert_eq!(self.pipeline.module(completion.task.module).name.as_str(), module);
        match completion.result {
            Report::Ended(outcome) => outcome,
            Report::GivenBack => panic!("{module} was given back"),
        }
    }

    /// How every module ended that was handed out, once the star is settled.
    pub(crate) async fn outcomes(&mut self) -> BTreeMap<String, Outcome> {
        let mut outcomes = BTreeMap::new();
        while !self.star_now().await.is_settled() {
            let completion = self.completion().await;
            let name = self.pipeline.module(completion.task.module).name.to_string();
            let Report::Ended(outcome) = completion.result else { panic!("{name} was given back") };
            outcomes.insert(name, outcome);
        }
        outcomes
    }

    /// Applies an event to the star, and does what follows: writes, and publishes at once what is to be queued or waits.
    pub(crate) async fn apply(&mut self, event: Event, mut change: Change) {
        let before = self.state.load(self.run, &[StarIndex(0)]).await.unwrap().remove(0);
        let advanced = advance(&self.graph, &before, &[event]);
        assert!(advanced.ignored.is_empty(), "{event:?}: {:?}", advanced.ignored);
        change.expected = before;
        change.after = advanced.star;
        change.queue.extend(advanced.queued);
        change.wait.extend(advanced.waits);
        let (queued, waiting) = (change.queue.clone(), change.wait.clone());
        assert_eq!(self.state.write(self.run, Epoch(1), None, &[change]).await.unwrap(), [Written::Done]);
        for (module, attempt) in queued {
            self.publish(module, attempt).await;
        }
        for (module, _) in waiting {
            Box::pin(self.apply(Event::Due { module }, Change::default())).await;
        }
    }

    /// Publishes the message of a task.
    pub(crate) async fn publish(&self, module: ModuleIndex, attempt: Attempt) {
        let task = Task { star: StarIndex(0), module };
        let message = TaskMessage { v: WIRE_VERSION, epoch: Epoch(1), run: self.run, task, name: self.star, attempt };
        let queue = QueueName::Tasks(self.pipeline.module(module).class.clone());
        let answers = self.queue.publish(vec![Outgoing { queue, body: to_json(&message), trace: None }]).await;
        assert!(answers.iter().all(Result::is_ok));
    }

    pub(crate) async fn star_now(&self) -> Star {
        self.state.load(self.run, &[StarIndex(0)]).await.unwrap().remove(0)
    }

    pub(crate) async fn state_of(&self, module: &str) -> TaskState {
        self.star_now().await.row.cell(self.index(module)).state
    }

    pub(crate) fn index(&self, module: &str) -> ModuleIndex {
        self.pipeline.index_of(&module.parse().unwrap()).unwrap()
    }

    /// Files of a folder of the star's quarter, sorted.
    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        let quarter = store::paths::quarter(self.star, QUARTER.try_into().unwrap());
        let Ok(entries) = std::fs::read_dir(self.store.at(quarter).join(folder)) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Everything in a slot's directory of a worker; empty when no attempt is under way.
    pub(crate) fn attempts(&self, worker: &RunningWorker) -> Vec<PathBuf> {
        let slot = self.store.at("scratch").join(worker.name.as_str()).join("default-0");
        let Ok(entries) = std::fs::read_dir(slot) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Waits until nothing is left of the attempts of a worker: directories go after the report.
    pub(crate) async fn cleaned_up(&self, worker: &RunningWorker) {
        let cleaned =
            wait_until(PATIENCE, "nothing is left of the attempts", async || self.attempts(worker).is_empty());
        cleaned.await.unwrap();
    }

    /// Gives a module another image from now on, as `sas run amend` does.
    pub(crate) async fn amend(&self, module: &str, image: &str) {
        let amendment = Amendment {
            image: image.parse().unwrap(),
            identity: format!("process:{image}").parse().unwrap(),
            was: "light".parse().unwrap(),
            was_identity: None,
        };
        let what = Decided::Amend { images: [(module.parse().unwrap(), amendment)].into() };
        let decision = Decision { at: "2026-01-01T00:00:00Z".parse().unwrap(), by: "test".to_owned(), what };
        let number = self.store.decide(self.run, &decision).unwrap();
        self.state.amend(self.run, number).await.unwrap();
    }

    /// The committed result of a module, waited for, whose completion nobody acted upon yet.
    pub(crate) async fn committed_by(&self, module: &str) -> PathBuf {
        let prefix = format!("{module}-");
        let is_of = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
        let found = || self.files("products").into_iter().find(is_of);
        wait_until(PATIENCE, "a result is committed", async || found().is_some()).await.unwrap();
        found().unwrap()
    }

    /// Image and identity that a committed result was made with.
    pub(crate) async fn made_with(&mut self, product: &Path) -> (ImageName, ImageIdentity) {
        let provenance = self.agent.manifest(product).await.unwrap().provenance.unwrap();
        (provenance.image, provenance.image_identity)
    }

    /// An agent that may read the store.
    pub(crate) fn agent(&mut self) -> &mut Agent {
        &mut self.agent
    }
}

fn agent() -> PathBuf {
    program("sas-store", "sas-store-agent")
}

fn run_id(event: &str) -> RunId {
    RunId::of(domain::id::EventId::of("test", event), "FIELD", "1")
}

/// What the core learns of an outcome, with a retry policy that tries again what contracts call passing.
fn verdict(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Succeeded(_) => Verdict::Succeeded,
        Outcome::Skipped(_) => Verdict::Skipped,
        Outcome::UpstreamFailed { .. } => Verdict::UpstreamFailed,
        Outcome::Failed(failure) => {
            Verdict::Failed { again: matches!(failure.kind, FailureKind::TryAgain | FailureKind::OutOfMemory) }
        }
        Outcome::Errored(_) => Verdict::Errored,
    }
}
