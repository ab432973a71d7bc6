//! What becomes of tasks that a worker claimed ahead, since those before them were short, when its slot turns out to be busy.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::id::{Attempt, Epoch, ImageIdentity, ModuleIndex, StarId, StarIndex, Task};
use domain::message::{Report, TaskMessage, WIRE_VERSION, parse_completions, to_json};
use domain::outcome::Outcome;
use domain::pipeline::{Pipeline, load};
use domain::run::{Cell, Event, Row, Star, advance};
use harness::wait_until;
use services::queue::memory::MemoryQueue;
use services::queue::{Consumer, Outgoing, Queue, QueueName};
use services::state::memory::MemoryState;
use services::state::{Change, Phase, RunInfo, State, Written};
use services::traces::Traces;
use store::Store;
use store::runs::RunRecord;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::config::WorkerConfig;
use worker::runner::{Effect, Ended, IsKnown, Program, Runner, RunnerError, Spec};
use worker::{WorkerParts, unique_name};

use super::field::PATIENCE;

const FAST: ModuleIndex = ModuleIndex(0);
const SLOW: ModuleIndex = ModuleIndex(1);
const STARS: u32 = 60;
/// Stars whose fast task shows the pace; those of the others are claimed while the slow one runs.
const BEFORE: u32 = 40;
const AHEAD: u32 = STARS - BEFORE;
const PIPELINE: &str = "name = 'P'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[classes.default]\ncpus = 1\nmemory = '1GB'\n\
    [modules.FAST]\nimage = 'fast'\ngroup = 'G'\nclass = 'default'\ntime_limit = '1m'\noutputs.optional = ['X']\n\
    [modules.SLOW]\nimage = 'slow'\ngroup = 'G'\nclass = 'default'\ntime_limit = '1m'\noutputs.optional = ['Y']\n";

/// Leaves nothing, at once; but a slow program takes as long as nobody lets it end.
struct TimedRunner {
    may_end: watch::Receiver<bool>,
}

#[async_trait]
impl Runner for TimedRunner {
    fn effect(&self) -> Effect {
        Effect::Nothing
    }

    fn subject(&self, program: &Program) -> String {
        program.image.to_string()
    }

    async fn check(&self) -> Result<(), RunnerError> {
        Ok(())
    }

    async fn identify(&self, program: &Program) -> Result<ImageIdentity, RunnerError> {
        if program.image.as_str() == "slow" {
            drop(self.may_end.clone().wait_for(|may_end| *may_end).await);
        }
        Ok("timed:1".parse().unwrap())
    }

    async fn run(&self, _spec: &Spec, _cancel: &CancellationToken) -> Result<Ended, RunnerError> {
        Err(RunnerError::Refused("nothing is run".to_owned()))
    }

    async fn sweep(&self, _is_known: IsKnown<'_>) -> Result<u32, RunnerError> {
        Ok(0)
    }
}

/// A run of many stars, and a worker of one slot that works on a slow task and claimed all fast ones that are left.
struct Ahead {
    _dir: TempDir,
    store: Store,
    queue: Arc<MemoryQueue>,
    state: Arc<MemoryState>,
    pipeline: Pipeline,
    record: RunRecord,
    completions: Box<dyn Consumer>,
    may_end: watch::Sender<bool>,
    stop: CancellationToken,
    work: JoinHandle<anyhow::Result<()>>,
}

