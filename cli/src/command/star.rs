//! `sas star`: one star's tasks, and why they are as they are.

use clap::{Args, Subcommand};
use coordinator::operate::called::{CalledRun, CalledStar, find_star};
use coordinator::operate::view::{self, StarSummary, TaskSummary};
use coordinator::operate::{ErrorKind, OperateError};
use domain::id::{Attempt, ModuleName, WorkerName};
use domain::text::{did_you_mean, moment, shown};

use crate::connect::Site;
use crate::installation::Configured;
use crate::output::{Format, Table, table};

/// One star: its tasks, and why they ended as they did.
#[derive(Debug, Subcommand)]
pub(crate) enum StarCommand {
    /// State and reason of every module.
    Show(WhichStar),
    /// Everything known of every module, or of one: reason, attempts, worker, last log lines.
    Explain {
        #[command(flatten)]
        which: WhichStar,
        /// Only this module.
        module: Option<ModuleName>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WhichStar {
    /// The star, or the first digits of its UUID.
    star: CalledStar,
    /// In this run, named by its id, the first digits of it, or `newest`; in the newest that has the star unless given.
    #[arg(long)]
    run: Option<CalledRun>,
}

impl StarCommand {
    pub(crate) async fn run(self, site: &Site, format: Format) -> anyhow::Result<()> {
        let context = Configured::load(site)?.context()?;
        let (Self::Show(WhichStar { star, run }) | Self::Explain { which: WhichStar { star, run }, .. }) = &self;
        let one = find_star(&context, star, run.as_ref()).await?;
        let mut summary = view::star(&context, one).await?;
        match self {
            Self::Show(_) => format.print_page(&summary, show),
            Self::Explain { module, .. } => {
                if let Some(module) = module {
                    keep_only(&mut summary, &module)?;
                }
                format.print(&summary, explain);
            }
        }
        Ok(())
    }
}

/// Leaves one module; an error where nothing is known of it.
fn keep_only(star: &mut StarSummary, module: &ModuleName) -> Result<(), OperateError> {
    if !star.tasks.iter().any(|task| task.module == *module) {
        let meant = did_you_mean(module.as_str(), star.tasks.iter().map(|task| task.module.as_str()));
        return Err(match &star.stored_only {
            Some(reason) => OperateError::new(
                ErrorKind::OutOfReach,
                format!("how module {module} ended is not on record{meant}; {reason}"),
            ),
            None => OperateError::not_found(format!("{} has no module {module}{meant}", star.pipeline)),
        });
    }
    star.tasks.retain(|task| task.module == *module);
    Ok(())
}

fn head(star: &StarSummary) -> String {
    let going_on = if star.stored_only.is_some() { "not settled" } else { "in flight" };
    let mut end = star.end.map_or_else(|| going_on.to_owned(), |end| end.to_string());
    if let Some(reason) = &star.end_reason {
        end = format!("{end} ({})", shown(reason));
    }
    let stored_only = star.stored_only.as_deref().map(|reason| format!("\n{}", shown(reason))).unwrap_or_default();
    let generation = star.generation.map(|number| format!(", generation {number}")).unwrap_or_default();
    let file = star.file.as_deref().map(|file| format!("\nstar file {file}")).unwrap_or_default();
    format!(
        "{} {} in run {} of {}: {end}{generation}{file}{stored_only}",
        star.star, star.quarter, star.run, star.pipeline
    )
}

fn state(task: &TaskSummary) -> String {
    if task.running { "running".to_owned() } else { task.state.to_string() }
}

fn show(star: &StarSummary) -> (String, Table) {
    let mut table = table(["MODULE", "STATE", "TRY", "SECONDS", "WHY"]);
    for task in &star.tasks {
        let (attempt, seconds) = match task.attempt {
            Attempt(0) => ("-".to_owned(), "-".to_owned()),
            attempt => (attempt.to_string(), format!("{:.1}", task.millis as f64 / 1e3)),
        };
        table.add_row([task.module.to_string(), state(task), attempt, seconds, task.reason.clone()]);
    }
    (head(star), table)
}

fn explain(star: &StarSummary) -> String {
    let mut text = head(star);
    for task in &star.tasks {
        let reason = shown(&task.reason);
        text += &match reason.strip_prefix(&task.state.to_string()) {
            // A reason that begins with the state says it already.
            Some(_) => format!("\n\n{} {reason}", task.module),
            None => format!("\n\n{} {}: {reason}", task.module, state(task)),
        };
        if !task.waits_for.is_empty() {
            let names: Vec<_> = task.waits_for.iter().map(ToString::to_string).collect();
            text += &format!("\n  waits for  {}", names.join(", "));
        }
        if task.attempt > Attempt(0) {
            let worker = task.worker.as_ref().map(WorkerName::as_str).unwrap_or("-");
            text += &format!("\n  attempt    {} on {worker}, {:.1} s", task.attempt, task.millis as f64 / 1e3);
        }
        if let Some(started) = task.started {
            text += &format!("\n  began      {}", moment(started));
        }
        if !task.products.is_empty() {
            let names: Vec<_> = task.products.iter().map(ToString::to_string).collect();
            text += &format!("\n  made       {}", names.join(", "));
        }
        for line in task.log_tail.lines() {
            text += &format!("\n  | {}", shown(line));
        }
    }
    text
}
