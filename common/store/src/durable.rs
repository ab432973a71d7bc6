//! Files that appear whole or not at all: written beside, synced, linked to their name, and the directory synced.
//!
//! A name that exists is never written again: the link decides who was first, on every host and after every crash.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::absence::{found, is_absent};
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
    create_with(path, beside, |file| file.write_all(body))
}

/// As [`create`], with a body that is written piece by piece.
pub(super) fn create_with(
    path: &Path,
    beside: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Commit, StoreError> {
    if path.exists() {
        return exists(path);
    }
    let unfinished = Unfinished::write(beside, write)?;
    link(&unfinished.0, path)
}

/// Links a prepared file to its final name: makes it read-only, syncs it, links it, and syncs the directory. The
/// prepared name stays and is the caller's to remove.
pub fn commit_file(from: &Path, to: &Path) -> Result<Commit, StoreError> {
    if to.exists() {
        return exists(to);
    }
    seal(from)?;
    link(from, to)
}

/// Makes a prepared file read-only, and syncs it.
pub fn seal(path: &Path) -> Result<(), StoreError> {
    let file = File::open(path).map_err(|source| io_error("open", path, source))?;
    file.set_permissions(Permissions::from_mode(0o444)).map_err(|source| io_error("protect", path, source))?;
    file.sync_all().map_err(|source| io_error("sync", path, source))
}

/// Makes `to` another name of `from`, in place of what `to` was: readers see the old file or the new one.
pub fn replace(from: &Path, to: &Path, beside: &Path) -> Result<(), StoreError> {
    let step = Unfinished(beside.join(format!("{}.replace", uuid::Uuid::new_v4())));
    fs::hard_link(from, &step.0).map_err(|source| io_error("link", &step.0, source))?;
    fs::rename(&step.0, to).map_err(|source| io_error("replace", to, source))?;
    sync_parent(to)
}

/// The number of the file that has this name; `None` when there is none. [`set_aside`] takes it.
pub fn inode(path: &Path) -> Result<Option<u64>, StoreError> {
    Ok(found("look at", path, || fs::metadata(path))?.map(|facts| facts.ino()))
}

/// Takes a committed file that cannot be read any more out of the way, so that its result can be made again: it becomes
/// `<name>.damaged-<uuid>` beside its place, for whoever wants to know what befell it. Returns that path.
///
/// A committed file never changes (S1), and this one keeps its bytes; only its name is free again. It must have been
/// found damaged more than once, on a store that answers. `seen` is the file that was found so: one that somebody else
/// put in its place meanwhile stays, and so does one that is gone; then `None`.
pub fn set_aside(path: &Path, seen: u64) -> Result<Option<PathBuf>, StoreError> {
    if inode(path)? != Some(seen) {
        return Ok(None);
    }
    let aside = aside_of(path);
    match fs::rename(path, &aside) {
        Ok(()) => sync_parent(path).map(|()| Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("set aside", path, source)),
    }
}

/// The same, and at the same moment another file takes its place, with a body that is told where the bytes are: its name is never
/// free. `beside` is a directory on the same file system for the unfinished file.
pub fn set_aside_leaving(
    path: &Path,
    seen: u64,
    beside: &Path,
    body: impl FnOnce(&Path) -> Vec<u8>,
) -> Result<Option<PathBuf>, StoreError> {
    if inode(path)? != Some(seen) {
        return Ok(None);
    }
    let aside = aside_of(path);
    let left = Unfinished::write(beside, |file| file.write_all(&body(&aside)))?;
    link(path, &aside)?;
    fs::rename(&left.0, path).map_err(|source| io_error("set aside", path, source))?;
    sync_parent(path).map(|()| Some(aside))
}

fn aside_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".damaged-{}", uuid::Uuid::new_v4()));
    path.with_file_name(name)
}

/// Makes a directory of a store and those above it, durably; harmless when it is there. Where the store is away nothing is made.
pub fn make_dir(path: &Path) -> Result<(), StoreError> {
    make(path, &is_absent)
}

/// The same for a store that is just being made.
pub(super) fn make_first_dir(path: &Path) -> Result<(), StoreError> {
    make(path, &|_| Ok(true))
}

fn make(path: &Path, is_absent: &dyn Fn(&Path) -> Result<bool, StoreError>) -> Result<(), StoreError> {
    let mut made = fs::create_dir(path);
    if matches!(&made, Err(error) if error.kind() == io::ErrorKind::NotFound) {
        let above = path.parent().unwrap_or(Path::new("/"));
        if is_absent(above)? {
            make(above, is_absent)?;
        }
        made = fs::create_dir(path);
    }
    match made {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(io_error("make directory", path, source)),
    }
}

/// Removes a file; harmless when it is gone.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, source)),
        Ok(()) | Err(_) => Ok(()),
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
    pub(super) fn write(
        beside: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Self, StoreError> {
        let this = Self(beside.join(format!("{}.new", uuid::Uuid::new_v4())));
        let path = &this.0;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(path)
            .map_err(|source| io_error("create", path, source))?;
        write(&mut file).map_err(|source| io_error("write", path, source))?;
        file.sync_all().map_err(|source| io_error("sync", path, source))?;
        Ok(this)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
