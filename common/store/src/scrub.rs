//! All committed files of the store, part by part, and how far somebody is who looks at every one of them.
//!
//! A part is what is shared by all stars, or the stars whose ids begin alike. `control/scrubs/<pass>/<part>.json` is there when a
//! part was looked at; a pass is over when it is there for every part, and the next one begins.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::durable;
use super::{Store, StoreError, io_error, names_in, paths, to_json};
use domain::id::{Generation, Key, ModuleName, Quarter, StarId};

/// The part with what is the same for all stars.
pub const SHARED: &str = "shared";

/// A committed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedFile {
    /// Its path from the store's root.
    pub path: PathBuf,
    /// What it is.
    pub what: CommittedKind,
}

/// What a committed file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommittedKind {
    /// A version of a dataset.
    External,
    /// A module's result.
    Result {
        /// The star.
        star: StarId,
        /// The quarter.
        quarter: Quarter,
        /// The module.
        module: ModuleName,
        /// Its key.
        key: Key,
    },
    /// What a star ended with.
    Generation {
        /// The star.
        star: StarId,
        /// The quarter.
        quarter: Quarter,
        /// Its number.
        number: Generation,
    },
}

/// How far a pass over all parts is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubPass {
    /// Its number, counted from 1.
    pub number: u64,
    /// Parts that are still to be looked at, in order.
    pub to_come: Vec<String>,
    /// How many parts there are.
    pub parts: usize,
}

/// What is on record of a part that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartLookedAt {
    /// When.
    pub at: Timestamp,
    /// How many files.
    pub files: u64,
    /// Bytes of values that were read.
    pub bytes: u64,
    /// How many files were damaged.
    pub damaged: u64,
}

impl Store {
    /// The pass that goes on, or the next one; `again`: the next one in any case.
    pub fn scrub_pass(&self, again: bool) -> Result<ScrubPass, StoreError> {
        let mut parts = vec![SHARED.to_owned()];
        parts.extend(names_in(&self.at(paths::stars()))?.into_iter().filter(|name| name.len() == 2));
        let passes = names_in(&self.at(paths::scrubs()))?;
        let newest = passes.iter().filter_map(|name| name.parse::<u64>().ok()).max().unwrap_or(0);
        let done = names_in(&self.at(paths::scrub(newest)))?;
        let is_done = |part: &String| done.iter().any(|name| name.strip_suffix(".json") == Some(part.as_str()));
        let to_come: Vec<String> = parts.iter().filter(|part| !is_done(part)).cloned().collect();
        Ok(match newest == 0 || again || to_come.is_empty() {
            true => ScrubPass { number: newest + 1, parts: parts.len(), to_come: parts },
            false => ScrubPass { number: newest, parts: parts.len(), to_come },
        })
    }

    /// Writes down that a part was looked at in a pass. What is on record of all passes but this and the one before goes.
    pub fn mark_scrubbed(&self, pass: u64, part: &str, looked: &PartLookedAt) -> Result<(), StoreError> {
        let folder = self.at(paths::scrub(pass));
        durable::make_dir(&folder)?;
        durable::create(&folder.join(format!("{part}.json")), &self.beside(), &to_json(looked))?;
        for name in names_in(&self.at(paths::scrubs()))? {
            if name.parse::<u64>().is_ok_and(|other| other + 1 < pass) {
                let old = self.at(paths::scrubs()).join(name);
                std::fs::remove_dir_all(&old).map_err(|source| io_error("remove", &old, source))?;
            }
        }
        Ok(())
    }

    /// The stars of a part.
    pub fn stars_of_part(&self, part: &str) -> Result<Vec<StarId>, StoreError> {
        if part == SHARED {
            return Ok(Vec::new());
        }
        let names = names_in(&self.at(paths::stars().join(part)))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// What is the same for all stars.
    pub fn shared_files(&self) -> Result<Vec<CommittedFile>, StoreError> {
        self.deliveries_of(paths::shared())
    }

    /// Everything that is committed of a star. The star file is not: it is another name or a copy of a generation.
    pub fn files_of_star(&self, star: StarId) -> Result<Vec<CommittedFile>, StoreError> {
        let mut files = self.deliveries_of(paths::star_externals(star))?;
        for quarter in self.quarters(star)? {
            files.extend(self.deliveries_of(paths::externals(star, quarter))?);
            let folder = paths::products(star, quarter);
            for name in names_in(&self.at(&folder))? {
                let named = name.strip_suffix(".h5").and_then(|name| name.rsplit_once('-'));
                let Some((Ok(module), Ok(key))) = named.map(|(module, key)| (module.parse(), key.parse())) else {
                    continue;
                };
                let what = CommittedKind::Result { star, quarter, module, key };
                files.push(CommittedFile { path: folder.join(name), what });
            }
            for number in self.generations(star, quarter)? {
                let what = CommittedKind::Generation { star, quarter, number };
                files.push(CommittedFile { path: paths::generation(star, quarter, number), what });
            }
        }
        Ok(files)
    }

    /// Generations of a star that were moved aside as damaged and that nobody has made again: no other has come since.
    pub fn generations_aside(&self, star: StarId) -> Result<Vec<(Quarter, Generation, PathBuf)>, StoreError> {
        let mut found = Vec::new();
        for quarter in self.quarters(star)? {
            let folder = paths::generations(star, quarter);
            let names = names_in(&self.at(&folder))?;
            let number = |name: &String| name.split_once(".h5.damaged-")?.0.parse::<Generation>().ok();
            let aside = names.iter().filter_map(|name| Some((number(name)?, name))).max();
            let newest = crate::generations::numbers(&names).max();
            found.extend(
                aside.filter(|(number, _)| newest < Some(*number)).map(|(n, name)| (quarter, n, folder.join(name))),
            );
        }
        Ok(found)
    }

    fn deliveries_of(&self, folder: PathBuf) -> Result<Vec<CommittedFile>, StoreError> {
        let names = names_in(&self.at(&folder))?;
        let delivered = names.into_iter().filter(|name| paths::parse_external_name(name).is_some());
        Ok(delivered.map(|name| CommittedFile { path: folder.join(name), what: CommittedKind::External }).collect())
    }
}
