//! `sas star`: one star's tasks, and why they are as they are.

use clap::{Args, Subcommand};
use coordinator::operate::view::{self, OneStar, StarSummary, TaskSummary};
use coordinator::operate::{OperateError, task};
use domain::id::{Attempt, ModuleName, RunId, StarId, WorkerName};

use crate::connect::Site;
use crate::installation::Configured;
use crate::output::{Format, table};
use crate::selection::{Consent, carry_out};

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
    /// Cancel what has not ended of a star in one run; what runs is stopped. It need not have entered the run.
    Cancel {
        #[command(flatten)]
        which: WhichStar,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WhichStar {
    /// The star.
    star: StarId,
    /// In this run; in the newest that has the star unless given.
    #[arg(long)]
    run: Option<RunId>,
}

impl WhichStar {
    fn asked(&self) -> OneStar {
        OneStar { star: self.star, run: self.run }
    }
}

impl StarCommand {
    pub(crate) async fn run(self, site: &Site, format: Format) -> anyhow::Result<()> {
        let context = Configured::load(site)?.context()?;
        match self {
            Self::Cancel { which, consent } => {
                let plan = task::plan_star_cancel(&context, which.asked()).await?;
                return carry_out(&context, plan, consent, format).await;
            }
            Self::Show(which) => format.print(&view::star(&context, which.asked()).await?, show),
            Self::Explain { which, module } => {
                let mut summary = view::star(&context, which.asked()).await?;
                summary.tasks.retain(|task| module.as_ref().is_none_or(|module| task.module == *module));
                if let (Some(module), true) = (module, summary.tasks.is_empty()) {
                    let reason = format!("{} has no module {module}", summary.pipeline);
                    return Err(OperateError::not_found(reason).into());
                }
                format.print(&summary, explain);
            }
        }
        Ok(())
    }
}

fn head(star: &StarSummary) -> String {
    let mut end = star.end.map_or_else(|| "in flight".to_owned(), |end| end.to_string());
    if let Some(reason) = &star.end_reason {
        end = format!("{end} ({reason})");
    }
    let generation = star.generation.map(|number| format!(", generation {number}")).unwrap_or_default();
    let file = star.file.as_deref().map(|file| format!("\nstar file {file}")).unwrap_or_default();
    format!("{} {} in run {} of {}: {end}{generation}{file}", star.star, star.quarter, star.run, star.pipeline)
}

fn state(task: &TaskSummary) -> String {
    if task.running { "running".to_owned() } else { task.state.to_string() }
}

fn show(star: &StarSummary) -> String {
    let mut table = table(["MODULE", "STATE", "TRY", "SECONDS", "WHY"]);
    for task in &star.tasks {
        let (attempt, seconds) = match task.attempt {
            Attempt(0) => ("-".to_owned(), "-".to_owned()),
            attempt => (attempt.to_string(), format!("{:.1}", task.millis as f64 / 1e3)),
        };
        table.add_row([task.module.to_string(), state(task), attempt, seconds, task.reason.clone()]);
    }
    format!("{}\n\n{table}", head(star))
}

fn explain(star: &StarSummary) -> String {
    let mut text = head(star);
    for task in &star.tasks {
        text += &match task.reason.strip_prefix(&task.state.to_string()) {
            // A reason that begins with the state says it already.
            Some(_) => format!("\n\n{} {}", task.module, task.reason),
            None => format!("\n\n{} {}: {}", task.module, state(task), task.reason),
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
            text += &format!("\n  began      {}", started.strftime("%F %T UTC"));
        }
        if !task.products.is_empty() {
            let names: Vec<_> = task.products.iter().map(ToString::to_string).collect();
            text += &format!("\n  made       {}", names.join(", "));
        }
        for line in task.log_tail.lines() {
            text += &format!("\n  | {line}");
        }
    }
    text
}
