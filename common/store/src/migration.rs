//! Stores of an older format, brought forward: `sas init` does it, while nothing else uses the store.
//!
//! Format 1 had settled stars as lines of JSON, and neither marks of open runs and pending events nor an index of runs. What
//! it had stays; what is missing is added by first link, and `store.json` is replaced last. Cut short, it is done again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::durable::{self, Unfinished};
use super::runs::{SettledStar, StarEnd};
use super::{
    DIRECTORIES, STORE_FORMAT, Store, StoreError, StoreFile, io_error, names_in, numbered, paths, read_json, to_json,
};
use domain::id::{Generation, Key, ModuleIndex, RunId, StarIndex};

/// What was done to a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BroughtForward {
    /// The format that it had.
    pub from: u32,
    /// Its runs.
    pub runs: usize,
    /// Batches of settled stars that were written in the new form, by this call or one that was cut short.
    pub batches: usize,
    /// Old batches with lines that cannot be read: all others of theirs are there.
    pub damaged: Vec<PathBuf>,
}

impl fmt::Display for BroughtForward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, runs, batches, damaged } = self;
        write!(
            f,
            "brought from format {from} to {STORE_FORMAT}: {runs} runs indexed, {batches} batches of settled stars written \
             anew, the old ones stay"
        )?;
        let mut separator = "; lines that cannot be read were left out of";
        for path in damaged {
            write!(f, "{separator} {}", path.display())?;
            separator = ",";
        }
        Ok(())
    }
}

/// Brings the store in `root` to [`STORE_FORMAT`]; `None` when it has it, has a newer one, or there is no store.
pub fn bring_forward(root: &Path) -> Result<Option<BroughtForward>, StoreError> {
    let Ok(root) = root.canonicalize() else { return Ok(None) };
    let Ok(Some(file)) = read_json::<StoreFile>(&root.join(paths::STORE_FILE)) else { return Ok(None) };
    if file.format >= STORE_FORMAT {
        return Ok(None);
    }
    for directory in DIRECTORIES.into_iter().filter(|directory| *directory != "control/index") {
        durable::make_dir(&root.join(directory))?;
    }
    let store = Store { root, asks: crate::Asks::default() };
    let mut done = BroughtForward { from: file.format, ..BroughtForward::default() };
    for run in names_in(&store.at(paths::runs()))?.iter().filter_map(|name| name.parse().ok()) {
        rewrite_batches(&store, run, &mut done)?;
    }
    store.mark_pending_events()?;
    done.runs = store.index_all_runs()?;
    let body = to_json(&StoreFile { format: STORE_FORMAT, ..file });
    let now = Unfinished::write(&store.beside(), |file| file.write_all(&body))?;
    durable::replace(&now.0, &store.at(paths::STORE_FILE), &store.beside())?;
    Ok(Some(done))
}

/// Writes every batch of a run in the new form, under its number.
fn rewrite_batches(store: &Store, run: RunId, done: &mut BroughtForward) -> Result<(), StoreError> {
    let folder = store.at(paths::settled(run));
    for (number, name) in numbered::list(&folder, "jsonl")? {
        let path = folder.join(name);
        let body = std::fs::read(&path).map_err(|source| io_error("read", &path, source))?;
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<Option<OldLine>> = lines.map(|line| serde_json::from_slice(line).ok()).collect();
        if lines.iter().any(Option::is_none) {
            done.damaged.push(path);
        }
        let stars: Vec<SettledStar> = lines.into_iter().flatten().map(OldLine::into_star).collect();
        store.create_batch(run, number, &stars)?;
        done.batches += 1;
    }
    Ok(())
}

/// A line of format 1.
#[derive(Deserialize)]
struct OldLine {
    star: StarIndex,
    #[serde(with = "hex")]
    row: Vec<u8>,
    #[serde(default)]
    keys: BTreeMap<ModuleIndex, Key>,
    #[serde(default)]
    generation: Option<Generation>,
    end: Option<StarEnd>,
    #[serde(default)]
    reason: Option<String>,
}

impl OldLine {
    fn into_star(self) -> SettledStar {
        let Self { star, row, keys, generation, end, reason } = self;
        SettledStar { star, row, keys, generation, end, reason, fingerprint: None }
    }
}

#[cfg(test)]
mod tests;
