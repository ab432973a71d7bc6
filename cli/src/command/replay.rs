//! `sas replay`: what would run again, counted before anything does, and letting exactly that run.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use coordinator::operate::replay::{self, ApplyReplay, DefinitionText, PlanBounds, ReplayPlan, ReplayRequest};
use coordinator::operate::{ErrorKind, OperateError};
use domain::id::{ImageName, ModuleName, PipelineName, Quarter, StarId};
use domain::run::TaskState;
use services::definition::load_file;

use super::export::part;
use super::run::start;
use crate::connect::SiteArgs;
use crate::exit::usage;
use crate::installation::Configured;
use crate::output::{Format, Table, note, table};
use crate::selection::stars_in;
use crate::words::{counted, lasting};

/// Replays: run again what changed, and nothing else.
#[derive(Debug, Subcommand)]
pub(crate) enum ReplayCommand {
    Plan(PlanArguments),
    /// Run what a plan says, in a run for each quarter. Refused where the world has changed since the plan was made.
    Apply {
        /// The plan, as `replay plan --to FILE` writes it.
        #[arg(value_name = "PLAN")]
        plan: PathBuf,
        /// The weight of its runs in the choice of the next star; twice the weight, twice the stars in flight.
        #[arg(long, value_name = "N")]
        weight: Option<NonZeroU32>,
        /// Take stars over from runs of this pipeline and quarter that still go on.
        #[arg(long)]
        take_over: bool,
    },
}

/// Say what would run again and why, how many tasks, how long; nothing runs.
///
/// Each star is compared with how it ended last in a whole run of the pipeline: definitions, images, deliveries, the quarter
/// before. What is other runs again; what is below it may, if values really differ: so there are two numbers. Images that
/// ran before stay what they were, whatever their names mean now, unless --resolve or --image say otherwise. What failed
/// stays failed unless --failed or --state say otherwise.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// The pipeline: a name, or a file, which is the version that is to run.
    #[arg(long, value_name = "NAME|FILE")]
    pipeline: String,
    /// The version that is to run: one that a coordinator has or a run had, or a file; what the coordinator has unless given.
    #[arg(long, value_name = "VERSION|FILE")]
    version: Option<String>,
    /// Another image for a module; may be given several times.
    #[arg(long = "image", value_name = "MODULE=IMAGE", value_parser = module_and_image)]
    images: Vec<(ModuleName, ImageName)>,
    /// Look again what the name of every image stands for: this host's Docker says it, or, where modules run without containers,
    /// the code itself with `SAS_WORKER_RUNNER=process`.
    #[arg(long)]
    resolve: bool,
    /// Only of this quarter.
    #[arg(long)]
    quarter: Option<Quarter>,
    /// Only these stars: stars, or text files with one a line.
    #[arg(long, num_args = 1.., value_name = "STAR|FILE")]
    stars: Vec<String>,
    /// Only the stars in this text file, one a line.
    #[arg(long, value_name = "FILE")]
    stars_from: Option<PathBuf>,
    /// Only stars in which this module runs again, or may; may be given several times.
    #[arg(long = "module", value_name = "MODULE")]
    modules: Vec<ModuleName>,
    /// With --module: the modules below it are meant, too.
    #[arg(long, requires = "modules")]
    downstream: bool,
    /// Only stars with tasks (of these modules) that ended so; these are tried again. May be given several times.
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<TaskState>,
    /// Besides what changed, try again what failed.
    #[arg(long)]
    failed: bool,
    /// Write the plan into this file, for `replay apply`.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl ReplayCommand {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let context = Configured::load(site)?.context()?;
        match self {
            Self::Plan(mut asked) => {
                let to = asked.to.take();
                let plan = replay::plan(&context, asked.request()?).await?;
                if let Some(file) = &to {
                    write(&plan, file)?;
                }
                format.print_page(&plan, |plan| (head(plan), modules(plan)));
                match to {
                    Some(file) => note(&format!("`sas replay apply {}` runs this", file.display())),
                    None => note("nothing was decided; with `--to FILE` this is a plan that `sas replay apply` runs"),
                }
                Ok(())
            }
            Self::Apply { plan: file, weight, take_over } => {
                let plan = read(&file)?;
                let applied = replay::apply(&context, ApplyReplay { plan, weight, take_over }).await;
                let started = applied.map_err(needs_services)?;
                start::print(&started, format);
                Ok(())
            }
        }
    }
}

impl PlanArguments {
    fn request(self) -> anyhow::Result<ReplayRequest> {
        let Self { pipeline: named, version, images, resolve, quarter, stars, stars_from, .. } = self;
        let file = |text: &str| Path::new(text).is_file().then(|| load_file(Path::new(text))).transpose();
        let (of_name, of_version) = (file(&named)?, version.as_deref().map(file).transpose()?.flatten());
        if of_name.is_some() && version.is_some() {
            return Err(usage("--pipeline names a file: that is the version; leave --version out").into());
        }
        let pipeline: PipelineName = match &of_name {
            Some(pipeline) => pipeline.name.clone(),
            None => named
                .parse()
                .map_err(|error| usage(format!("--pipeline `{named}` is neither a file nor a name: {error}")))?,
        };
        let mut request = ReplayRequest::of(pipeline);
        match of_name.or(of_version) {
            Some(pipeline) => {
                let (pipeline, data_model) = (pipeline.definition, pipeline.data_model);
                request.definition = Some(DefinitionText { pipeline, data_model });
            }
            None => request.version = version,
        }
        let named: Vec<StarId> = start::read_stars(&stars)?;
        request.stars = named.into_iter().collect();
        if let Some(file) = stars_from {
            request.stars.extend(stars_in(&file)?);
        }
        let mut given = BTreeMap::new();
        for (module, image) in images {
            if let Some(first) = given.insert(module.clone(), image) {
                return Err(usage(format!("--image names {module} twice: {first} and another one")).into());
            }
        }
        Ok(ReplayRequest {
            quarter,
            resolve,
            images: given,
            modules: self.modules.into_iter().collect(),
            downstream: self.downstream,
            states: self.states.into_iter().collect(),
            failed: self.failed,
            ..request
        })
    }
}

