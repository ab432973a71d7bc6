//! Twice: what a store agent could not do is asked of a fresh one, on a store that answers, before anybody is blamed. A host
//! without memory kills agents, and one hangs with its network file system: nothing of that is in the file that it read.

use std::path::Path;

use domain::error::chain;
use domain::outcome::PlatformErrorKind;
use store::agent::{AgentError, Manifest, RefusalKind};

use super::desk::Desk;
use super::ending::Ending;
use crate::gate::ask_store;

/// What an agent answers.
type AgentAnswer<T> = Result<T, AgentError>;

/// An answer of the slot's agent, if it is one to believe. Where the agent died, hung or called a file damaged it is `None`:
/// then a fresh agent stands ready to be asked again, and what it answers counts. Fails where the store does not answer.
pub(super) async fn believed<T>(desk: &mut Desk, answer: AgentAnswer<T>) -> Result<Option<AgentAnswer<T>>, Ending> {
    let error = match answer {
        Err(error) if may_be_the_hosts(&error) => error,
        answer => return Ok(Some(answer)),
    };
    tracing::debug!(error = chain(&error), "a fresh agent is asked again");
    desk.agent.end();
    match ask_store(&desk.store).await {
        Ok(()) => Ok(None),
        Err(reason) => {
            let message = format!("{reason}; before that, {}", chain(&error));
            Err(Ending::errored(PlatformErrorKind::Store, message))
        }
    }
}

/// The manifest of one of our files.
pub(super) async fn manifest(desk: &mut Desk, file: &Path) -> Result<AgentAnswer<Manifest>, Ending> {
    let first = desk.agent.manifest(file).await;
    Ok(match believed(desk, first).await? {
        Some(answer) => answer,
        None => desk.agent.manifest(file).await,
    })
}

/// Whether trouble of this host, or of the way to the store, looks like this.
fn may_be_the_hosts(error: &AgentError) -> bool {
    match error {
        AgentError::Died { .. } | AgentError::Hung { .. } => true,
        AgentError::Refused(refusal) => match refusal.kind {
            RefusalKind::Damaged => true,
            RefusalKind::Newer
            | RefusalKind::Unsupported
            | RefusalKind::TooLarge
            | RefusalKind::Missing
            | RefusalKind::Conflict
            | RefusalKind::Write => false,
        },
        // Whoever burns CPU does not wait for a store: a second one would burn as much.
        AgentError::Overspent { .. } | AgentError::Start { .. } => false,
    }
}
