//! What a request finds below `/sas`, and what becomes of it: `in/<n>` and `out/<n>` of its session, by the number of the
//! request. Numbers never come again, so that what is written late lands where nobody looks.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::super::folder::breach;
use super::super::{Exit, OUTPUT, RunnerError, Spec};
use super::SessionSpec;
use crate::removal;

/// The folders of one request.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    /// Where the program reads.
    read: PathBuf,
    /// Where it writes.
    written: PathBuf,
    /// All that it may write to.
    outputs: PathBuf,
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

impl Folders {
    pub(super) fn of(session: &SessionSpec, number: u32, spec: &Spec) -> Self {
        let number = number.to_string();
        Self {
            read: session.input().join(&number),
            written: session.output().join(&number),
            outputs: session.output(),
            input: spec.input.clone(),
            output: spec.output.clone(),
            most: spec.limits.output,
        }
    }

    /// Lets the program see its input, and gives it a place to write.
    pub(super) fn enter(&self, owner: Option<(u32, u32)>) -> Result<(), RunnerError> {
        fs::create_dir(&self.written).map_err(failed("make", &self.written))?;
        fs::set_permissions(&self.written, Permissions::from_mode(0o755)).map_err(failed("protect", &self.written))?;
        if let Some((user, group)) = owner {
            chown(&self.written, Some(user), Some(group)).map_err(failed("give away", &self.written))?;
        }
        fs::rename(&self.input, &self.read).map_err(failed("move", &self.input))
    }

    /// Takes both out of its reach. What it made is copied where it ended well: it may still have it open. Says in which way
    /// it broke its limits, where it ended by itself.
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

    /// Copies the output, following no links: they would lead out of what the program may read.
    fn take(&self) -> Result<Option<Exit>, RunnerError> {
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY | OFlags::NONBLOCK;
        let opened = openat(CWD, &self.written, flags | OFlags::DIRECTORY, Mode::empty())
            .and_then(|folder| openat(folder, OUTPUT, flags, Mode::empty()));
        let file = match opened {
            Ok(file) => File::from(file),
            // Nothing was written: whether that is right is for others to say.
            Err(Errno::NOENT) if self.written.is_dir() => return Ok(None),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::NXIO) => {
                return Ok(Some(Exit::OutputHidden));
            }
            Err(error) => return Err(failed("open", &self.written.join(OUTPUT))(error.into())),
        };
        if !file.metadata().map_err(failed("measure", &self.written))?.is_file() {
            return Ok(Some(Exit::OutputHidden));
        }
        let target = self.output.join(OUTPUT);
        let mut copy = File::create_new(&target).map_err(failed("make", &target))?;
        let copied = io::copy(&mut file.take(self.most), &mut copy).map_err(failed("copy to", &target))?;
        Ok((copied == self.most).then_some(Exit::OutputTooLarge))
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
