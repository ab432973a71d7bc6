//! Applying a plan: made again, compared, then started as runs, one for each quarter.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use domain::message::Start;
use serde::Deserialize;

use super::{PLAN_FORMAT, Planned, ReplayBasis, ReplayPlan, ReplayWork, planned};
use crate::operate::run::{Lever, PullLever, StarsToStart, StartedRun, pull, start_stars};
use crate::operate::{Context, ErrorKind, OperateError};

/// What is to be applied.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyReplay {
    /// The plan.
    pub plan: ReplayPlan,
    /// The weight of its runs in the choice of the next star; 1 unless given.
    #[serde(default)]
    pub weight: Option<NonZeroU32>,
    /// Take stars over from runs of this pipeline and quarter that still go on.
    #[serde(default)]
    pub take_over: bool,
}

/// Starts what a plan says, unless the world has changed since.
pub async fn apply(context: &Context, asked: ApplyReplay) -> Result<Vec<StartedRun>, OperateError> {
    let ApplyReplay { plan, weight, take_over } = asked;
    if plan.format != PLAN_FORMAT {
        let reason = format!("the plan has format {}, expected {PLAN_FORMAT}: make it anew", plan.format);
        return Err(OperateError::new(ErrorKind::Invalid, reason));
    }
    let Planned { plan: now, pipeline, stars, order } = planned(context, plan.request.clone()).await?;
    let differences = differences(&plan.work, &now.work);
    if !differences.is_empty() {
        let [causes, differences] = [causes(&plan.basis, &now.basis), differences].map(|words| words.join("; "));
        let since = if causes.is_empty() { String::new() } else { format!(" ({causes})") };
        return Err(OperateError::refused(format!(
            "the world is not that of the plan any more{since}: {differences}; plan again"
        )));
    }
    if stars.is_empty() {
        return Err(OperateError::new(ErrorKind::AlreadySo, "the plan runs nothing: every star is as it would be"));
    }
    let id = context.ask(move |store| store.keep_replay_order(&order)).await?;
    let tasks = now.work.tasks;
    let start = Start { pipeline: pipeline.name.clone(), version: None, only_group: None, replay: Some(id) };
    let to_start = StarsToStart {
        start,
        dataset: pipeline.trigger.on.first().clone(),
        quarters: stars,
        take_over,
        what: format!("a replay of {} to {} tasks", tasks.at_least, tasks.at_most),
    };
    let started = start_stars(context, to_start).await?;
    for run in started.iter().filter_map(|started| started.run) {
        if let Some(weight) = weight {
            pull(context, PullLever { run, lever: Lever::Priority { weight } }).await?;
        }
    }
    Ok(started)
}

/// In what two plans differ, in words.
fn differences(then: &ReplayWork, now: &ReplayWork) -> Vec<String> {
    let mut said = Vec::new();
    let mut say = |what: &str, then: u64, now: u64| {
        if then != now {
            said.push(format!("{what} {then}, now {now}"));
        }
    };
    say("stars that run:", then.stars(), now.stars());
    say("tasks that run at least:", then.tasks.at_least, now.tasks.at_least);
    say("tasks that run at most:", then.tasks.at_most, now.tasks.at_most);
    let of = |work: &ReplayWork| -> BTreeMap<_, _> {
        work.quarters.iter().map(|quarter| (quarter.quarter, quarter.digest.clone())).collect()
    };
    if said.is_empty() && of(then) != of(now) {
        said.push("other stars run".to_owned());
    }
    let of = |work: &ReplayWork| -> BTreeMap<_, _> {
        work.modules.iter().map(|module| (module.module.clone(), (module.will, module.may))).collect()
    };
    if said.is_empty() && of(then) != of(now) {
        said.push("other modules run".to_owned());
    }
    said
}

/// What happened since, as far as it is on record.
fn causes(then: &ReplayBasis, now: &ReplayBasis) -> Vec<String> {
    let mut said = Vec::new();
    for run in &now.runs {
        match then.runs.iter().find(|before| before.run == run.run) {
            None => said.push(format!("run {} ended {} of the stars since", run.run, run.stars)),
            Some(before) if before.stars < run.stars => {
                said.push(format!("run {} ended {} more stars since", run.run, run.stars - before.stars));
            }
            Some(_) => {}
        }
    }
    if then.sequence < now.sequence {
        let came = now.sequence.0 - then.sequence.0;
        said.push(format!("{came} events or deliveries came since"));
    }
    said
}
