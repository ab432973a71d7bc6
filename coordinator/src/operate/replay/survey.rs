//! The stars that a pipeline settled, each as it ended last, and what came for it since: one pass over records and names.
//!
//! Blocks on the disk. No product and no star file is opened.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use domain::contract::{Definitions, Programs, StarInputs, ran};
use domain::id::{Fingerprint, ImageIdentity, ModuleIndex, PipelineName, Quarter, Sequence, StarId};
use domain::pipeline::{Pipeline, Publishes};
use domain::product::Origin;
use domain::run::{Row, TaskState};
use store::externals::{Deliveries, NewerVersion};
use store::runs::{RunRecord, SettledRow, StarEnd};
use store::{Store, StoreError, paths};

use super::programs::KnownRun;
use super::request::ReplayRequest;
use crate::operate::OperateError;
use crate::standing;

/// How many stars are looked at together, and by how many threads: names of files may be far away.
const BLOCK: usize = 4096;
const THREADS: usize = 4;

/// Of so many stars with newer data it is looked up which products are others.
pub(super) const LOOKED_AT: usize = 1000;

/// A run that stars are taken from.
pub(super) struct SurveyedRun {
    pub(super) known: KnownRun,
    /// What was delivered once for all stars since.
    pub(super) shared: Vec<NewerVersion>,
}

/// A star as it ended last.
#[derive(Debug, Clone, Copy)]
pub(super) struct SurveyedStar {
    pub(super) star: StarId,
    /// Position of its run.
    pub(super) run: u16,
    /// Position of its states.
    pub(super) states: u32,
    /// Position of the datasets of which it has newer versions; 0 is none.
    pub(super) datasets: u32,
    /// Position of these versions, of the first stars that have any.
    pub(super) versions: Option<u32>,
    /// Whether its generation of the quarter before may be another one.
    pub(super) previous: bool,
}

/// What a pass found.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) runs: Vec<SurveyedRun>,
    pub(super) stars: Vec<SurveyedStar>,
    /// States of tasks, as they occur in stars.
    pub(super) states: Interned<Vec<TaskState>>,
    /// Datasets that stars have newer versions of, as they occur.
    pub(super) datasets: Interned<Vec<String>>,
    pub(super) versions: Vec<(StarId, Vec<NewerVersion>)>,
    /// Stars that never came to an end of their own: cancelled, or taken over by a run that did not end them.
    pub(super) unfinished: u64,
    /// Runs of the pipeline that go on.
    pub(super) open: Vec<RunRecord>,
    /// The newest number when it began.
    pub(super) sequence: Sequence,
}

/// Values by position, each once.
pub(super) struct Interned<T> {
    pub(super) all: Vec<T>,
    places: HashMap<T, u32>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { all: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Interned<T> {
    fn place(&mut self, value: &T) -> u32 {
        if let Some(place) = self.places.get(value) {
            return *place;
        }
        let place = self.all.len() as u32;
        self.all.push(value.clone());
        self.places.insert(value.clone(), place);
        place
    }
}

/// Passes over all whole runs of the pipeline, newest first.
pub(super) fn survey(store: &Store, request: &ReplayRequest, wanted: &Pipeline) -> Result<Survey, OperateError> {
    let mut survey = Survey { sequence: store.newest_sequence()?, ..Survey::default() };
    survey.datasets.place(&Vec::new());
    let mut seen: HashSet<(Quarter, StarId)> = HashSet::new();
    let mut unfinished: HashSet<(Quarter, StarId)> = HashSet::new();
    let mut records = store.runs()?;
    let is_meant = |record: &RunRecord, name: &PipelineName| {
        record.pipeline == *name
            && record.only_group.is_none()
            && request.quarter.is_none_or(|quarter| quarter == record.quarter)
    };
    records.retain(|record| is_meant(record, &request.pipeline));
    for record in records {
        let (run, quarter) = (record.run, record.quarter);
        if !standing::read(store, run)?.is_over {
            survey.open.push(record.clone());
        }
        let list = store.stars(run)?;
        let mut taken: Vec<(StarId, SettledRow)> = Vec::new();
        let mut trouble = None;
        store.each_settled_row(run, |row| {
            let star = match list.star(row.star) {
                Ok(star) => star,
                Err(error) => {
                    trouble = Some(error);
                    return;
                }
            };
            let is_selected = request.stars.is_empty() || request.stars.contains(&star);
            if !is_selected || seen.contains(&(quarter, star)) {
                return;
            }
            match row.end {
                Some(StarEnd::Complete | StarEnd::Incomplete | StarEnd::Failed) => {
                    seen.insert((quarter, star));
                    taken.push((star, row));
                }
                Some(StarEnd::Cancelled | StarEnd::Superseded) => _ = unfinished.insert((quarter, star)),
                None => {}
            }
        })?;
        if let Some(error) = trouble {
            return Err(error.into());
        }
        if !taken.is_empty() {
            survey.take(store, KnownRun::read(store, run)?, wanted, &taken)?;
        }
    }
    survey.unfinished = unfinished.difference(&seen).count() as u64;
    Ok(survey)
}

impl Survey {
    /// Takes stars of a run in, with what came for them since.
    fn take(
        &mut self,
        store: &Store,
        known: KnownRun,
        wanted: &Pipeline,
        taken: &[(StarId, SettledRow)],
    ) -> Result<(), OperateError> {
        let since = known.record.horizon;
        let shared = store.shared_deliveries(since)?;
        let look = StarLook {
            store,
            names: !store.only_events_since(since)?,
            previous: known
                .record
                .quarter
                .previous()
                .filter(|_| reads_previous(&known.pipeline) || reads_previous(wanted)),
            definitions: Definitions::of(&known.pipeline),
            shared_before: &shared.before,
            known: &known,
        };
        let run = self.runs.len() as u16;
        let mut programs: HashMap<u32, Option<Programs>> = HashMap::new();
        for stars in taken.chunks(BLOCK) {
            let mut places = Vec::with_capacity(stars.len());
            for (_, row) in stars {
                let row = Row::from_bytes(row.row.clone()).map_err(|error| OperateError::refused(error.to_string()))?;
                let states: Vec<TaskState> = row.cells().map(|cell| cell.state).collect();
                let place = self.states.place(&states);
                if look.previous.is_some() {
                    programs.entry(place).or_insert_with(|| look.programs(&row));
                }
                places.push(place);
            }
            let found = look.all(stars, &places, &programs)?;
            for (((star, _), states), found) in stars.iter().zip(&places).zip(found) {
                let datasets: Vec<String> = found.newer.iter().map(|version| version.dataset.clone()).collect();
                let datasets = if datasets.is_empty() { 0 } else { self.datasets.place(&datasets) };
                let mut versions = None;
                if !found.newer.is_empty() && self.versions.len() < LOOKED_AT {
                    versions = Some(self.versions.len() as u32);
                    self.versions.push((*star, found.newer));
                }
                self.stars.push(SurveyedStar {
                    star: *star,
                    run,
                    states: *states,
                    datasets,
                    versions,
                    previous: found.previous,
                });
            }
        }
        self.runs.push(SurveyedRun { known, shared: shared.newer });
        Ok(())
    }
}

/// Whether a module of it reads what the quarter before made.
pub(super) fn reads_previous(pipeline: &Pipeline) -> bool {
    let enabled = pipeline.modules.iter().filter(|module| module.enabled);
    enabled.flat_map(|module| module.sources()).any(|source| source.origin == Origin::Previous)
}

/// How stars of one run are looked at.
struct StarLook<'a> {
    store: &'a Store,
    /// Whether anything was delivered since.
    names: bool,
    /// The quarter before, where the pipeline reads it.
    previous: Option<Quarter>,
    definitions: Definitions,
    shared_before: &'a [String],
    known: &'a KnownRun,
}

/// What came for a star since it ended.
#[derive(Default)]
struct CameSince {
    newer: Vec<NewerVersion>,
    previous: bool,
}

impl StarLook<'_> {
    /// What made the results of stars with this row; `None` where that is not certain.
    fn programs(&self, row: &Row) -> Option<Programs> {
        let identity = |index: ModuleIndex| {
            let module = &self.known.pipeline.modules.get(index.at())?.name;
            Some((index, self.known.identity(module)?.clone()))
        };
        let images: Option<BTreeMap<ModuleIndex, ImageIdentity>> = ran(row)?.into_iter().map(identity).collect();
        Some(self.definitions.programs(&images?))
    }

