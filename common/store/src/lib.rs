//! The HDF5 store: every product, event, run and decision, on one file system that all hosts share.
//!
//! What is here is created whole and never changed (S1); names decide who was first. The calls block on the disk: async
//! code asks through [`Store::ask`]. Nothing here parses HDF5: that happens in the child process of [`agent`] only.

mod absence;
pub mod agent;
mod announced;
mod ask;
pub mod audit;
mod budget;
pub mod course;
pub mod crash;
pub mod digest;
pub mod drains;
pub mod durable;
mod epochs;
pub mod events;
pub mod externals;
pub mod failures;
mod firings;
pub mod generations;
mod h5;
pub mod holds;
pub mod ingest;
pub mod migration;
pub mod modes;
mod nudges;
mod numbered;
pub mod paths;
pub mod presence;
pub mod refusals;
pub mod runs;
pub mod scratch;
pub mod scrub;
mod sequence;
pub mod space;
pub mod star_lists;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub use absence::is_there;
use domain::error::chain;
pub use durable::Commit;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The layout that this code reads and writes; a store of another version is refused.
pub const STORE_FORMAT: u32 = 2;

/// What a new store has.
const DIRECTORIES: [&str; 11] = [
    "shared",
    "stars",
    "events",
    "runs",
    "control/sequence",
    "control/open",
    "control/pending",
    "control/announced",
    "control/refused",
    "control/index",
    "scratch",
];

/// A store, by its root directory. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
    asks: Asks,
}

/// Where it is asked from async code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Asks {
    /// On threads that may wait for a disk.
    #[default]
    Aside,
    /// On the thread of who asks.
    Here,
}

/// Why the store could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no store in this directory.
    #[error("`{}` is not a store: it has no readable `store.json` (make one with `sas init`)", .0.display())]
    NotAStore(PathBuf),
    /// The store is away, or was never there: nobody can tell what it holds.
    #[error("`{}` is in no store now: is the store's file system mounted?", .0.display())]
    Away(PathBuf),
    /// The store was made by another version of this program.
    #[error("store `{}` has format {found}, this program reads format {STORE_FORMAT}{}", .root.display(), advice(*found))]
    Format {
        /// Root of the store.
        root: PathBuf,
        /// The format that its `store.json` names.
        found: u32,
    },
    /// The file system cannot hold a store.
    #[error("store `{}` cannot be used: {reason}", .root.display())]
    Unusable {
        /// Root of the store.
        root: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The operating system said no.
    #[error("failed to {doing} `{}`", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of the store does not hold what this program writes.
    #[error("`{}` is damaged: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of the store is of a later format than this program reads.
    #[error("`{}` was made by a newer version of this program (format {found}, this one reads {reads}): update it", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format that it names.
        found: u32,
        /// The newest format of such files that this program reads.
        reads: u32,
    },
    /// What was asked for is not in the store.
    #[error("{what} is not in the store")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// A file was asked for by a name that leads out of the store, or is no name of the layout.
    #[error("{name:?} is not a path of the store's layout")]
    BadPath {
        /// The name.
        name: String,
    },
}

/// What to do about a store of another format.
fn advice(found: u32) -> &'static str {
    if found < STORE_FORMAT {
        ": stop what uses it, then run `sas init` to bring it forward"
    } else {
        ": a newer program made it, use that"
    }
}

/// What `store.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct StoreFile {
    format: u32,
    created: jiff::Timestamp,
}

/// The format that a JSON file names; those that name none are of the first.
#[derive(Debug, Deserialize)]
struct Stamp {
    #[serde(default)]
    format: Option<u32>,
}

impl StoreError {
    /// Whether this one file is at fault, and stays so: it is damaged, of a newer version, or of a user who lets nobody read it.
    pub fn is_of_file(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Newer { .. })
            || matches!(self, Self::Io { source, .. } if is_for_good(source))
    }

    /// Whether the store may answer otherwise by itself: it is read-only, full or away.
    pub fn may_pass(&self) -> bool {
        let Self::Io { source, .. } = self else { return matches!(self, Self::Away(_)) };
        matches!(
            source.kind(),
            ErrorKind::ReadOnlyFilesystem
                | ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::StaleNetworkFileHandle
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NotConnected
                | ErrorKind::TimedOut
        )
    }
}

impl Store {
    /// Makes a store in `root`, or opens the one that is there.
    pub fn init(root: &Path) -> Result<Self, StoreError> {
        for directory in DIRECTORIES {
            durable::make_first_dir(&root.join(directory))?;
        }
        let body = to_json(&StoreFile { format: STORE_FORMAT, created: jiff::Timestamp::now() });
        durable::create(&root.join(paths::STORE_FILE), &root.join(paths::scratch()), &body)?;
        Self::open(root)
    }

