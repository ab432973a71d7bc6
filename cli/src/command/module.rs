//! `sas module`: holds modules back, in all runs of a pipeline, until they are released; lays two definitions, or images with contracts, side by side.

mod diff;

use clap::{Args, Subcommand};
use coordinator::operate::module::{self, ModuleDecided, OneModule};
use domain::id::{ModuleName, PipelineName};
use domain::text::moment;
use store::holds::Held;

use crate::connect::SiteArgs;
use crate::installation::Configured;
use crate::output::{Format, Table, table};

/// Modules of a pipeline, in all of its runs.
#[derive(Debug, Subcommand)]
pub(crate) enum ModuleCommand {
    /// Hand no task of a module to workers, in any run of its pipeline, until `release`. What runs goes on to its end, and
    /// nothing waits but what needs the module.
    Hold(ModuleArg),
    /// Hand out the tasks of a held module again.
    Release(ModuleArg),
    /// The modules that are held.
    List,
    Diff(diff::DiffArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ModuleArg {
    /// The pipeline.
    pipeline: PipelineName,
    /// The module.
    module: ModuleName,
}

impl ModuleCommand {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let context = match self {
            Self::Diff(asked) => return asked.run(site, format).await,
            Self::Hold(_) | Self::Release(_) | Self::List => Configured::load(site)?.context()?,
        };
        match self {
            Self::Hold(which) => format.print(&module::hold(&context, which.into()).await?, decided),
            Self::Release(which) => format.print(&module::release(&context, which.into()).await?, decided),
            Self::Diff(_) => {}
            Self::List => format.print_list(&module::list(&context).await?, |held| list(held)),
        }
        Ok(())
    }
}

impl From<ModuleArg> for OneModule {
    fn from(ModuleArg { pipeline, module }: ModuleArg) -> Self {
        Self { pipeline, module }
    }
}

fn decided(answer: &ModuleDecided) -> String {
    format!("module {} of {}: {}", answer.module, answer.pipeline, answer.effect)
}

fn list(held: &[Held]) -> Table {
    let mut table = table(["PIPELINE", "MODULE", "SINCE", "BY"]);
    for held in held {
        table.add_row([held.pipeline.to_string(), held.module.to_string(), moment(held.since), held.by.clone()]);
    }
    table
}
