//! `sas run amend`: another image for the tasks of a module that have not started.
//!
//! The image's identity is resolved here, once, and is part of the decision: a tag that changes later changes nothing. The
//! decision is in the store before any claim tells of it.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use domain::id::{ModuleName, RunId};
use domain::pipeline::{Module, Pipeline};
use services::state::StateError;
use store::Store;
use store::runs::{Amendment, Amendments, Decided};
use worker::runner::{Program, SharedRunner};

use super::lever::{Answer, require_sense, standing, unknown, write};
use crate::connect::{Config, out_of_reach};
use crate::exit::Stop;
use crate::output::Format;

/// How long a run that is on its way into the state is awaited.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which modules get which image.
#[derive(Debug, Args)]
pub(crate) struct Amend {
    /// The run.
    run: RunId,
    /// A module; with --image, and as often as it.
    #[arg(long = "module", required = true, value_name = "MODULE")]
    modules: Vec<ModuleName>,
    /// The new image of the module that stands at the same place.
    #[arg(long = "image", required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Amends images of a run.
pub(crate) async fn amend(config: &Config, store: &Store, asked: Amend, format: Format) -> anyhow::Result<()> {
    let run = asked.run;
    let orders = standing(store, run)?;
    let record = store.run(run)?.ok_or_else(|| unknown(run))?;
    let pipeline = record.load_pipeline()?;
    let wanted = pairs(&pipeline, asked.modules, asked.images)?;
    require_sense(store, run, &orders, &Decided::Amend { images: BTreeMap::new() })?;
    let before = Amendments::of(&store.decisions(run)?);
    let hint = "the identity of an image is found by this host's Docker; amend where it runs";
    let runner = config.runner(store).await.map_err(|error| out_of_reach(error, hint))?;
    let mut images = BTreeMap::new();
    for (module, image) in wanted {
        let amendment = resolve(store, run, &runner, &before, module, image).await?;
        images.insert(module.name.clone(), amendment);
    }
    let words: Vec<String> = images.iter().map(|(module, amendment)| words(module, amendment)).collect();
    let is_over = orders.is_over;
    let (number, decision) = write(store, run, Decided::Amend { images })?;
    let when = if is_over {
        "for the tasks that `sas run retry` opens again"
    } else if in_force(config, run, number).await? {
        "for every task that starts from now on; what runs now ends with the old one, and what is done stays"
    } else {
        "on record, but Redis does not answer, or no coordinator took the run up: tasks may start with the old one until \
         a coordinator follows"
    };
    let effect = format!("{}: {when}", words.join("; "));
    Answer { run, number: Some(number), decision: Some(decision), effect }.print(format);
    Ok(())
}

/// Modules with their new images; each module once.
fn pairs(pipeline: &Pipeline, modules: Vec<ModuleName>, images: Vec<String>) -> Result<Vec<(&Module, String)>, Stop> {
    if modules.len() != images.len() {
        return Err(Stop::Usage(format!(
            "{} modules and {} images: one image for each module",
            modules.len(),
            images.len()
        )));
    }
    let mut pairs: Vec<(&Module, String)> = Vec::new();
    for (name, image) in modules.into_iter().zip(images) {
        let Some(index) = pipeline.index_of(&name) else {
            return Err(Stop::NotFound(format!("{} {} has no module {name}", pipeline.name, pipeline.version)));
        };
        if pairs.iter().any(|(module, _)| module.name == name) {
            return Err(Stop::Usage(format!("module {name} is named twice")));
        }
        pairs.push((pipeline.module(index), image));
    }
    Ok(pairs)
}

async fn resolve(
    store: &Store,
    run: RunId,
    runner: &SharedRunner,
    before: &Amendments,
    module: &Module,
    image: String,
) -> anyhow::Result<Amendment> {
    let program = |image: String| Program { image, command: module.command.clone() };
    let (was, was_identity) = match before.images.get(&module.name) {
        Some(older) => (older.image.clone(), Some(older.identity.clone())),
        None => {
            let subject = runner.subject(&program(module.image.clone()));
            (module.image.clone(), store.image_identity(run, &subject)?)
        }
    };
    let identity = runner.identify(&program(image.clone())).await?;
    Ok(Amendment { image, identity, was, was_identity })
}

fn words(module: &ModuleName, amendment: &Amendment) -> String {
    let was = amendment.was_identity.as_deref().unwrap_or("not resolved yet");
    format!("{module} runs {} ({}) in place of {} ({was})", amendment.image, amendment.identity, amendment.was)
}

/// Lets every claim tell of the decision; `false` when that could not be done now, and a coordinator must.
async fn in_force(config: &Config, run: RunId, number: u64) -> anyhow::Result<bool> {
    let until = tokio::time::Instant::now() + PATIENCE;
    let Ok(state) = config.state().await else { return Ok(false) };
    loop {
        match state.amend(run, number).await {
            Ok(()) => return Ok(true),
            Err(StateError::NoRun(_)) if tokio::time::Instant::now() < until => {}
            Err(StateError::NoRun(_) | StateError::Unreachable(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
