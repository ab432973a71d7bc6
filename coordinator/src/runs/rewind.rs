//! Admission of a run, begun anew from its first star.

use domain::id::RunId;
use services::state::CursorMove;

use crate::running::Coordinator;
use crate::trouble::Trouble;

/// Lets admission begin anew, wherever it is: it passes over stars that are in already. Where it moves on at this very
/// moment the comparison asks again.
pub(crate) async fn rewind(running: &Coordinator, run: RunId) -> Result<(), Trouble> {
    let Some(view) = running.services.state.run(run).await? else { return Ok(()) };
    let back = CursorMove { from: view.info.cursor, to: 0 };
    running.services.state.write(run, running.epoch(), Some(back), &[]).await?;
    running.wakes.admission.notify_one();
    Ok(())
}