fn module_and_image(text: &str) -> Result<(ModuleName, ImageName), String> {
    let (module, image) = text.split_once('=').ok_or("expected MODULE=IMAGE, as in MSAP5_14=registry/msap5_14:2.2")?;
    let module = module.parse().map_err(|error| format!("{error}"))?;
    Ok((module, image.parse().map_err(|error| format!("{error}"))?))
}

/// What runs are started by is away, or there never was any.
fn needs_services(error: OperateError) -> OperateError {
    if error.kind != ErrorKind::OutOfReach {
        return error;
    }
    let next = "`replay apply` needs the services of a cluster; where there are none, `sas local --store DIR --pipeline FILE` \
                runs in one process what changed, and what failed";
    OperateError { message: format!("{}; {next}", error.message), ..error }
}

/// Writes a plan beside its place, then moves it there, so that there is a whole one or none.
fn write(plan: &ReplayPlan, file: &Path) -> anyhow::Result<()> {
    let wrong = || format!("failed to write the plan into `{}`", file.display());
    let body = serde_json::to_vec_pretty(plan).with_context(wrong)?;
    let part = part(file);
    std::fs::write(&part, body).and_then(|()| std::fs::rename(&part, file)).with_context(wrong)
}

fn read(file: &Path) -> Result<ReplayPlan, OperateError> {
    let shown = file.display();
    let body = std::fs::read(file)
        .map_err(|error| OperateError::not_found(format!("failed to read the plan `{shown}`: {error}")))?;
    serde_json::from_slice(&body).map_err(|error| {
        OperateError::new(ErrorKind::Invalid, format!("`{shown}` is not a plan of `sas replay plan`: {error}"))
    })
}

/// What a plan comes to.
fn head(plan: &ReplayPlan) -> String {
    let work = &plan.work;
    let version = plan.request.version.as_deref().unwrap_or_default();
    let mut lines =
        vec![format!("{} {version}: {} of {} stars run again", plan.request.pipeline, work.stars(), work.considered)];
    lines.push(format!("tasks: {}; {} results are reused", bounds(work.tasks), work.reused));
    let PlanBounds { at_least, at_most } = plan.seconds;
    let hours = match (at_least as u64, at_most.ceil() as u64) {
        (least, most) if least == most => lasting(most),
        (least, most) => format!("{} to {}", lasting(least), lasting(most)),
    };
    let unmeasured: Vec<&str> = plan.unmeasured.iter().map(ModuleName::as_str).collect();
    let without = if unmeasured.is_empty() {
        String::new()
    } else {
        format!("; without {}, which earlier runs do not tell of", unmeasured.join(", "))
    };
    lines.push(format!("slot time as earlier runs took: {hours}{without}"));
    for quarter in plan.work.quarters.iter().filter(|_| plan.work.quarters.len() > 1) {
        lines.push(format!("  {}: {}", quarter.quarter, stars(quarter.stars)));
    }
    lines.push(String::new());
    let left = [
        (work.unchanged, "star", "reused whole, since nothing that determines the results is other"),
        (work.left_out, "star", "not selected that would run"),
        (work.unfinished, "star", "cancelled or taken over in every run; `sas run start` runs these"),
        (work.failures_stand, "task", "left as failed in stars that run; --failed tries such again"),
        (work.lost_left, "task", "left as lost in stars that do not run; --failed tries again what failed"),
    ];
    let left = left.iter().filter(|(count, ..)| *count > 0);
    lines.extend(left.map(|(count, what, words)| format!("{} {words}", counted(*count, what))));
    lines.extend(work.reasons.iter().map(|of| format!("{}: {}", stars(of.stars), of.reason.words())));
    lines.extend(plan.notes.iter().map(|words| format!("note: {words}")));
    lines.join("\n")
}

fn stars(count: u64) -> String {
    counted(count, "star")
}

/// How many tasks run, in words.
pub(crate) fn bounds(tasks: PlanBounds<u64>) -> String {
    let PlanBounds { at_least, at_most } = tasks;
    if at_least == at_most {
        return format!("{at_least} run");
    }
    format!("{at_least} run, up to {at_most} if all that is below turns out to be other")
}

fn modules(plan: &ReplayPlan) -> Table {
    let mut table = table(["MODULE", "RUN", "MAY RUN", "REUSED", "ONE TOOK"]);
    for module in &plan.work.modules {
        table.add_row([
            module.module.to_string(),
            module.will.to_string(),
            module.may.to_string(),
            module.reused.to_string(),
            module.millis.map_or_else(|| "?".to_owned(), |millis| format!("{:.1} s", millis as f64 / 1e3)),
        ]);
    }
    table
}
