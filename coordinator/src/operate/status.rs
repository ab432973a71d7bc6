//! One screen for whoever comes to work: is it moving, is something red, where is it stuck, when is it done, who must act.
//!
//! Looks at everything once, and answers where a service is away with what the others say. What is said is found in
//! `answers`, which is pure.

mod acts;
mod answers;
mod lights;
mod tasks;

use std::fmt;

use domain::id::{Attempt, ClassName, ModuleName, RunId, StarId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use services::queue::Depth;
use store::drains::DrainedHost;
use store::holds::Held;
use tasks::{hanging_in, waiting_in};

use super::failures::{self, FailureGroup, ListFailures};
use super::patience::soon;
use super::selection::TaskSelection;
use super::view::{self, RunPhase, RunSummary};
use super::workers::{self, AllWorkers, LostWorker, WorkerSummary};
use super::{Context, ErrorKind, OperateError, queue};

/// How many runs are looked at.
const RUNS: usize = 50;
/// How many groups of failures are named.
const GROUPS: usize = 5;
/// How many are asked for, before those of several hosts are put together.
const GROUPS_BY_HOST: usize = 200;

/// How things stand.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Status {
    /// When it was looked at.
    pub at: Timestamp,
    /// The five questions, in the order in which operators ask them.
    pub answers: Vec<Answer>,
    /// Services, each with a sentence.
    pub lights: Vec<Light>,
    /// Runs that go on, newest first.
    pub runs: Vec<RunSummary>,
    /// What failed most often in them.
    pub failures: Vec<FailureGroup>,
    /// Tasks that run for far longer than their like.
    pub hanging: Vec<HangingTask>,
    /// Tasks that the platform could not run yet and tries again, by module.
    pub waiting: Vec<WaitingTasks>,
    /// Workers that ended without taking leave.
    pub lost: Vec<LostWorker>,
    /// Why the state's part is missing: then failures are those of settled stars alone, and of workers, and of what hangs, waits or
    /// is lost, nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_away: Option<String>,
    /// Workers that live; none where the state does not answer.
    pub workers: Vec<WorkerSummary>,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Answer {
    /// The question.
    pub question: Question,
    /// How good that is.
    pub level: Level,
    /// The answer: the first line alone is one, the others are what is to be known or done besides.
    pub lines: Vec<String>,
}

/// What operators ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Do tasks end?
    #[strum(serialize = "Is it moving?")]
    Moving,
    /// Did something fail, or is a service away?
    #[strum(serialize = "Is something red?")]
    Red,
    /// What waits, and what for?
    #[strum(serialize = "Where is it stuck?")]
    Stuck,
    /// How long does it take?
    #[strum(serialize = "When is it done?")]
    Done,
    /// What waits for a person?
    #[strum(serialize = "Who must act?")]
    Act,
}

/// How good an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Well,
    /// Somebody should know.
    Attention,
    /// Somebody should do something.
    Bad,
}

/// A part of the installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Light {
    /// Which.
    pub name: &'static str,
    /// How it is.
    pub level: Level,
    /// In words.
    pub words: String,
}

/// A task that runs for far longer than its like did.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct HangingTask {
    /// Its run.
    pub run: RunId,
    /// Its star.
    pub star: StarId,
    /// Its module.
    pub module: ModuleName,
    /// The class of its slot.
    pub class: ClassName,
    /// The host that it runs on.
    pub host: String,
    /// Since when.
    pub since: Timestamp,
    /// Seconds that its like take on average; `None` where none has ended yet.
    pub usual: Option<f64>,
}

/// Tasks of a module that were tried several times in vain, and wait before their next try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WaitingTasks {
    /// Their run.
    pub run: RunId,
    /// Their module.
    pub module: ModuleName,
    /// How many there are among the first thousand that wait.
    pub count: u64,
    /// One of their stars,
    pub star: StarId,
    /// how often it was tried there,
    pub attempt: Attempt,
    /// and why that was in vain.
    pub reason: String,
}

impl fmt::Display for WaitingTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { module, count, star, attempt, reason, .. } = self;
        write!(f, "{count} × {module} could not be run yet: {reason} (attempt {attempt} of {star})")
    }
}

/// What was found, each part or why it cannot be told.
struct Findings {
    at: Timestamp,
    runs: Vec<RunSummary>,
    damaged: Vec<String>,
    queues: Result<Vec<Depth>, OperateError>,
    workers: Result<Vec<WorkerSummary>, OperateError>,
    /// Why Redis, which answers, takes no writes.
    unwritable: Option<String>,
    store: Result<(), OperateError>,
    held: Vec<Held>,
    drained: Vec<DrainedHost>,
    hanging: Vec<HangingTask>,
    waiting: Vec<WaitingTasks>,
    lost: Vec<LostWorker>,
    failures: Vec<FailureGroup>,
}

/// How things stand now.
pub async fn status(context: &Context) -> Result<Status, OperateError> {
    let store = context.ask(|store| store.probe()).await;
    let held = context.ask(|store| store.all_held()).await?;
    let drained = context.ask(|store| store.drained_hosts()).await;
    let (queues, found, refused) = tokio::join!(
        queue::list(&*context.installation),
        soon("Redis", workers::find(context)),
        workers::writes_refused(&*context.installation)
    );
    let all = view::newest_runs(context, RUNS).await?;
    let mut damaged = all.damaged;
    let drained = told(&mut damaged, drained);
    let (workers, drained, lost, unwritable) = match found {
        Ok(found) => {
            let AllWorkers { workers, drained, lost, writes_refused } = found.told(drained, refused);
            (Ok(workers), drained, lost, writes_refused)
        }
        Err(error) => (Err(error), drained, Vec::new(), None),
    };
    let runs: Vec<RunSummary> = all.runs.into_iter().filter(|run| run.phase != RunPhase::Ended).collect();
    let (mut hanging, mut waiting, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for run in &runs {
        if workers.is_ok() {
            hanging.extend(told(&mut damaged, hanging_in(context, run).await));
            waiting.extend(told(&mut damaged, waiting_in(context, run).await));
        }
        let selection = TaskSelection { run: Some(run.run), ..TaskSelection::default() };
        let asked = ListFailures { selection, groups: GROUPS_BY_HOST, stars: 1 };
        failures.extend(told(&mut damaged, failures::list(context, asked).await.map(|found| found.groups)));
    }
    let mut failures = FailureGroup::across_hosts(failures);
    failures.truncate(GROUPS);
    let at = Timestamp::now();
    let findings = Findings {
        at,
        runs,
        damaged,
        queues,
        workers,
        unwritable,
        store,
        held,
        drained,
        hanging,
        waiting,
        lost,
        failures,
    };
    Ok(findings.status())
}

/// What was found, of one run for instance; where that cannot be told, what is damaged says so. A service that is away is said
/// elsewhere.
fn told<T>(damaged: &mut Vec<String>, found: Result<Vec<T>, OperateError>) -> Vec<T> {
    found.unwrap_or_else(|error| {
        if error.kind == ErrorKind::Failed && !damaged.contains(&error.message) {
            damaged.push(error.message);
        }
        Vec::new()
    })
}
