//! Branches that flipped: modules that ran for a star in a run, and were skipped when the pipeline ran for it before, or the other way.
//!
//! Which stars that are follows from the rows of both runs; only of the first of them generations are opened, for products and
//! reasons.

use std::collections::{BTreeMap, HashMap};

use domain::id::{Generation, ModuleName, ProductName, Quarter, RunId, StarId};
use domain::run::{Row, TaskState};
use schemars::JsonSchema;
use serde::Serialize;
use store::agent::{Agent, Manifest};
use store::runs::{RunRecord, SettledRow, StarEnd};
use store::{Store, paths};

use crate::operate::look_up::{pipeline_of, record};
use crate::operate::{Context, OperateError};

/// How many flips are told with products and reason.
const TOLD: usize = 500;

/// The branches that flipped in a run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunFlips {
    /// The run.
    pub run: RunId,
    /// Its stars that have ended.
    pub stars: u64,
    /// Those of them that had ended in an earlier run of the pipeline, too.
    pub compared: u64,
    /// By module: how many stars left its branch, and how many took it.
    pub modules: BTreeMap<ModuleName, FlipCount>,
    /// The first flips.
    pub flips: Vec<Flip>,
    /// How many more there are.
    pub left_out: usize,
}

/// How many stars flipped at a module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FlipCount {
    /// It ran before, and was skipped now.
    pub left: u64,
    /// It was skipped before, and ran now.
    pub taken: u64,
}

/// In which way a branch flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FlipDirection {
    /// It ran before, and was skipped now: what it made then is superseded.
    Left,
    /// It was skipped before, and ran now.
    Taken,
}

/// A module of a star that flipped.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Flip {
    /// The star.
    pub star: StarId,
    /// The module.
    pub module: ModuleName,
    /// In which way.
    pub direction: FlipDirection,
    /// The run before.
    pub before: RunId,
    /// What the star ended with in the run before, and in this one, as far as they made generations.
    pub generations: [Option<Generation>; 2],
    /// What the module made in the one of them in which it ran.
    pub products: Vec<ProductName>,
    /// Why it was skipped in the other one.
    pub reason: String,
}

/// The branches that flipped in a run, beside how each module of each star ended last before that in a whole run of the same
/// pipeline and quarter, where that was no failure.
pub async fn flips(context: &Context, run: RunId) -> Result<RunFlips, OperateError> {
    let (mut found, quarter) = context.ask(move |store| compare_rows(store, run)).await?;
    let mut agent = context.readers.lend().await?;
    let mut read: Option<((StarId, Generation), Option<Manifest>)> = None;
    for flip in &mut found.flips {
        for (number, at) in flip.generations.into_iter().zip([FlipDirection::Left, FlipDirection::Taken]) {
            let Some(number) = number else { continue };
            let place = (flip.star, number);
            if read.as_ref().is_none_or(|(known, _)| *known != place) {
                let file = context.store.at(paths::generation(flip.star, quarter, number));
                read = Some((place, manifest(&mut agent, &file).await));
            }
            let manifest = read.as_ref().and_then(|(_, manifest)| manifest.as_ref());
            let entry = manifest.and_then(|manifest| manifest.modules.iter().find(|entry| entry.module == flip.module));
            match manifest {
                // It ran in the generation that stands on this side.
                Some(manifest) if flip.direction == at => flip.products = made_by(manifest, &flip.module),
                Some(_) => {
                    let outcome = entry.and_then(|entry| entry.outcome.as_ref());
                    flip.reason = outcome.map(ToString::to_string).unwrap_or_default();
                }
                None => {}
            }
        }
    }
    Ok(found)
}

/// What cannot be read, or was removed, tells nothing.
async fn manifest(agent: &mut Agent, file: &std::path::Path) -> Option<Manifest> {
    agent.manifest(file).await.ok()
}

fn made_by(manifest: &Manifest, module: &ModuleName) -> Vec<ProductName> {
    let made = manifest.products.iter().filter(|(_, entry)| entry.module.as_ref() == Some(module));
    made.map(|(name, _)| name.clone()).collect()
}

/// A star of the run, and of which modules it is still to be found how they ended before.
struct OpenStar {
    now: StarOfRun,
    open: Vec<usize>,
    is_compared: bool,
}

/// A star as it ended in a run.
struct StarOfRun {
    states: Vec<TaskState>,
    generation: Option<Generation>,
}

