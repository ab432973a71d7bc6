//! `sas run`: what runs there are, how one stands, watching it until it ends, and its levers.

pub(crate) mod failures;
mod flips;
mod lever;
mod rollback;
pub(crate) mod start;

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Subcommand;
use clap::builder::TypedValueParser;
use coordinator::operate::called::{CalledRun, find_run};
use coordinator::operate::failures::{RunReport, report};
use coordinator::operate::run::{self, Lever};
use coordinator::operate::selection::ShownState;
use coordinator::operate::view::{self, ModuleSummary, RunModules, RunPhase, RunSummary, shown_states, unserved_words};
use coordinator::operate::{Context, OperateError};
use domain::id::{EventId, ModuleName, RunId};
use domain::outcome::Remarks;
use domain::text::{moment, shown};
use store::runs::{Decision, StarEnd};
use strum::VariantArray;

use crate::connect::SiteArgs;
use crate::installation::Configured;
use crate::output::{Format, Table, note, table};
use crate::progress;
use crate::words::done;

/// Runs: one pipeline over the stars of one event.
#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// The newest runs, newest first.
    List {
        /// How many; older ones are not read.
        #[arg(long, value_name = "N", default_value = "50")]
        last: NonZeroUsize,
        /// All there are.
        #[arg(long, conflicts_with = "last")]
        all: bool,
    },
    /// One run: its stars, and its tasks by module and state.
    Show {
        /// The run: its id, the first digits of it, or `newest`; the newest unless given.
        run: Option<CalledRun>,
    },
    /// Show how a run stands until it ends. Ends with 8 when tasks failed or inputs were missing, 7 after the timeout.
    Watch {
        /// The run: its id, the first digits of it, or `newest`; the newest unless given.
        run: Option<CalledRun>,
        /// The run that this event starts, as `event publish` and `ingest --publish` name it; waits until a coordinator
        /// accepted it.
        #[arg(long, conflicts_with = "run")]
        event: Option<EventId>,
        /// Give up after this time, as in `2h`.
        #[arg(long, value_parser = humantime::parse_duration)]
        timeout: Option<Duration>,
    },
    /// What failed, by reason, module, image and host: how often, when, of which stars, in which words.
    ///
    /// Failures whose words are the same but for numbers, ids and paths are one group with one fingerprint. With --retry
    /// exactly the tasks that are selected run again.
    Failures(failures::FailuresArguments),
    /// Stars that took another branch than when the pipeline ran for them before: modules that ran then and were skipped now, or the
    /// other way, with what they made, and why they were skipped.
    Flips {
        /// The run: its id, the first digits of it, or `newest`; the newest unless given.
        run: Option<CalledRun>,
    },
    Start(start::StartArguments),
    /// Let no star enter and no task be claimed until `resume`; what runs goes on to its end.
    Pause {
        /// The run: its id, the first digits of it, or `newest`.
        run: CalledRun,
    },
    /// Let a paused run go on where it was. Also lets in stars that are held since their quarter before failed.
    Resume {
        /// The run: its id, the first digits of it, or `newest`.
        run: CalledRun,
    },
    /// End a run: what has not ended ends as cancelled, what runs is stopped. Results stay.
    Cancel {
        /// The run: its id, the first digits of it, or `newest`.
        run: CalledRun,
    },
    /// Set a run's weight in the choice of the next star: twice the weight, twice the stars in flight.
    Priority {
        /// The run: its id, the first digits of it, or `newest`.
        run: CalledRun,
        /// 1 or more; runs begin with 1.
        #[arg(value_parser = clap::value_parser!(u32).range(1..).try_map(NonZeroU32::try_from))]
        weight: NonZeroU32,
    },
    /// Run settled tasks again, and what depends on them; a run that has ended is opened again.
    Retry(lever::RetryArguments),
    Rollback(rollback::RollbackArguments),
    /// Let tasks that have not started run another image: a decision on record with both identities. What runs goes on with
    /// the old one, what is done stays.
    Amend(lever::Amend),
}

