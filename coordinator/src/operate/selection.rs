//! The one language in which tasks are selected, by everything that lists tasks or decides about many of them.
//!
//! What is not named does not narrow. Names that are not of the run are refused before anything is looked up.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use domain::id::{GroupName, ModuleIndex, ModuleName, RunId, StarId, StarIndex};
use domain::outcome::FailurePattern;
use domain::run::TaskState;
use domain::text::did_you_mean;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::course::Course;

use super::look_up::newest_run;
use super::pipelines::module_of;
use super::{Context, OperateError};

/// The state of a task in the words that `star show` prints.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ShownState {
    /// A worker has it.
    Running,
    /// It waits for a free slot.
    Queued,
    /// It is queued, and operators hold its module.
    OnHold,
    /// It waits before its next try.
    Waiting,
    /// It waits for tasks upstream.
    Blocked,
    /// Its products are in the store.
    Succeeded,
    /// The module failed for good.
    Failed,
    /// The platform could not run it.
    Errored,
    /// There was nothing to do for the star.
    Skipped,
    /// Something that it needs was lost to a failure.
    UpstreamFailed,
    /// An operator cancelled it.
    Cancelled,
    /// A newer run took the star over.
    Superseded,
}

impl ShownState {
    /// The state in which a task has ended; `None` of one that has not.
    pub const fn settled(self) -> Option<TaskState> {
        match self {
            Self::Running | Self::Queued | Self::OnHold | Self::Waiting | Self::Blocked => None,
            Self::Succeeded => Some(TaskState::Succeeded),
            Self::Failed => Some(TaskState::Failed),
            Self::Errored => Some(TaskState::Errored),
            Self::Skipped => Some(TaskState::Skipped),
            Self::UpstreamFailed => Some(TaskState::UpstreamFailed),
            Self::Cancelled => Some(TaskState::Cancelled),
            Self::Superseded => Some(TaskState::Superseded),
        }
    }
}

/// What runs is queued, and what is on hold, too.
impl From<TaskState> for ShownState {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Blocked => Self::Blocked,
            TaskState::Queued => Self::Queued,
            TaskState::Waiting => Self::Waiting,
            TaskState::Succeeded => Self::Succeeded,
            TaskState::Failed => Self::Failed,
            TaskState::Errored => Self::Errored,
            TaskState::Skipped => Self::Skipped,
            TaskState::UpstreamFailed => Self::UpstreamFailed,
            TaskState::Cancelled => Self::Cancelled,
            TaskState::Superseded => Self::Superseded,
        }
    }
}

/// Tasks of one run. Of several values of one kind any may hold; of several kinds all must.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TaskSelection {
    /// The run; the newest unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Of these modules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<ModuleName>,
    /// Of modules of these groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupName>,
    /// In these states.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<ShownState>,
    /// That failed so: kinds of failures, or fingerprints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<FailurePattern>,
    /// On these hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Of these stars.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stars: Vec<StarId>,
    /// In their state for longer than this.
    #[schemars(with = "Option<String>")]
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub older: Option<Duration>,
}

/// A selection whose names were found in its run.
#[derive(Clone)]
pub(super) struct SoughtTasks {
    pub(super) course: Arc<Course>,
    pub(super) asked: TaskSelection,
    /// None: of all modules.
    pub(super) modules: Option<BTreeSet<ModuleIndex>>,
    /// None: of all stars.
    pub(super) stars: Option<BTreeSet<StarIndex>>,
}

impl TaskSelection {
    /// Finds its names in its run.
    pub(super) async fn resolve(mut self, context: &Context) -> Result<SoughtTasks, OperateError> {
        let run = match self.run {
            Some(run) => run,
            None => context.ask(newest_run).await?.ok_or_else(|| OperateError::not_found("the store has no run"))?,
        };
        self.run = Some(run);
        let course = context.course(run).await?;
        let modules = modules(&course, &self)?;
        let (of, named) = (course.clone(), std::mem::take(&mut self.stars));
        let look = move |_: &store::Store| {
            let stars = named.iter().map(|star| match of.stars.position(*star)? {
                Some(index) => Ok(index),
                None => Err(OperateError::not_found(format!("{star} is not a star of run {run}"))),
            });
            let stars: BTreeSet<StarIndex> = stars.collect::<Result<_, _>>()?;
            Ok::<_, OperateError>((named, stars))
        };
        let (named, stars) = context.ask(look).await?;
        self.stars = named;
        let stars = (!self.stars.is_empty()).then_some(stars);
        Ok(SoughtTasks { course, modules, stars, asked: self })
    }

    /// Whether only what is known of each single task tells which are meant.
    pub(super) fn needs_looking(&self) -> bool {
        !self.reasons.is_empty() || !self.hosts.is_empty() || self.older.is_some()
    }

