//! `sas star`: one star's tasks, and why they are as they are; its generations, and what is in them.

mod difference;
mod generations;
mod lineage;
mod products;
mod provenance;
mod verify;

pub(crate) use difference::by;
pub(crate) use products::value;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use coordinator::operate::called::{CalledRun, CalledStar, find_star};
use coordinator::operate::star::{
    AskLineage, CompareGenerations, ExportStar, Exported, OneGeneration, OneQuarter, RollBack, export, roll_back,
};
use coordinator::operate::view::{self, OneStar, StarSummary, TaskSummary};
use coordinator::operate::{self, Context, ErrorKind, OperateError, task};
use domain::id::{Attempt, Generation, ModuleName, ProductName, Quarter, WorkerName};
use domain::outcome::Outcome;
use domain::text::{did_you_mean, moment, shown};

use crate::connect::SiteArgs;
use crate::installation::Configured;
use crate::output::{Format, Table, table};
use crate::selection::{Consent, carry_out};

/// One star: its tasks, and why they ended as they did.
#[derive(Debug, Subcommand)]
pub(crate) enum StarCommand {
    /// State and reason of every module.
    Show(StarArg),
    /// Everything known of every module, or of one: reason, attempts, worker, last log lines.
    Explain {
        #[command(flatten)]
        which: StarArg,
        /// Only this module.
        module: Option<ModuleName>,
    },
    /// Cancel what has not ended of a star in one run; what runs is stopped. It need not have entered the run.
    Cancel {
        #[command(flatten)]
        which: StarArg,
        #[command(flatten)]
        consent: Consent,
    },
    /// What it ended with in each run, and which of these generations its star file shows.
    Generations(WhichQuarter),
    /// Make its star file show another generation, older or newer, until a later run settles it completely.
    Rollback {
        #[command(flatten)]
        which: WhichQuarter,
        /// The generation.
        #[arg(long, value_name = "N")]
        to: Generation,
    },
    /// The products of a generation: columns, units, scalar values; and why there are no others.
    Products(WhichGeneration),
    /// Two generations side by side: numbers that changed, products that came and went.
    Diff {
        #[command(flatten)]
        which: WhichQuarter,
        /// The generation before; unless given, what the star file shows, or where that is the generation after, the one before
        /// it.
        #[arg(long, value_name = "N")]
        from: Option<Generation>,
        /// The generation after; the newest unless given.
        #[arg(long, value_name = "M")]
        to: Option<Generation>,
    },
    /// What a product was made from, down to what ingestion delivered: by which module, image and command, when, where and with
    /// what. With `-o json` all of it for each product on the way.
    Lineage {
        #[command(flatten)]
        which: WhichGeneration,
        /// The product.
        product: ProductName,
        /// The other way: what was made from it, in later quarters, too.
        #[arg(long)]
        down: bool,
        /// As a graph for Graphviz.
        #[arg(long, conflicts_with = "down")]
        dot: bool,
    },
    /// What is on record of stars, for other systems: W3C PROV-JSON, or events of OpenLineage.
    Provenance(provenance::ProvenanceArguments),
    /// Digest products again, and compare them with what is on record. Ends with 1 where something differs, with 8 where products
    /// lie in files that are not here.
    Verify(verify::VerifyArguments),
    /// Write a generation into one file that needs no store: large products are in it, not linked.
    Export {
        #[command(flatten)]
        which: WhichGeneration,
        /// The file to write; it must not be there.
        #[arg(long, value_name = "FILE.h5")]
        to: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WhichQuarter {
    /// The star, or the first digits of its UUID.
    star: CalledStar,
    /// The quarter of its data; the newest in which it has a generation unless given.
    #[arg(long, value_name = "Q")]
    quarter: Option<Quarter>,
}

#[derive(Debug, Args)]
pub(crate) struct WhichGeneration {
    #[command(flatten)]
    place: WhichQuarter,
    /// The generation; the one that the star file shows unless given.
    #[arg(long, value_name = "N")]
    generation: Option<Generation>,
}

impl WhichQuarter {
    async fn find(&self, context: &Context) -> Result<OneQuarter, OperateError> {
        let star = find_star(context, &self.star, None).await?.star;
        Ok(OneQuarter { star, quarter: self.quarter })
    }
}

impl WhichGeneration {
    async fn find(&self, context: &Context) -> Result<OneGeneration, OperateError> {
        let OneQuarter { star, quarter } = self.place.find(context).await?;
        Ok(OneGeneration { star, quarter, generation: self.generation })
    }
}

#[derive(Debug, Args)]
pub(crate) struct StarArg {
    /// The star, or the first digits of its UUID.
    star: CalledStar,
    /// In this run, named by its id, the first digits of it, or `newest`; in the newest that has the star unless given.
    #[arg(long)]
    run: Option<CalledRun>,
}

impl StarArg {
    async fn find(&self, context: &Context) -> Result<OneStar, OperateError> {
        find_star(context, &self.star, self.run.as_ref()).await
    }
}

impl StarCommand {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        // A plain file needs no store.
        if let Self::Verify(arguments) = self {
            return arguments.run(site, format).await;
        }
        let context = Configured::load(site)?.context()?;
        match self {
            // Done above.
            Self::Verify(_) => {}
            Self::Provenance(arguments) => return arguments.run(&context, format).await,
            Self::Cancel { which, consent } => {
                let plan = task::plan_star_cancel(&context, which.find(&context).await?).await?;
                return carry_out(&context, plan, consent, format).await;
            }
            Self::Show(which) => {
                format.print_page(&view::star(&context, which.find(&context).await?).await?, show);
            }
            Self::Explain { which, module } => {
                let mut summary = view::star(&context, which.find(&context).await?).await?;
                if let Some(module) = module {
                    keep_only(&mut summary, &module)?;
                }
                format.print(&summary, explain);
            }
            Self::Generations(which) => {
                let which = which.find(&context).await?;
                generations::print(format, &operate::star::generations(&context, which).await?);
            }
            Self::Rollback { which, to } => {
                let OneQuarter { star, quarter } = which.find(&context).await?;
                let done = roll_back(&context, RollBack { star, quarter, to }).await?;
                format.print(&done, |done| format!("{}\n{}", done.file, done.effect));
            }
            Self::Products(which) => {
                let which = which.find(&context).await?;
                products::print(format, &operate::star::products(&context, which).await?);
            }
            Self::Diff { which, from, to } => {
                let OneQuarter { star, quarter } = which.find(&context).await?;
                let asked = CompareGenerations { star, quarter, from, to };
                difference::print(format, &operate::star::difference(&context, asked).await?);
            }
            Self::Lineage { which, product, down: true, .. } => {
                let which = which.find(&context).await?;
                let found = operate::star::descent(&context, AskLineage { which, product }).await?;
                format.print(&found, lineage::down);
            }
            Self::Lineage { which, product, dot, .. } => {
                let which = which.find(&context).await?;
                let found = operate::star::lineage(&context, AskLineage { which, product }).await?;
                format.print(&found, if dot { lineage::graph } else { lineage::tree });
            }
            Self::Export { which, to } => {
                let which = which.find(&context).await?;
                let done = export(&context, ExportStar { which, to }).await?;
                format.print(&done, |done| {
                    let Exported { star, quarter, generation, file, bytes } = done;
                    format!("{} ({bytes} bytes): generation {generation} of {star} {quarter}", file.display())
                });
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
    let mut file = star.file.as_deref().map(|file| format!("\nstar file {file}")).unwrap_or_default();
    if let Some((open, newest)) = star.open.zip(star.newest) {
        file += &match open == newest {
            true => format!(", generation {open}, the newest"),
            false => format!(", generation {open}; the newest is {newest}, see `sas star generations {}`", star.star),
        };
    }
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
        if !task.without_reason.is_empty() {
            let names: Vec<_> = task.without_reason.iter().map(ToString::to_string).collect();
            text += &format!("\n  not made   {}: optional, without a reason", names.join(", "));
        }
        if let Some(Outcome::Succeeded(success)) = &task.outcome {
            for (product, reason) in &success.not_made {
                text += &format!("\n  not made   {product}: {reason}");
            }
            for warning in &success.warnings {
                text += &format!("\n  warning    {warning}");
            }
            if success.more_warnings > 0 {
                text +=
                    &format!("\n  warning    {} more: all are in the provenance of the result", success.more_warnings);
            }
        }
        for line in task.log_tail.lines() {
            text += &format!("\n  | {}", shown(line));
        }
    }
    text
}
