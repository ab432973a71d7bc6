//! What is to become of tasks: looked up first, decided when whoever asks has seen what it comes to.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{ModuleName, RunId, StarId};
use domain::run::TaskState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::state::StateError;
use store::Store;
use store::runs::{Decided, Selection};

use super::open::{OpenTasks, find_open};
use crate::operate::failures::{self, FoundFailures};
use crate::operate::run::{RunDecided, count_at_end, open_words, require_sense, standing, words, write};
use crate::operate::selection::{ShownState, SoughtTasks, TaskSelection};
use crate::operate::view::OneStar;
use crate::operate::{Context, ErrorKind, OperateError, look_up};

/// How many stars a plan names.
const FEW: usize = 3;

/// What is to become of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PlannedVerb {
    /// Those that have ended run again, and what depends on them.
    Retry,
    /// Those that have not ended are cancelled, and what cannot do without them is given up.
    Cancel,
}

/// What is to become of tasks; nothing of it is decided yet.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TaskPlan {
    /// The run.
    pub run: RunId,
    /// What is to become of them.
    pub verb: PlannedVerb,
    /// How many tasks; `None` where the state does not tell now.
    pub count: Option<u64>,
    /// How many of each module, where each task was looked at.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub modules: BTreeMap<ModuleName, u64>,
    /// The first of their stars, where each task was looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub first_stars: Vec<StarId>,
    /// What they are called.
    pub tasks: String,
    /// What whoever decides should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    #[serde(skip)]
    selection: Selection,
}

/// Looks up which tasks are to run again: without a state those that were lost, but not to a newer run.
pub async fn plan_retry(context: &Context, selection: TaskSelection) -> Result<TaskPlan, OperateError> {
    let sought = selection.resolve(context).await?;
    let run = sought.run();
    if let Some(state) = sought.asked.states.iter().find(|state| state.settled().is_none()) {
        let reason = format!("tasks that are {state} have not ended: only those that have can be tried again");
        return Err(OperateError::new(ErrorKind::Invalid, reason));
    }
    let plan = if sought.asked.needs_looking() {
        let is_known = |state: &ShownState| matches!(state, ShownState::Failed | ShownState::Errored);
        if let Some(state) = sought.asked.states.iter().find(|state| !is_known(state)) {
            let reason = format!("reason, host and age are known of tasks that failed or errored, not of {state} ones");
            return Err(OperateError::new(ErrorKind::Invalid, reason));
        }
        let found = failures::find(context, &sought).await?;
        context.ask(move |_| of_failures(&sought, &found)).await?
    } else {
        of_words(context, &sought).await?
    };
    let what = Decided::Retry { selection: plan.selection.clone() };
    context.ask(move |store| require_sense(store, run, &standing(store, run)?, &what)).await?;
    plan.not_empty()
}

/// Looks up which tasks that have not ended are to be cancelled, of stars in flight.
pub async fn plan_cancel(context: &Context, mut selection: TaskSelection) -> Result<TaskPlan, OperateError> {
    if let Some(state) = selection.states.iter().find(|state| state.settled().is_some()) {
        let reason = format!("tasks that are {state} have ended: there is nothing left to cancel of them");
        return Err(OperateError::new(ErrorKind::Invalid, reason));
    }
    if !selection.reasons.is_empty() {
        let reason = "tasks with a reason have failed: there is nothing left to cancel of them";
        return Err(OperateError::new(ErrorKind::Invalid, reason));
    }
    if selection.states.is_empty() {
        let open = [ShownState::Running, ShownState::Queued, ShownState::OnHold, ShownState::Waiting];
        selection.states.extend(open.into_iter().chain([ShownState::Blocked]));
    }
    let sought = selection.resolve(context).await?;
    let run = sought.run();
    let what = Decided::CancelTasks { selection: Selection::default() };
    context.ask(move |store| require_sense(store, run, &standing(store, run)?, &what)).await?;
    let OpenTasks { tasks, note, .. } = find_open(context, &sought).await?;
    let mut plan = exactly(run, PlannedVerb::Cancel, tasks.into_iter().map(|task| (task.star, task.module)));
    plan.notes.extend(note);
    if sought.stars.is_none() {
        plan.notes
            .push("stars that enter later are not part of this; `sas module hold` keeps a module back".to_owned());
    }
    plan.not_empty()
}

