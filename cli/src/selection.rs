//! How tasks are selected on the command line: the same words for everything that lists tasks or decides about many.

use std::fs::File;
use std::io::BufReader;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use coordinator::operate::Context;
use coordinator::operate::OperateError;
use coordinator::operate::called::{CalledRun, CalledStar, find_named_run, find_stars};
use coordinator::operate::run::RunDecided;
use coordinator::operate::selection::{ShownState, TaskSelection};
use coordinator::operate::task::{self, TaskPlan};
use domain::id::{GroupName, ModuleName, StarId};
use domain::outcome::FailurePattern;
use store::star_lists;
use strum::VariantArray;

use crate::exit::usage;
use crate::output::{Format, line, note};

/// Which tasks. Of several values of one kind any may hold, of several kinds all must.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which tasks")]
pub(crate) struct SelectionArguments {
    /// Of this module; may be given several times, as most of these.
    #[arg(long = "module", value_name = "MODULE")]
    modules: Vec<ModuleName>,
    /// Of the modules of this group.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<GroupName>,
    /// In this state, in the words of `star show`: running, queued, on_hold, waiting, blocked, failed, errored, …
    #[arg(long = "state", value_name = "STATE", value_parser = state)]
    states: Vec<ShownState>,
    /// That failed so: a kind (exit, out_of_memory, …) or a fingerprint, both as `run failures` shows them.
    #[arg(long = "reason", value_name = "REASON")]
    reasons: Vec<FailurePattern>,
    /// On this host.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Of this star, or the one with these first digits of its UUID.
    #[arg(long = "star", value_name = "STAR")]
    stars: Vec<CalledStar>,
    /// Of the stars in this text file, one a line.
    #[arg(long, value_name = "FILE")]
    stars_from: Option<PathBuf>,
    /// In their state for longer than this, as in `10m`.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    older: Option<Duration>,
}

/// Whether many tasks are changed.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Before anything is decided")]
pub(crate) struct Consent {
    /// Do it without asking; needed where there is no terminal to ask at.
    #[arg(long)]
    yes: bool,
    /// Only say what it would come to.
    #[arg(long)]
    dry_run: bool,
}

impl Consent {
    /// Whether it is to be done without a question.
    pub(crate) fn is_given(self) -> bool {
        self.yes && !self.dry_run
    }

    /// Whether nothing is to be done.
    pub(crate) fn is_dry_run(self) -> bool {
        self.dry_run
    }

    /// Asks at the terminal whether to go on; an error where that is a no, or where there is nobody to ask.
    pub(crate) fn ask(self, question: &str, what: &str) -> anyhow::Result<()> {
        if !std::io::stdin().is_terminal() {
            return Err(usage(format!("{what}: say --yes to do it, or --dry-run to see more")).into());
        }
        anyhow::ensure!(agreed(question)?, "nothing was decided");
        Ok(())
    }
}

impl SelectionArguments {
    /// As it is asked for.
    pub(crate) async fn of(self, context: &Context, run: Option<&CalledRun>) -> Result<TaskSelection, OperateError> {
        let Self { modules, groups, states, reasons, hosts, stars, stars_from, older } = self;
        let run = find_named_run(context, run).await?;
        let mut stars = find_stars(context, &stars, run.map(CalledRun::Id).as_ref()).await?;
        if let Some(file) = stars_from {
            stars.extend(stars_in(&file)?);
        }
        Ok(TaskSelection { run, modules, groups, states, reasons, hosts, stars, older })
    }
}

/// The stars in a text file.
pub(crate) fn stars_in(file: &Path) -> Result<Vec<StarId>, OperateError> {
    let shown = file.display();
    let absent = |error| OperateError::not_found(format!("failed to read star list `{shown}`: {error}"));
    let list = File::open(file).and_then(|file| star_lists::read(BufReader::new(file))).map_err(absent)?;
    list.map_err(|bad| usage(format!("star list `{shown}`: {bad}")))
}

fn state(text: &str) -> Result<ShownState, String> {
    text.parse().map_err(|_| {
        let known: Vec<String> = ShownState::VARIANTS.iter().map(ToString::to_string).collect();
        format!("expected {}", known.join(", "))
    })
}

/// Shows what a plan comes to, asks where nobody agreed yet, and carries it out.
pub(crate) async fn carry_out(
    context: &Context,
    plan: TaskPlan,
    consent: Consent,
    format: Format,
) -> anyhow::Result<()> {
    if consent.dry_run {
        format.print(&plan, |plan| format!("{}\nnothing was decided", describe(plan)));
        return Ok(());
    }
    if !consent.yes {
        if !std::io::stdin().is_terminal() {
            let what = format!("this would {} {} of run {}", plan.verb, plan.words(), plan.run);
            return Err(usage(format!("{what}: say --yes to do it, or --dry-run to see more")).into());
        }
        note(&describe(&plan));
        if !agreed(&format!("{} them? [y/N] ", plan.verb))? {
            note("nothing was decided");
            return Ok(());
        }
    }
    let answer = task::carry_out(context, plan).await?;
    match format {
        Format::Json => format.print(&answer, |_| String::new()),
        Format::Table | Format::Csv => {
            let RunDecided { run, number, effect, .. } = &answer;
            line(&format!("run {run}, decision {}: {effect}", number.unwrap_or_default()));
        }
    }
    Ok(())
}

/// What a plan comes to: a line, then what is known of its tasks.
fn describe(plan: &TaskPlan) -> String {
    let mut text = format!("{} {} of run {}", plan.verb, plan.words(), plan.run);
    for (module, count) in &plan.modules {
        text += &format!("\n  {count} of {module}");
    }
    if !plan.first_stars.is_empty() {
        let stars: Vec<String> = plan.first_stars.iter().map(ToString::to_string).collect();
        text += &format!("\n  of {}", stars.join(", "));
        let more = plan.count.is_some_and(|count| count > stars.len() as u64);
        text += if more { " …" } else { "" };
    }
    for words in &plan.notes {
        text += &format!("\n  note: {words}");
    }
    text
}

/// Asks at the terminal; anything but `y` or `yes` is a no.
fn agreed(question: &str) -> anyhow::Result<bool> {
    let mut terminal = std::io::stderr();
    write!(terminal, "{question}")?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
