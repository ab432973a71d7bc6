//! Which files a delivery has: those that were named, in named directories, or on a list.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use store::Store;
use store::ingest::{Ingested, wrong};
use walkdir::WalkDir;

/// How the names of HDF5 files end.
const ENDINGS: [&str; 4] = ["h5", "hdf5", "hdf", "he5"];

/// Files to look at, and what is wrong with names that lead to none.
#[derive(Debug, Default)]
pub(crate) struct DeliveredFiles {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) wrong: Vec<Ingested>,
}

impl DeliveredFiles {
    /// The files, with those below directories, sorted.
    pub(crate) fn of(named: &[PathBuf]) -> Self {
        let mut delivery = Self::default();
        for path in named {
            if !path.is_dir() {
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
        let mut found = Vec::new();
        for entry in WalkDir::new(top).sort_by_file_name() {
            let entry = entry.map_err(|error| error.to_string())?;
            let is_hdf5 = entry.path().extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
            if is_hdf5 && entry.path().is_file() {
                found.push(entry.into_path());
            }
        }
        if found.is_empty() {
            return Err(format!("it has no file that ends in .{}", ENDINGS.join(", .")));
        }
        self.files.extend(found);
        Ok(())
    }
}

/// The paths on a list, one a line; `-` is standard input.
pub(crate) fn listed(list: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<String> {
        if list == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            return Ok(text);
        }
        std::fs::read_to_string(list)
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
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        for file in ["in/b/2.hdf5", "in/1.h5", "in/notes.txt", "alone.dat"] {
            std::fs::write(path(file), "").unwrap();
        }
        Store::init(&path("store")).unwrap();
        let named = ["in", "alone.dat", "empty", "store", "missing.h5"].map(path);
        let delivery = DeliveredFiles::of(&named);
        assert_eq!(delivery.files, ["in/1.h5", "in/b/2.hdf5", "alone.dat", "missing.h5"].map(path));
        let wrong: Vec<_> = delivery.wrong.iter().map(|wrong| wrong.files[0].clone()).collect();
        assert_eq!(wrong, ["empty", "store"].map(path));
    }

    #[test]
    fn a_list_has_a_path_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list");
        std::fs::write(&list, "a b.h5\n\nc.h5").unwrap();
        assert_eq!(listed(&list).unwrap(), [PathBuf::from("a b.h5"), PathBuf::from("c.h5")]);
        assert!(listed(&dir.path().join("none")).is_err());
    }
}
