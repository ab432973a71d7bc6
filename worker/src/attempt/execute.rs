//! Execute: stage → run → judge → seal. Everything that an attempt writes and runs.

use store::crash::CrashPoint;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Finish;
use super::blame::blame;
use super::desk::{Desk, Order};
use super::ending::Ending;
use super::layout::Made;
use super::provenance::provenance;
use super::resolve::Plan;
use super::seal::{SealedResult, seal};
use super::spec::spec;
use super::tolerate::tolerate;
use super::{judge, layout, serve, stage};
use crate::progress::AttemptStep;
use crate::runner::{Ended, Spec};

/// Makes a result as its plan says, and leaves it sealed; what the program said and used goes into `finish`, however it ends.
pub(super) async fn execute(
    desk: &mut Desk,
    order: &Order,
    plan: &Plan,
    mut made: Made,
    finish: &mut Finish,
    cancel: &CancellationToken,
) -> Result<SealedResult, Ending> {
    let began = Instant::now();
    order.progress.begins(AttemptStep::Stage);
    stage::stage(desk, order, plan, &made, cancel).await?;
    CrashPoint::InputStaged.reached();
    let spec = spec(desk, order, plan, &made);
    order.progress.begins(AttemptStep::Execute);
    let ended = run(desk, order, plan, &spec, cancel).await?;
    CrashPoint::ProgramEnded.reached();
    finish.log.clone_from(&ended.log);
    finish.used = ended.used;
    if ended.input_is_free {
        made.free_input(desk);
    }
    match judge(desk, order, plan, (&spec, made), &ended).await {
        Ok(sealed) => tolerate(desk, order, sealed, cancel).await,
        Err(ending) => Err(blame(desk, order, ending, began).await),
    }
}

async fn judge(
    desk: &mut Desk,
    order: &Order,
    plan: &Plan,
    (spec, made): (&Spec, Made),
    ended: &Ended,
) -> Result<SealedResult, Ending> {
    judge::end(order, spec, ended)?;
    order.progress.begins(AttemptStep::Check);
    seal(desk, order, made, provenance(desk, order, plan, ended), ended).await
}

/// Runs the program, or has it serve.
async fn run(
    desk: &Desk,
    order: &Order,
    plan: &Plan,
    spec: &Spec,
    cancel: &CancellationToken,
) -> Result<Ended, Ending> {
    if let Some(begins) = &order.begins {
        // It may run elsewhere, though the state does not know it yet.
        cancel.run_until_cancelled(begins.cancelled()).await;
    }
    if cancel.is_cancelled() {
        return Err(Ending::Cancelled);
    }
    let _program = desk.watch.program();
    if let Some(ended) = serve::serve(desk, order, plan, spec, cancel).await? {
        return Ok(ended);
    }
    layout::make_output(desk, order, &spec.output).await?;
    Ok(desk.runner.run(spec, cancel).await?)
}
