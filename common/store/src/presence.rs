//! Whether a process lives: it holds a lock on a file in its scratch directory, which the operating system
//! lets go of when the process dies, however it dies and whatever process numbers mean in its container.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

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
