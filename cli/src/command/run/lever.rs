//! What operators name when they pull a lever of a run, and what is said of it.

use std::collections::BTreeMap;

use clap::Args;
use coordinator::operate::called::{CalledRun, CalledStar, find_run, find_star};
use coordinator::operate::run::{self, AmendImages, Lever, PullLever, RunDecided};
use coordinator::operate::selection::TaskSelection;
use coordinator::operate::{Context, OperateError, task};
use domain::id::{ImageName, ModuleName};
use domain::run::TaskState;

use crate::exit::usage;
use crate::output::Format;
use crate::selection::{Consent, carry_out};

/// Which tasks are run again.
#[derive(Debug, Args)]
pub(crate) struct RetryArguments {
    /// The run: its id, the first digits of it, or `newest`.
    run: CalledRun,
    /// Only tasks of this module.
    #[arg(long)]
    module: Option<ModuleName>,
    /// Only tasks of this star, or the one with these first digits of its UUID.
    #[arg(long)]
    star: Option<CalledStar>,
    /// Only tasks in this state; without it those that were lost (failed, errored, upstream_failed, cancelled). What a
    /// newer run took over (superseded) runs again only where it is named: the newer run has it.
    #[arg(long, value_parser = settled)]
    state: Option<TaskState>,
    #[command(flatten)]
    consent: Consent,
}

/// Which modules get which image.
#[derive(Debug, Args)]
pub(crate) struct Amend {
    /// The run: its id, the first digits of it, or `newest`.
    run: CalledRun,
    /// A module; with --image, and as often as it.
    #[arg(long = "module", required = true, value_name = "MODULE")]
    modules: Vec<ModuleName>,
    /// The new image of the module that stands at the same place.
    #[arg(long = "image", required = true, value_name = "IMAGE")]
    images: Vec<ImageName>,
}

/// Pulls a lever and says what comes of it.
pub(super) async fn pull(context: &Context, run: &CalledRun, lever: Lever, format: Format) -> Result<(), OperateError> {
    let run = find_run(context, run).await?;
    print(&run::pull(context, PullLever { run, lever }).await?, format);
    Ok(())
}

/// Says what was decided.
pub(super) fn print(answer: &RunDecided, format: Format) {
    format.print(answer, |answer| match answer.number {
        Some(number) => format!("run {}, decision {number}: {}", answer.run, answer.effect),
        None => format!("run {}: {}", answer.run, answer.effect),
    });
}

impl RetryArguments {
    /// Says which tasks these are, asks, and has them run again.
    pub(super) async fn run(self, context: &Context, format: Format) -> anyhow::Result<()> {
        let Self { run, module, star, state, consent } = self;
        let run = find_run(context, &run).await?;
        let star = match &star {
            Some(star) => Some(find_star(context, star, Some(&CalledRun::Id(run))).await?.star),
            None => None,
        };
        let selection = TaskSelection {
            run: Some(run),
            modules: module.into_iter().collect(),
            stars: star.into_iter().collect(),
            states: state.into_iter().map(Into::into).collect(),
            ..TaskSelection::default()
        };
        let plan = task::plan_retry(context, selection).await?;
        carry_out(context, plan, consent, format).await
    }
}

impl Amend {
    /// Modules with their new images; each module once.
    pub(super) async fn request(self, context: &Context) -> Result<AmendImages, OperateError> {
        let (modules, images) = (self.modules.len(), self.images.len());
        if modules != images {
            return Err(usage(format!("{modules} modules and {images} images: one image for each module")));
        }
        let mut pairs = BTreeMap::new();
        for (module, image) in self.modules.into_iter().zip(self.images) {
            if pairs.contains_key(&module) {
                return Err(usage(format!("module {module} is named twice")));
            }
            pairs.insert(module, image);
        }
        Ok(AmendImages { run: find_run(context, &self.run).await?, images: pairs })
    }
}

/// A state in which a task has ended.
fn settled(text: &str) -> Result<TaskState, String> {
    let settled = text.parse().ok().filter(|state: &TaskState| state.is_settled());
    settled.ok_or_else(|| {
        "expected failed, errored, upstream_failed, cancelled, superseded, skipped or succeeded".to_owned()
    })
}
