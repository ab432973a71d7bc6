//! Modes of files: what one program makes in a store the others must be able to read, and strangers must not write.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::umask;
use walkdir::WalkDir;

use crate::Store;

/// Files that are looked at most.
const MOST: usize = 100_000;

/// Lets what this process makes be read by its group, and be written by nobody outside it, whatever umask it was started with.
/// Comes before any thread begins.
pub fn fit_umask() {
    let before = umask(Mode::empty());
    umask(fit(before));
}

fn fit(mask: Mode) -> Mode {
    (mask | Mode::WOTH) - (Mode::RGRP | Mode::XGRP)
}

impl Store {
    /// What strangers may write, and what this user cannot read, of the files that say how the store and its runs stand: a line
    /// each, at most so many.
    pub fn wrong_modes(&self, lines: usize) -> Vec<String> {
        let folders = ["control", "events", "runs", "shared"].map(|name| self.at(name));
        let below = folders.iter().flat_map(|folder| WalkDir::new(folder).max_depth(4));
        let entries = below.take(MOST).map(|entry| match entry {
            Ok(entry) => wrong(entry.path()),
            // What went away meanwhile was not wrong.
            Err(error) if error.io_error().is_some_and(|error| error.kind() == ErrorKind::NotFound) => None,
            Err(error) => Some(error.to_string()),
        });
        std::iter::once(wrong(self.root())).chain(entries).flatten().take(lines).collect()
    }
}

fn wrong(path: &Path) -> Option<String> {
    let facts = path.symlink_metadata().ok()?;
    let said = |what: &str, advice: &str| {
        Some(format!("`{}` {what} (mode {:o}, user {}): {advice}", path.display(), facts.mode() & 0o7777, facts.uid()))
    };
    if facts.mode() & 0o002 != 0 && !facts.is_symlink() && !is_sticky(&facts) {
        return said("can be written by everybody", "`chmod o-w` it");
    }
    if facts.is_file() && File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
        return said("cannot be read by this user", "give it to the services' user or group, or `chmod g+r` it");
    }
    None
}

fn is_sticky(facts: &Metadata) -> bool {
    facts.is_dir() && facts.mode() & 0o1000 != 0
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_umask_lets_the_group_read_and_strangers_not_write() {
        for (before, after) in [(0o000, 0o002), (0o022, 0o022), (0o077, 0o027), (0o027, 0o027), (0o007, 0o007)] {
            assert_eq!(fit(Mode::from_bits_retain(before)).bits(), after, "{before:o}");
        }
    }

    #[test]
    fn what_everybody_may_write_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(&dir.path().join("store")).unwrap();
        set_permissions(store.root(), Permissions::from_mode(0o755)).unwrap();
        let file = store.at("control/open/file");
        write(&file, "").unwrap();
        set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        let named: Vec<_> = store.wrong_modes(10).into_iter().filter(|line| line.contains("/file`")).collect();
        assert!(
            matches!(named.as_slice(), [one] if one.contains("can be written by everybody (mode 666")),
            "{named:?}"
        );
    }
}
