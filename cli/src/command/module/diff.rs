//! `sas module diff`: what a new definition changes for others, as a gate before it is delivered.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use coordinator::operate::replay::{self, DefinitionText, ReplayPlan, ReplayRequest};
use coordinator::operate::{ErrorKind, OperateError};
use domain::contract::{ConcernedModule, PipelineDifference, compare};
use domain::id::ModuleName;
use domain::pipeline::Pipeline;
use serde::Serialize;
use services::definition::load_file;

use crate::command::replay::bounds;
use crate::connect::SiteArgs;
use crate::installation::Configured;
use crate::output::{Format, Table, note, table};

/// Lay two definitions of a pipeline side by side: products that appear, vanish, or have other columns, kinds, shapes or units,
/// and which modules that breaks. Ends with 1 when a module breaks, with 0 when none does.
///
/// A module that reads what is other, and is not other itself, breaks; one that is new in the same file is taken to be made for
/// it. Where there is a store with runs of the pipeline, it also says how many stars and tasks would run again.
#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// The pipeline file as it is.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The pipeline file as it is to be.
    #[arg(value_name = "NEW")]
    new: PathBuf,
}

/// Two definitions side by side, and what the new one comes to.
#[derive(Debug, Serialize)]
struct DiffAnswer {
    #[serde(flatten)]
    difference: PipelineDifference,
    /// What would run again; none where no store is named, or it has no run of the pipeline.
    replay: Option<ReplayPlan>,
}

impl DiffArguments {
    pub(super) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let (old, new) = (load_file(&self.old)?, load_file(&self.new)?);
        let difference = compare(&old, &new);
        let answer = DiffAnswer { replay: again(site, &new).await?, difference };
        format.print_page(&answer, |answer| (head(answer), products(&answer.difference)));
        let broken: BTreeSet<&ModuleName> = answer.difference.breaks.iter().map(|of| &of.module).collect();
        if broken.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = broken.iter().map(|module| module.as_str()).collect();
        Err(OperateError::refused(format!("it breaks {}", names.join(", "))).into())
    }
}

/// What would run again in the store, if there is one.
async fn again(site: &SiteArgs, new: &Pipeline) -> anyhow::Result<Option<ReplayPlan>> {
    let configured = Configured::load(site)?;
    if !configured.config.has_store() {
        return Ok(None);
    }
    let mut request = ReplayRequest::of(new.name.clone());
    let (pipeline, data_model) = (new.definition.clone(), new.data_model.clone());
    request.definition = Some(DefinitionText { pipeline, data_model });
    match replay::plan(&configured.context()?, request).await {
        Ok(plan) => Ok(Some(plan)),
        Err(error) if error.kind == ErrorKind::NotFound => {
            note(&error.message);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn head(answer: &DiffAnswer) -> String {
    let DiffAnswer { difference, replay } = answer;
    let names: Vec<&str> = difference.modules.iter().map(ModuleName::as_str).collect();
    let mut lines = vec![match names.len() {
        0 => "no module is other".to_owned(),
        _ => format!("other modules: {}", names.join(", ")),
    }];
    lines.extend(difference.breaks.iter().map(|of| format!("BREAKS {}", concerned(of))));
    lines.extend(difference.adapted.iter().map(|of| format!("other, too: {}", concerned(of))));
    if let Some(plan) = replay {
        let work = &plan.work;
        lines.push(format!(
            "{} of {} stars would run again, tasks: {}",
            work.stars(),
            work.considered,
            bounds(work.tasks)
        ));
    }
    lines.join("\n")
}

fn concerned(of: &ConcernedModule) -> String {
    let group = of.group.as_ref().map(|group| format!(" of {group}")).unwrap_or_default();
    let from = of.reads.module.as_ref().map(|module| format!(" of {module}")).unwrap_or_default();
    format!("{}{group}: {}{from} {}", of.module, of.reads.product, of.reads.change.words())
}

fn products(difference: &PipelineDifference) -> Table {
    let mut table = table(["PRODUCT", "OF", "WHAT IS OTHER"]);
    for changed in &difference.products {
        let module = changed.module.as_ref().map_or_else(|| "ingestion".to_owned(), ToString::to_string);
        table.add_row([changed.product.to_string(), module, changed.change.words()]);
    }
    table
}
