//! Blame: before a module is blamed for how it ended, store and host are asked. One whose store is full or away, or whose host
//! has no memory left, can do nothing about it. Nor is a host blamed for a kill that has another reason.

use std::fs;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use domain::outcome::{FailureKind, Outcome, PlatformErrorKind};
use store::Store;

use super::desk::{Desk, Order};
use super::ending::Ending;
use crate::gate::ask_store;
use crate::runner::folder::lacks_space;

/// What is written beside an output to see whether anybody could: more than a file system keeps in a file's own entry.
static PROBE: [u8; 64 * 1024] = [0; 64 * 1024];

/// A host with less memory than this cannot run a program well.
const MEMORY: u64 = 64 << 20;

/// How it ended in truth: the module's failure, or what store and host lack that may have brought it about.
pub(super) async fn blame(desk: &Desk, order: &Order, ending: Ending) -> Ending {
    let Ending::Outcome(outcome) = &ending else { return ending };
    let message = match &**outcome {
        Outcome::Failed(failure) if may_be_the_hosts(failure.kind) => &failure.message,
        Outcome::Errored(error) if error.kind == PlatformErrorKind::Killed => &error.message,
        Outcome::Succeeded(_)
        | Outcome::Skipped(_)
        | Outcome::UpstreamFailed { .. }
        | Outcome::Failed(_)
        | Outcome::Errored(_) => return ending,
    };
    let lacks = match ask_store(&desk.store).await {
        Ok(()) => lacks(&desk.store, desk.folder_of(order), desk.bounds.free).await,
        Err(reason) => Some((PlatformErrorKind::Store, reason)),
    };
    match lacks {
        Some((kind, reason)) => Ending::errored(kind, format!("{reason}; the module ended with {message}")),
        None => ending,
    }
}

/// Whether a store that cannot be written to, or a host without memory, can look like this. Everything else is about what is in
/// a file that the module wrote, or about limits of its own.
const fn may_be_the_hosts(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Exit
        | FailureKind::TryAgain
        | FailureKind::Signal
        | FailureKind::TimeLimit
        | FailureKind::OutputMissing
        | FailureKind::OutputCorrupt => true,
        FailureKind::OutOfMemory
        | FailureKind::OutputUndeclared
        | FailureKind::UnsupportedType
        | FailureKind::OutputViolates
        | FailureKind::OutputTooLarge
        | FailureKind::Expression => false,
    }
}

/// What this host, or the directory in which the module wrote, lacks.
async fn lacks(store: &Store, folder: PathBuf, free: u64) -> Option<(PlatformErrorKind, String)> {
    let look = move || {
        if lacks_space(&folder, free) {
            let reason = format!("the store has less than {} of free space ([worker] free)", ByteSize(free));
            return Some((PlatformErrorKind::Store, reason));
        }
        if let Err(error) = write(&folder) {
            let reason = format!("nothing can be written to `{}`: {error}", folder.display());
            return Some((PlatformErrorKind::Store, reason));
        }
        let available = fs::read_to_string("/proc/meminfo").ok().and_then(|told| available(&told))?;
        let reason = || format!("this host has {} of memory left", ByteSize(available));
        (available < MEMORY).then(|| (PlatformErrorKind::Interrupted, reason()))
    };
    store.ask(move |_| Ok(look())).await.unwrap_or_default()
}

/// Writes something into a directory, and takes it away again.
fn write(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join("probe");
    let written = fs::File::create(&probe).and_then(|mut file| {
        std::io::Write::write_all(&mut file, &PROBE)?;
        file.sync_all()
    });
    let removed = fs::remove_file(&probe);
    written.and(removed)
}

/// Bytes of memory that programs can still have, as `/proc/meminfo` tells it.
fn available(told: &str) -> Option<u64> {
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_left_is_read_from_what_the_kernel_tells() {
        assert_eq!(available("MemTotal:  100 kB\nMemAvailable:    64 kB\n"), Some(65_536));
        assert_eq!(available("MemTotal: 100 kB\n"), None);
    }

    #[test]
    fn where_nothing_can_be_written_the_reason_is_known() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing is left");
        assert!(write(&folder.path().join("gone")).is_err());
    }
}