/// Looks up whether something of a star can be cancelled; it need not have entered the run.
pub async fn plan_star_cancel(context: &Context, asked: OneStar) -> Result<TaskPlan, OperateError> {
    let OneStar { star, run } = asked;
    let run = match run {
        Some(run) => run,
        None => {
            let found = context.ask(move |store| look_up::newest_with(store, star)).await?;
            found.map(|(run, _)| run).ok_or_else(|| OperateError::not_found(format!("no run has star {star}")))?
        }
    };
    let selection = TaskSelection { run: Some(run), stars: vec![star], ..TaskSelection::default() };
    let sought = selection.resolve(context).await?;
    let what = Decided::CancelTasks { selection: Selection::default() };
    context.ask(move |store| require_sense(store, run, &standing(store, run)?, &what)).await?;
    let selection = Selection { stars: [star].into(), ..Selection::default() };
    let stars: Vec<_> = sought.stars.into_iter().flatten().collect();
    let state = context.installation.state().await?;
    let loaded = match state.load(run, &stars).await {
        Err(StateError::NoRun(_)) => None,
        loaded => loaded?.pop(),
    };
    let count = loaded.map(|loaded| loaded.row.cells().filter(|cell| !cell.state.is_settled()).count() as u64);
    let tasks = open_words(&selection);
    TaskPlan { count, ..TaskPlan::new(run, PlannedVerb::Cancel, tasks, selection) }.not_empty()
}

/// Refuses a plan that comes to another count than whoever decides has seen.
pub fn require_count(plan: &TaskPlan, seen: Option<u64>) -> Result<(), OperateError> {
    match (seen, plan.count) {
        (Some(seen), Some(count)) if seen != count => {
            let reason = format!(
                "this would {} {} by now, and {seen} were agreed to: look at the plan again",
                plan.verb,
                plan.words()
            );
            Err(OperateError::refused(reason))
        }
        (Some(_) | None, _) => Ok(()),
    }
}

/// Decides what was planned: coordinators follow it within a second.
pub async fn carry_out(context: &Context, plan: TaskPlan) -> Result<RunDecided, OperateError> {
    let by = context.doer()?;
    let decide = move |store: &Store| {
        let TaskPlan { run, verb, count, tasks, selection, .. } = plan;
        let (what, comes) = match verb {
            PlannedVerb::Retry => (Decided::Retry { selection }, "are tried again, and what depends on them"),
            PlannedVerb::Cancel => (
                Decided::CancelTasks { selection },
                "are cancelled: what runs is stopped, and what cannot do without them is given up",
            ),
        };
        require_sense(store, run, &standing(store, run)?, &what)?;
        let decided = write(store, run, &by, what)?;
        let effect = format!("{} {comes}", counted(count, &tasks));
        RunDecided::on_record(store, run, &by, decided, (count, effect))
    };
    context.ask(decide).await
}

/// How many tasks, and what they are called.
fn counted(count: Option<u64>, tasks: &str) -> String {
    let starts_with_count = tasks.starts_with(|c: char| c.is_ascii_digit());
    match count {
        Some(count) if !starts_with_count => format!("{count} {tasks}"),
        Some(_) | None => tasks.to_owned(),
    }
}

impl TaskPlan {
    fn new(run: RunId, verb: PlannedVerb, tasks: String, selection: Selection) -> Self {
        let (modules, first_stars, notes) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { run, verb, count: None, modules, first_stars, tasks, notes, selection }
    }

    /// It in a line, for whoever is to agree.
    pub fn words(&self) -> String {
        counted(self.count, &self.tasks)
    }

    fn not_empty(self) -> Result<Self, OperateError> {
        if self.count == Some(0) {
            let tasks = match self.selection.tasks {
                Some(_) => "task that is meant",
                None => &self.tasks,
            };
            let reason = format!("run {} has no {tasks}: nothing to {}", self.run, self.verb);
            return Err(OperateError::new(ErrorKind::AlreadySo, reason));
        }
        Ok(self)
    }
}

