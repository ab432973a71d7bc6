//! What failed in a run, and why: of settled stars from the store, of stars in flight from the state while it answers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use domain::id::{ImageName, ModuleName, RunId, StarId, StarIndex};
use domain::outcome::{FailureFingerprint, FailureReason};
use domain::run::{Cell, TaskState};
use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use services::state::{SharedState, StateError};
use store::Store;
use store::course::Course;
use store::runs::{Alike, Decision, FailedTask, FailedTasks};

use super::look_up::end_of;
use super::selection::{ShownState, SoughtTasks, TaskSelection};
use super::view::{self, RunSummary};
use super::{Context, ErrorKind, OperateError};
use crate::settle::failed;

/// Most stars in flight whose tasks are looked at one by one.
const MOST_IN_FLIGHT: u32 = 10_000;

/// How many groups, and stars of each, are shown with a run.
const FEW: usize = 3;

/// How many stars are asked about at once.
const TOGETHER: usize = 64;

/// Which failures are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFailures {
    /// Of these tasks.
    pub selection: TaskSelection,
    /// At most so many groups, the largest first.
    pub groups: usize,
    /// The ids of at most so many stars of each group.
    pub stars: usize,
}

/// What failed in a run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunFailures {
    /// The run.
    pub run: RunId,
    /// Tasks that are meant and listed.
    pub listed: u64,
    /// What is alike in one group, the largest first.
    pub groups: Vec<FailureGroup>,
    /// Groups that are not shown.
    pub groups_left_out: u64,
    /// Tasks of the run, whatever was selected, that failed, by whose fault, and that were lost to them.
    pub all: BTreeMap<TaskState, u64>,
    /// Tasks of the run that failed, and of which nothing more is known here.
    pub not_listed: u64,
    /// Why not all are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// Failures that are alike: the same reason, module, image and host, and the same words but for numbers, ids and paths.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FailureGroup {
    /// The run.
    pub run: RunId,
    /// Why, in a word.
    pub reason: FailureReason,
    /// Whether it is the platform's trouble, not the module's mistake.
    pub is_platforms: bool,
    /// The module.
    pub module: ModuleName,
    /// The image that ran.
    pub image: ImageName,
    /// The host; none where no attempt is on record. Where hosts are put together, the one with most.
    pub host: Option<String>,
    /// How many more hosts there are, where they are put together.
    #[serde(skip_serializing_if = "is_zero")]
    pub other_hosts: u64,
    /// How many tasks.
    pub count: u64,
    /// When the first of them ended.
    pub first: Timestamp,
    /// When the last of them ended.
    pub last: Timestamp,
    /// The first stars, in their order.
    pub stars: Vec<StarId>,
    /// How many stars more there are.
    pub stars_left_out: u64,
    /// The same for all whose words are the same but for numbers, ids and paths.
    pub fingerprint: FailureFingerprint,
    /// The words of one of them.
    pub sample: String,
}

/// On a line.
impl fmt::Display for FailureGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = match self.other_hosts {
            0 => String::new(),
            1 => " and another".to_owned(),
            more => format!(" and {more} others"),
        };
        let host = self.host.as_deref().map(|host| format!(" on {host}{more}")).unwrap_or_default();
        write!(f, "{} × {} {}{host}: {}", self.count, self.module, self.reason, self.sample)
    }
}

impl FailureGroup {
    /// Whether it is the same failure, wherever it happened.
    fn is_same(&self, other: &Self) -> bool {
        let of = |group: &Self| (group.run, group.reason, group.is_platforms);
        of(self) == of(other)
            && (&self.module, &self.image, &self.fingerprint) == (&other.module, &other.image, &other.fingerprint)
    }

