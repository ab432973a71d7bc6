//! The size of what a program wrote, while it runs and after.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::RunnerError;

/// Most files and directories that a program may make in its output directory: only one file is kept.
const MOST_ENTRIES: u64 = 10_000;

/// How often a running program's output is measured.
const EVERY: Duration = Duration::from_secs(1);

/// Whether what is below `path` is more than `limit` bytes, or fills a file to the limit.
pub(super) fn is_too_large(path: &Path, limit: u64) -> Result<bool, RunnerError> {
    measure(path, limit).map_err(|source| RunnerError::Directory { doing: "measure", path: path.to_owned(), source })
}

/// Returns when what is below `path` is more than `limit` bytes; never, when that does not happen.
pub(super) async fn grows_too_large(path: &Path, limit: u64) {
    loop {
        tokio::time::sleep(EVERY).await;
        let path = path.to_owned();
        let measured = tokio::task::spawn_blocking(move || measure(&path, limit)).await;
        // What cannot be measured now is measured when the program has ended.
        if matches!(measured, Ok(Ok(true))) {
            return;
        }
    }
}

fn measure(path: &Path, limit: u64) -> io::Result<bool> {
    let (mut bytes, mut entries) = (0, 0);
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let listed = match std::fs::read_dir(&folder) {
            Ok(listed) => listed,
            Err(error) if folder != path && error.kind() == io::ErrorKind::NotFound => continue,
            // The program hides what is in it: it could be anything.
            Err(error) if folder != path && error.kind() == io::ErrorKind::PermissionDenied => return Ok(true),
            Err(error) => return Err(error),
        };
        for entry in listed {
            let entry = entry?;
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries += 1;
            bytes += meta.blocks() * 512;
            if meta.is_dir() {
                folders.push(entry.path());
            }
            if bytes > limit || entries > MOST_ENTRIES || (meta.is_file() && meta.len() >= limit) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