impl RunCommand {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let context = Configured::load(site)?.context()?;
        match self {
            Self::List { last, all } => {
                let most = if all { usize::MAX } else { last.get() };
                // One more tells whether there are older ones.
                let mut found = view::newest_runs(&context, most.saturating_add(1)).await?;
                let has_older = found.runs.len() > most;
                found.runs.truncate(most);
                format.print_list(&found.runs, |runs| list(runs));
                note_stored_only(&found.runs);
                found.damaged.iter().for_each(|damage| note(&format!("not listed: {damage}")));
                if has_older {
                    note(&format!("the newest {most}; `--last N` shows so many, `--all` every run"));
                }
            }
            Self::Show { run } => {
                let run = named_or_newest(&context, run).await?;
                let (report, modules) = (report(&context, run).await?, view::modules(&context, run).await?);
                format.print_page(&report, |report| page(report, tasks_by_module(modules)));
            }
            Self::Watch { run, event, timeout } => {
                let run = match event {
                    Some(event) => run::of_event(&context, event).await?,
                    None => named_or_newest(&context, run).await?,
                };
                progress::watch(&context, run, timeout, format).await?;
                let end = report(&context, run).await?;
                format.print(&end, show_report);
                return progress::require_complete(&end, None);
            }
            Self::Failures(asked) => return failures::run(&context, asked, format).await,
            Self::Flips { run } => {
                let run = named_or_newest(&context, run).await?;
                format.print_page(&run::flips(&context, run).await?, flips::page);
            }
            Self::Start(asked) => return start::start(&context, asked, format).await,
            Self::Pause { run } => lever::pull(&context, &run, Lever::Pause, format).await?,
            Self::Resume { run } => lever::pull(&context, &run, Lever::Resume, format).await?,
            Self::Cancel { run } => lever::pull(&context, &run, Lever::Cancel, format).await?,
            Self::Priority { run, weight } => lever::pull(&context, &run, Lever::Priority { weight }, format).await?,
            Self::Retry(asked) => return asked.run(&context, format).await,
            Self::Rollback(asked) => return asked.run(&context, format).await,
            Self::Amend(asked) => {
                let asked = asked.request(&context).await?;
                lever::print(&run::amend(&context, asked).await?, format);
            }
        }
        Ok(())
    }
}

async fn named_or_newest(context: &Context, run: Option<CalledRun>) -> Result<RunId, OperateError> {
    find_run(context, &run.unwrap_or(CalledRun::Newest)).await
}

fn list(runs: &[RunSummary]) -> Table {
    let mut table = table(["RUN", "PIPELINE", "QUARTER", "PHASE", "ACCEPTED", "STARS", "DONE", "IN FLIGHT", "ENDS"]);
    table.short_ids(0);
    for run in runs {
        table.add_row([
            run.run.to_string(),
            format!("{} {}", run.pipeline, run.version),
            run.quarter.to_string(),
            run.phase.to_string(),
            moment(run.accepted),
            run.stars.to_string(),
            done(run).to_string(),
            if run.stored_only.is_some() { "?".to_owned() } else { run.in_flight.to_string() },
            ends(run),
        ]);
    }
    table
}

/// That the state was not asked, once for all.
fn note_stored_only(runs: &[RunSummary]) {
    let stored: Vec<&RunSummary> = runs.iter().filter(|run| run.stored_only.is_some()).collect();
    let Some((first, others)) = stored.split_first() else { return };
    let more = if others.is_empty() { String::new() } else { format!("; {} more runs likewise", others.len()) };
    note(&format!("run {}: {}{more}", first.run, first.stored_only.as_deref().unwrap_or_default()));
}

/// A run with what failed most in it, and its tasks by module and state.
pub(crate) fn show_report(report: &RunReport) -> String {
    let of = |module: &ModuleSummary| (module.module.clone(), shown_states(&module.tasks, 0, 0));
    let (head, tasks) = page(report, report.summary.modules.iter().map(of).collect());
    format!("{head}\n\n{tasks}")
}