    /// Puts the same failure together, whichever the host; the largest comes first, before and after.
    pub(super) fn across_hosts(groups: Vec<Self>) -> Vec<Self> {
        let mut together: Vec<Self> = Vec::new();
        for group in groups {
            match together.iter_mut().find(|known| known.is_same(&group)) {
                Some(known) => {
                    known.other_hosts += 1;
                    known.count += group.count;
                    known.stars_left_out += group.stars_left_out + group.stars.len() as u64;
                    known.first = known.first.min(group.first);
                    known.last = known.last.max(group.last);
                }
                None => together.push(group),
            }
        }
        together.sort_by_key(|group| Reverse(group.count));
        together
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A run as a whole, with the largest groups of its failures.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunReport {
    /// The run.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// What failed most.
    pub failures: RunFailures,
}

/// A run with what failed most in it.
pub async fn report(context: &Context, run: RunId) -> Result<RunReport, OperateError> {
    let summary = view::known_run(context, run).await?;
    let selection = TaskSelection { run: Some(run), ..TaskSelection::default() };
    let failures = list(context, ListFailures { selection, groups: FEW, stars: FEW }).await?;
    Ok(RunReport { summary, failures })
}

/// Lists what failed in a run.
pub async fn list(context: &Context, asked: ListFailures) -> Result<RunFailures, OperateError> {
    let ListFailures { selection, groups, stars } = asked;
    let sought = selection.resolve(context).await?;
    let found = find(context, &sought).await?;
    context.ask(move |_| found.grouped(&sought, groups, stars)).await
}

/// The failures that are meant, and how many there are of all.
pub(super) struct FoundFailures {
    pub(super) tasks: FailedTasks,
    pub(super) all: BTreeMap<TaskState, u64>,
    pub(super) not_listed: u64,
    pub(super) why_not: Option<String>,
}

/// Finds the failures that are meant.
pub(super) async fn find(context: &Context, sought: &SoughtTasks) -> Result<FoundFailures, OperateError> {
    let run = sought.run();
    let look = move |store: &Store| {
        let end = end_of(store, run)?;
        let decisions = if end.is_none() { store.decisions(run)? } else { Vec::new() };
        Ok::<_, OperateError>((end, store.failed_tasks(run)?, decisions))
    };
    let (end, of_store, decisions) = context.ask(look).await?;
    let mut found = match end {
        Some(end) => {
            let counts = end.counts.values().flatten();
            FoundFailures { tasks: of_store, all: lost(counts), not_listed: 0, why_not: None }
        }
        None => with_state(context, &sought.course, of_store, &decisions).await?,
    };
    let failed: u64 = found.all.iter().filter(|(state, _)| is_failed(**state)).map(|(_, count)| count).sum();
    found.not_listed = failed.saturating_sub(found.tasks.tasks.len() as u64);
    if found.not_listed > 0 && found.why_not.is_none() {
        found.why_not = Some(match found.tasks.not_looked_at {
            0 => "they are of stars in flight, or were settled by a version that did not write it down; `sas star explain STAR` \
                  tells of each"
                .to_owned(),
            files => format!("{files} of the oldest files of settled stars were not looked at while the run goes on"),
        });
    }
    found.narrow(sought);
    Ok(found)
}

/// What is on record, with the stars in flight.
async fn with_state(
    context: &Context,
    course: &Arc<Course>,
    of_store: FailedTasks,
    decisions: &[(u64, Decision)],
) -> Result<FoundFailures, OperateError> {
    let asked = async {
        let state = context.installation.state().await?;
        let Some(view) = state.run(course.record.run).await? else { return Ok(None) };
        let (stars, tasks) = unless_over(in_flight(&state, course, decisions).await)?;
        Ok::<_, OperateError>(Some((lost(view.counts.values().flatten()), stars, tasks)))
    };
    match asked.await {
        Ok(Some((all, in_flight, mut tasks))) => {
            // What is in flight may have been settled before.
            tasks.extend(&of_store, |star| !in_flight.contains(&star));
            tasks.not_looked_at = of_store.not_looked_at;
            Ok(FoundFailures { tasks, all, not_listed: 0, why_not: None })
        }
        Ok(None) => {
            let why_not = Some("no coordinator took the run up yet, so that only settled stars are listed".to_owned());
            Ok(FoundFailures { tasks: of_store, all: BTreeMap::new(), not_listed: 0, why_not })
        }
        Err(error) if error.kind == ErrorKind::OutOfReach => {
            let why_not = Some(format!("only settled stars are listed: {error}"));
            Ok(FoundFailures { tasks: of_store, all: BTreeMap::new(), not_listed: 0, why_not })
        }
        Err(error) => Err(error),
    }
}

/// The stars in flight, and what failed of them.
async fn in_flight(
    state: &SharedState,
    course: &Arc<Course>,
    decisions: &[(u64, Decision)],
) -> Result<(BTreeSet<StarIndex>, FailedTasks), StateError> {
    let run = course.record.run;
    let stars = state.in_flight(run, MOST_IN_FLIGHT).await?;
    let rows = state.load(run, &stars).await?;
    let is_failed = |cell: Cell| is_failed(cell.state);
    let with_failures: Vec<StarIndex> = stars
        .iter()
        .zip(&rows)
        .filter(|(_, loaded)| loaded.row.cells().any(is_failed))
        .map(|(star, _)| *star)
        .collect();
    let view = |star: StarIndex| async move { Ok::<_, StateError>((star, state.star(run, star).await?)) };
    let views: Vec<_> = stream::iter(with_failures).map(view).buffered(TOGETHER).try_collect().await?;
    let mut tasks = FailedTasks::default();
    for (star, view) in &views {
        tasks.extend(&failed(course, *star, view, decisions), |_| true);
    }
    Ok((stars.into_iter().collect(), tasks))
}

/// What was found in flight: nothing of a run that ended between one look and the next.
fn unless_over<T: Default>(found: Result<T, StateError>) -> Result<T, StateError> {
    match found {
        Err(StateError::NoRun(_)) => Ok(T::default()),
        found => found,
    }
}

fn is_failed(state: TaskState) -> bool {
    matches!(state, TaskState::Failed | TaskState::Errored)
}

/// Of these counts those of tasks that failed or were lost to them.
fn lost<'a>(counts: impl Iterator<Item = (&'a TaskState, &'a u64)>) -> BTreeMap<TaskState, u64> {
    let mut all = BTreeMap::new();
    for (state, count) in counts.filter(|(state, _)| is_failed(**state) || **state == TaskState::UpstreamFailed) {
        *all.entry(*state).or_default() += count;
    }
    all.retain(|_, count| *count > 0);
    all
}

impl FoundFailures {
    /// How many are not listed, and why; nothing where all are.
    pub(super) fn words_of_not_listed(&self) -> Option<String> {
        let why = self.why_not.as_deref()?;
        Some(if self.not_listed > 0 {
            format!("{} tasks that failed are not listed: {why}", self.not_listed)
        } else {
            why.to_owned()
        })
    }