impl Ahead {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(&dir.path().join("store")).unwrap();
        let pipeline = load("p.toml", PIPELINE, None).unwrap();
        let stars: Vec<StarId> = (0..u64::from(STARS)).map(StarId::of_simulator).collect();
        let record = given(&store, &pipeline, &stars);
        let queue = Arc::new(MemoryQueue::new());
        queue.declare(&["default".parse().unwrap()]).await.unwrap();
        let state = Arc::new(MemoryState::new());
        state.begin_epoch(Epoch(1)).await.unwrap();
        state.open_run(&info(&record, &pipeline), Duration::ZERO).await.unwrap();
        let completions = queue.consume(QueueName::Completions, 0).await.unwrap();
        let (may_end, watched) = watch::channel(false);
        let stop = CancellationToken::new();
        let work = worker(&store, &queue, &state, TimedRunner { may_end: watched }, &stop);
        let mut ahead = Self { _dir: dir, store, queue, state, pipeline, record, completions, may_end, stop, work };
        for star in 0..BEFORE {
            ahead.admit(star, FAST).await;
        }
        assert_eq!(ahead.reports(BEFORE).await, (BEFORE, 0));
        ahead.admit(BEFORE, SLOW).await;
        ahead.wait_for_claims(1).await;
        for star in BEFORE + 1..STARS {
            ahead.admit(star, FAST).await;
        }
        ahead.wait_for_claims(AHEAD).await;
        ahead
    }

    /// Lets a star in that has one task.
    async fn admit(&self, star: u32, module: ModuleIndex) {
        let fresh = Star::fresh(&self.pipeline.graph());
        let mut row = Row::fresh(2);
        row.set(module, Cell::queued(Attempt(1)));
        let after = Star { row, ..Star::default() };
        self.write(Change { star: StarIndex(star), expected: fresh, after, ..Change::default() }).await;
        self.publish(Task { star: StarIndex(star), module }, Attempt(1)).await;
    }

    async fn write(&self, change: Change) {
        let written = self.state.write(self.record.run, Epoch(1), None, &[change]).await.unwrap();
        assert_eq!(written, [Written::Done]);
    }

    async fn publish(&self, task: Task, attempt: Attempt) {
        let name = self.store.stars(self.record.run).unwrap().star(task.star).unwrap();
        let message = TaskMessage { v: WIRE_VERSION, epoch: Epoch(1), run: self.record.run, task, name, attempt };
        let queue = QueueName::Tasks("default".parse().unwrap());
        let answers = self.queue.publish(vec![Outgoing { queue, body: to_json(&message), trace: None }]).await;
        assert!(answers.iter().all(Result::is_ok));
    }

    /// How many of the next completions are successes, and how many were given back.
    async fn reports(&mut self, count: u32) -> (u32, u32) {
        let (mut succeeded, mut given_back) = (0, 0);
        let mut waiting = VecDeque::new();
        for _ in 0..count {
            while waiting.is_empty() {
                let next = tokio::time::timeout(PATIENCE, self.completions.next());
                let delivery = next.await.expect("a completion comes");
                waiting.extend(parse_completions(&delivery.body).unwrap());
                delivery.receipt.ack().await.unwrap();
            }
            let completion = waiting.pop_front().unwrap();
            let event = match completion.result {
                Report::Ended(Outcome::Succeeded(_)) => {
                    succeeded += 1;
                    let verdict = domain::run::Verdict::Succeeded;
                    Event::Ended { module: completion.task.module, attempt: completion.attempt, verdict }
                }
                Report::GivenBack => {
                    given_back += 1;
                    Event::GivenBack { module: completion.task.module, attempt: completion.attempt }
                }
                Report::Ended(other) => panic!("{other}"),
            };
            self.apply(completion.task.star, event, None).await;
        }
        assert!(waiting.is_empty(), "{waiting:?}");
        (succeeded, given_back)
    }

    /// Writes what follows; the message of what is queued again is not published. Which attempts are queued.
    async fn apply(&self, star: StarIndex, event: Event, lost: Option<ModuleIndex>) -> Vec<(ModuleIndex, Attempt)> {
        let before = self.state.load(self.record.run, &[star]).await.unwrap().remove(0);
        let advanced = advance(&self.pipeline.graph(), &before, &[event]);
        assert!(advanced.ignored.is_empty(), "{event:?}: {:?}", advanced.ignored);
        let queue: Vec<_> = advanced.queued.into_iter().collect();
        let change = Change { star, expected: before, after: advanced.star, lease_lost: lost, ..Change::default() };
        self.write(Change { queue: queue.clone(), ..change }).await;
        queue
    }

    async fn wait_for_claims(&self, count: u32) {
        let claimed = async || self.state.run(self.record.run).await.unwrap().unwrap().running == count;
        wait_until(PATIENCE, &format!("{count} tasks are claimed"), claimed).await.unwrap();
    }
}

