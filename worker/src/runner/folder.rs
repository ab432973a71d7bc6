//! What a program wrote, while it runs and after: how much, in how many files, and whether it can be seen at all.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::{Exit, MOST_FILES, RunnerError};

/// How often a running program's output is measured.
const EVERY: Duration = Duration::from_secs(1);

/// Errors that a program can bring about in its own directory; all others are the file system's.
const ITS_OWN: [Errno; 6] = [Errno::NOENT, Errno::NOTDIR, Errno::ACCESS, Errno::PERM, Errno::NAMETOOLONG, Errno::LOOP];

/// In which way a program broke the limits of its output directory `path`: `limit` bytes in all and in a file, and
/// [`MOST_FILES`].
pub(super) fn breach(path: &Path, limit: u64) -> Result<Option<Exit>, RunnerError> {
    match measure(path, limit) {
        // The worker's own directory around it is there: the file system is well.
        Err(error) if is_its_own(&error) && path.parent().is_some_and(|around| around.read_dir().is_ok()) => {
            Ok(Some(Exit::OutputHidden))
        }
        measured => {
            measured.map_err(|source| RunnerError::Directory { doing: "measure", path: path.to_owned(), source })
        }
    }
}

/// Returns when a running program breaks the limits of its output directory, with the way; never, when that does not
/// happen.
pub(super) async fn breaks_its_limits(path: &Path, limit: u64) -> Exit {
    loop {
        tokio::time::sleep(EVERY).await;
        let path = path.to_owned();
        let measured = tokio::task::spawn_blocking(move || breach(&path, limit)).await;
        // What the file system does not say now it is asked when the program has ended.
        if let Ok(Ok(Some(exit))) = measured {
            return exit;
        }
    }
}

fn is_its_own(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| ITS_OWN.contains(&error))
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
