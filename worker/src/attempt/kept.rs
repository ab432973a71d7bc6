//! Directories of attempts that are over for certain: the next ones take them under other names.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Directories that are kept at most; more attempts than these do not end at once.
const MOST_KEPT: usize = 64;

/// Directories of attempts that are over, for the next ones. Clones are the same.
#[derive(Clone)]
pub(crate) struct KeptFolders {
    /// Where they are, on the file system of the slots' directories; no agent can write there.
    place: PathBuf,
    names: Arc<Mutex<Vec<PathBuf>>>,
}

impl KeptFolders {
    /// None so far.
    pub(crate) fn new(place: PathBuf) -> Self {
        Self { place, names: Arc::default() }
    }

    /// Keeps a directory with `in` and what is in that; false where it stays.
    pub(super) fn keep(&self, folder: &Path) -> bool {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.place.join(folder.file_name().unwrap_or_default());
        let is_kept = names.len() < MOST_KEPT && fs::rename(folder, &kept).is_ok();
        if is_kept {
            names.push(kept);
        }
        is_kept
    }

    /// Makes one of them `folder`; false where there is none.
    pub(super) fn take(&self, folder: &Path) -> bool {
        let kept = self.names.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.is_some_and(|kept| fs::rename(kept, folder).is_ok())
    }
}
