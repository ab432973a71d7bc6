//! What can be done from a page: looked at before, carried out after.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use domain::id::{HostName, ModuleName, RunId};

use super::super::layout::Topic;
use super::super::query::{Query, arguments_of};
use super::super::runs::counted;
use crate::operate::called::{CalledRun, find_run};
use crate::operate::module::{self, OneModule};
use crate::operate::run::{Lever, PullLever, RunDecided, pull};
use crate::operate::selection::TaskSelection;
use crate::operate::task::{PlannedVerb, TaskPlan, carry_out, plan_cancel, plan_retry};
use crate::operate::view::known_run;
use crate::operate::workers::{self, OneHost};
use crate::operate::{Context, ErrorKind, OperateError};

/// Something that can be done.
pub(super) enum Act {
    /// A lever of a run.
    Lever(RunId, Lever),
    /// Another weight of a run; which one is said in the form.
    Priority { run: RunId },
    /// Tasks run again, or are cancelled.
    Tasks(RunId, PlannedVerb, TaskSelection),
    /// A host is drained, or works again.
    Host { host: HostName, drain: bool },
    /// A module is held, or released; looked at from a run.
    Module { which: OneModule, hold: bool, run: Option<RunId> },
}

/// What it would come to.
pub(super) struct Outlook {
    pub(super) title: String,
    /// What it touches, in words with its number.
    pub(super) what: String,
    /// The number that must not grow much until it is decided.
    pub(super) count: Option<u64>,
    pub(super) modules: BTreeMap<ModuleName, u64>,
    pub(super) notes: Vec<String>,
    pub(super) effect: &'static str,
    /// What the button says.
    pub(super) verb: &'static str,
    /// Whether something is lost by it.
    pub(super) is_grave: bool,
    pub(super) command: String,
}

/// What was done.
pub(super) struct Done {
    pub(super) effect: String,
    /// The page that shows it; none where nothing was decided.
    pub(super) address: Option<String>,
}

impl Act {
    pub(super) async fn of_run(
        context: &Context,
        called: &str,
        verb: &str,
        query: &Query,
    ) -> Result<Self, OperateError> {
        let run = find_run(context, &called.parse::<CalledRun>()?).await?;
        match verb {
            "pause" => Ok(Self::Lever(run, Lever::Pause)),
            "resume" => Ok(Self::Lever(run, Lever::Resume)),
            "cancel" => Ok(Self::Lever(run, Lever::Cancel)),
            "priority" => Ok(Self::Priority { run }),
            "retry" => Ok(Self::Tasks(run, PlannedVerb::Retry, query.selection(run)?)),
            "cancel-tasks" => Ok(Self::Tasks(run, PlannedVerb::Cancel, query.selection(run)?)),
            other => Err(unknown(other, "pause, resume, cancel, priority, retry or cancel-tasks")),
        }
    }

    pub(super) fn of_host(host: &str, verb: &str) -> Result<Self, OperateError> {
        let host = read(host)?;
        match verb {
            "drain" => Ok(Self::Host { host, drain: true }),
            "resume" => Ok(Self::Host { host, drain: false }),
            other => Err(unknown(other, "drain or resume")),
        }
    }

    pub(super) fn of_module(pipeline: &str, module: &str, verb: &str, query: &Query) -> Result<Self, OperateError> {
        let which = OneModule { pipeline: read(pipeline)?, module: read(module)? };
        let run = query.value("run")?;
        match verb {
            "hold" => Ok(Self::Module { which, hold: true, run }),
            "release" => Ok(Self::Module { which, hold: false, run }),
            other => Err(unknown(other, "hold or release")),
        }
    }

    /// With what only the form says.
    pub(super) fn with(self, form: &Query) -> Result<Self, OperateError> {
        let Self::Priority { run } = self else { return Ok(self) };
        let weight: Option<NonZeroU32> = form.value("weight")?;
        let weight =
            weight.ok_or_else(|| OperateError::new(ErrorKind::Invalid, "`weight` must be given: 1 or more"))?;
        Ok(Self::Lever(run, Lever::Priority { weight }))
    }

