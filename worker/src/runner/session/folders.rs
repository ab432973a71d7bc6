//! What a request finds below `/sas`, and what becomes of it: `in/<n>` and `out/<n>` of its session, by the number of the
//! request. Numbers never come again, so that what is written late lands where nobody looks.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, statat};
use rustix::io::Errno;

use super::super::folder::{breach, is_its_own};
use super::super::{Exit, OUTPUT, RunnerError, Spec};
use super::SessionSpec;
use crate::removal;

/// A place to write that was made ahead, in the directory of a session.
const AHEAD: &str = "ahead";

/// The folders of one request.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    /// Where the program reads.
    read: PathBuf,
    /// Where it writes.
    written: PathBuf,
    /// All that it may write to.
    outputs: PathBuf,
    /// Where its place to write was made ahead, if it was.
    ahead: PathBuf,
    /// Where its input was laid out, and goes back to.
    input: PathBuf,
    /// Where its output goes.
    output: PathBuf,
    /// Bytes that it may write.
    most: u64,
}

/// Makes the folders of a session.
pub(super) fn make(spec: &SessionSpec) -> Result<(), RunnerError> {
    for folder in [&spec.folder, &spec.input(), &spec.output()] {
        // Never those above: where the worker's own directory is gone, so is the store.
        fs::create_dir(folder).map_err(failed("make", folder))?;
        fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(failed("protect", folder))?;
    }
    Ok(())
}

/// Makes the next request's place to write before it comes, where no program looks: making directories takes file systems longest.
/// What goes wrong is seen when it is needed.
pub(super) fn make_ahead(spec: &SessionSpec, owner: Option<(u32, u32)>) {
    let _ = make_place(&spec.folder.join(AHEAD), owner);
}

/// Makes a place to write for a program of this user and group, where these are not this process's.
fn make_place(folder: &Path, owner: Option<(u32, u32)>) -> Result<(), RunnerError> {
    fs::create_dir(folder).map_err(failed("make", folder))?;
    fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(failed("protect", folder))?;
    if let Some((user, group)) = owner {
        chown(folder, Some(user), Some(group)).map_err(failed("give away", folder))?;
    }
    Ok(())
}

impl Folders {
    pub(super) fn of(session: &SessionSpec, number: u32, spec: &Spec) -> Self {
        let number = number.to_string();
        Self {
            read: session.input().join(&number),
            written: session.output().join(&number),
            outputs: session.output(),
            ahead: session.folder.join(AHEAD),
            input: spec.input.clone(),
            output: spec.output.clone(),
            most: spec.limits.output,
        }
    }

    /// Lets the program see its input, and gives it a place to write.
    pub(super) fn enter(&self, owner: Option<(u32, u32)>) -> Result<(), RunnerError> {
        if fs::rename(&self.ahead, &self.written).is_err() {
            make_place(&self.written, owner)?;
        }
        fs::rename(&self.input, &self.read).map_err(failed("move", &self.input))
    }

    /// Takes both from under the names that it knows. What it made it may still have open: whoever judges it takes a copy. Says
    /// in which way it broke its limits, where it ended by itself.
    pub(super) fn leave(&self, exit: Exit) -> Result<Option<Exit>, RunnerError> {
        // Before all else: whatever fails below, the input is where it was.
        fs::rename(&self.read, &self.input).map_err(failed("move", &self.read))?;
        let left = match exit {
            Exit::Code(_) | Exit::Signal(_) | Exit::KilledFromOutside => match breach(&self.outputs, self.most)? {
                None if exit == Exit::Code(0) => self.take()?,
                breach => breach,
            },
            Exit::OutOfMemory
            | Exit::TimeLimit
            | Exit::OutputTooLarge
            | Exit::TooManyFiles
            | Exit::OutputHidden
            | Exit::NoSpace
            | Exit::NoAnswer
            | Exit::Cancelled => None,
        };
        self.clear();
        Ok(left)
    }

    /// Moves the output, where it and its directory are what they must be. What the program puts in their place at this moment is
    /// found by whoever judges it.
    fn take(&self) -> Result<Option<Exit>, RunnerError> {
        match self.move_output() {
            Ok(is_moved) => Ok((!is_moved).then_some(Exit::OutputHidden)),
            // What it did to its own directory is not the platform's trouble.
            Err(error) if is_its_own(&error, &self.outputs) => Ok(Some(Exit::OutputHidden)),
            Err(error) => Err(failed("move", &self.written)(error)),
        }
    }

    /// Whether the output could be moved: something else than a file is left where it is.
    fn move_output(&self) -> io::Result<bool> {
        // One that is locked cannot be moved.
        let folder = removal::unlocked(&self.written)?;
        match statat(&folder, OUTPUT, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(facts) if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile => return Ok(false),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        fs::rename(&self.written, &self.output).map(|()| true)
    }

    /// Removes whatever is where the program may write.
    fn clear(&self) {
        let Ok(entries) = self.outputs.read_dir() else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let removed = match entry.file_type() {
                Ok(kind) if kind.is_dir() => removal::remove(&path),
                Ok(_) | Err(_) => fs::remove_file(&path),
            };
            if let Err(error) = removed {
                tracing::warn!(path = %path.display(), %error, "what a request left stays behind until its session ends");
            }
        }
    }
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> RunnerError + use<'a> {
    move |source| RunnerError::Directory { doing, path: path.to_owned(), source }
}
