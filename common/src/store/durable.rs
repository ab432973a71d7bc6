//! Files that appear whole or not at all: written beside, synced, linked to their name, and the directory synced.
//!
//! A name that exists is never written again: the link decides who was first, on every host and after every crash.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{StoreError, io_error};

/// What became of the wish to create a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// It is there now, by this call.
    Created,
    /// It was there before; nothing was changed.
    Exists,
}

/// Creates `path` with this body. `beside` is a directory on the same file system for the unfinished file.
pub fn create(path: &Path, beside: &Path, body: &[u8]) -> Result<Commit, StoreError> {
    if path.exists() {
        return exists(path);
    }
    let unfinished = Unfinished::write(beside, body)?;
    link(&unfinished.0, path)
}

/// Links a prepared file to its final name: makes it read-only, syncs it, links it, and syncs the directory. The
/// prepared name stays and is the caller's to remove.
pub fn commit_file(from: &Path, to: &Path) -> Result<Commit, StoreError> {
    if to.exists() {
        return exists(to);
    }
    let file = File::open(from).map_err(|source| io_error("open", from, source))?;
    file.set_permissions(Permissions::from_mode(0o444)).map_err(|source| io_error("protect", from, source))?;
    file.sync_all().map_err(|source| io_error("sync", from, source))?;
    link(from, to)
}

/// Makes `to` another name of `from`, in place of what `to` was: readers see the old file or the new one.
pub fn replace(from: &Path, to: &Path, beside: &Path) -> Result<(), StoreError> {
    let step = Unfinished(beside.join(format!("{}.replace", uuid::Uuid::new_v4())));
    fs::hard_link(from, &step.0).map_err(|source| io_error("link", &step.0, source))?;
    fs::rename(&step.0, to).map_err(|source| io_error("replace", to, source))?;
    sync_parent(to)
}

/// Makes a directory and those above it, durably; harmless when it is there.
pub fn make_dir(path: &Path) -> Result<(), StoreError> {
    match fs::create_dir(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_dir(path.parent().unwrap_or(Path::new("/")))?;
            match fs::create_dir(path) {
                Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                    Err(io_error("make directory", path, source))
                }
                Ok(()) | Err(_) => sync_parent(path),
            }
        }
        Err(source) => Err(io_error("make directory", path, source)),
    }
}

fn link(from: &Path, to: &Path) -> Result<Commit, StoreError> {
    let mut linked = fs::hard_link(from, to);
    if matches!(&linked, Err(error) if error.kind() == io::ErrorKind::NotFound) {
        make_dir(to.parent().unwrap_or(Path::new("/")))?;
        linked = fs::hard_link(from, to);
    }
    match linked {
        Ok(()) => sync_parent(to).map(|()| Commit::Created),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => exists(to),
        Err(source) => Err(io_error("link", to, source)),
    }
}

/// The name was made by somebody else, who may not have synced the directory yet: the caller builds on it, so do it here.
fn exists(path: &Path) -> Result<Commit, StoreError> {
    sync_parent(path).map(|()| Commit::Exists)
}

fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| io_error("sync directory", parent, source))
}

/// A file that nobody sees yet; removed when it goes out of scope, whatever happened.
pub(super) struct Unfinished(pub(super) PathBuf);

impl Unfinished {
    fn write(beside: &Path, body: &[u8]) -> Result<Self, StoreError> {
        let this = Self(beside.join(format!("{}.new", uuid::Uuid::new_v4())));
        let path = &this.0;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(path)
            .map_err(|source| io_error("create", path, source))?;
        file.write_all(body).map_err(|source| io_error("write", path, source))?;
        file.sync_all().map_err(|source| io_error("sync", path, source))?;
        Ok(this)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
