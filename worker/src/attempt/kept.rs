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
    folders: Arc<Mutex<Vec<KeptFolder>>>,
}

struct KeptFolder {
    path: PathBuf,
    /// The parameters that are in it.
    parameters: Vec<u8>,
}

impl KeptFolders {
    /// None so far.
    pub(crate) fn new(place: PathBuf) -> Self {
        Self { place, folders: Arc::default() }
    }

    /// Keeps a directory with `in` and what is in that, these parameters among it; false where it stays.
    pub(super) fn keep(&self, folder: &Path, parameters: &[u8]) -> bool {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.place.join(folder.file_name().unwrap_or_default());
        let is_kept = folders.len() < MOST_KEPT && fs::rename(folder, &path).is_ok();
        if is_kept {
            folders.push(KeptFolder { path, parameters: parameters.to_owned() });
        }
        is_kept
    }

    /// Makes one of them `folder`, with these parameters where there is such a one; false where there is none at all.
    pub(super) fn take(&self, folder: &Path, parameters: &[u8]) -> bool {
        let kept = {
            let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
            match folders.iter().rposition(|kept| kept.parameters == parameters) {
                Some(at) => Some(folders.swap_remove(at)),
                None => folders.pop(),
            }
        };
        kept.is_some_and(|kept| fs::rename(kept.path, folder).is_ok())
    }
}
