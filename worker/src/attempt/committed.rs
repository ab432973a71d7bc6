//! Committed files: waited for where this host does not see them yet, and taken out of the way where they are damaged and
//! can be made again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::error::chain;
use domain::outcome::PlatformErrorKind;
use store::agent::{AgentError, RefusalKind};
use store::{Store, StoreError, durable};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Order};
use super::ending::{DamagedInput, Ending};
use super::place::InputPlace;
use crate::gate::ask_store;

/// Waits until a committed file can be seen from this host; returns its number. What keeps it from being looked at is
/// the store's trouble; that it is not there is an answer only on a store that is.
pub(super) async fn await_file(desk: &Desk, path: &Path, cancel: &CancellationToken) -> Result<u64, Ending> {
    let since = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        let looked = path.to_owned();
        let found = desk.store.ask(move |_| match durable::inode(&looked)? {
            Some(inode) => Ok(Some(inode)),
            None => {
                // Reading the directory makes network file systems forget that the name was not there.
                let _ = looked.parent().map(std::fs::read_dir);
                durable::inode(&looked)
            }
        });
        if let Some(inode) = found.await? {
            return Ok(inode);
        }
        if since.elapsed() > desk.bounds.input_patience {
            return Err(absent(desk, path).await);
        }
        tokio::select! {
            () = cancel.cancelled() => return Err(Ending::Cancelled),
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
        }
    }
}

async fn absent(desk: &Desk, path: &Path) -> Ending {
    let patience = desk.bounds.input_patience.as_secs();
    let message = format!("`{}` is committed, but not there after {patience} s", path.display());
    match ask_store(&desk.store).await {
        Ok(()) => Ending::errored(PlatformErrorKind::InputLost, message),
        Err(reason) => Ending::errored(PlatformErrorKind::Store, format!("{message}: {reason}")),
    }
}

/// Whether the agent called a file damaged; it was asked twice.
pub(super) fn is_damaged(error: &AgentError) -> bool {
    match error {
        AgentError::Refused(refusal) => refusal.kind == RefusalKind::Damaged,
        AgentError::Died { .. } | AgentError::Hung { .. } | AgentError::Overspent { .. } | AgentError::Start { .. } => {
            false
        }
    }
}

/// Takes a damaged file out of the way; `None` when somebody else did. What this host may not even open is not damaged.
pub(super) async fn set_aside(store: &Store, path: &Path, seen: u64) -> Result<Option<PathBuf>, Ending> {
    let path = path.to_owned();
    let moved = store.ask(move |_| {
        File::open(&path).map_err(|source| StoreError::Io { doing: "open", path: path.clone(), source })?;
        durable::set_aside(&path, seen)
    });
    let moved = moved.await?;
    if let Some(aside) = &moved {
        tracing::warn!(file = %aside.display(), "a committed file is damaged: it is kept under this name, and made again");
    }
    Ok(moved)
}

/// What it means that an input could not be read, although asked for twice. A damaged result of this quarter can make room:
/// its producer is in the same run.
pub(super) fn unreadable(order: &Order, place: &InputPlace, inode: u64, error: AgentError) -> Ending {
    let ours = format!("{}/products/", order.run.course.record.quarter);
    if !is_damaged(&error) || !place.name.starts_with(&ours) {
        return Ending::unreadable(&place.file, &error);
    }
    Ending::Damaged(Box::new(DamagedInput { file: place.file.clone(), inode, error }))
}

/// Takes a damaged input out of the way; how its reader's attempt ends by that.
pub(super) async fn make_room(store: &Store, input: DamagedInput) -> Ending {
    let DamagedInput { file, inode, error } = input;
    match set_aside(store, &file, inode).await {
        Ok(Some(aside)) => {
            let message = format!("an input was damaged, and is `{}` now: {}", aside.display(), chain(&error));
            Ending::errored(PlatformErrorKind::InputLost, message)
        }
        Ok(None) => Ending::unreadable(&file, &error),
        Err(ending) => ending,
    }
}

#[cfg(test)]
mod tests {
    use domain::outcome::Outcome;
    use store::agent::Refusal;

    use super::*;

    #[test]
    fn a_file_of_a_later_format_is_not_damaged_and_is_the_platforms_trouble() {
        let refused = |kind| AgentError::Refused(Refusal { kind, message: "made by a newer version".to_owned() });
        assert!(is_damaged(&refused(RefusalKind::Damaged)));
        assert!(!is_damaged(&refused(RefusalKind::Newer)));
        let Ending::Outcome(outcome) = Ending::unreadable(Path::new("x.h5"), &refused(RefusalKind::Newer)) else {
            panic!("it ends so")
        };
        let Outcome::Errored(error) = *outcome else { panic!("{outcome}") };
        assert_eq!(error.kind, PlatformErrorKind::Store);
        assert!(error.message.contains("newer version"), "{}", error.message);
    }
}
