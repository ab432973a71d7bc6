//! Tasks that somebody should know of: those that take far longer than their like, and those that could not be run yet.

use std::collections::BTreeMap;

use domain::id::ModuleName;
use jiff::Timestamp;
use services::state::{OpenPlace, StateError};

use super::answers::hangs;
use super::{HangingTask, WaitingTasks};
use crate::operate::selection::{ShownState, TaskSelection};
use crate::operate::task::{self, ListTasks, ListedTask};
use crate::operate::view::{self, OneStar, RunSummary};
use crate::operate::{Context, OperateError};

/// How many running tasks of a run are looked at.
const RUNNING: u32 = 2_000;
/// How many waiting tasks of a run are looked at.
const WAITING: usize = 1_000;
/// What was tried so often is worth a person's look; before that a try again is in order.
const TRIED: u32 = 3;
/// How many modules with waiting tasks are named.
const MODULES: usize = 5;

/// Tasks of a run that wait before their next try after several, by module; of each module the reason is that of the task that was tried most.
pub(super) async fn waiting_in(context: &Context, run: &RunSummary) -> Result<Vec<WaitingTasks>, OperateError> {
    let selection =
        TaskSelection { run: Some(run.run), states: [ShownState::Waiting].into(), ..TaskSelection::default() };
    let listed = task::list(context, ListTasks { selection, limit: WAITING }).await?;
    let mut by_module: BTreeMap<ModuleName, (u64, ListedTask)> = BTreeMap::new();
    for task in listed.tasks.into_iter().filter(|task| task.attempt.0 >= TRIED) {
        let (count, first) = by_module.entry(task.module.clone()).or_insert_with(|| (0, task.clone()));
        *count += 1;
        if task.attempt > first.attempt {
            *first = task;
        }
    }
    let mut waiting = Vec::new();
    for (module, (count, ListedTask { star, attempt, .. })) in by_module.into_iter().take(MODULES) {
        let shown = view::star(context, OneStar { star, run: Some(run.run) }).await?;
        let outcome = shown.tasks.iter().find(|task| task.module == module).and_then(|task| task.outcome.as_ref());
        let reason = outcome.map(ToString::to_string).unwrap_or_default();
        waiting.push(WaitingTasks { run: run.run, module, count, star, attempt, reason });
    }
    Ok(waiting)
}

/// Running tasks of a run that take far longer than their like.
pub(super) async fn hanging_in(context: &Context, run: &RunSummary) -> Result<Vec<HangingTask>, OperateError> {
    let state = context.installation.state().await?;
    let course = context.course(run.run).await?;
    let Some(view) = state.run(run.run).await? else { return Ok(Vec::new()) };
    let now = Timestamp::now();
    let running = match state.open_tasks(run.run, OpenPlace::Running, RUNNING).await {
        Ok(running) => running,
        // It ended meanwhile.
        Err(StateError::NoRun(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut hanging = Vec::new();
    for task in running {
        let (Some(since), Some(worker)) = (task.since, task.worker) else { continue };
        let usual = view.spent.get(&task.task.module).filter(|spent| spent.tasks > 0);
        let usual = usual.map(|spent| spent.millis as f64 / 1e3 / spent.tasks as f64);
        if !hangs(now.duration_since(since).as_secs_f64(), usual) {
            continue;
        }
        let (list, index) = (course.clone(), task.task.star);
        let star = context.ask(move |_| list.stars.star(index)).await?;
        let module = course.pipeline.module(task.task.module);
        let (module, class) = (module.name.clone(), module.class.clone());
        hanging.push(HangingTask { run: run.run, star, module, class, host: worker.host().to_owned(), since, usual });
    }
    Ok(hanging)
}
