//! Folders of numbered files: each number is given once, by first link, from 1 without a gap.

use std::path::{Path, PathBuf};

use super::durable::{self, Commit};
use super::{Store, StoreError, is_there, names_in};

impl Store {
    /// Creates the next numbered file of a folder; returns its number.
    pub(super) fn append(&self, folder: &Path, extension: &str, body: &[u8]) -> Result<u64, StoreError> {
        let mut number = last(folder, extension, 0)?;
        loop {
            number += 1;
            match durable::create(&path(folder, extension, number), &self.beside(), body)? {
                Commit::Created => return Ok(number),
                Commit::Exists => {}
            }
        }
    }
}

/// The file of a number.
pub(super) fn path(folder: &Path, extension: &str, number: u64) -> PathBuf {
    folder.join(format!("{number:06}.{extension}"))
}

/// The last number that was given, `known` being one of them or 0. Asks for few of them: a folder may have a hundred thousand.
pub(super) fn last(folder: &Path, extension: &str, known: u64) -> Result<u64, StoreError> {
    let is_there = |number: u64| is_there(&path(folder, extension, number));
    let (mut known, mut step) = (known, 1);
    while is_there(known + step)? {
        known += step;
        step *= 2;
    }
    while step > 1 {
        step /= 2;
        if is_there(known + step)? {
            known += step;
        }
    }
    Ok(known)
}

/// Files `<number>.<extension>` of a folder, in the order of their numbers; also of one with gaps.
pub(super) fn list(folder: &Path, extension: &str) -> Result<Vec<(u64, String)>, StoreError> {
    Ok(of_names(names_in(folder)?, extension))
}

/// Those of these names that are `<number>.<extension>`, in the order of their numbers.
pub(super) fn of_names(names: Vec<String>, extension: &str) -> Vec<(u64, String)> {
    let number = |name: &String| name.strip_suffix(extension)?.strip_suffix('.')?.parse().ok();
    let mut files: Vec<(u64, String)> =
        names.into_iter().filter_map(|name| number(&name).map(|number| (number, name))).collect();
    files.sort();
    files
}
