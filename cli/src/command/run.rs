//! `sas run`: what runs there are, how one stands, watching it until it ends, and its levers.

pub(crate) mod failures;
mod lever;
mod start;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::Subcommand;
use clap::builder::TypedValueParser;
use comfy_table::Table;
use coordinator::operate::failures::{RunReport, report};
use coordinator::operate::run::{self, Lever};
use coordinator::operate::view::{self, RunPhase, RunSummary};
use coordinator::operate::{Context, OperateError};
use domain::id::{EventId, ModuleName, RunId};
use domain::outcome::Remarks;
use domain::run::TaskState;
use store::runs::{Amendment, Decided, Decision, StarEnd};
use strum::VariantArray;

use crate::connect::Site;
use crate::installation::Configured;
use crate::output::{Format, note, table};
use crate::progress;
use crate::words::{done, unserved};

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
        /// The run; the newest unless given.
        run: Option<RunId>,
    },
    /// Show how a run stands until it ends. Ends with 8 when tasks failed or inputs were missing, 7 after the timeout.
    Watch {
        /// The run; the newest unless given.
        run: Option<RunId>,
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
    Start(start::StartArguments),
    /// Let no star enter and no task be claimed until `resume`; what runs goes on to its end.
    Pause {
        /// The run.
        run: RunId,
    },
    /// Let a paused run go on where it was.
    Resume {
        /// The run.
        run: RunId,
    },
    /// End a run: what has not ended ends as cancelled, what runs is stopped. Results stay.
    Cancel {
        /// The run.
        run: RunId,
    },
    /// Set a run's weight in the choice of the next star: twice the weight, twice the stars in flight.
    Priority {
        /// The run.
        run: RunId,
        /// 1 or more; runs begin with 1.
        #[arg(value_parser = clap::value_parser!(u32).range(1..).try_map(NonZeroU32::try_from))]
        weight: NonZeroU32,
    },
    /// Run settled tasks again, and what depends on them; a run that has ended is opened again.
    Retry(lever::RetryArguments),
    /// Let tasks that have not started run another image: a decision on record with both identities. What runs goes on with
    /// the old one, what is done stays.
    Amend(lever::Amend),
}

impl RunCommand {
    pub(crate) async fn run(self, site: &Site, format: Format) -> anyhow::Result<()> {
        let context = Configured::load(site)?.context()?;
        match self {
            Self::List { last, all } => {
                let most = if all { usize::MAX } else { last.get() };
                // One more tells whether there are older ones.
                let mut found = view::newest_runs(&context, most.saturating_add(1)).await?;
                let has_older = found.runs.len() > most;
                found.runs.truncate(most);
                format.print_list(&found.runs, |runs| list(runs));
                found.damaged.iter().for_each(|damage| note(&format!("not listed: {damage}")));
                if has_older {
                    note(&format!("the newest {most}; `--last N` shows so many, `--all` every run"));
                }
            }
            Self::Show { run } => {
                let run = named_or_newest(&context, run).await?;
                format.print(&report(&context, run).await?, show_report);
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
            Self::Start(asked) => return start::start(&context, asked, format).await,
            Self::Pause { run } => lever::pull(&context, run, Lever::Pause, format).await?,
            Self::Resume { run } => lever::pull(&context, run, Lever::Resume, format).await?,
            Self::Cancel { run } => lever::pull(&context, run, Lever::Cancel, format).await?,
            Self::Priority { run, weight } => lever::pull(&context, run, Lever::Priority { weight }, format).await?,
            Self::Retry(asked) => lever::print(&run::retry(&context, asked.into()).await?, format),
            Self::Amend(asked) => lever::print(&run::amend(&context, asked.request()?).await?, format),
        }
        Ok(())
    }
}

async fn named_or_newest(context: &Context, run: Option<RunId>) -> Result<RunId, OperateError> {
    match run {
        Some(run) => Ok(run),
        None => view::newest_run(context).await,
    }
}

fn list(runs: &[RunSummary]) -> Table {
    let mut table = table(["RUN", "PIPELINE", "QUARTER", "PHASE", "STARS", "DONE", "IN FLIGHT", "ENDS", "ACCEPTED"]);
    for run in runs {
        table.add_row([
            run.run.to_string(),
            format!("{} {}", run.pipeline, run.version),
            run.quarter.to_string(),
            run.phase.to_string(),
            run.stars.to_string(),
            done(run).to_string(),
            run.in_flight.to_string(),
            ends(run),
            run.accepted.strftime("%F %T").to_string(),
        ]);
    }
    table
}

/// A run with its tasks by module and state, and what failed most.
pub(crate) fn show_report(report: &RunReport) -> String {
    format!("{}\n\n{}", show(&report.summary), failures::in_few_words(&report.failures, None)).trim_end().to_owned()
}

/// A run with its tasks by module and state.
fn show(run: &RunSummary) -> String {
    let states: Vec<TaskState> =
        TaskState::VARIANTS.iter().copied().filter(|state| run.tasks.get(state).is_some_and(|n| *n > 0)).collect();
    let mut tasks = table::<0>([]);
    tasks.set_header(
        std::iter::once("MODULE".to_owned()).chain(states.iter().map(|state| state.to_string().to_uppercase())),
    );
    for module in &run.modules {
        let count = |state: &TaskState| module.tasks.get(state).map_or_else(|| ".".to_owned(), u64::to_string);
        tasks.add_row(std::iter::once(module.module.to_string()).chain(states.iter().map(count)));
    }
    let only = run.only_group.as_ref().map(|group| format!(", only group {group}")).unwrap_or_default();
    let head = format!("run {} of {} {}, {}{only}, {}", run.run, run.pipeline, run.version, run.quarter, run.phase);
    let in_between = if run.phase == RunPhase::Ended {
        ends(run)
    } else {
        let held: Vec<&str> = run.held.iter().map(ModuleName::as_str).collect();
        let held = match held.as_slice() {
            [] => String::new(),
            names => format!(", {} on hold ({})", run.on_hold, names.join(", ")),
        };
        let unserved = unserved(&run.unserved).map(|words| format!(", {words}")).unwrap_or_default();
        format!("{} in flight, {} to come, {} tasks running{held}{unserved}", run.in_flight, run.to_come, run.running)
    };
    let decided: String = run.decisions.iter().map(decided).collect();
    let remarks = remarks(run);
    format!("{head}\n{} of {} stars done: {in_between}\n{decided}\n{tasks}{remarks}", done(run), run.stars)
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

/// A line about a decision.
fn decided(decision: &Decision) -> String {
    let what = match &decision.what {
        Decided::Pause => "pause".to_owned(),
        Decided::Resume => "resume".to_owned(),
        Decided::Cancel => "cancel".to_owned(),
        Decided::Priority { weight } => format!("weight {weight}"),
        Decided::Retry { selection } => format!("retry {}", run::words(selection)),
        Decided::CancelTasks { selection } => format!("cancel {}", run::open_words(selection)),
        Decided::Amend { images } => {
            let image = |(module, amendment): (&ModuleName, &Amendment)| format!("{module} runs {}", amendment.image);
            images.iter().map(image).collect::<Vec<_>>().join(", ")
        }
    };
    format!("{} {}: {what}\n", decision.at.strftime("%F %T UTC"), decision.by)
}

fn ends(run: &RunSummary) -> String {
    let count = |(end, count): (&StarEnd, &u64)| format!("{count} {end}");
    run.ends.iter().map(count).collect::<Vec<_>>().join(", ")
}
