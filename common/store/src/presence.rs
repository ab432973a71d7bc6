//! Whether a process lives: it holds a lock on a file in its scratch directory, which the operating system
//! lets go of when the process dies, however it dies and whatever process numbers mean in its container.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Name of the locked file.
const FILE: &str = "alive";

/// A process' sign of life; it ends when this is dropped.
#[derive(Debug)]
pub struct SignOfLife {
    _locked: File,
}

impl SignOfLife {
    /// Shows that the process whose scratch directory this is lives. The file appears locked: nobody can see it dead.
    pub fn show(scratch: &Path) -> io::Result<Self> {
        let unseen = scratch.join(format!("{FILE}.{}", uuid::Uuid::new_v4()));
        let file = File::create_new(&unseen)?;
        file.try_lock()?;
        let shown = std::fs::hard_link(&unseen, scratch.join(FILE));
        std::fs::remove_file(&unseen)?;
        shown.map(|()| Self { _locked: file })
    }
}

/// Whether this is the scratch directory of a process that showed itself, dead or alive.
pub fn was_shown(scratch: &Path) -> bool {
    scratch.join(FILE).is_file()
}

/// How old a scratch directory may be whose process has not shown itself yet, which takes it a moment.
const YOUNG: Duration = Duration::from_secs(600);

/// Whether the process whose scratch directory this is was killed between making it and showing itself.
pub fn never_came(scratch: &Path) -> bool {
    !was_shown(scratch) && is_old(scratch)
}

/// Whether nobody has changed a file or directory for so long that who began it is dead.
pub(crate) fn is_old(path: &Path) -> bool {
    let age = |facts: Metadata| facts.modified().ok()?.elapsed().ok();
    path.metadata().ok().and_then(age).is_some_and(|age| age > YOUNG)
}

/// Whether the process whose scratch directory this is lives. Where that cannot be told it does.
pub fn lives(scratch: &Path) -> bool {
    match OpenOptions::new().write(true).open(scratch.join(FILE)) {
        Ok(file) => file.try_lock().is_err(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_does_not_show_itself_for_long_never_comes() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(!never_came(scratch.path()), "it may come any moment");
        let made = File::open(scratch.path()).unwrap();
        made.set_modified(std::time::SystemTime::now() - 2 * YOUNG).unwrap();
        assert!(never_came(scratch.path()));
        let presence = SignOfLife::show(scratch.path()).unwrap();
        made.set_modified(std::time::SystemTime::now() - 2 * YOUNG).unwrap();
        drop(presence);
        assert!(!never_came(scratch.path()), "it came, and died");
    }

    #[test]
    fn a_process_lives_as_long_as_it_holds_its_lock() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(!lives(scratch.path()), "nobody was ever there");
        let presence = SignOfLife::show(scratch.path()).unwrap();
        assert!(lives(scratch.path()));
        assert!(SignOfLife::show(scratch.path()).is_err(), "the name is taken");
        drop(presence);
        assert!(!lives(scratch.path()));
    }
}
