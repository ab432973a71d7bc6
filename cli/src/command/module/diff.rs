//! `sas module diff`: what a new definition changes for others, as a gate before it is delivered.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use coordinator::operate::replay::{self, DefinitionText, ReplayPlan, ReplayRequest};
use coordinator::operate::{ErrorKind, OperateError};
use domain::contract::{ConcernedModule, PipelineDifference, compare};
use domain::id::{ImageName, ModuleName};
use domain::pipeline::{CONTRACT_LABEL, Pipeline};
use serde::Serialize;
use services::definition::load_file;
use worker::runner::docker::{DockerRunner, Owner};

use crate::command::replay::bounds;
use crate::connect::{SiteArgs, here};
use crate::exit::usage;
use crate::installation::{Configured, no_runner};
use crate::output::{Format, Table, note, table};

/// Lay two definitions of a pipeline, or of modules in it, side by side: products that appear, vanish, or have other columns, kinds, shapes or units,
/// and which modules that breaks. Ends with 1 when a module breaks, with 0 when none does.
///
/// A module that reads what is other, and is not other itself, breaks; one that is new in the same file is taken to be made for
/// it. Where there is a store with runs of the pipeline, it also says how many stars and tasks would run again.
///
/// In the place of a file stands an image whose label `sas.contract` holds the contract of its modules: then the pipeline is that of
/// the other side, or of --pipeline, with these modules as the image says they are.
#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// The pipeline file, or the image, as it is.
    #[arg(value_name = "OLD")]
    old: String,
    /// The pipeline file, or the image, as it is to be.
    #[arg(value_name = "NEW")]
    new: String,
    /// The pipeline that images are put into, where neither side is a file.
    #[arg(long, value_name = "FILE")]
    pipeline: Option<PathBuf>,
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
        let [old, new] = self.definitions(site).await?;
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

impl DiffArguments {
    async fn definitions(&self, site: &SiteArgs) -> anyhow::Result<[Pipeline; 2]> {
        let sides = [&self.old, &self.new];
        let mut files = sides.into_iter().map(Path::new).filter(|path| path.exists());
        let place = match files.next().or(self.pipeline.as_deref()) {
            Some(file) => load_file(file)?,
            None => {
                let reason = format!(
                    "neither `{}` nor `{}` is a file: name the pipeline of these images with --pipeline",
                    self.old, self.new
                );
                return Err(usage(reason).into());
            }
        };
        let mut definitions = Vec::new();
        for side in sides {
            definitions.push(match Path::new(side).exists() {
                true => load_file(Path::new(side))?,
                false => {
                    let image: ImageName = side.parse()?;
                    place.with_contract(&image, &contract(site, &image).await?)?
                }
            });
        }
        <[Pipeline; 2]>::try_from(definitions).map_err(|_| anyhow::anyhow!("there are two sides"))
    }
}

/// The contract in an image's label.
async fn contract(site: &SiteArgs, image: &ImageName) -> anyhow::Result<String> {
    let configured = Configured::load(site)?;
    let (worker, docker) = (configured.config.worker()?, configured.config.docker()?.clone());
    let nowhere = PathBuf::new();
    let owner = Owner { worker: here(), host: worker.host(), store: nowhere.clone(), scratch: nowhere };
    let unread = |error| no_runner(error, &format!("`{image}` is no file, and its label cannot be read"));
    let docker = DockerRunner::connect(docker, owner).await.map_err(unread)?;
    docker.label(image, CONTRACT_LABEL).await.map_err(unread)?.ok_or_else(|| {
        let reason = format!(
            "image `{image}` has no label {CONTRACT_LABEL}: build it with \
             `docker build --label \"{CONTRACT_LABEL}=$(cat contract.toml)\"`"
        );
        OperateError::refused(reason).into()
    })
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
