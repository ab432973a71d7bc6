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
use services::definition::{LoadError, load_file, load_file_after};
use worker::runner::RunnerError;
use worker::runner::docker::{DockerRunner, Owner};

use crate::command::replay::bounds;
use crate::connect::{SiteArgs, here};
use crate::exit::{NotComparable, usage};
use crate::installation::{Configured, no_runner};
use crate::output::{Format, Table, note, table};

/// Lay two definitions of a pipeline, or of modules in it, side by side: products that appear, vanish, or have other columns, kinds, shapes or units,
/// and which modules that breaks. Ends with 1 when a module breaks or the new definition runs nowhere, with 0 when neither is so; with 2
/// when a side has mistakes of another kind, with 3 when it is not there.
///
/// A module that reads what is other, and is not other itself, breaks; one that is new in the same file is taken to be made for
/// it. Of what only its conditions read, the columns count that they name. A product or column that is gone while modules still read it
/// breaks them, and such a definition runs nowhere where modules name it. Where there is
/// a store with runs of the pipeline, it also says how many stars and tasks would run again.
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
    /// What would run again; none where no store is named, it has no run of the pipeline, or the new definition runs nowhere.
    replay: Option<ReplayPlan>,
    /// Why the new definition runs nowhere.
    mistakes: Vec<String>,
}

/// The two sides.
struct DiffSides {
    old: Pipeline,
    new: Pipeline,
    /// Why the new one runs nowhere: modules read what nobody makes any more.
    mistakes: Vec<String>,
}

impl DiffArguments {
    pub(super) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let DiffSides { old, new, mistakes } = self.definitions(site).await?;
        let difference = compare(&old, &new);
        let replay = if mistakes.is_empty() { again(site, &new).await? } else { None };
        let answer = DiffAnswer { replay, difference, mistakes };
        format.print_page(&answer, |answer| (head(answer), products(&answer.difference)));
        if format == Format::Csv {
            note(&head(&answer));
        }
        let broken: BTreeSet<&ModuleName> = answer.difference.breaks.iter().map(|of| &of.module).collect();
        let names: Vec<&str> = broken.iter().map(|module| module.as_str()).collect();
        match (names.as_slice(), answer.mistakes.as_slice()) {
            ([], []) => Ok(()),
            ([], mistakes) => Err(OperateError::refused(format!("it runs nowhere: {}", mistakes.join("; "))).into()),
            (names, _) => Err(OperateError::refused(format!("it breaks {}", names.join(", "))).into()),
        }
    }
}

impl DiffArguments {
    async fn definitions(&self, site: &SiteArgs) -> anyhow::Result<DiffSides> {
        [&self.old, &self.new].into_iter().try_for_each(|name| require_file(name))?;
        let mut files = [&self.old, &self.new].into_iter().map(Path::new).filter(|path| path.exists());
        let place = match files.next().or(self.pipeline.as_deref()) {
            Some(file) => load_file(file).map_err(unfit)?,
            None => {
                let reason = format!(
                    "neither `{}` nor `{}` is a file: name the pipeline of these images with --pipeline",
                    self.old, self.new
                );
                return Err(usage(reason).into());
            }
        };
        let [old, new] = [DiffSide::find(site, &self.old).await?, DiffSide::find(site, &self.new).await?];
        let old = old.load(&place, None)?;
        match new.load(&place, None) {
            Ok(new) => Ok(DiffSides { old, new, mistakes: Vec::new() }),
            Err(strict) => match new.load(&place, Some(&old)) {
                Ok(new) => Ok(DiffSides {
                    old,
                    new,
                    mistakes: strict.root_cause().to_string().lines().map(str::to_owned).collect(),
                }),
                Err(_) => Err(strict),
            },
        }
    }
}

/// A side of the comparison.
enum DiffSide {
    File(PathBuf),
    Image { image: ImageName, contract: String },
}

impl DiffSide {
    async fn find(site: &SiteArgs, name: &str) -> anyhow::Result<Self> {
        if Path::new(name).exists() {
            return Ok(Self::File(name.into()));
        }
        let image: ImageName = name.parse()?;
        Ok(Self::Image { contract: contract(site, &image).await?, image })
    }

    /// Its definition; modules may read what there was `before`.
    fn load(&self, place: &Pipeline, before: Option<&Pipeline>) -> anyhow::Result<Pipeline> {
        match self {
            Self::File(file) => load_file_after(file, before).map_err(unfit),
            Self::Image { image, contract } => {
                place.with_contract(image, contract, before).map_err(|error| NotComparable(error.into()).into())
            }
        }
    }
}

/// What can only be a file must be there.
fn require_file(name: &str) -> Result<(), OperateError> {
    let is_path = name.ends_with(".toml") || ["/", "./", "../"].iter().any(|start| name.starts_with(start));
    if is_path && !Path::new(name).exists() {
        return Err(OperateError::not_found(format!("`{name}`: no such file")));
    }
    Ok(())
}

/// A file that is there and holds no definition.
fn unfit(error: LoadError) -> anyhow::Error {
    if error.is_missing() { error.into() } else { NotComparable(error.into()).into() }
}

/// The contract in an image's label.
async fn contract(site: &SiteArgs, image: &ImageName) -> anyhow::Result<String> {
    let configured = Configured::load(site)?;
    let (worker, docker) = (configured.config.worker()?, configured.config.docker()?.clone());
    let nowhere = PathBuf::new();
    let owner = Owner { worker: here(), host: worker.host(), store: nowhere.clone(), scratch: nowhere };
    let unread = |error| match error {
        RunnerError::ImageMissing(reason) => {
            OperateError::not_found(format!("`{image}`: no such file, and no such image: {reason}"))
        }
        error @ (RunnerError::Refused(_) | RunnerError::Engine { .. } | RunnerError::Directory { .. }) => {
            no_runner(error, &format!("`{image}` is no file, and its label cannot be read"))
        }
    };
    let docker = DockerRunner::connect(docker, owner).await.map_err(unread)?;
    docker.label(image, CONTRACT_LABEL).await.map_err(unread)?.ok_or_else(|| {
        let reason = format!(
            "image `{image}` has no label {CONTRACT_LABEL}: build it with \
             `docker build --label \"{CONTRACT_LABEL}=$(cat contract.toml)\"`"
        );
        usage(reason).into()
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
    let DiffAnswer { difference, replay, mistakes } = answer;
    let mut lines = others(difference);
    lines.extend(difference.breaks.iter().map(|of| format!("BREAKS {}", concerned(of))));
    lines.extend(difference.adapted.iter().map(|of| format!("other, too: {}", concerned(of))));
    lines.extend(mistakes.iter().map(|mistake| format!("runs nowhere: {mistake}")));
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

/// Which modules are others or gone; where none is, whether something else is other.
fn others(difference: &PipelineDifference) -> Vec<String> {
    let list = |what: &str, modules: &[ModuleName]| {
        let names: Vec<&str> = modules.iter().map(ModuleName::as_str).collect();
        (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
    };
    let PipelineDifference { modules, gone, products, .. } = difference;
    let mut lines: Vec<String> =
        list("other modules", modules).into_iter().chain(list("gone or switched off", gone)).collect();
    if lines.is_empty() {
        lines.push(
            if products.is_empty() { "no module is other" } else { "no module is other, but products are" }.to_owned(),
        );
    }
    lines
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
