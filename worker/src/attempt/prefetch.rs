//! Prefetch: when a worker meets a run, identities of all its images are fixed at once, so that the run has one of each from
//! its beginning to its end, and those that this worker will run are brought here before their tasks come.
//!
//! Nothing depends on it: an attempt does for itself what was not done here, and says what went wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::id::{ClassName, ImageIdentity};
use domain::outcome::{Outcome, PlatformErrorKind};
use futures::StreamExt;
use store::Store;

use super::ending::Ending;
use super::identity::{fix, fixed, program};
use crate::run::RunHere;
use crate::runner::{Program, SharedRunner};

/// Images that are asked for or pulled at once.
const AT_ONCE: usize = 3;

/// Fixes the images of a run, then brings those of these classes to this host.
pub(crate) async fn prefetch(store: Store, runner: SharedRunner, run: Arc<RunHere>, classes: BTreeSet<ClassName>) {
    // By subject: many modules may share an image.
    let mut programs: BTreeMap<String, (Program, bool)> = BTreeMap::new();
    for module in run.course.pipeline.modules.iter().filter(|module| module.enabled) {
        let program = program(module);
        let (_, is_ours) = programs.entry(runner.subject(&program)).or_insert((program, false));
        *is_ours |= classes.contains(&module.class);
    }
    let (store, runner, run) = (&store, &runner, &run);
    let fixed = futures::stream::iter(programs.into_values()).map(async |(program, is_ours)| {
        match identity(store, runner, run, &program).await {
            Ok(identity) => is_ours.then_some((program, identity)),
            Err(ending) => {
                warn(&program, &ending);
                None
            }
        }
    });
    let ours: Vec<_> = fixed.buffered(AT_ONCE).filter_map(async |ours| ours).collect().await;
    futures::stream::iter(ours)
        .for_each_concurrent(AT_ONCE, async |(program, identity)| {
            if let Err(error) = runner.fetch(&program, &identity).await {
                warn(&program, &error.into());
            }
        })
        .await;
}

/// What a program is in this run; fixed where nobody did.
async fn identity(
    store: &Store,
    runner: &SharedRunner,
    run: &RunHere,
    program: &Program,
) -> Result<ImageIdentity, Ending> {
    match fixed(store, run, &runner.subject(program)).await? {
        Some(identity) => Ok(identity),
        None => fix(store, runner, run, program).await,
    }
}

fn warn(program: &Program, ending: &Ending) {
    let Ending::Outcome(outcome) = ending else { return };
    let image = &program.image;
    if is_refused(outcome) {
        tracing::warn!(%image, %outcome, "an image cannot be run on this host");
    } else {
        tracing::warn!(%image, %outcome, "an image is not here before its tasks are");
    }
}

/// Whether there is an image, and no container can be made of it here: as of one for another processor.
fn is_refused(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Errored(error) => error.kind == PlatformErrorKind::Refused,
        Outcome::Succeeded(_) | Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Failed(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::RunnerError;

    #[test]
    fn an_image_that_is_here_and_cannot_be_run_is_told_from_one_that_is_missing() {
        let is_refused = |error: RunnerError| Ending::from(error).outcome().is_some_and(|outcome| is_refused(&outcome));
        assert!(is_refused(RunnerError::Refused("image `x:1` is for arm64 and this host is amd64".to_owned())));
        assert!(!is_refused(RunnerError::ImageMissing("x:1".to_owned())));
    }
}