    /// Looks at many stars, several at a time.
    fn all(
        &self,
        stars: &[(StarId, SettledRow)],
        places: &[u32],
        programs: &HashMap<u32, Option<Programs>>,
    ) -> Result<Vec<CameSince>, StoreError> {
        if !self.names && self.previous.is_none() {
            return Ok(stars.iter().map(|_| CameSince::default()).collect());
        }
        let look = |range: Range<usize>| {
            let one = |at: usize| {
                let (star, row) = &stars[at];
                let programs = programs.get(&places[at]).and_then(Option::as_ref);
                self.one(*star, row.fingerprint, programs)
            };
            range.map(one).collect::<Result<Vec<CameSince>, StoreError>>()
        };
        let share = stars.len().div_ceil(THREADS).max(1);
        let ranges = (0..stars.len()).step_by(share).map(|from| from..(from + share).min(stars.len()));
        let parts: Vec<Result<Vec<CameSince>, StoreError>> = std::thread::scope(|scope| {
            let threads: Vec<_> = ranges.map(|range| scope.spawn(|| look(range))).collect();
            let end = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(end).collect()
        });
        let mut all = Vec::with_capacity(stars.len());
        for part in parts {
            all.extend(part?);
        }
        Ok(all)
    }

    fn one(
        &self,
        star: StarId,
        fingerprint: Option<Fingerprint>,
        programs: Option<&Programs>,
    ) -> Result<CameSince, StoreError> {
        let KnownRun { record, .. } = self.known;
        // Who has no folder has nothing at all.
        let Some(folder) = self.store.star_folder(star)? else { return Ok(CameSince::default()) };
        let previous = match self.previous {
            Some(quarter) => folder.open_generation(quarter)?,
            None => None,
        };
        if !self.names && previous.is_none() {
            return Ok(CameSince::default());
        }
        let Deliveries { mut before, mut newer } = folder.deliveries(record.quarter, record.horizon)?;
        // What the pipeline made itself is nothing that it is given.
        if let Some(Publishes { dataset, .. }) = &self.known.pipeline.publishes {
            before.retain(|name| !paths::is_version_of(name, dataset));
            newer.retain(|version| !paths::is_version_of(&version.now, dataset));
        }
        // Where there is none there never was one: generations do not go away.
        let is_other = previous.is_some() && {
            before.extend_from_slice(self.shared_before);
            let inputs = StarInputs { star, quarter: record.quarter, externals: &before, previous };
            programs.map(|programs| programs.fingerprint(inputs)) != fingerprint || fingerprint.is_none()
        };
        Ok(CameSince { newer, previous: is_other })
    }
}