    /// Opens the store in `root`.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let not_a_store = || StoreError::NotAStore(root.to_owned());
        let root = root.canonicalize().map_err(|_| not_a_store())?;
        if root.to_str().is_none() {
            return Err(StoreError::Unusable { root, reason: "its path is not UTF-8".to_owned() });
        }
        let body = std::fs::read(root.join(paths::STORE_FILE)).map_err(|_| not_a_store())?;
        // The format first: what else a later one holds is not known here.
        let stamp: Stamp = serde_json::from_slice(&body).map_err(|_| not_a_store())?;
        match stamp.format {
            Some(STORE_FORMAT) => {}
            Some(found) => return Err(StoreError::Format { root, found }),
            None => return Err(not_a_store()),
        }
        let _: StoreFile = serde_json::from_slice(&body).map_err(|_| not_a_store())?;
        Ok(Self { root, asks: Asks::default() })
    }

    /// Makes the directories below `control` that a store of an older version of this program lacks; whoever serves the store owns
    /// them then. In the place of a store that went away nothing is made.
    pub fn complete(&self) -> Result<(), StoreError> {
        for directory in DIRECTORIES.iter().filter(|directory| directory.starts_with("control/")) {
            let path = self.at(directory);
            match std::fs::create_dir(&path) {
                Err(source) if source.kind() != ErrorKind::AlreadyExists => {
                    return Err(io_error("make directory", &path, source));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Its root directory, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The absolute path of a path relative to the root, as [`paths`] composes them.
    pub fn at(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Checks that this host can write to the store and that its file system has hard links and durable directories.
    pub fn probe(&self) -> Result<(), StoreError> {
        let unusable = |reason: String| StoreError::Unusable { root: self.root.clone(), reason };
        let scratch = self.scratch("probe")?;
        let target = scratch.join(uuid::Uuid::new_v4().to_string());
        let made = durable::create(&target, &scratch, b"probe").map_err(|error| {
            if matches!(&error, StoreError::Io { doing: "link", .. }) && !error.may_pass() {
                return unusable(format!("its file system has no hard links: {}", chain(&error)));
            }
            error
        })?;
        let again = durable::create(&target, &scratch, b"probe again")?;
        std::fs::remove_file(&target).map_err(|source| io_error("remove", &target, source))?;
        if (made, again) == (Commit::Created, Commit::Exists) {
            Ok(())
        } else {
            Err(unusable("links on its file system do not exclude each other".to_owned()))
        }
    }

    /// A private working directory on the store's file system, so that what is made there can be linked into place. Made
    /// when it is not there; `owner` is a word without slashes (host, process and slot).
    pub fn scratch(&self, owner: &str) -> Result<PathBuf, StoreError> {
        if owner.is_empty() || owner.starts_with('.') || owner.contains(['/', '\0']) {
            return Err(StoreError::BadPath { name: owner.to_owned() });
        }
        let path = self.root.join(paths::scratch()).join(owner);
        match std::fs::create_dir(&path) {
            // Where a store is unmounted its directory is empty: nobody is to work in what the mount will hide.
            Err(error) if error.kind() == ErrorKind::NotFound => Err(StoreError::Away(path)),
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(StoreError::Io { doing: "make directory", path, source: error })
            }
            Ok(()) | Err(_) => Ok(path),
        }
    }

    /// The directory for files that are about to be linked into place.
    fn beside(&self) -> PathBuf {
        self.root.join(paths::scratch())
    }
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { doing, path: path.to_owned(), source }
}

/// Whether waiting does not mend an error of reading a file.
pub fn is_for_good(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    // What std has no stable kind for: too many links on the way, and a device or socket that nobody serves.
    let is_odd = matches!(Errno::from_io_error(error), Some(Errno::LOOP | Errno::NXIO));
    let kinds = [
        E::NotFound,
        E::NotADirectory,
        E::IsADirectory,
        E::InvalidData,
        E::InvalidInput,
        E::InvalidFilename,
        E::PermissionDenied,
    ];
    is_odd || kinds.contains(&error.kind())
}

/// Pretty JSON with a line end, as operators read it.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut body = serde_json::to_vec_pretty(value).expect("records have string keys");
    body.push(b'\n');
    body
}

/// Reads a JSON file of the store; `None` when it is not there, an error when the store is not. One that says that it is of a later format is not damaged.
fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let Some(body) = absence::found("read", path, || std::fs::read(path))? else { return Ok(None) };
    let path = path.to_owned();
    match serde_json::from_slice::<Stamp>(&body) {
        Ok(Stamp { format: Some(found) }) if found > STORE_FORMAT => {
            return Err(StoreError::Newer { path, found, reads: STORE_FORMAT });
        }
        Ok(_) | Err(_) => {}
    }
    serde_json::from_slice(&body).map(Some).map_err(|error| StoreError::Damaged { path, reason: error.to_string() })
}

/// Names in a directory of the store, sorted; none when it is not there, an error when the store is not.
fn names_in(path: &Path) -> Result<Vec<String>, StoreError> {
    let Some(entries) = absence::found("list", path, || std::fs::read_dir(path))? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| io_error("list", path, source))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
