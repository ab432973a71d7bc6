//! Removing what programs left, whatever they left: directories that are locked, or nested deeper than paths, stacks and
//! open files go. Nothing outside is touched, even where a program still runs and puts links in the place of directories.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmod, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Removes a directory with all that is in it; harmless where there is none, or where somebody else removes it, too.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match remove_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => Ok(()),
        removed => removed,
    }
}

fn remove_all(folder: &Path) -> io::Result<()> {
    let top = open(CWD, folder)?;
    loop {
        let mut raised = 0;
        for name in names(&top)? {
            match unlinkat(&top, &name, AtFlags::empty()) {
                Err(Errno::ISDIR) => raised += gone(remove_one(&top, &name))?,
                removed => gone(removed.map_err(io::Error::from))?,
            }
        }
        if raised == 0 {
            return fs::remove_dir(folder);
        }
    }
}

/// Removes a directory in `top`. Directories in it become directories in `top`, which never gets deeper by that; returns
/// how many.
fn remove_one(top: &OwnedFd, name: &CString) -> io::Result<usize> {
    let folder = open(top, name.as_c_str())?;
    let mut raised = 0;
    for inner in names(&folder)? {
        match unlinkat(&folder, &inner, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                gone(raise(&folder, &inner, top))?;
                raised += 1;
            }
            removed => gone(removed.map_err(io::Error::from))?,
        }
    }
    unlinkat(top, name, AtFlags::REMOVEDIR)?;
    Ok(raised)
}

fn raise(folder: &OwnedFd, inner: &CString, top: &OwnedFd) -> io::Result<()> {
    // One that is locked cannot be moved.
    open(folder, inner.as_c_str())?;
    Ok(renameat(folder, inner, top, uuid::Uuid::new_v4().to_string())?)
}

/// What is not there any more is what is wanted.
fn gone<T: Default>(removed: io::Result<T>) -> io::Result<T> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        removed => removed,
    }
}

/// Opens a directory, never a link to one, and lets us read it, write to it and move it.
pub(crate) fn unlocked(folder: &Path) -> io::Result<OwnedFd> {
    Ok(open(CWD, folder)?)
}

/// The same of one in another.
fn open(at: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = openat(at, name, flags | OFlags::PATH, Mode::empty())?;
    chmod(format!("/proc/self/fd/{}", path.as_raw_fd()), Mode::RWXU)?;
    openat(path, ".", flags | OFlags::RDONLY, Mode::empty())
}

fn names(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::mkdirat;

    use super::*;

    #[test]
    fn what_is_nested_deeper_than_any_path_goes_and_what_it_links_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, outside) = (dir.path().join("folder"), dir.path().join("outside"));
        fs::create_dir_all(folder.join("wide/a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        symlink(&outside, folder.join("wide/a/link")).unwrap();
        fs::write(folder.join("wide/file"), "").unwrap();
        for locked in ["wide/a/b", "wide/a", "wide"] {
            fs::set_permissions(folder.join(locked), fs::Permissions::from_mode(0o000)).unwrap();
        }
        let mut at = open(CWD, &folder).unwrap();
        for _ in 0..2_500 {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = openat(&at, "d", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        }
        remove(&folder).unwrap();
        assert!(!folder.exists() && outside.join("kept").exists());
        remove(&folder).unwrap();
    }
}
