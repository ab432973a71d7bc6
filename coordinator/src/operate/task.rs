//! Single tasks of a run: which are where, and what is to become of those that are selected.
//!
//! Whoever decides about many sees first what it comes to: a plan is made, shown, and carried out as it was shown.

mod open;
mod plan;
mod settled;

use std::cmp::Reverse;

use domain::id::{Attempt, ModuleName, RunId, StarId};
use jiff::Timestamp;
use open::{OpenTasks, find_open};
pub(super) use plan::make_again;
pub use plan::{PlannedVerb, TaskPlan, carry_out, plan_cancel, plan_retry, plan_star_cancel, require_count};
use schemars::JsonSchema;
use serde::Serialize;
pub use settled::{ListSettled, SettledTask, SettledTasks, TaskPosition, settled};
use store::Store;
use store::failures::FailureRecord;
use store::runs::FailedTask;

use super::failures::{self, FoundFailures};
use super::selection::{ShownState, SoughtTasks, TaskSelection};
use super::view::{self, OneStar};
use super::{Context, ErrorKind, OperateError};

/// The states whose tasks are listed one by one.
pub const LISTED: [ShownState; 7] = [
    ShownState::Running,
    ShownState::Queued,
    ShownState::OnHold,
    ShownState::Waiting,
    ShownState::Blocked,
    ShownState::Failed,
    ShownState::Errored,
];

/// Of how many tasks that wait the reason is looked up: each is a question to the state.
const EXPLAINED: usize = 50;

/// Most characters that are shown of the last line of a log.
const SHOWN: usize = 200;

/// Which tasks are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListTasks {
    /// Those of these that have not ended, that failed or that the platform could not run. Blocked ones only where they are
    /// asked for: they are many, and wait for the others.
    pub selection: TaskSelection,
    /// At most so many.
    pub limit: usize,
}

/// Tasks of a run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TaskList {
    /// The run.
    pub run: RunId,
    /// What has been as it is for longest comes first; of tasks that failed the last.
    pub tasks: Vec<ListedTask>,
    /// Tasks that are meant and not shown.
    pub left_out: u64,
    /// What else is not listed, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A task in a list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ListedTask {
    /// The star.
    pub star: StarId,
    /// The module.
    pub module: ModuleName,
    /// Its state.
    pub state: ShownState,
    /// The newest attempt, counted from 1; 0 where it was never tried.
    pub attempt: Attempt,
    /// The host that has it, or had it last.
    pub host: Option<String>,
    /// Since when it is so; `None` where that is not known.
    pub since: Option<Timestamp>,
    /// When its next try is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Why it failed; why the attempt before was in vain, of the first tasks that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last line of its log; empty where it said nothing.
    pub last_line: String,
}

/// Lists tasks of a run.
pub async fn list(context: &Context, asked: ListTasks) -> Result<TaskList, OperateError> {
    let ListTasks { selection, limit } = asked;
    if let Some(state) = selection.states.iter().find(|state| !LISTED.contains(state)) {
        let reason = format!(
            "tasks that are {state} are counted (`sas run show`), not listed: ask for {}",
            LISTED.map(|state| state.to_string()).join(", ")
        );
        return Err(OperateError::new(ErrorKind::Invalid, reason));
    }
    let sought = selection.resolve(context).await?;
    let (mut tasks, mut notes, mut left_out) = (Vec::new(), Vec::new(), 0);
    let wants_open = sought.asked.reasons.is_empty()
        && LISTED.iter().any(|state| state.settled().is_none() && sought.has_state(*state));
    if wants_open {
        let OpenTasks { tasks: open, note, of_stars_to_come } = find_open(context, &sought).await?;
        if of_stars_to_come > 0 {
            notes.push(format!(
                "{of_stars_to_come} more are of stars that are to come, which are not listed one by one"
            ));
        }
        left_out += open.len().saturating_sub(limit) as u64;
        tasks.extend(open.into_iter().take(limit));
        explain_waiting(context, sought.run(), &mut tasks).await?;
        notes.extend(note);
    }
    if sought.has_state(ShownState::Failed) || sought.has_state(ShownState::Errored) {
        let found = failures::find(context, &sought).await?;
        notes.extend(found.words_of_not_listed());
        let room = limit.saturating_sub(tasks.len());
        left_out += found.tasks.tasks.len().saturating_sub(room) as u64;
        let run = sought.clone();
        tasks.extend(context.ask(move |store| failed(store, &run, &found, room)).await?);
    }
    Ok(TaskList { run: sought.run(), tasks, left_out, notes })
}

/// Says of the first tasks that wait why the attempt before was in vain, and on which host that was.
async fn explain_waiting(context: &Context, run: RunId, tasks: &mut [ListedTask]) -> Result<(), OperateError> {
    for task in tasks.iter_mut().filter(|task| task.state == ShownState::Waiting).take(EXPLAINED) {
        let shown = view::star(context, OneStar { star: task.star, run: Some(run) }).await?;
        let Some(found) = shown.tasks.into_iter().find(|found| found.module == task.module) else { continue };
        task.reason = found.outcome.map(|outcome| outcome.to_string());
        task.host = task.host.take().or_else(|| found.worker.map(|worker| worker.host().to_owned()));
    }
    Ok(())
}

/// The last tasks that failed, each with what is on record of it. Blocks on the disk.
fn failed(
    store: &Store,
    sought: &SoughtTasks,
    found: &FoundFailures,
    room: usize,
) -> Result<Vec<ListedTask>, OperateError> {
    let record = &sought.course.record;
    let mut newest: Vec<&FailedTask> = found.tasks.tasks.iter().collect();
    newest.sort_by_key(|task| Reverse(task.at));
    let mut tasks = Vec::new();
    for task in newest.into_iter().take(room) {
        let Some((alike, words)) = found.tasks.cluster_of(task) else { continue };
        let star = sought.course.stars.star(task.star)?;
        let module = sought.course.pipeline.module(alike.module).name.clone();
        let is_it =
            |known: &FailureRecord| known.run == record.run && known.module == module && known.attempt == task.attempt;
        let known = store.failures(star, record.quarter)?.into_iter().rfind(is_it);
        let last_line = known.map(|known| last_line(&known.log)).unwrap_or_else(|| words.clone());
        tasks.push(ListedTask {
            star,
            module,
            state: if alike.reason.is_platforms() { ShownState::Errored } else { ShownState::Failed },
            attempt: task.attempt,
            host: alike.host.clone(),
            since: Some(task.at),
            due: None,
            reason: Some(alike.reason.to_string()),
            last_line,
        });
    }
    Ok(tasks)
}

fn last_line(log: &str) -> String {
    let line = log.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