    /// The page from which it is done.
    pub(super) fn back(&self) -> String {
        match self {
            Self::Lever(run, _)
            | Self::Priority { run }
            | Self::Tasks(run, ..)
            | Self::Module { run: Some(run), .. } => {
                format!("/runs/{run}")
            }
            Self::Host { .. } => "/workers".to_owned(),
            Self::Module { run: None, .. } => "/runs".to_owned(),
        }
    }

    pub(super) fn topic(&self) -> Topic {
        if matches!(self, Self::Host { .. }) { Topic::Workers } else { Topic::Runs }
    }

    /// What it would come to.
    pub(super) async fn look(&self, context: &Context) -> Result<Outlook, OperateError> {
        match self {
            Self::Lever(run, lever) => lever_outlook(context, *run, Some(*lever)).await,
            Self::Priority { run } => lever_outlook(context, *run, None).await,
            Self::Tasks(run, verb, selection) => {
                Ok(tasks_outlook(*run, *verb, selection, plan(context, *verb, selection).await?))
            }
            Self::Host { host, drain } => host_outlook(context, host, *drain).await,
            Self::Module { which, hold, run } => module_outlook(context, which, *hold, *run).await,
        }
    }

    /// Does it, unless it touches far more than was `seen`.
    pub(super) async fn carry_out(&self, context: &Context, seen: Option<u64>) -> Result<Done, OperateError> {
        match self {
            Self::Lever(run, lever) => Ok(of_run(pull(context, PullLever { run: *run, lever: *lever }).await?)),
            Self::Priority { .. } => Err(OperateError::new(ErrorKind::Invalid, "`weight` must be given: 1 or more")),
            Self::Tasks(_, verb, selection) => {
                let plan = plan(context, *verb, selection).await?;
                if let (Some(seen), Some(count)) = (seen, plan.count)
                    && count > seen + seen / 10
                {
                    let reason = format!("there were {seen} tasks, and now there are {count}: look again");
                    return Err(OperateError::refused(reason));
                }
                Ok(of_run(carry_out(context, plan).await?))
            }
            Self::Host { host, drain } => {
                let which = OneHost { host: host.clone() };
                let decided = if *drain {
                    workers::drain(context, which).await?
                } else {
                    workers::resume(context, which).await?
                };
                let address = decided.audit.map(|line| format!("/workers?decided={host}&audit={line}"));
                Ok(Done { effect: decided.effect, address })
            }
            Self::Module { which, hold, .. } => {
                let which = which.clone();
                let decided =
                    if *hold { module::hold(context, which).await? } else { module::release(context, which).await? };
                Ok(Done {
                    effect: decided.effect.to_owned(),
                    address: decided.audit.map(|line| format!("{}?audit={line}", self.back())),
                })
            }
        }
    }
}

fn of_run(decided: RunDecided) -> Done {
    let RunDecided { run, number, audit, effect, .. } = decided;
    let address = number.zip(audit).map(|(number, line)| format!("/runs/{run}?decided={number}&audit={line}"));
    Done { effect, address }
}

async fn plan(context: &Context, verb: PlannedVerb, selection: &TaskSelection) -> Result<TaskPlan, OperateError> {
    match verb {
        PlannedVerb::Retry => plan_retry(context, selection.clone()).await,
        PlannedVerb::Cancel => plan_cancel(context, selection.clone()).await,
    }
}

async fn lever_outlook(context: &Context, run: RunId, lever: Option<Lever>) -> Result<Outlook, OperateError> {
    let summary = known_run(context, run).await?;
    let open: u64 = summary.tasks.iter().filter(|(state, _)| !state.is_settled()).map(|(_, count)| count).sum();
    let what = format!(
        "{} to come, {} in flight, {} of which {} now",
        counted(summary.to_come.into(), "star is", "stars are"),
        summary.in_flight,
        counted(open, "open task", "open tasks"),
        counted(summary.running.into(), "runs", "run")
    );
    let (verb, word, effect) = match lever {
        Some(Lever::Pause) => (
            "Pause the run",
            "pause",
            "No star enters it and no task of it is claimed any more; what runs now goes on to its end.",
        ),
        Some(Lever::Resume) => ("Let it go on", "resume", "Stars enter it and tasks of it are claimed again."),
        Some(Lever::Cancel) => (
            "Cancel the run",
            "cancel",
            "What has not ended ends as cancelled, what runs now is stopped; committed results and star files stay.",
        ),
        Some(Lever::Priority { .. }) | None => {
            ("Set its weight", "priority", "The next star comes from the run with the fewest in flight per weight.")
        }
    };
    let weight = if word == "priority" { " N" } else { "" };
    Ok(Outlook {
        title: format!("{verb}: {} {}", summary.pipeline, summary.quarter),
        what,
        count: None,
        modules: BTreeMap::new(),
        notes: Vec::new(),
        effect,
        verb,
        is_grave: word == "cancel",
        command: format!("sas run {word} {run}{weight}"),
    })
}

