//! Another image for the tasks of a module that have not started.
//!
//! The image's identity is resolved here, once, and is part of the decision: a tag that changes later changes nothing. The
//! decision is in the store before any claim tells of it.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::id::{ImageIdentity, ImageName, ModuleName, RunId};
use domain::pipeline::Module;
use serde::Deserialize;
use services::state::StateError;
use store::Store;
use store::runs::{Amendment, Amendments, Decided};

use super::{RunDecided, require_sense, standing, write};
use crate::operate::look_up::{pipeline_of, record};
use crate::operate::pipelines::module_of;
use crate::operate::{Context, Images, OperateError};

/// How long a run that is on its way into the state is awaited.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which modules get which image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmendImages {
    /// The run.
    pub run: RunId,
    /// The new image of each module.
    pub images: BTreeMap<ModuleName, ImageName>,
}

/// What an amendment builds on.
struct Ground {
    /// Modules with their new images.
    wanted: Vec<(Module, ImageName)>,
    before: Amendments,
    is_over: bool,
}

/// Lets tasks that have not started run another image.
pub async fn amend(context: &Context, asked: AmendImages) -> Result<RunDecided, OperateError> {
    let run = asked.run;
    let Ground { wanted, before, is_over } = context.ask(move |store| ground(store, asked)).await?;
    let resolver = context.installation.images().await?;
    let mut images = BTreeMap::new();
    for (module, image) in wanted {
        let amendment = resolve(context, run, resolver.as_ref(), &before, &module, image).await?;
        images.insert(module.name, amendment);
    }
    let said: Vec<String> = images.iter().map(|(module, amendment)| words(module, amendment)).collect();
    let (by, recorder) = (context.doer()?, context.doer()?);
    let (number, decision) = context.ask(move |store| write(store, run, &by, Decided::Amend { images })).await?;
    let when = if is_over {
        "for the tasks that `sas run retry` opens again"
    } else if in_force(context, run, number).await? {
        "for every task that starts from now on; what runs now ends with the old one, and what is done stays"
    } else {
        "on record, but Redis does not answer, or no coordinator took the run up: tasks may start with the old one until \
         a coordinator follows"
    };
    let effect = format!("{}: {when}", said.join("; "));
    let decided = (number, decision);
    context.ask(move |store| RunDecided::on_record(store, run, &recorder, decided, (None, effect))).await
}

/// Looks whether the run has these modules and can be amended.
fn ground(store: &Store, asked: AmendImages) -> Result<Ground, OperateError> {
    let standing = standing(store, asked.run)?;
    let pipeline = pipeline_of(store, &record(store, asked.run)?)?;
    let mut wanted = Vec::new();
    for (name, image) in asked.images {
        let index = module_of(&pipeline, &name)?;
        wanted.push((pipeline.module(index).clone(), image));
    }
    require_sense(store, asked.run, &standing, &Decided::Amend { images: BTreeMap::new() })?;
    let before = Amendments::of(&store.decisions(asked.run)?);
    Ok(Ground { wanted, before, is_over: standing.is_over })
}

async fn resolve(
    context: &Context,
    run: RunId,
    resolver: &dyn Images,
    before: &Amendments,
    module: &Module,
    image: ImageName,
) -> Result<Amendment, OperateError> {
    let (was, was_identity) = match before.images.get(&module.name) {
        Some(older) => (older.image.clone(), Some(older.identity.clone())),
        None => {
            let subject = resolver.subject(&module.image, &module.command);
            let known = context.ask(move |store| store.image_identity(run, &subject)).await?;
            (module.image.clone(), known)
        }
    };
    let identity = resolver.identify(&image, &module.command).await?;
    Ok(Amendment { image, identity, was, was_identity })
}

fn words(module: &ModuleName, amendment: &Amendment) -> String {
    let was = amendment.was_identity.as_ref().map_or("not resolved yet", ImageIdentity::as_str);
    format!("{module} runs {} ({}) in place of {} ({was})", amendment.image, amendment.identity, amendment.was)
}

/// Lets every claim tell of the decision; `false` when that could not be done now, and a coordinator must.
async fn in_force(context: &Context, run: RunId, number: u64) -> Result<bool, OperateError> {
    let until = tokio::time::Instant::now() + PATIENCE;
    let Ok(state) = context.installation.state().await else { return Ok(false) };
    loop {
        match state.amend(run, number).await {
            Ok(()) => return Ok(true),
            Err(StateError::NoRun(_)) if tokio::time::Instant::now() < until => {}
            Err(StateError::NoRun(_)) => return Ok(false),
            Err(error) if error.is_away() => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
