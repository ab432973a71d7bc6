//! What was fixed of a run when it was accepted.
//!
//! `run.json` is written last: a run is there when it is. Everything in the run's folder is made by first link, so two
//! coordinators that accept the same event make one run.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::stars;
use super::{Replayed, StarList};
use crate::durable::{self, Commit};
use crate::{Store, StoreError, io_error, is_there, paths, read_json, to_json};
use domain::id::{EventId, GroupName, PipelineName, Quarter, RunId, Sequence, StarId, TraceContext};
use domain::pipeline::{self, Mistakes, Pipeline};

/// What a run is; fixed when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// The event that started it.
    pub event: EventId,
    /// The span of the event's publisher, if it traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<TraceContext>,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The pipeline's version.
    pub version: String,
    /// The quarter of its data.
    pub quarter: Quarter,
    /// Sequence number of its event: the newest versions of externals that it uses.
    pub horizon: Sequence,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// How many stars it has.
    pub stars: u32,
    /// The group that it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_group: Option<GroupName>,
    /// What a replay ordered besides its definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replayed>,
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
        let mut pipeline = pipeline::load(&format!("pipeline.toml of run {}", self.run), &self.definition, model)?;
        if let Some(replay) = &self.replay {
            pipeline = pipeline.with_images(&replay.images);
        }
        Ok(match &self.only_group {
            Some(group) => pipeline.limited_to(group),
            None => pipeline,
        })
    }
}

impl Store {
    /// Writes a run down with its stars (in any order, each once), as one that goes on. A run that is there keeps its record.
    pub fn create_run(&self, record: &RunRecord, stars: &[StarId]) -> Result<Commit, StoreError> {
        let run = record.run;
        let beside = self.beside();
        for folder in [paths::images(run), paths::decisions(run), paths::settled(run), paths::ends(run)] {
            durable::make_dir(&self.at(folder))?;
        }
        durable::create_with(&self.at(paths::star_list(run)), &beside, |file| stars::write(stars, file))?;
        durable::create(&self.at(paths::definition(run)), &beside, record.definition.as_bytes())?;
        durable::create(&self.at(paths::data_model(run)), &beside, record.data_model.as_bytes())?;
        let path = self.at(paths::run_record(run));
        // One that is there may have ended long ago: it is not marked again.
        if is_there(&path)? {
            return Ok(Commit::Exists);
        }
        self.mark_open(run)?;
        durable::create(&path, &beside, &to_json(record))
    }

    /// A run; `None` when it was never accepted.
    pub fn run(&self, run: RunId) -> Result<Option<RunRecord>, StoreError> {
        let Some(mut record) = self.plain_record(run)? else { return Ok(None) };
        let read_text =
            |path: std::path::PathBuf| std::fs::read_to_string(&path).map_err(|source| io_error("read", &path, source));
        record.definition = read_text(self.at(paths::definition(run)))?;
        record.data_model = read_text(self.at(paths::data_model(run)))?;
        Ok(Some(record))
    }

    /// A run without the texts of its definition.
    pub(super) fn plain_record(&self, run: RunId) -> Result<Option<RunRecord>, StoreError> {
        read_json(&self.at(paths::run_record(run)))
    }

    /// The stars of a run, sorted.
    pub fn stars(&self, run: RunId) -> Result<StarList, StoreError> {
        StarList::open(&self.at(paths::star_list(run)))
    }
}