fn tasks_outlook(run: RunId, verb: PlannedVerb, selection: &TaskSelection, plan: TaskPlan) -> Outlook {
    let (title, button, effect) = match verb {
        PlannedVerb::Retry => (
            "Try tasks again",
            "Try them again",
            "They run again, and what depends on them; what is done and unchanged is taken from the store.",
        ),
        PlannedVerb::Cancel => {
            ("Cancel tasks", "Cancel them", "What runs is stopped, and what cannot do without them is given up.")
        }
    };
    Outlook {
        title: format!("{title}: run {}", super::super::parts::short(run)),
        what: plan.words(),
        count: plan.count,
        modules: plan.modules,
        notes: plan.notes,
        effect,
        verb: button,
        is_grave: verb == PlannedVerb::Cancel,
        command: format!("sas task {verb}{}", arguments_of(selection)),
    }
}

async fn host_outlook(context: &Context, host: &HostName, drain: bool) -> Result<Outlook, OperateError> {
    let all = workers::list(context).await?;
    let of_host: Vec<_> = all.workers.iter().filter(|worker| worker.host == host.as_str()).collect();
    let busy: u32 = of_host.iter().flat_map(|worker| worker.slots.values()).map(|slots| slots.busy).sum();
    let (verb, word, effect) = if drain {
        ("Drain the host", "drain", "Its workers end what runs, take nothing new and stay up, until they are resumed.")
    } else {
        ("Resume the host", "resume", "Its workers take tasks again.")
    };
    Ok(Outlook {
        title: format!("{verb} {host}"),
        what: format!(
            "{} on {host}, {} busy",
            counted(of_host.len() as u64, "worker", "workers"),
            counted(busy.into(), "slot", "slots")
        ),
        count: None,
        modules: BTreeMap::new(),
        notes: Vec::new(),
        effect,
        verb,
        is_grave: false,
        command: format!("sas worker {word} {host}"),
    })
}

async fn module_outlook(
    context: &Context,
    which: &OneModule,
    hold: bool,
    run: Option<RunId>,
) -> Result<Outlook, OperateError> {
    let OneModule { pipeline, module } = which;
    let open = match run {
        Some(run) => {
            let summary = known_run(context, run).await?;
            let tasks = summary.modules.iter().find(|known| known.module == *module).map(|known| known.tasks.clone());
            tasks
                .map(|tasks| tasks.iter().filter(|(state, _)| !state.is_settled()).map(|(_, count)| count).sum::<u64>())
        }
        None => None,
    };
    let of_run = open.map(|open| format!(": {} in this run", counted(open, "task is open", "tasks are open")));
    let (verb, word, effect) = if hold {
        (
            "Hold the module",
            "hold",
            "No task of it is handed to workers any more, in any run; what runs now goes on to its end.",
        )
    } else {
        ("Release the module", "release", "Its tasks are handed to workers again.")
    };
    Ok(Outlook {
        title: format!("{verb} {module}"),
        what: format!("{module} in all runs of {pipeline}{}", of_run.unwrap_or_default()),
        count: None,
        modules: BTreeMap::new(),
        notes: Vec::new(),
        effect,
        verb,
        is_grave: false,
        command: format!("sas module {word} {pipeline} {module}"),
    })
}

fn read<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str) -> Result<T, OperateError> {
    name.parse().map_err(|error: T::Err| OperateError::new(ErrorKind::Invalid, error.to_string()))
}

fn unknown(verb: &str, known: &str) -> OperateError {
    OperateError::not_found(format!("nothing is called {verb:?} here: expected {known}"))
}
