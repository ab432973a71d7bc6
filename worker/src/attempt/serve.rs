//! What a session is told for an attempt of a module that serves (`mode = "serve"`), and what makes that session.

use domain::contract::seed;
use domain::pipeline::Mode;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Order};
use super::resolve::Plan;
use super::spec::lasting;
use crate::runner::session::{RequestSubject, SessionKind};
use crate::runner::{Ended, RunnerError, Spec};

/// Has the attempt's star served; `None` where the module, the runner or this worker does not serve: then its program runs for
/// this star alone, to the same result.
pub(super) async fn serve(
    desk: &Desk,
    order: &Order,
    plan: &Plan,
    spec: &Spec,
    cancel: &CancellationToken,
) -> Result<Option<Ended>, RunnerError> {
    match order.module().mode {
        Mode::Oneshot => return Ok(None),
        Mode::Serve => {}
    }
    let kind = SessionKind {
        program: spec.program.clone(),
        identity: spec.identity.clone(),
        environment: lasting(order, &spec.limits),
        module: spec.labels.module.clone(),
        limits: spec.limits.clone(),
    };
    let quarter = order.run.course.record.quarter;
    let subject = RequestSubject { star: order.star, quarter, attempt: order.attempt, seed: seed(&plan.key) };
    desk.warm.run(&desk.runner, &kind, spec, subject, cancel).await
}
