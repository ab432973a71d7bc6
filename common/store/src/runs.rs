//! Runs: what was fixed when they were accepted, what operators decided, how they ended.
//!
//! `run.json` is written last: a run is there when it is. Everything in the run's folder is made by first link, so two
//! coordinators that accept the same event make one run.

mod amendment;
mod stars;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use amendment::{Amendment, Amendments};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub use stars::StarList;

use super::durable::{self, Commit};
use super::{Store, StoreError, io_error, names_in, paths, read_json, to_json};
use domain::id::{EventId, Key, ModuleIndex, ModuleName, PipelineName, Quarter, RunId, StarId, StarIndex};
use domain::pipeline::{self, Mistakes, Pipeline};
use domain::run::TaskState;

/// What a run is; fixed when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// The event that started it.
    pub event: EventId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The pipeline's version.
    pub version: String,
    /// The quarter of its data.
    pub quarter: Quarter,
    /// Sequence number of its event: the newest versions of externals that it uses.
    pub horizon: u64,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// How many stars it has.
    pub stars: u32,
    /// The group that it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_group: Option<String>,
    /// Text of the pipeline file (`pipeline.toml`).
    #[serde(skip)]
    pub definition: String,
    /// Text of the data model (`products.toml`); empty when the pipeline has none.
    #[serde(skip)]
    pub data_model: String,
}

impl RunRecord {
    /// The pipeline as it was when the run was accepted, limited as the run is; the record must have its texts.
    pub fn load_pipeline(&self) -> Result<Pipeline, Mistakes> {
        let model = Some(self.data_model.as_str()).filter(|text| !text.is_empty());
        let pipeline = pipeline::load(&format!("pipeline.toml of run {}", self.run), &self.definition, model)?;
        Ok(match &self.only_group {
            Some(group) => pipeline.limited_to(group),
            None => pipeline,
        })
    }
}

/// What an operator decided about a run, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What.
    #[serde(flatten)]
    pub what: Decided,
}

/// What can be decided about a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decided {
    /// Nothing new is admitted or claimed.
    Pause,
    /// It goes on.
    Resume,
    /// It ends here.
    Cancel,
    /// Its weight in the choice of the next star.
    Priority {
        /// 1 or more.
        weight: u32,
    },
    /// Settled tasks are run again.
    Retry {
        /// Which.
        selection: Selection,
    },
    /// Tasks that have not started run another image.
    Amend {
        /// The new image of each of these modules.
        images: BTreeMap<ModuleName, Amendment>,
    },
}

/// Tasks of a run; what is not named is not narrowed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Selection {
    /// Of this module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleName>,
    /// Of this star.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub star: Option<StarId>,
    /// In this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TaskState>,
}

impl Selection {
    /// Whether a task in this state is meant. Without a state named, those that were lost, but not to a newer run: that has
    /// newer data.
    pub fn wants(&self, state: TaskState) -> bool {
        self.state.map_or(state.is_lost() && state != TaskState::Superseded, |wanted| wanted == state)
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// When.
    pub ended: Timestamp,
    /// How many of the operators' decisions were followed until then: a later retry opens the run again.
    pub decisions: u64,
    /// Tasks by module and state; states with none are left out.
    pub counts: BTreeMap<ModuleName, BTreeMap<TaskState, u64>>,
    /// Stars by how they ended; ends of no star are left out.
    pub stars: BTreeMap<StarEnd, u64>,
}

/// How a star ended in a run, the worst of its tasks deciding.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StarEnd {
    /// Every task succeeded or had nothing to do.
    Complete,
    /// A task was skipped since an external was not delivered.
    Incomplete,
    /// A task failed, or the platform could not run it.
    Failed,
    /// An operator cancelled the run before the star was done.
    Cancelled,
    /// A newer run took the star over.
    Superseded,
}