    /// Leaves out what is not meant.
    fn narrow(&mut self, sought: &SoughtTasks) {
        let is_alike = |(alike, _): &(Alike, String)| {
            let state = if alike.reason.is_platforms() { ShownState::Errored } else { ShownState::Failed };
            let reasons = &sought.asked.reasons;
            sought.has_state(state)
                && sought.has_host(alike.host.as_deref())
                && (reasons.is_empty() || reasons.iter().any(|wanted| wanted.matches(alike.reason, &alike.fingerprint)))
        };
        let of_cluster: Vec<bool> = self.tasks.clusters.iter().map(is_alike).collect();
        let modules: Vec<_> = self.tasks.clusters.iter().map(|(alike, _)| alike.module).collect();
        self.tasks.tasks.retain(|task| {
            let at = task.cluster as usize;
            of_cluster[at] && sought.is_of(task.star, modules[at]) && sought.has_age(Some(task.at))
        });
        self.tasks.tasks.sort_by_key(|task| (task.star, modules[task.cluster as usize]));
    }

    /// In groups of what is alike. Blocks on the disk.
    fn grouped(self, sought: &SoughtTasks, most: usize, most_stars: usize) -> Result<RunFailures, OperateError> {
        let Self { tasks: FailedTasks { clusters, tasks, .. }, all, not_listed, why_not } = self;
        let mut of_cluster: BTreeMap<u32, Vec<&FailedTask>> = BTreeMap::new();
        tasks.iter().for_each(|task| of_cluster.entry(task.cluster).or_default().push(task));
        let mut largest: Vec<(u32, Vec<&FailedTask>)> = of_cluster.into_iter().collect();
        largest.sort_by_key(|(cluster, tasks)| (Reverse(tasks.len()), &clusters[*cluster as usize].0));
        let groups_left_out = largest.len().saturating_sub(most) as u64;
        let group = |(cluster, tasks): (u32, Vec<&FailedTask>)| {
            let (alike, sample) = &clusters[cluster as usize];
            let shown: Vec<StarIndex> = tasks.iter().take(most_stars).map(|task| task.star).collect();
            let times = tasks.iter().map(|task| task.at);
            Ok(FailureGroup {
                run: sought.run(),
                reason: alike.reason,
                is_platforms: alike.reason.is_platforms(),
                module: sought.course.pipeline.module(alike.module).name.clone(),
                image: alike.image.clone(),
                host: alike.host.clone(),
                other_hosts: 0,
                count: tasks.len() as u64,
                first: times.clone().min().unwrap_or_default(),
                last: times.max().unwrap_or_default(),
                stars: sought.course.names(&shown)?,
                stars_left_out: (tasks.len() - shown.len()) as u64,
                fingerprint: alike.fingerprint.clone(),
                sample: sample.clone(),
            })
        };
        Ok(RunFailures {
            run: sought.run(),
            listed: tasks.len() as u64,
            groups: largest.into_iter().take(most).map(group).collect::<Result<_, OperateError>>()?,
            groups_left_out,
            all,
            not_listed,
            why_not,
        })
    }
}

#[cfg(test)]
mod tests {
    use domain::id::EventId;

    use super::*;

    #[test]
    fn of_a_run_that_ended_between_two_looks_nothing_is_in_flight() {
        let run = RunId::of(EventId::of("test", "1"), "P", "1");
        assert_eq!(unless_over(Ok(vec![1])).unwrap(), [1]);
        assert!(unless_over::<Vec<u32>>(Err(StateError::NoRun(run))).unwrap().is_empty());
        let damaged = StateError::Damaged { run, reason: "x".to_owned() };
        assert!(matches!(unless_over::<Vec<u32>>(Err(damaged)), Err(StateError::Damaged { .. })));
    }
}
