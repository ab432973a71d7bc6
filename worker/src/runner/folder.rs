//! What a program wrote, while it runs and after: how much, in how many files, and whether it can be seen at all.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::statvfs;
use rustix::io::Errno;

use super::{Exit, Limits, MOST_FILES, RunnerError};

/// How often a running program's output is measured.
const EVERY: Duration = Duration::from_secs(1);

/// Errors that a program can bring about in its own directory; all others are the file system's.
const ITS_OWN: [Errno; 6] = [Errno::NOENT, Errno::NOTDIR, Errno::ACCESS, Errno::PERM, Errno::NAMETOOLONG, Errno::LOOP];

/// In which way a program broke the limits of its output directory `path`: `limit` bytes in all and in a file, and
/// [`MOST_FILES`].
pub(super) fn breach(path: &Path, limit: u64) -> Result<Option<Exit>, RunnerError> {
    match measure(path, limit) {
        Err(error) if is_its_own(&error, path) => Ok(Some(Exit::OutputHidden)),
        measured => {
            measured.map_err(|source| RunnerError::Directory { doing: "measure", path: path.to_owned(), source })
        }
    }
}

/// The same, off the async threads: the directory may lie on a file system that hangs.
pub(super) async fn final_breach(path: &Path, limit: u64) -> Result<Option<Exit>, RunnerError> {
    let measured = path.to_owned();
    let looked = tokio::task::spawn_blocking(move || breach(&measured, limit)).await;
    looked.unwrap_or_else(|error| {
        let source = io::Error::other(error);
        Err(RunnerError::Directory { doing: "measure", path: path.to_owned(), source })
    })
}

/// Returns when a running program breaks the limits of its output directory, with the way, or when the file system is
/// about to be full; never, when neither happens.
///
/// The latter is for what cannot be measured: files that are deleted and still open. It is seen every second, so that a
/// program which fills the rest faster than that still fills it, until it ends; and it cannot be told whose doing it is.
pub(super) async fn breaks_its_limits(path: &Path, limits: &Limits) -> Exit {
    let (output, free) = (limits.output, limits.free);
    loop {
        tokio::time::sleep(EVERY).await;
        let path = path.to_owned();
        let looked = tokio::task::spawn_blocking(move || match breach(&path, output) {
            Ok(None) => lacks_space(&path, free).then_some(Exit::NoSpace),
            // What the file system does not say now it is asked when the program has ended.
            breach => breach.ok().flatten(),
        });
        if let Ok(Some(exit)) = looked.await {
            return exit;
        }
    }
}

/// Whether a file system has less than `free` bytes for us. One that does not say how large it is has enough.
pub(crate) fn lacks_space(path: &Path, free: u64) -> bool {
    statvfs(path).is_ok_and(|facts| facts.f_blocks > 0 && facts.f_bavail.saturating_mul(facts.f_frsize) < free)
}

/// Whether a program brought this about in its own directory `path`: the worker's around it is there, so that the file system is
/// well.
pub(super) fn is_its_own(error: &io::Error, path: &Path) -> bool {
    Errno::from_io_error(error).is_some_and(|error| ITS_OWN.contains(&error))
        && path.parent().is_some_and(|around| around.read_dir().is_ok())
}

fn measure(path: &Path, limit: u64) -> io::Result<Option<Exit>> {
    let (mut bytes, mut files) = (0, 0);
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let listed = match folder.read_dir() {
            Err(error) if folder != path && is_gone(&error) => continue,
            listed => listed?,
        };
        for entry in listed {
            let entry = entry?;
            let meta = match entry.metadata() {
                Err(error) if is_gone(&error) => continue,
                meta => meta?,
            };
            files += 1;
            bytes += meta.blocks() * 512;
            if meta.is_dir() {
                folders.push(entry.path());
            }
            if bytes > limit || (meta.is_file() && meta.len() >= limit) {
                return Ok(Some(Exit::OutputTooLarge));
            }
            if files > MOST_FILES {
                return Ok(Some(Exit::TooManyFiles));
            }
        }
    }
    Ok(None)
}

/// Whether the program removed or replaced something while it was looked at.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
