//! What a module's program is in a run: as operators amended it before the attempt was claimed, else as the first worker
//! that needs it fixes it for all.

use std::sync::Arc;
use std::time::Duration;

use domain::id::ImageIdentity;
use domain::outcome::PlatformErrorKind;
use domain::pipeline::Module;
use store::Store;
use store::runs::{Amendment, Amendments};
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Order};
use super::ending::Ending;
use crate::run::RunHere;
use crate::runner::{Program, SharedRunner};

/// How often a decision is looked for that this host does not see yet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A module's program in a run.
pub(super) enum Identified {
    /// It is fixed.
    As { program: Program, identity: ImageIdentity },
    /// Nobody needed it so far.
    NotYet(Program),
}

/// The module's program in this run, and its identity. Writes nothing.
pub(super) async fn identify(desk: &Desk, order: &Order, cancel: &CancellationToken) -> Result<Identified, Ending> {
    let module = order.module();
    let amendments = amendments(desk, order, cancel).await?;
    if let Some(Amendment { image, identity, .. }) = amendments.images.get(&module.name) {
        let program = Program { image: image.clone(), command: module.command.clone() };
        return Ok(Identified::As { program, identity: identity.clone() });
    }
    let program = program(module);
    let known = fixed(&desk.store, &order.run, &desk.runner.subject(&program)).await?;
    Ok(match known {
        Some(identity) => Identified::As { program, identity },
        None => Identified::NotYet(program),
    })
}

/// Fixes what a program is in this run, for all workers, and remembers it; where another one's word came first, that.
pub(super) async fn fix(
    store: &Store,
    runner: &SharedRunner,
    run: &RunHere,
    program: &Program,
) -> Result<ImageIdentity, Ending> {
    let subject = runner.subject(program);
    let here = runner.identify(program).await?;
    let (id, name) = (run.course.record.run, subject.clone());
    let identity = store.ask(move |store| store.fix_image_identity(id, &name, &here)).await?;
    run.remember(&subject, &identity);
    Ok(identity)
}

/// What was fixed in this run for programs of this subject, from memory or the store.
pub(super) async fn fixed(store: &Store, run: &RunHere, subject: &str) -> Result<Option<ImageIdentity>, Ending> {
    if let Some(identity) = run.identity(subject) {
        return Ok(Some(identity));
    }
    let (id, name) = (run.course.record.run, subject.to_owned());
    let known = store.ask(move |store| store.image_identity(id, &name)).await?;
    if let Some(identity) = &known {
        run.remember(subject, identity);
    }
    Ok(known)
}

/// The module's program as the pipeline has it.
pub(super) fn program(module: &Module) -> Program {
    Program { image: module.image.clone(), command: module.command.clone() }
}

/// What operators amended; waits for a decision that this host does not see yet.
async fn amendments(desk: &Desk, order: &Order, cancel: &CancellationToken) -> Result<Arc<Amendments>, Ending> {
    let number = order.grant.amended;
    let until = tokio::time::Instant::now() + desk.bounds.input_patience;
    loop {
        if let Some(amendments) = order.run.amendments(&desk.store, number).await? {
            return Ok(amendments);
        }
        if tokio::time::Instant::now() >= until {
            let message =
                format!("operators' decision {number} about run {} is not in the store", order.run.course.record.run);
            return Err(Ending::errored(PlatformErrorKind::Store, message));
        }
        tokio::select! {
            () = cancel.cancelled() => return Err(Ending::Cancelled),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}