/// What is to be said of a run, and the table of its tasks below it.
fn page(report: &RunReport, modules: TasksByModule) -> (String, Table) {
    let head = format!("{}\n{}", summary(&report.summary), failures::in_few_words(&report.failures, None));
    (head.trim_end().to_owned(), table_of(&modules))
}

/// How many tasks of each module are in each state, in the order of the pipeline.
type TasksByModule = Vec<(ModuleName, BTreeMap<ShownState, u64>)>;

/// The tasks of a run that may go on: those that run are told from those that wait for a slot.
fn tasks_by_module(modules: RunModules) -> TasksByModule {
    modules.drawn.into_iter().filter(|module| module.enabled).map(|module| (module.module, module.tasks)).collect()
}

fn table_of(modules: &TasksByModule) -> Table {
    let is_there = |state: &&ShownState| modules.iter().any(|(_, tasks)| tasks.contains_key(*state));
    let states: Vec<ShownState> = ShownState::VARIANTS.iter().filter(is_there).copied().collect();
    let heads = states.iter().map(|state| state.to_string().to_uppercase());
    let mut table = Table::new(std::iter::once("MODULE".to_owned()).chain(heads));
    for (module, tasks) in modules {
        let count = |state: &ShownState| tasks.get(state).map_or_else(|| ".".to_owned(), u64::to_string);
        table.add_row(std::iter::once(module.to_string()).chain(states.iter().map(count)));
    }
    table
}

/// What is to be said of a run.
fn summary(run: &RunSummary) -> String {
    let only = run.only_group.as_ref().map(|group| format!(", only group {group}")).unwrap_or_default();
    let head = format!("run {} of {} {}, {}{only}, {}", run.run, run.pipeline, run.version, run.quarter, run.phase);
    let in_between = if run.phase == RunPhase::Ended {
        ends(run)
    } else if let Some(reason) = &run.stored_only {
        [ends(run), reason.clone()].into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join("\n")
    } else {
        let held: Vec<&str> = run.held.iter().map(ModuleName::as_str).collect();
        let held = match held.as_slice() {
            [] => String::new(),
            names => format!(", {} on hold ({})", run.on_hold, names.join(", ")),
        };
        let unserved = unserved_words(&run.unserved).map(|words| format!(", {words}")).unwrap_or_default();
        format!("{} in flight, {} to come, {} tasks running{held}{unserved}", run.in_flight, run.to_come, run.running)
    };
    let outside: String = run.outside.iter().map(|outside| format!("{}\n", outside.words())).collect();
    let decided: String = run.decisions.iter().map(decided).collect();
    format!("{head}\n{} of {} stars done: {in_between}\n{outside}{decided}{}", done(run), run.stars, remarks(run))
}

/// What is odd about results of a run, a line for each kind.
fn remarks(run: &RunSummary) -> String {
    let of = |what: &str, count: fn(&Remarks) -> u64| {
        let modules = run.modules.iter().filter(|module| count(&module.remarks) > 0);
        let modules: Vec<String> =
            modules.map(|module| format!("{} {}", module.module, count(&module.remarks))).collect();
        if modules.is_empty() { String::new() } else { format!("\n{what}: {}", modules.join(", ")) }
    };
    let warned = of("WARNINGS in results (another unit, extra columns)", |remarks| remarks.warned);
    let unmade = of("results without a product, with the module's reason", |remarks| remarks.unmade);
    let hint = if warned.is_empty() && unmade.is_empty() {
        ""
    } else {
        "\n`sas star explain STAR` says what of which product"
    };
    if hint.is_empty() { String::new() } else { format!("\n{warned}{unmade}{hint}") }
}

fn ends(run: &RunSummary) -> String {
    let count = |(end, count): (&StarEnd, &u64)| format!("{count} {end}");
    run.ends.iter().map(count).collect::<Vec<_>>().join(", ")
}

/// A line about a decision.
fn decided(decision: &Decision) -> String {
    format!("{} {}: {}\n", moment(decision.at), shown(&decision.by), run::decided_words(&decision.what))
}
