//! Working directories on the store's file system, one a process: locked while it lives, gone when it ends. What a process
//! that died has left, the next one of its program on its host removes, or a worker there.

use std::fs;
use std::path::{Path, PathBuf};

use super::presence::{self, SignOfLife};
use super::{Store, StoreError, io_error, names_in, paths};

/// A working directory that no other process has; it is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _presence: SignOfLife,
}

impl Scratch {
    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Store {
    /// A working directory for this process alone; `program` is a word without slashes. Process numbers mean nothing to
    /// other hosts and containers that share the store, so the name has a random part.
    pub fn own_scratch(&self, program: &str) -> Result<Scratch, StoreError> {
        let host = gethostname::gethostname().to_string_lossy().replace('/', "-");
        let family = format!("{host}-{program}-");
        self.sweep_scratch(&family)?;
        let path = self.scratch(&format!("{family}{}", uuid::Uuid::new_v4()))?;
        match SignOfLife::show(&path) {
            Ok(presence) => Ok(Scratch { path, _presence: presence }),
            Err(source) => Err(io_error("lock", &path, source)),
        }
    }

    /// Removes what dead processes of a family left, and files that whoever began them never ended.
    fn sweep_scratch(&self, family: &str) -> Result<(), StoreError> {
        let top = self.at(paths::scratch());
        for name in names_in(&top)?.iter().filter(|name| name.starts_with(family)) {
            let path = top.join(name);
            let is_dead = presence::was_shown(&path) && !presence::lives(&path);
            if is_dead || presence::never_came(&path) {
                let _ = fs::remove_dir_all(&path);
            }
        }
        for path in names_in(&top)?.iter().filter(|name| name.ends_with(".new")).map(|name| top.join(name)) {
            if presence::is_old(&path) {
                let _ = fs::remove_file(&path);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_is_gone_at_the_end_and_what_died_is_removed_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path()).unwrap();
        let (one, two) = (store.own_scratch("test").unwrap(), store.own_scratch("test").unwrap());
        assert_ne!(one.path(), two.path());
        fs::write(one.path().join("file"), "content").unwrap();
        let dead = one.path().with_file_name(format!("{}-dead", one.path().file_name().unwrap().display()));
        fs::create_dir(&dead).unwrap();
        drop(SignOfLife::show(&dead).unwrap());
        let gone = one.path().to_owned();
        drop(one);
        assert!(!gone.exists());
        assert!(dead.exists());
        let three = store.own_scratch("test").unwrap();
        assert!(!dead.exists(), "nobody holds its lock");
        assert!(two.path().exists() && three.path().exists(), "these live");
    }

    #[test]
    fn files_that_nobody_ends_are_removed_after_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path()).unwrap();
        let files = ["old.new", "young.new", "old"].map(|name| store.at(paths::scratch()).join(name));
        fs::create_dir_all(store.at(paths::scratch())).unwrap();
        files.iter().for_each(|file| fs::write(file, "half").unwrap());
        for file in [&files[0], &files[2]] {
            let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
            fs::File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
        }
        let _scratch = store.own_scratch("test").unwrap();
        assert_eq!(files.map(|file| file.exists()), [false, true, true]);
    }
}