    /// What narrows it, for messages; empty where nothing does.
    pub fn words(&self) -> String {
        let mut text = String::new();
        let mut say = |before: &str, names: Vec<String>| {
            if !names.is_empty() {
                let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(" or ");
                let more = names.len().saturating_sub(3);
                let more = if more > 0 { format!(" or {more} more") } else { String::new() };
                _ = write!(text, " {before} {shown}{more}");
            }
        };
        say("of", self.modules.iter().map(ToString::to_string).collect());
        say("of group", self.groups.iter().map(ToString::to_string).collect());
        say("that failed with", self.reasons.iter().map(ToString::to_string).collect());
        say("on", self.hosts.clone());
        say("of", self.stars.iter().map(ToString::to_string).collect());
        say(
            "for longer than",
            self.older.map(|older| humantime::format_duration(older).to_string()).into_iter().collect(),
        );
        text
    }
}

fn modules(course: &Course, asked: &TaskSelection) -> Result<Option<BTreeSet<ModuleIndex>>, OperateError> {
    let pipeline = &course.pipeline;
    let of = format!("{} {}", pipeline.name, pipeline.version);
    for name in &asked.modules {
        module_of(pipeline, name)?;
    }
    let groups = pipeline.groups();
    if let Some(group) = asked.groups.iter().find(|group| !groups.contains(group)) {
        let known: Vec<&str> = groups.into_iter().map(GroupName::as_str).collect();
        let meant = did_you_mean(group.as_str(), known.iter().copied());
        return Err(OperateError::not_found(format!("{of} has no group {group}{meant} (it has {})", known.join(", "))));
    }
    if asked.modules.is_empty() && asked.groups.is_empty() {
        return Ok(None);
    }
    let is_of_group =
        |group: Option<&GroupName>| asked.groups.is_empty() || group.is_some_and(|group| asked.groups.contains(group));
    let wanted = pipeline.indexed().filter(|(_, module)| {
        (asked.modules.is_empty() || asked.modules.contains(&module.name)) && is_of_group(module.group.as_ref())
    });
    Ok(Some(wanted.map(|(index, _)| index).collect()))
}

impl SoughtTasks {
    /// The run.
    pub(super) fn run(&self) -> RunId {
        self.course.record.run
    }

    /// Whether tasks of this module and star may be meant.
    pub(super) fn is_of(&self, star: StarIndex, module: ModuleIndex) -> bool {
        self.modules.as_ref().is_none_or(|modules| modules.contains(&module))
            && self.stars.as_ref().is_none_or(|stars| stars.contains(&star))
    }

    /// Whether tasks in this state may be meant.
    pub(super) fn has_state(&self, state: ShownState) -> bool {
        self.asked.states.is_empty() || self.asked.states.contains(&state)
    }

    /// Whether a task on this host may be meant.
    pub(super) fn has_host(&self, host: Option<&str>) -> bool {
        self.asked.hosts.is_empty() || host.is_some_and(|host| self.asked.hosts.iter().any(|wanted| wanted == host))
    }

    /// Whether a task that is in its state since then may be meant; of one of which that is not known, only where nothing is
    /// said of it.
    pub(super) fn has_age(&self, since: Option<Timestamp>) -> bool {
        let Some(older) = self.asked.older else { return true };
        since.is_some_and(|since| {
            Timestamp::now().duration_since(since).unsigned_abs() >= older && since < Timestamp::now()
        })
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    #[test]
    fn a_selection_is_read_from_what_a_request_says_and_called_by_what_narrows_it() {
        let text =
            r#"{"modules": ["A"], "states": ["on_hold"], "reasons": ["out_of_memory", "0a1b2c3d"], "older": "10m"}"#;
        let read: TaskSelection = serde_json::from_str(text).unwrap();
        assert_eq!(read.words(), " of A that failed with out_of_memory or 0a1b2c3d for longer than 10m");
        assert_eq!((read.older, read.states.as_slice()), (Some(Duration::from_secs(600)), &[ShownState::OnHold][..]));
        assert!(read.needs_looking() && !TaskSelection::default().needs_looking());
        let again: TaskSelection = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
        assert!(serde_json::from_str::<TaskSelection>(r#"{"states": ["dead"]}"#).is_err());
    }

    #[test]
    fn states_in_which_a_task_has_ended_are_called_as_they_are() {
        for state in ShownState::VARIANTS {
            if let Some(settled) = state.settled() {
                assert!(settled.is_settled() && settled.to_string() == state.to_string());
            }
        }
        assert_eq!(ShownState::VARIANTS.iter().filter_map(|state| state.settled()).count(), 7);
    }
}