fn worker(
    store: &Store,
    queue: &Arc<MemoryQueue>,
    state: &Arc<MemoryState>,
    runner: TimedRunner,
    stop: &CancellationToken,
) -> JoinHandle<anyhow::Result<()>> {
    let lease = Duration::from_secs(1);
    let parts = WorkerParts {
        name: unique_name("here").unwrap(),
        store: store.clone(),
        queue: queue.clone(),
        state: state.clone(),
        runner: Arc::new(runner),
        traces: Traces::default(),
        config: WorkerConfig { host: Some("here".to_owned()), lease, ..WorkerConfig::default() },
        slots: [("default".parse().unwrap(), 1)].into(),
    };
    tokio::spawn(worker::run(parts, stop.clone()))
}

#[tokio::test]
async fn what_was_claimed_ahead_and_waits_too_long_for_a_slot_is_given_back_at_no_cost() {
    let mut ahead = Ahead::new().await;
    assert_eq!(ahead.reports(AHEAD - 1).await, (0, AHEAD - 1));
    let star = ahead.state.load(ahead.record.run, &[StarIndex(STARS - 1)]).await.unwrap().remove(0);
    let tries = star.tries[&FAST];
    assert_eq!((tries.attempt, tries.science, tries.platform), (Attempt(2), 0, 0));
    ahead.may_end.send_replace(true);
    assert_eq!(ahead.reports(1).await, (1, 0));
    ahead.stop.cancel();
    ahead.work.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_worker_that_stops_gives_back_what_it_claimed_ahead() {
    let mut ahead = Ahead::new().await;
    ahead.stop.cancel();
    assert_eq!(ahead.reports(AHEAD - 1).await, (0, AHEAD - 1));
    ahead.may_end.send_replace(true);
    assert_eq!(ahead.reports(1).await, (1, 0), "what runs ends within the grace");
    ahead.work.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_a_worker_claimed_ahead_before_it_died_runs_elsewhere_one_lease_later() {
    let mut ahead = Ahead::new().await;
    ahead.work.abort();
    let run = ahead.record.run;
    let due = async || ahead.state.due(run, 100, 10, PATIENCE).await.unwrap().leases;
    wait_until(PATIENCE, "all its leases run out", async || due().await.len() == AHEAD as usize).await.unwrap();
    for (task, held) in due().await {
        let lost = Event::LeaseLost { module: task.module, attempt: held.attempt };
        let queued = ahead.apply(task.star, lost, Some(task.module)).await;
        let again = queued.into_iter().find(|(module, _)| *module == task.module).expect("it is tried again");
        assert_eq!(again.1, Attempt(2));
        let tries = ahead.state.load(run, &[task.star]).await.unwrap().remove(0).tries[&task.module];
        assert_eq!((tries.science, tries.platform), (0, 1), "what the platform lost is not held against the module");
        ahead.publish(task, again.1).await;
    }
    ahead.may_end.send_replace(true);
    let (stop, watched) = (CancellationToken::new(), ahead.may_end.subscribe());
    let second = worker(&ahead.store, &ahead.queue, &ahead.state, TimedRunner { may_end: watched }, &stop);
    assert_eq!(ahead.reports(AHEAD).await, (AHEAD, 0));
    stop.cancel();
    second.await.unwrap().unwrap();
}

/// A run on record that is limited to the group, over these stars.
fn given(store: &Store, pipeline: &Pipeline, stars: &[StarId]) -> RunRecord {
    let event = domain::id::EventId::of("test", "ahead");
    let record = RunRecord {
        run: domain::id::RunId::of(event, "P", "1"),
        event,
        publisher: None,
        pipeline: pipeline.name.clone(),
        version: pipeline.version.clone(),
        quarter: 3.try_into().unwrap(),
        horizon: domain::id::Sequence(1),
        accepted: "2026-01-01T00:00:00Z".parse().unwrap(),
        stars: STARS,
        only_group: Some("G".parse().unwrap()),
        replay: None,
        definition: PIPELINE.to_owned(),
        data_model: String::new(),
    };
    store.create_run(&record, stars).unwrap();
    record
}

fn info(record: &RunRecord, pipeline: &Pipeline) -> RunInfo {
    RunInfo {
        run: record.run,
        pipeline: record.pipeline.clone(),
        version: record.version.clone(),
        quarter: record.quarter,
        stars: STARS,
        modules: pipeline.modules.iter().map(|module| (module.name.clone(), module.class.clone())).collect(),
        horizon: record.horizon,
        accepted: record.accepted,
        phase: Phase::Active,
        weight: 1,
        cursor: 0,
        held: Vec::new(),
        amended: 0,
    }
}
