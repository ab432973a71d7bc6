//! What flows: how full the queues are, as the broker says, and where the tasks behind them are, as the state says, by class
//! and module. The command line, pages and metrics all show this one answer, so that they agree.

mod tasks;

use std::collections::BTreeMap;

use domain::id::{ClassName, ModuleName, PipelineName, RunId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use services::queue::{Depth, QueueName};
use services::state::{RunFlow, RunView, SharedState, StateError, WorkerInfo};

pub use tasks::TasksFlow;

use super::patience::soon;
use super::{Installation, OperateError, queue};

/// Queues, and the tasks behind them.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Flow {
    /// When it was looked at.
    pub at: Timestamp,
    /// Events, completions, tasks of every class, dead letters.
    pub queues: Vec<QueueFlow>,
    /// Why the broker's numbers are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_away: Option<String>,
    /// Why the state's numbers are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_away: Option<String>,
}

/// A queue.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct QueueFlow {
    /// Its name.
    pub queue: String,
    /// Messages that wait; `None` where the broker does not say.
    pub ready: Option<u64>,
    /// Messages that were delivered and not answered yet; `None` where the broker's management API is not configured.
    pub unacknowledged: Option<u64>,
    /// Why that number is not known, though the management API is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// For how many seconds it has taken no message of the coordinator that was asked, where it is silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<u64>,
    /// Consumers; `None` where the broker does not say.
    pub consumers: Option<u64>,
    /// The tasks behind it, where it is the queue of a class and the state says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<ClassFlow>,
}

/// Tasks of a class, of all runs that go on.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct ClassFlow {
    /// Slots of workers that live and are not drained.
    pub slots: u64,
    /// How many of these run something.
    pub busy: u64,
    /// All its tasks.
    #[serde(flatten)]
    pub tasks: TasksFlow,
    /// Its tasks by pipeline and module, in the order of the pipeline.
    pub modules: Vec<ModuleFlow>,
    /// What came and went in the last minutes, oldest period first.
    pub periods: Vec<PeriodFlow>,
}

/// Tasks of a module, of all runs of its pipeline that go on.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ModuleFlow {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The module.
    pub module: ModuleName,
    /// Its tasks.
    #[serde(flatten)]
    pub tasks: TasksFlow,
}

/// What came and went in a period of some seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PeriodFlow {
    /// When it began.
    pub from: Timestamp,
    /// How many seconds it is long.
    pub seconds: u64,
    /// Attempts that became ready in it.
    pub entered: u64,
    /// Attempts that ended in it.
    pub left: u64,
}

/// How full the queues are and where tasks are, now. A service that is away is an answer, too.
pub async fn flow(installation: &dyn Installation) -> Result<Flow, OperateError> {
    let (found, depths) = tokio::join!(soon("Redis", RunsAndWorkers::look(installation)), queue::list(installation));
    let (depths, broker_away) = known(depths);
    let (found, state_away) = known(found);
    let mut classes = found.map(RunsAndWorkers::classes).unwrap_or_default();
    let mut queues: Vec<QueueFlow> = Vec::new();
    for depth in depths.into_iter().flatten() {
        let class = classes.keys().find(|class| queue_of(class) == depth.queue).cloned();
        queues.push(QueueFlow { class: class.and_then(|class| classes.remove(&class)), ..QueueFlow::of(depth) });
    }
    // Queues that the broker does not have, or whose broker is away.
    for (class, flow) in classes {
        let queue = queue_of(&class);
        let unknown = QueueFlow {
            queue,
            ready: None,
            unacknowledged: None,
            unknown: None,
            silent: None,
            consumers: None,
            class: Some(flow),
        };
        let at = queues.iter().position(|known| known.queue == QueueName::Dead.to_string()).unwrap_or(queues.len());
        queues.insert(at, unknown);
    }
    Ok(Flow { at: Timestamp::now(), queues, broker_away, state_away })
}

/// How far runs are, and who works: what the state says, all of it asked for at once.
struct RunsAndWorkers {
    runs: Vec<(RunView, RunFlow)>,
    workers: Vec<WorkerInfo>,
}

impl RunsAndWorkers {
    async fn look(installation: &dyn Installation) -> Result<Self, OperateError> {
        let state = installation.state().await?;
        let mut runs = Vec::new();
        for info in state.runs().await? {
            runs.extend(one(&state, info.run).await?);
        }
        Ok(Self { runs, workers: state.workers().await? })
    }

    fn classes(self) -> BTreeMap<ClassName, ClassFlow> {
        let mut classes: BTreeMap<ClassName, ClassFlow> = BTreeMap::new();
        for worker in self.workers.iter().filter(|worker| !worker.drained) {
            for (class, slots) in &worker.slots {
                let flow = classes.entry(class.clone()).or_default();
                flow.slots += u64::from(*slots);
                flow.busy += u64::from(worker.busy.get(class).copied().unwrap_or(0));
            }
        }
        for (view, flow) in &self.runs {
            tasks::add(&mut classes, view, flow);
        }
        classes
    }
}

/// A run; `None` where it ended meanwhile, or is damaged: others are not hidden by that.
async fn one(state: &SharedState, run: RunId) -> Result<Option<(RunView, RunFlow)>, OperateError> {
    match tokio::try_join!(state.run(run), state.flow(run)) {
        Ok(found) => Ok(Option::zip(found.0, found.1)),
        Err(StateError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl QueueFlow {
    fn of(depth: Depth) -> Self {
        let Depth { queue, ready, unacknowledged, unknown, silent, consumers } = depth;
        let said = |number| silent.is_none().then_some(number);
        Self { queue, ready: said(ready), unacknowledged, unknown, silent, consumers: said(consumers), class: None }
    }
}

fn queue_of(class: &ClassName) -> String {
    QueueName::Tasks(class.clone()).to_string()
}

fn known<T>(answer: Result<T, OperateError>) -> (Option<T>, Option<String>) {
    match answer {
        Ok(answer) => (Some(answer), None),
        Err(error) => (None, Some(error.message)),
    }
}