/// What a star ended with in a run: one line of a batch in `settled/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledStar {
    /// Which star.
    pub star: StarIndex,
    /// Its row, a byte per module.
    #[serde(with = "hex")]
    pub row: Vec<u8>,
    /// Keys of its results.
    #[serde(default)]
    pub keys: BTreeMap<ModuleIndex, Key>,
    /// Its generation; `None` when the run left the star file as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// How it ended; `None` when it was reopened since, so that what earlier lines say of it holds no more.
    pub end: Option<StarEnd>,
    /// Why it ended so, where its tasks do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Store {
    /// Writes a run down with its stars (in any order, each once). A run that is there keeps its record.
    pub fn create_run(&self, record: &RunRecord, stars: &[StarId]) -> Result<Commit, StoreError> {
        let folder = self.at(paths::run(record.run));
        let beside = self.beside();
        for part in ["images", "control", "settled", "end"] {
            durable::make_dir(&folder.join(part))?;
        }
        durable::create(&folder.join("stars.bin"), &beside, &stars::encode(stars))?;
        durable::create(&folder.join("pipeline.toml"), &beside, record.definition.as_bytes())?;
        durable::create(&folder.join("products.toml"), &beside, record.data_model.as_bytes())?;
        durable::create(&folder.join("run.json"), &beside, &to_json(record))
    }

    /// A run; `None` when it was never accepted.
    pub fn run(&self, run: RunId) -> Result<Option<RunRecord>, StoreError> {
        let folder = self.at(paths::run(run));
        let Some(mut record) = read_json::<RunRecord>(&folder.join("run.json"))? else { return Ok(None) };
        record.definition = read_text(&folder.join("pipeline.toml"))?;
        record.data_model = read_text(&folder.join("products.toml"))?;
        Ok(Some(record))
    }

    /// All runs, newest first, without the texts of their definitions.
    pub fn runs(&self) -> Result<Vec<RunRecord>, StoreError> {
        let mut records: Vec<RunRecord> = Vec::new();
        for name in names_in(&self.at("runs"))? {
            records.extend(read_json::<RunRecord>(&self.at("runs").join(name).join("run.json"))?);
        }
        records.sort_by_key(|record| (std::cmp::Reverse(record.horizon), record.run));
        Ok(records)
    }

    /// The stars of a run, sorted.
    pub fn stars(&self, run: RunId) -> Result<StarList, StoreError> {
        StarList::open(&self.at(paths::run(run)).join("stars.bin"))
    }

    /// The identity that an image's name stands for in a run; `None` when nobody resolved it yet.
    pub fn image_identity(&self, run: RunId, image: &str) -> Result<Option<String>, StoreError> {
        Ok(read_json::<ImageFile>(&self.at(paths::image(run, image)))?.map(|file| file.identity))
    }

    /// Fixes the identity of an image for a run; returns the one on record, which is what the first caller said.
    pub fn fix_image_identity(&self, run: RunId, image: &str, identity: &str) -> Result<String, StoreError> {
        let file = ImageFile { image: image.to_owned(), identity: identity.to_owned() };
        durable::create(&self.at(paths::image(run, image)), &self.beside(), &to_json(&file))?;
        self.image_identity(run, image)?.ok_or_else(|| StoreError::NotFound { what: format!("identity of {image}") })
    }

    /// Writes an operator's decision down, before anything follows it; returns its number.
    pub fn decide(&self, run: RunId, decision: &Decision) -> Result<u64, StoreError> {
        self.append(&self.at(paths::run(run)).join("control"), "json", &to_json(decision))
    }

    /// Operators' decisions about a run in their order, each with its number, counted from 1.
    pub fn decisions(&self, run: RunId) -> Result<Vec<(u64, Decision)>, StoreError> {
        let folder = self.at(paths::run(run)).join("control");
        let mut decisions = Vec::new();
        for (number, name) in numbered(&folder, "json")? {
            decisions.extend(read_json(&folder.join(name))?.map(|decision| (number, decision)));
        }
        Ok(decisions)
    }

    /// Notes that a decision was followed to its end, so that nobody follows it again.
    pub fn mark_followed(&self, run: RunId, number: u64) -> Result<Commit, StoreError> {
        let path = self.at(paths::run(run)).join("control").join(format!("{number:06}.followed"));
        durable::create(&path, &self.beside(), b"")
    }

    /// Numbers of the decisions that were followed to their end.
    pub fn followed(&self, run: RunId) -> Result<BTreeSet<u64>, StoreError> {
        let folder = self.at(paths::run(run)).join("control");
        Ok(numbered(&folder, "followed")?.into_iter().map(|(number, _)| number).collect())
    }

    /// Records how a run ended.
    pub fn end_run(&self, run: RunId, end: &RunEnd) -> Result<Commit, StoreError> {
        let path = self.at(paths::run(run)).join("end").join(format!("{}.json", end.decisions));
        durable::create(&path, &self.beside(), &to_json(end))
    }

    /// How a run ended last; `None` when it never did.
    pub fn run_end(&self, run: RunId) -> Result<Option<RunEnd>, StoreError> {
        let folder = self.at(paths::run(run)).join("end");
        match numbered(&folder, "json")?.last() {
            Some((_, name)) => read_json(&folder.join(name)),
            None => Ok(None),
        }
    }

    /// Appends a batch of settled stars.
    pub fn append_settled(&self, run: RunId, batch: &[SettledStar]) -> Result<(), StoreError> {
        let mut body = Vec::new();
        for star in batch {
            serde_json::to_writer(&mut body, star).expect("records have string keys");
            body.push(b'\n');
        }
        self.append(&self.at(paths::run(run)).join("settled"), "jsonl", &body).map(drop)
    }

    /// What the stars of a run ended with; where a star was settled more than once, the newest.
    pub fn settled(&self, run: RunId) -> Result<BTreeMap<StarIndex, SettledStar>, StoreError> {
        let mut stars = BTreeMap::new();
        self.each_settled(run, |star| {
            match star.end {
                Some(_) => stars.insert(star.star, star),
                None => stars.remove(&star.star),
            };
        })?;
        Ok(stars)
    }

    /// Whether stars of a run were ever settled.
    pub fn has_settled(&self, run: RunId) -> Result<bool, StoreError> {
        Ok(!numbered(&self.at(paths::run(run)).join("settled"), "jsonl")?.is_empty())
    }

    /// Shows `visit` every line of the settled batches, oldest first; a later line on a star wins over an earlier one. For
    /// runs of many stars, whose lines together do not fit into memory.
    pub fn each_settled(&self, run: RunId, mut visit: impl FnMut(SettledStar)) -> Result<(), StoreError> {
        let folder = self.at(paths::run(run)).join("settled");
        for (_, name) in numbered(&folder, "jsonl")? {
            let path = folder.join(name);
            for line in read_text(&path)?.lines() {
                visit(
                    serde_json::from_str(line)
                        .map_err(|error| StoreError::Damaged { path: path.clone(), reason: error.to_string() })?,
                );
            }
        }
        Ok(())
    }

    /// Creates the next numbered file of a folder.
    pub(super) fn append(&self, folder: &Path, extension: &str, body: &[u8]) -> Result<u64, StoreError> {
        let path = |number: u64| folder.join(format!("{number:06}.{extension}"));
        let mut number = last(|number| path(number).exists());
        loop {
            number += 1;
            match durable::create(&path(number), &self.beside(), body)? {
                Commit::Created => return Ok(number),
                Commit::Exists => {}
            }
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct ImageFile {
    image: String,
    identity: String,
}

/// The last of the numbers from 1 that are there, none of which is missing; 0 when none is. Asks for few of them: a folder
/// may have a hundred thousand.
fn last(is_there: impl Fn(u64) -> bool) -> u64 {
    let (mut known, mut step) = (0, 1);
    while is_there(known + step) {
        known += step;
        step *= 2;
    }
    while step > 1 {
        step /= 2;
        if is_there(known + step) {
            known += step;
        }
    }
    known
}

/// Files `<number>.<extension>` of a folder, in the order of their numbers.
pub(super) fn numbered(folder: &Path, extension: &str) -> Result<Vec<(u64, String)>, StoreError> {
    let mut files: Vec<(u64, String)> = names_in(folder)?
        .into_iter()
        .filter_map(|name| {
            let number = name.strip_suffix(extension)?.strip_suffix('.')?.parse().ok()?;
            Some((number, name))
        })
        .collect();
    files.sort();
    Ok(files)
}

fn read_text(path: &Path) -> Result<String, StoreError> {
    std::fs::read_to_string(path).map_err(|source| io_error("read", path, source))
}
