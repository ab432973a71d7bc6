//! A run module by module: what each needs, where its tasks are, how long one takes. What a drawing of the pipeline shows.

use std::collections::{BTreeMap, BTreeSet};

use domain::expression::Expression;
use domain::id::{ClassName, GroupName, ImageName, ModuleIndex, ModuleName, RunId};
use domain::pipeline::{Module, Pipeline};
use domain::run::TaskState;
use schemars::JsonSchema;
use serde::Serialize;
use services::state::{RunFlow, RunView, TaskPlaces};

use super::{ModuleSummary, RunPhase, RunSummary, known_run};
use crate::operate::selection::ShownState;
use crate::operate::{Context, OperateError};

/// A run and its modules.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunModules {
    /// The run as a whole.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Its modules in topological order, those that are switched off included.
    pub drawn: Vec<ModuleInRun>,
}

/// A module in a run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ModuleInRun {
    /// Its name.
    pub module: ModuleName,
    /// The group that it is drawn in.
    pub group: Option<GroupName>,
    /// One line about it.
    pub doc: String,
    /// The class of its slots.
    pub class: ClassName,
    /// Its image, as the pipeline names it.
    pub image: ImageName,
    /// Whether it runs at all.
    pub enabled: bool,
    /// Whether operators hold it.
    pub held: bool,
    /// The condition on which it runs.
    pub condition: Option<String>,
    /// What stands before it.
    pub upstream: Vec<UpstreamModule>,
    /// Its tasks by state, over all stars.
    pub tasks: BTreeMap<ShownState, u64>,
    /// Seconds that one of its results took on average; `None` where none was made, or the run has ended.
    pub seconds: Option<f64>,
}

/// A module that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UpstreamModule {
    /// Which.
    pub module: ModuleName,
    /// What for.
    pub edge: EdgeKind,
}

/// Why one module waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum EdgeKind {
    /// Its condition reads what the other makes.
    Condition,
    /// It reads what the other makes.
    Data,
    /// It only comes after the other.
    Order,
}

/// A run and its modules; as far as the store knows where the state does not answer.
pub async fn modules(context: &Context, run: RunId) -> Result<RunModules, OperateError> {
    let summary = known_run(context, run).await?;
    let course = context.course(run).await?;
    let goes_on = summary.phase != RunPhase::Ended && summary.stored_only.is_none();
    let seen = if goes_on { seen(context, run).await? } else { None };
    let counted: BTreeMap<&ModuleName, &ModuleSummary> =
        summary.modules.iter().map(|known| (&known.module, known)).collect();
    let one = |(index, module): (ModuleIndex, &Module)| {
        let places = seen.as_ref().and_then(|(_, flow)| flow.modules.get(&index)).cloned().unwrap_or_default();
        let spent = seen.as_ref().and_then(|(view, _)| view.spent.get(&index)).filter(|spent| spent.tasks > 0);
        ModuleInRun {
            module: module.name.clone(),
            group: module.group.clone(),
            doc: module.doc.clone(),
            class: module.class.clone(),
            image: module.image.clone(),
            enabled: module.enabled,
            held: summary.held.contains(&module.name),
            condition: module.run_if.as_ref().map(|condition| condition.text().to_owned()),
            upstream: upstream(&course.pipeline, module),
            tasks: counted.get(&module.name).map(|known| where_they_are(&known.tasks, &places)).unwrap_or_default(),
            seconds: spent.map(|spent| spent.millis as f64 / 1e3 / spent.tasks as f64),
        }
    };
    let drawn = course.pipeline.indexed().map(one).collect();
    Ok(RunModules { summary, drawn })
}

/// The run as the state sees it; `None` where it ended meanwhile.
async fn seen(context: &Context, run: RunId) -> Result<Option<(RunView, RunFlow)>, OperateError> {
    let state = context.installation.state().await?;
    let (view, flow) = tokio::try_join!(state.run(run), state.flow(run))?;
    Ok(view.zip(flow))
}

/// What stands before a module, and why: what its condition reads first.
fn upstream(pipeline: &Pipeline, module: &Module) -> Vec<UpstreamModule> {
    let read = module.run_if.iter().flat_map(Expression::reads).filter_map(|read| read.source.producer());
    let of_condition: BTreeSet<ModuleIndex> = read.collect();
    let edge = |from: &ModuleIndex| {
        let is_order = module.after.contains(from) && !reads(module, *from);
        match (of_condition.contains(from), is_order) {
            (true, _) => EdgeKind::Condition,
            (false, true) => EdgeKind::Order,
            (false, false) => EdgeKind::Data,
        }
    };
    let one = |from: &ModuleIndex| UpstreamModule { module: pipeline.module(*from).name.clone(), edge: edge(from) };
    module.upstream.iter().map(one).collect()
}

/// Whether one of a module's inputs comes from another.
fn reads(module: &Module, from: ModuleIndex) -> bool {
    let inputs = &module.inputs;
    let declared = inputs.mandatory.iter().chain(&inputs.optional).chain(inputs.one_of.iter().flatten());
    let mut all = declared.chain(inputs.conditional.iter().map(|input| &input.source));
    all.any(|source| source.producer() == Some(from))
}

fn where_they_are(tasks: &BTreeMap<TaskState, u64>, places: &TaskPlaces) -> BTreeMap<ShownState, u64> {
    shown_states(tasks, places.in_progress + places.lease_lost, places.on_hold)
}

/// Tasks by the states that people see: of those that are queued so many run, and so many are on hold. States with none are
/// left out.
pub fn shown_states(tasks: &BTreeMap<TaskState, u64>, running: u64, on_hold: u64) -> BTreeMap<ShownState, u64> {
    let mut shown: BTreeMap<ShownState, u64> = tasks.iter().map(|(state, count)| ((*state).into(), *count)).collect();
    let queued = shown.entry(ShownState::Queued).or_default();
    // The numbers may be of two moments.
    let running = running.min(*queued);
    let on_hold = on_hold.min(*queued - running);
    *queued -= running + on_hold;
    shown.insert(ShownState::Running, running);
    shown.insert(ShownState::OnHold, on_hold);
    shown.retain(|_, count| *count > 0);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_and_what_is_held_is_taken_from_what_is_queued() {
        let tasks = BTreeMap::from([(TaskState::Queued, 10), (TaskState::Failed, 2)]);
        let expected =
            [(ShownState::Running, 3), (ShownState::Queued, 5), (ShownState::OnHold, 2), (ShownState::Failed, 2)];
        assert_eq!(shown_states(&tasks, 3, 2), expected.into());
        assert_eq!(shown_states(&tasks, 12, 2).values().sum::<u64>(), 12, "of two moments, and none gets lost");
    }
}
