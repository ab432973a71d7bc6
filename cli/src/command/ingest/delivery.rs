//! Which files a delivery has: those that were named, in named directories, or on a list.

use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use domain::text::shown;
use serde::Serialize;
use store::Store;
use store::ingest::{Ingested, wrong};
use walkdir::WalkDir;

/// How the names of HDF5 files end, in capitals or not.
const ENDINGS: [&str; 4] = ["h5", "hdf5", "hdf", "he5"];

/// What HDF5 files have at their beginning, or after 512, 1024, 2048 … bytes of something else.
const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// Up to where a signature is looked for: most programs that put something before it need far less.
const FARTHEST: u64 = 4096;

/// Files to look at, what is wrong with names that lead to none, and what directories have besides.
#[derive(Debug, Default)]
pub(crate) struct DeliveredFiles {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) wrong: Vec<Ingested>,
    /// What is in directories besides, and why it is passed over.
    pub(crate) passed_over: Vec<PassedOver>,
}

/// A file of a delivery that is not taken, without being wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PassedOver {
    /// The file.
    pub(crate) file: String,
    /// Why.
    pub(crate) reason: &'static str,
}

impl PassedOver {
    fn of(file: &Path, reason: &'static str) -> Self {
        Self { file: file.display().to_string(), reason }
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", shown(&self.file), self.reason)
    }
}

impl DeliveredFiles {
    /// The files, with those below directories, sorted.
    pub(crate) fn of(named: &[PathBuf]) -> Self {
        let mut delivery = Self::default();
        for path in named {
            if let Some(reason) = leads_nowhere(path) {
                delivery.wrong.push(wrong(path, None, reason));
            } else if !path.is_dir() {
                delivery.files.push(path.clone());
            } else if let Err(reason) = delivery.add_directory(path) {
                delivery.wrong.push(wrong(path, None, reason));
            }
        }
        delivery
    }

    fn add_directory(&mut self, top: &Path) -> Result<(), String> {
        if Store::open(top).is_ok() {
            return Err("it is a store, expected a directory of delivered files".to_owned());
        }
        let before = (self.files.len(), self.wrong.len());
        for entry in WalkDir::new(top).sort_by_file_name() {
            let path = match entry {
                Ok(entry) => entry.into_path(),
                Err(error) => {
                    let path = error.path().unwrap_or(top).to_owned();
                    self.wrong.push(wrong(&path, None, error.to_string()));
                    continue;
                }
            };
            if path.is_dir() {
                // Links to directories are not followed: they may lead in a circle.
                if path.is_symlink() {
                    self.passed_over.push(PassedOver::of(&path, "a link to a directory, which is not followed"));
                }
                continue;
            }
            if let Some(reason) = leads_nowhere(&path) {
                self.wrong.push(wrong(&path, None, reason));
                continue;
            }
            match fs::metadata(&path) {
                Err(error) => self.wrong.push(wrong(&path, None, error.to_string())),
                Ok(facts) if facts.is_file() && (ends_like_hdf5(&path) || begins_like_hdf5(&path)) => {
                    self.files.push(path);
                }
                Ok(facts) if facts.is_file() => {
                    self.passed_over.push(PassedOver::of(&path, "no HDF5 file, by name or by content"));
                }
                Ok(_) => self.passed_over.push(PassedOver::of(&path, "no regular file")),
            }
        }
        if (self.files.len(), self.wrong.len()) == before {
            return Err("it has no HDF5 file, by name or by content".to_owned());
        }
        Ok(())
    }
}

/// That a path is a link to what is not there.
fn leads_nowhere(path: &Path) -> Option<String> {
    let error = fs::metadata(path).err()?;
    path.is_symlink().then(|| format!("it is a link that leads nowhere: {error}"))
}

fn ends_like_hdf5(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Whether it is HDF5 whatever it is called. One that cannot be read is not.
fn begins_like_hdf5(path: &Path) -> bool {
    let mut begins = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(FARTHEST + SIGNATURE.len() as u64).read_to_end(&mut begins));
    let at = |offset: &usize| begins.get(*offset..).is_some_and(|rest| rest.starts_with(&SIGNATURE));
    read.is_ok() && [0, 512, 1024, 2048, 4096].iter().any(at)
}

/// The paths on a list, one a line; `-` is standard input.
pub(crate) fn listed(list: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<String> {
        if list == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            return Ok(text);
        }
        fs::read_to_string(list)
    };
    let text = read().with_context(|| format!("failed to read the list `{}`", list.display()))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_the_hdf5_files_below_it_and_a_store_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["in/b", "empty"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        for file in ["in/b/2.hdf5", "in/1.H5", "in/notes.txt", "alone.dat"] {
            fs::write(path(file), "").unwrap();
        }
        fs::write(path("in/star.nc"), SIGNATURE).unwrap();
        fs::write(path("in/b/behind"), [&[b' '; 512][..], &SIGNATURE].concat()).unwrap();
        for link in ["in/link.h5", "link.h5"] {
            std::os::unix::fs::symlink("nowhere", path(link)).unwrap();
        }
        Store::init(&path("store")).unwrap();
        let named = ["in", "alone.dat", "empty", "store", "missing.h5", "link.h5"].map(path);
        let delivery = DeliveredFiles::of(&named);
        assert_eq!(
            delivery.files,
            ["in/1.H5", "in/b/2.hdf5", "in/b/behind", "in/star.nc", "alone.dat", "missing.h5"].map(path)
        );
        let passed_over: Vec<String> = delivery.passed_over.iter().map(ToString::to_string).collect();
        let notes = path("in/notes.txt").display().to_string();
        assert_eq!(passed_over, [notes + ": no HDF5 file, by name or by content"]);
        let wrong: Vec<_> = delivery.wrong.iter().map(|wrong| wrong.files[0].clone()).collect();
        assert_eq!(wrong, ["in/link.h5", "empty", "store", "link.h5"].map(path));
        for at in [0, 3] {
            let wrong = serde_json::to_string(&delivery.wrong[at]).unwrap();
            assert!(wrong.contains("it is a link that leads nowhere: No such file"), "{wrong}");
        }
    }

    #[test]
    fn a_list_has_a_path_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list");
        fs::write(&list, "a b.h5\n\nc.h5").unwrap();
        assert_eq!(listed(&list).unwrap(), [PathBuf::from("a b.h5"), PathBuf::from("c.h5")]);
        assert!(listed(&dir.path().join("none")).is_err());
    }
}
