//! Hosts that operators drain, followed from the store: the state tells their workers, who ask it.

use std::collections::BTreeSet;

use crate::running::Coordinator;
use crate::trouble::Trouble;

/// Lets the state tell what operators decided; also after it was lost.
pub(crate) async fn follow(running: &Coordinator) -> Result<(), Trouble> {
    let decided = running.services.store.ask(|store| store.drained_hosts()).await?;
    let drained: BTreeSet<String> = decided.into_iter().map(|drained| drained.host.to_string()).collect();
    if running.services.state.drained().await?.as_ref() == Some(&drained) {
        return Ok(());
    }
    running.services.state.set_drained(&drained).await?;
    tracing::info!(?drained, "hosts that are drained, as operators decided");
    Ok(())
}