/// A plan about exactly these tasks.
fn exactly(run: RunId, verb: PlannedVerb, named: impl Iterator<Item = (StarId, ModuleName)>) -> TaskPlan {
    let (mut tasks, mut modules) = (BTreeMap::<StarId, BTreeSet<ModuleName>>::new(), BTreeMap::new());
    for (star, module) in named {
        *modules.entry(module.clone()).or_default() += 1;
        tasks.entry(star).or_default().insert(module);
    }
    let first_stars = tasks.keys().take(FEW).copied().collect();
    let count = Some(modules.values().sum());
    let selection = Selection { tasks: Some(tasks), ..Selection::default() };
    let tasks = words(&selection);
    TaskPlan { count, modules, first_stars, ..TaskPlan::new(run, verb, tasks, selection) }
}

/// To do exactly these tasks of a run again that succeeded, because their results are gone.
pub(in crate::operate) fn make_again(run: RunId, named: impl Iterator<Item = (StarId, ModuleName)>) -> TaskPlan {
    let mut plan = exactly(run, PlannedVerb::Retry, named);
    plan.selection.states = [TaskState::Succeeded].into();
    plan
}

/// To try exactly these again that failed. Blocks on the disk.
fn of_failures(sought: &SoughtTasks, found: &FoundFailures) -> Result<TaskPlan, OperateError> {
    let mut named = Vec::with_capacity(found.tasks.tasks.len());
    for task in &found.tasks.tasks {
        let Some((alike, _)) = found.tasks.cluster_of(task) else { continue };
        let module = sought.course.pipeline.module(alike.module).name.clone();
        named.push((sought.course.stars.star(task.star)?, module));
    }
    let mut plan = exactly(sought.run(), PlannedVerb::Retry, named.into_iter());
    plan.notes.push("stars that are done enter anew: what else of them was lost runs again, too".to_owned());
    plan.notes.extend(found.words_of_not_listed());
    Ok(plan)
}

/// To try again what modules, stars and states select when a coordinator follows.
async fn of_words(context: &Context, sought: &SoughtTasks) -> Result<TaskPlan, OperateError> {
    let run = sought.run();
    let name = |module: &domain::id::ModuleIndex| sought.course.pipeline.module(*module).name.clone();
    let selection = Selection {
        modules: sought.modules.iter().flatten().map(name).collect(),
        stars: sought.asked.stars.iter().copied().collect(),
        states: sought.asked.states.iter().filter_map(|state| state.settled()).collect(),
        tasks: None,
    };
    if sought.modules.as_ref().is_some_and(BTreeSet::is_empty) {
        let reason = format!("no module of the run is both{}", sought.asked.words());
        return Err(OperateError::not_found(reason));
    }
    let wanted = selection.clone();
    let at_end = move |store: &Store| {
        let is_over = standing(store, run)?.is_over;
        is_over.then(|| count_at_end(store, &look_up::record(store, run)?, &wanted)).transpose()
    };
    let mut plan = TaskPlan::new(run, PlannedVerb::Retry, words(&selection), selection);
    plan.count = context.ask(at_end).await?;
    if plan.count.is_none() {
        match count_in_state(context, sought, &plan.selection).await {
            Ok(count) => plan.count = count,
            Err(error) if error.kind == ErrorKind::OutOfReach => plan.notes.push(format!("not counted: {error}")),
            Err(error) => return Err(error),
        }
        plan.notes.push("tasks that end later are not part of this".to_owned());
    }
    Ok(plan)
}

/// How many tasks of a run in the state are meant.
async fn count_in_state(
    context: &Context,
    sought: &SoughtTasks,
    selection: &Selection,
) -> Result<Option<u64>, OperateError> {
    let (state, run) = (context.installation.state().await?, sought.run());
    let Some(view) = state.run(run).await? else { return Ok(None) };
    let Some(stars) = &sought.stars else {
        let of = view.counts.iter().filter(|(module, _)| sought.modules.as_ref().is_none_or(|of| of.contains(module)));
        let states =
            of.flat_map(|(_, states)| states).filter(|(state, _)| state.is_settled() && selection.wants(**state));
        return Ok(Some(states.map(|(_, count)| count).sum()));
    };
    let stars: Vec<_> = stars.iter().copied().collect();
    let loaded = state.load(run, &stars).await?;
    let mut count = 0;
    for (star, loaded) in stars.iter().zip(&loaded) {
        let modules = sought.course.graph.modules().filter(|module| sought.is_of(*star, *module));
        let states = modules.map(|module| loaded.row.cell(module).state);
        count += states.filter(|state| state.is_settled() && selection.wants(*state)).count() as u64;
    }
    Ok(Some(count))
}
