//! Execute: stage → run → judge → check → commit. Everything that an attempt writes and runs.

use domain::outcome::Success;
use services::state::AttemptPhase;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Order};
use super::ending::Ending;
use super::resolve::Plan;
use super::spec::spec;
use super::{commit, judge, stage};
use crate::runner::{Ended, Spec};

/// Makes a result as its plan says; what the program said goes into `log`, however it ends.
pub(super) async fn execute(
    desk: &mut Desk,
    order: &Order,
    plan: &Plan,
    log: &mut String,
    cancel: &CancellationToken,
) -> Result<Success, Ending> {
    let made = stage::stage(desk, order, plan, cancel).await?;
    let spec = spec(desk, order, plan, &made);
    order.progress.reaches(AttemptPhase::Running);
    let ended = run(desk, &spec, cancel).await?;
    order.progress.reaches(AttemptPhase::Committing);
    log.clone_from(&ended.log);
    judge::end(order, &spec, &ended)?;
    let checked = judge::check(desk, order, &made.output, &ended).await?;
    let provenance = commit::provenance(desk, order, plan, checked.warnings.clone());
    commit::commit(desk, order, &made, checked, provenance, ended.log).await
}

async fn run(desk: &Desk, spec: &Spec, cancel: &CancellationToken) -> Result<Ended, Ending> {
    if cancel.is_cancelled() {
        return Err(Ending::Cancelled);
    }
    Ok(desk.runner.run(spec, cancel).await?)
}
