//! Modes of files: what one program makes in a store the others must be able to read, and strangers must not write.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::umask;
use walkdir::WalkDir;

use crate::Store;

/// Files that are looked at most, besides those of stars.
const MOST: usize = 100_000;

/// Files that are looked at most in each folder of stars.
const MOST_OF_STARS: usize = 400;

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
    /// What strangers may write, and what this user or the owner of the store cannot use, of the files that say how the store and
    /// its runs stand, and of a sample of those of stars: a line each, at most so many.
    pub fn wrong_modes(&self, lines: usize) -> Vec<String> {
        let Ok(owner) = self.root().metadata() else { return Vec::new() };
        let folders = ["control", "events", "runs", "shared"].map(|name| self.at(name));
        let below = folders.iter().flat_map(|folder| WalkDir::new(folder).max_depth(4)).take(MOST);
        let stars = WalkDir::new(self.at("stars")).min_depth(1).max_depth(1).into_iter().flatten();
        let stars = stars.flat_map(|folder| WalkDir::new(folder.path()).max_depth(4).into_iter().take(MOST_OF_STARS));
        let entries = below.chain(WalkDir::new(self.at("stars")).max_depth(0)).chain(stars).map(|entry| match entry {
            Ok(entry) => wrong(entry.path(), &owner),
            // What went away meanwhile was not wrong.
            Err(error) if error.io_error().is_some_and(|error| error.kind() == ErrorKind::NotFound) => None,
            Err(error) => Some(error.to_string()),
        });
        std::iter::once(wrong(self.root(), &owner)).chain(entries).flatten().take(lines).collect()
    }
}

/// What is wrong with a file of a store whose root is `owner`'s.
fn wrong(path: &Path, owner: &Metadata) -> Option<String> {
    let facts = path.symlink_metadata().ok()?;
    let said = |what: &str, advice: &str| {
        let (mode, user, group) = (facts.mode() & 0o7777, facts.uid(), facts.gid());
        Some(format!("`{}` {what} (mode {mode:o}, user {user}, group {group}): {advice}", path.display()))
    };
    if facts.mode() & 0o002 != 0 && !facts.is_symlink() && !is_sticky(&facts) {
        return said("can be written by everybody", "`chmod o-w` it");
    }
    if facts.is_file() && File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
        return said("cannot be read by this user", "give it to the services' user or group, or `chmod g+r` it");
    }
    let (needs, what) = if facts.is_dir() { (0o7, "written to") } else { (0o4, "read") };
    let [is, of] = [owner, &facts].map(|facts| (facts.uid(), facts.gid()));
    if (facts.is_dir() || facts.is_file()) && rights(is, of, facts.mode()) & needs != needs {
        let what = format!("cannot be {what} by the owner of the store, user {} of group {}", is.0, is.1);
        return said(&what, "give it to that user, or let the group do so");
    }
    None
}

/// What a user with this group may do with a file of another user and group, as bits for reading, writing and entering. Whether
/// the user has other groups is not known: but for root's, it may be in all.
fn rights((user, group): (u32, u32), (owner, of): (u32, u32), mode: u32) -> u32 {
    let [to_owner, to_group, to_all] = [6, 3, 0].map(|shift| mode >> shift & 0o7);
    match (user, owner == user) {
        (0, _) => 0o7,
        (_, true) => to_owner,
        (_, false) if of == group => to_group,
        (_, false) if of == 0 => to_all,
        (_, false) => to_group | to_all,
    }
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
    fn the_owner_of_a_store_has_the_rights_of_its_user_or_group() {
        for (is, of, mode, expected) in [
            ((5, 5), (5, 9), 0o740, 0o7),
            ((5, 5), (5, 9), 0o077, 0o0),
            ((5, 5), (9, 5), 0o750, 0o5),
            ((5, 5), (0, 0), 0o755, 0o5),
            ((5, 5), (0, 0), 0o770, 0o0),
            ((5, 5), (9, 9), 0o770, 0o7),
            ((0, 0), (9, 9), 0o000, 0o7),
        ] {
            assert_eq!(rights(is, of, mode), expected, "{is:?} with {mode:o} of {of:?}");
        }
    }

    #[test]
    fn what_this_user_cannot_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let store = Store::init(&dir.path().join("store")).unwrap();
        let file = store.at("control/open/file");
        write(&file, "").unwrap();
        set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
        let named = std::thread::scope(|scope| {
            let look = scope.spawn(|| {
                // Nothing is closed to root.
                if rustix::process::getuid().is_root() {
                    rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(54_321)).unwrap();
                }
                store.wrong_modes(100)
            });
            look.join().unwrap()
        });
        let found = named.iter().find(|line| line.contains("/file`"));
        assert!(found.is_some_and(|line| line.contains("cannot be read by this user (mode 0, user")), "{named:?}");
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