/// Finds the flips by rows: a module that failed before is looked for further back. Blocks on the disk.
fn compare_rows(store: &Store, run: RunId) -> Result<(RunFlips, Quarter), OperateError> {
    let this = record(store, run)?;
    let names = modules(store, &this)?;
    let mut stars: HashMap<StarId, OpenStar> = HashMap::new();
    each_end(store, run, |star, now| {
        let open = (0..now.states.len()).filter(|at| is_decided(now.states[*at])).collect();
        stars.insert(star, OpenStar { now, open, is_compared: false });
    })?;
    let (modules, flips) = (BTreeMap::new(), Vec::new());
    let mut found = RunFlips { run, stars: stars.len() as u64, compared: 0, modules, flips, left_out: 0 };
    let is_before = |other: &RunRecord| {
        other.pipeline == this.pipeline && other.quarter == this.quarter && other.only_group.is_none()
    };
    // Newest first; those that are older than this one.
    let records = store.runs()?;
    let older = records.iter().skip_while(|other| other.run != run).skip(1).filter(|other| is_before(other));
    for before in older {
        if stars.is_empty() {
            break;
        }
        let names_before = self::modules(store, &record(store, before.run)?)?;
        let places: Vec<Option<usize>> =
            names.iter().map(|name| names_before.iter().position(|other| other == name)).collect();
        each_end(store, before.run, |star, end| {
            let Some(open) = stars.get_mut(&star) else { return };
            found.compared += u64::from(!std::mem::replace(&mut open.is_compared, true));
            let OpenStar { now, open, .. } = open;
            open.retain(|at| {
                let was = places[*at].and_then(|place| end.states.get(place).copied()).filter(|was| is_decided(*was));
                if let Some(direction) = was.and_then(|was| direction(was, now.states[*at])) {
                    let (module, generations) = (names[*at].clone(), [end.generation, now.generation]);
                    let (products, reason) = (Vec::new(), String::new());
                    found.add(Flip { star, module, direction, before: before.run, generations, products, reason });
                }
                was.is_none()
            });
            if open.is_empty() {
                stars.remove(&star);
            }
        })?;
    }
    found.flips.sort_by(|one, other| (one.star, &one.module).cmp(&(other.star, &other.module)));
    Ok((found, this.quarter))
}

impl RunFlips {
    fn add(&mut self, flip: Flip) {
        let count = self.modules.entry(flip.module.clone()).or_default();
        match flip.direction {
            FlipDirection::Left => count.left += 1,
            FlipDirection::Taken => count.taken += 1,
        }
        if self.flips.len() < TOLD {
            self.flips.push(flip);
        } else {
            self.left_out += 1;
        }
    }
}

/// Whether a module took its branch or not: what failed tells neither.
fn is_decided(state: TaskState) -> bool {
    matches!(state, TaskState::Succeeded | TaskState::Skipped)
}

fn direction(was: TaskState, is: TaskState) -> Option<FlipDirection> {
    match (was == TaskState::Succeeded, is == TaskState::Succeeded) {
        (true, false) => Some(FlipDirection::Left),
        (false, true) => Some(FlipDirection::Taken),
        (true, true) | (false, false) => None,
    }
}

fn modules(store: &Store, record: &RunRecord) -> Result<Vec<ModuleName>, OperateError> {
    Ok(pipeline_of(store, record)?.modules.into_iter().map(|module| module.name).collect())
}

/// Shows the stars of a run that came to an end of their own.
fn each_end(store: &Store, run: RunId, mut visit: impl FnMut(StarId, StarOfRun)) -> Result<(), OperateError> {
    let list = store.stars(run)?;
    let mut trouble: Option<OperateError> = None;
    store.each_settled_row(run, |SettledRow { star, row, generation, end, .. }| {
        if !matches!(end, Some(StarEnd::Complete | StarEnd::Incomplete | StarEnd::Failed)) {
            return;
        }
        let row = Row::from_bytes(row).map_err(|error| OperateError::refused(error.to_string()));
        match list.star(star).map_err(OperateError::from).and_then(|star| Ok((star, row?))) {
            Ok((star, row)) => {
                visit(star, StarOfRun { states: row.cells().map(|cell| cell.state).collect(), generation });
            }
            Err(error) => trouble = Some(error),
        }
    })?;
    trouble.map_or(Ok(()), Err)
}
