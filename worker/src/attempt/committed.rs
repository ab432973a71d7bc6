//! Committed files: found, and waited for where this host does not see them yet.

use std::path::Path;
use std::time::{Duration, Instant};

use common::outcome::PlatformErrorKind;
use common::store::durable;
use tokio_util::sync::CancellationToken;

use super::{Desk, Ending, blocking};
use crate::gate::ask_store;

/// Waits until a committed file can be seen from this host; returns its number. What keeps it from being looked at is
/// the store's trouble; that it is not there is an answer only on a store that is.
pub(super) async fn await_file(desk: &Desk, path: &Path, cancel: &CancellationToken) -> Result<u64, Ending> {
    let since = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        let looked = path.to_owned();
        let found = blocking(move || {
            // Reading the directory makes network file systems forget that the name was not there.
            let _ = looked.parent().map(std::fs::read_dir);
            durable::inode(&looked)
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
