//! Whether a file of the store is not there, or the whole store is away: in the place of a file system that is not mounted there
//! is an empty directory, in which every file looks as if it never was.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags, open, statat};
use rustix::io::Errno;

use crate::{StoreError, io_error, paths};

/// Whether a path of a store is there. An error where its store is not.
pub fn is_there(path: &Path) -> Result<bool, StoreError> {
    Ok(found("look at", path, || path.metadata())?.is_some())
}

/// What is done with a path of a store that is there; `None` where it is not. An error where its store is not.
pub(crate) fn found<T>(
    doing: &'static str,
    path: &Path,
    mut with: impl FnMut() -> io::Result<T>,
) -> Result<Option<T>, StoreError> {
    loop {
        match with() {
            Ok(found) => return Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if is_absent(path)? {
                    return Ok(None);
                }
            }
            Err(source) => return Err(io_error(doing, path, source)),
        }
    }
}

/// Of a path that was not found, whether its store lacks it; `false` where it is found now. An error where the store is away.
pub(crate) fn is_absent(path: &Path) -> Result<bool, StoreError> {
    /// The root of the store that was found last: a path lies deep in it, and each directory above would have to be opened.
    static LAST: Mutex<Option<Arc<Path>>> = Mutex::new(None);
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(is_absent) =
        last.filter(|root| **root != *path).and_then(|root| is_absent_in(&root, path)).transpose()?
    {
        return Ok(is_absent);
    }
    for folder in path.ancestors().skip(1) {
        if let Some(is_absent) = is_absent_in(folder, path).transpose()? {
            *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.into());
            return Ok(is_absent);
        }
    }
    Err(StoreError::Away(path.to_owned()))
}

/// Whether the store with this root lacks the path; `None` where this is no root of a store, or not above the path.
fn is_absent_in(folder: &Path, path: &Path) -> Option<Result<bool, StoreError>> {
    let rest = path.strip_prefix(folder).ok()?;
    let failed = |of: &Path, error: Errno| Some(Err(io_error("look at", of, error.into())));
    // What is asked of one open directory is asked of one file system, whatever is mounted in its place meanwhile.
    let root = match open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT | Errno::NOTDIR) => return None,
        Err(error) => return failed(folder, error),
    };
    match statat(&root, paths::STORE_FILE, AtFlags::empty()) {
        Ok(_) => {}
        Err(Errno::NOENT) => return None,
        Err(error) => return failed(path, error),
    }
    match statat(&root, rest, AtFlags::empty()) {
        Ok(_) => Some(Ok(false)),
        Err(Errno::NOENT) => Some(Ok(true)),
        Err(error) => failed(path, error),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Store, durable};

    use super::*;

    #[test]
    fn what_is_not_in_a_store_is_absent_and_where_no_store_is_nobody_can_tell() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        let store = Store::init(&root).unwrap();
        let (here, nowhere) = (store.at(paths::STORE_FILE), store.at("runs/none/at/all.json"));
        assert!(is_there(&here).unwrap() && is_there(&store.at("runs")).unwrap());
        assert!(!is_there(&nowhere).unwrap() && is_absent(&nowhere).unwrap());
        assert!(!is_absent(&here).unwrap(), "it is there");
        // As `umount` leaves it.
        std::fs::rename(&root, dir.path().join("elsewhere")).unwrap();
        std::fs::create_dir(&root).unwrap();
        for path in [&here, &nowhere] {
            assert!(matches!(is_there(path), Err(StoreError::Away(_))), "{}", path.display());
        }
    }

    #[test]
    fn in_the_place_of_a_store_that_is_away_nothing_is_listed_or_read_as_if_it_never_was() {
        let dir = tempfile::tempdir().unwrap();
        let (star, quarter) = ("PLATO_00000000-0000-4000-8000-000000000001".parse().unwrap(), "Q003".parse().unwrap());
        let root = dir.path().join("store");
        let store = Store::init(&root).unwrap();
        let horizon = domain::id::Sequence(9);
        assert!(store.externals(star, quarter, horizon).unwrap().is_empty(), "none was delivered");
        std::fs::remove_dir_all(&root).unwrap();
        std::fs::create_dir(&root).unwrap();
        assert!(matches!(store.externals(star, quarter, horizon), Err(StoreError::Away(_))));
        assert!(matches!(store.undisposed_events(), Err(StoreError::Away(_))));
        assert!(matches!(durable::make_dir(&store.at("control/a/b")), Err(StoreError::Away(_))));
        assert_eq!(root.read_dir().unwrap().count(), 0, "nothing is made in its place");
        assert!(matches!(
            store.event("00000000-0000-4000-8000-000000000002".parse().unwrap()),
            Err(StoreError::Away(_))
        ));
        assert!(matches!(
            store.has_settled("00000000-0000-4000-8000-000000000003".parse().unwrap()),
            Err(StoreError::Away(_))
        ));
    }
}
