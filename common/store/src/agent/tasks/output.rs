//! A module's output, taken out of its reach: what is checked, digested and committed is one copy, and nobody else's.
//!
//! A program that has ended may have left another that writes on, by a descriptor that it holds or by the file's name. So a
//! small output is read into memory at once, and of a large one that is in reach a copy is made, which alone is opened.

use std::fs::{self, File as Plain};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::check::violation;
use super::{AgentResult, SMALL, refuse};
use crate::agent::wire::*;
use crate::h5::{File, H5Error};
use domain::outcome::FailureKind;

/// What became of the wish to have the output.
pub(super) enum Taken {
    /// It is open, and will not change.
    File(File),
    /// There is none.
    Nothing,
    /// It is none that can be taken.
    Not(Violation),
}

/// Takes an output.
pub(super) fn take(seal: &Seal) -> AgentResult<Taken> {
    let file = match open(&seal.check.output) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Taken::Nothing),
        Err(error) => return Ok(unreadable(&error)),
    };
    let size = match file.metadata() {
        Ok(facts) if facts.is_file() => facts.size(),
        Ok(_) => return Ok(not(FailureKind::OutputCorrupt, "output.h5 is not a regular file".to_owned())),
        Err(error) => return Ok(unreadable(&error)),
    };
    let allowed = seal.check.limits.bytes;
    let most = allowed.saturating_add(allowed / 4 + (64 << 20));
    if size > most {
        let message = format!("output.h5 has {size} bytes, {allowed} bytes of values are allowed");
        return Ok(not(FailureKind::OutputTooLarge, message));
    }
    let opened = match (size <= SMALL, seal.is_in_reach) {
        (true, _) => in_memory(file, size, &seal.check.output),
        (false, true) => return copied(seal, file, most),
        (false, false) => Ok(File::open(&seal.check.output)),
    };
    Ok(match opened {
        Ok(opened) => taken(opened, &seal.check.output),
        Err(error) => unreadable(&error),
    })
}

/// Opens the file itself, whatever it is, and nothing that a link leads to, be it in the place of its directory.
fn open(output: &Path) -> io::Result<Plain> {
    let (folder, name) = (output.parent().unwrap_or(Path::new("/")), output.file_name().unwrap_or_default());
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(CWD, folder, flags | OFlags::DIRECTORY | OFlags::PATH, Mode::empty())?;
    // One that has no reader would block here.
    Ok(openat(folder, name, flags | OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?.into())
}

fn in_memory(file: Plain, size: u64, path: &Path) -> io::Result<Result<File, H5Error>> {
    let mut bytes = Vec::with_capacity(SMALL.min(size) as usize);
    file.take(SMALL).read_to_end(&mut bytes)?;
    Ok(File::of_bytes(&mut bytes, path))
}

/// Opens a copy; its name goes at once.
fn copied(seal: &Seal, file: Plain, most: u64) -> AgentResult<Taken> {
    let copy = seal.dest.with_extension("output");
    let unwritable = |error: io::Error| refuse(RefusalKind::Write, format!("`{}`: {error}", copy.display()));
    let mut to = Plain::create_new(&copy).map_err(unwritable)?;
    let written = io::copy(&mut file.take(most), &mut to);
    let opened = File::open(&copy);
    fs::remove_file(&copy).map_err(unwritable)?;
    written.map_err(unwritable)?;
    Ok(taken(opened, &copy))
}

fn taken(opened: Result<File, H5Error>, path: &Path) -> Taken {
    match opened {
        Ok(file) => Taken::File(file),
        Err(error) => {
            let message = format!("output.h5: {error}").replace(&format!("`{}`", path.display()), "it");
            not(FailureKind::OutputCorrupt, message)
        }
    }
}

fn unreadable(error: &io::Error) -> Taken {
    // What is a link, or hangs below one, says so.
    let is_link = error.raw_os_error() == Some(libc::ELOOP);
    let message = match is_link {
        true => "output.h5 is not a regular file".to_owned(),
        false => format!("output.h5 cannot be read: {error}"),
    };
    not(FailureKind::OutputCorrupt, message)
}

fn not(kind: FailureKind, message: String) -> Taken {
    Taken::Not(violation(kind, message))
}
