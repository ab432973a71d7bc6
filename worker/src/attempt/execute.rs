//! Execute: stage → run → judge → check → commit. Everything that an attempt writes and runs.

use domain::outcome::Success;
use store::agent::Checked;
use tokio_util::sync::CancellationToken;

use super::blame::blame;
use super::desk::{Desk, Order};
use super::ending::Ending;
use super::resolve::Plan;
use super::spec::spec;
use super::stage::Made;
use super::{commit, judge, serve, stage};
use crate::progress::AttemptStep;
use crate::runner::{Ended, Spec};

/// Makes a result as its plan says; what the program said goes into `log`, however it ends.
pub(super) async fn execute(
    desk: &mut Desk,
    order: &Order,
    plan: &Plan,
    log: &mut String,
    cancel: &CancellationToken,
) -> Result<Success, Ending> {
    order.progress.begins(AttemptStep::Stage);
    let made = stage::stage(desk, order, plan, cancel).await?;
    let spec = spec(desk, order, plan, &made);
    order.progress.begins(AttemptStep::Execute);
    let ended = run(desk, order, plan, &spec, cancel).await?;
    log.clone_from(&ended.log);
    let checked = match judge(desk, order, &spec, &made, &ended).await {
        Ok(checked) => checked,
        Err(ending) => return Err(blame(desk, order, ending).await),
    };
    order.progress.begins(AttemptStep::Commit);
    let provenance = commit::provenance(desk, order, plan, checked.warnings.clone());
    commit::commit(desk, order, &made, checked, provenance, ended.log).await
}

async fn judge(desk: &mut Desk, order: &Order, spec: &Spec, made: &Made, ended: &Ended) -> Result<Checked, Ending> {
    judge::end(order, spec, ended)?;
    order.progress.begins(AttemptStep::Check);
    judge::check(desk, order, &made.output, ended).await
}

async fn run(
    desk: &Desk,
    order: &Order,
    plan: &Plan,
    spec: &Spec,
    cancel: &CancellationToken,
) -> Result<Ended, Ending> {
    if cancel.is_cancelled() {
        return Err(Ending::Cancelled);
    }
    match serve::serve(desk, order, plan, spec, cancel).await? {
        Some(ended) => Ok(ended),
        None => Ok(desk.runner.run(spec, cancel).await?),
    }
}
