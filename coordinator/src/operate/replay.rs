//! Replays: planned from what is on record before anything runs, then applied as runs.
//!
//! A plan says what it was based on. Applying makes the plan again and refuses where the two differ: then the world changed.

mod apply;
mod count;
mod delivered;
mod later;
mod programs;
mod request;
mod survey;

use std::collections::BTreeMap;

pub use apply::{ApplyReplay, apply};
pub use count::ReplayReason;
use count::{Counted, count, failures_stand};
use domain::id::{ModuleName, Quarter, RunId, Sequence, StarId};
use domain::pipeline::Pipeline;
use jiff::Timestamp;
use request::Selected;
pub use request::{DefinitionText, PlannedProgram, ReplayRequest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::runs::{ReplayOrder, Replayed, Took};
use store::{Store, StoreError};

use super::{Context, ErrorKind, OperateError};

/// The format of plans that this program writes and reads.
pub const PLAN_FORMAT: u32 = 1;

/// How many of the newest runs say what modules took.
const MEASURED: usize = 16;

/// What a replay would run, and what it was based on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayPlan {
    /// [`PLAN_FORMAT`].
    pub format: u32,
    /// When it was made.
    pub made: Timestamp,
    /// By whom.
    pub by: String,
    /// What was asked for, with everything fixed that names could mean otherwise tomorrow.
    pub request: ReplayRequest,
    /// What it was based on.
    pub basis: ReplayBasis,
    /// What it comes to.
    pub work: ReplayWork,
    /// Seconds that tasks are expected to take in all, as far as their modules are measured.
    pub seconds: PlanBounds<f64>,
    /// Modules with work that were never measured.
    pub unmeasured: Vec<ModuleName>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// What a plan was based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayBasis {
    /// The newest number of an event or delivery.
    pub sequence: Sequence,
    /// The runs whose ends were looked at, newest first.
    pub runs: Vec<BasisRun>,
    /// Runs of the pipeline that went on.
    pub open: Vec<RunId>,
}

/// A run whose ends were looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BasisRun {
    /// The run.
    pub run: RunId,
    /// The version of its pipeline.
    pub version: String,
    /// Its quarter.
    pub quarter: Quarter,
    /// How many stars ended last in it.
    pub stars: u64,
}

/// What a replay comes to: what two plans must agree in to be the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayWork {
    /// The stars that run, a run for each quarter.
    pub quarters: Vec<PlannedQuarter>,
    /// Stars that were looked at.
    pub considered: u64,
    /// Stars that are reused whole: nothing that determined their results is other.
    pub unchanged: u64,
    /// Stars that would run and are not selected.
    pub left_out: u64,
    /// Stars that never came to an end of their own: cancelled, or taken over. A run over them is no replay.
    pub unfinished: u64,
    /// How many tasks run: at least those whose keys are others for certain, at most those below them, too, whose inputs may
    /// turn out to be the same.
    pub tasks: PlanBounds<u64>,
    /// Results that are reused, in stars that run and in others.
    pub reused: u64,
    /// Failures in stars that run, which stand: the same would fail in the same way.
    pub failures_stand: u64,
    /// Lost tasks of stars that do not run.
    pub lost_left: u64,
    /// By module; those without work are left out.
    pub modules: Vec<PlannedModule>,
    /// Stars by reason; a star may have several.
    pub reasons: Vec<ReasonCount>,
}

/// The stars of a quarter that run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedQuarter {
    /// The quarter.
    pub quarter: Quarter,
    /// How many.
    pub stars: u64,
    /// Which: SHA-256 over their sorted ids.
    pub digest: String,
    /// The first of them.
    pub first: Vec<StarId>,
}

/// What of one module runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedModule {
    /// The module.
    pub module: ModuleName,
    /// Tasks that run for certain.
    pub will: u64,
    /// Tasks that run if their inputs turn out to be others.
    pub may: u64,
    /// Results that are reused, in stars that run.
    pub reused: u64,
    /// What a task took in earlier runs, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millis: Option<u64>,
}

/// How many stars have a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReasonCount {
    /// The reason.
    #[serde(flatten)]
    pub reason: ReplayReason,
    /// How many stars.
    pub stars: u64,
}

/// A number of which only bounds are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PlanBounds<T> {
    /// Not less.
    pub at_least: T,
    /// Not more.
    pub at_most: T,
}

/// A plan with all that applying it needs.
struct Planned {
    plan: ReplayPlan,
    pipeline: Pipeline,
    stars: BTreeMap<Quarter, Vec<StarId>>,
    order: ReplayOrder,
}

/// Plans a replay: nothing is written, and nothing runs.
pub async fn plan(context: &Context, request: ReplayRequest) -> Result<ReplayPlan, OperateError> {
    Ok(planned(context, request).await?.plan)
}

async fn planned(context: &Context, mut request: ReplayRequest) -> Result<Planned, OperateError> {
    let wanted = programs::wanted(context, &mut request).await?;
    if wanted.before.is_empty() {
        let reason = format!("there was no whole run of {} yet: `sas run start` begins one", request.pipeline);
        return Err(OperateError::not_found(reason));
    }
    let selected = Selected::of(&request, &wanted.pipeline)?;
    let (asked, pipeline) = (request.clone(), wanted.pipeline.clone());
    let survey = context.ask(move |store| survey::survey(store, &asked, &pipeline)).await?;
    if survey.stars.is_empty() {
        let reason = format!("no star of this selection ever came to an end in a whole run of {}", request.pipeline);
        return Err(OperateError::new(ErrorKind::NotFound, reason));
    }
    let new = delivered::look(context, &survey).await?;
    let counted = count(&survey, &new, &wanted, &selected);
    let name = request.pipeline.clone();
    let took = context.ask(move |store| measured(store, &name)).await?;
    let basis = ReplayBasis {
        sequence: survey.sequence,
        runs: survey.runs.iter().zip(&counted.of_runs).map(|(run, stars)| BasisRun::of(run, *stars)).collect(),
        open: survey.open.iter().map(|record| record.run).collect(),
    };
    let order = ReplayOrder {
        definition: wanted.pipeline.definition.clone(),
        data_model: wanted.pipeline.data_model.clone(),
        replayed: Replayed {
            images: request.images.clone(),
            failures_stand: failures_stand(&survey, &wanted.pipeline, &selected),
        },
        identities: wanted.programs.values().map(|of| (of.subject.clone(), of.identity.clone())).collect(),
    };
    let work = ReplayWork::of(&counted, &survey, &wanted.pipeline, &took);
    let mut notes = wanted.notes;
    notes.extend(survey.open.iter().map(|record| {
        format!("run {} goes on: its stars are planned as they ended before, or so far in it", record.run)
    }));
    let stars = if survey::reads_previous(&wanted.pipeline) {
        let (name, stars) = (request.pipeline.clone(), counted.stars);
        let look = move |store: &Store| Ok::<_, StoreError>((later::later(store, &name, &stars)?, stars));
        let (later, stars) = context.ask(look).await?;
        notes.extend(later.into_iter().map(|(quarter, stars)| later::note(quarter, stars)));
        stars
    } else {
        counted.stars
    };
    let plan = ReplayPlan {
        format: PLAN_FORMAT,
        made: Timestamp::now(),
        by: context.operator.clone(),
        seconds: work.seconds(),
        unmeasured: work.unmeasured(),
        request,
        basis,
        work,
        notes,
    };
    Ok(Planned { plan, pipeline: wanted.pipeline, stars, order })
}

/// What modules took in the newest runs of a pipeline that ended. Blocks on the disk.
pub(super) fn measured(
    store: &Store,
    pipeline: &domain::id::PipelineName,
) -> Result<BTreeMap<ModuleName, Took>, StoreError> {
    let mut took: BTreeMap<ModuleName, Took> = BTreeMap::new();
    let mut asked = 0;
    store.find_run(|record| {
        if record.pipeline == *pipeline {
            asked += 1;
            for (module, of) in store.run_end(record.run)?.map(|end| end.took).unwrap_or_default() {
                let sum = took.entry(module).or_default();
                sum.tasks += of.tasks;
                sum.millis += of.millis;
            }
        }
        Ok((asked == MEASURED).then_some(()))
    })?;
    Ok(took)
}

impl BasisRun {
    fn of(run: &survey::SurveyedRun, stars: u64) -> Self {
        let record = &run.known.record;
        Self { run: record.run, version: record.version.clone(), quarter: record.quarter, stars }
    }
}

impl ReplayWork {
    fn of(counted: &Counted, survey: &survey::Survey, pipeline: &Pipeline, took: &BTreeMap<ModuleName, Took>) -> Self {
        let mut work = Self {
            quarters: counted.stars.iter().map(|(quarter, stars)| PlannedQuarter::of(*quarter, stars)).collect(),
            considered: survey.stars.len() as u64,
            unchanged: counted.unchanged,
            left_out: counted.left_out,
            unfinished: survey.unfinished,
            tasks: PlanBounds::default(),
            reused: counted.reused_whole,
            failures_stand: 0,
            lost_left: counted.lost_left,
            modules: Vec::new(),
            reasons: Vec::new(),
        };
        for (module, count) in pipeline.modules.iter().zip(&counted.modules) {
            work.tasks.at_least += count.will;
            work.tasks.at_most += count.will + count.may;
            work.reused += count.reused;
            work.failures_stand += count.stands;
            if count.will + count.may > 0 {
                let took = took.get(&module.name).filter(|took| took.tasks > 0);
                work.modules.push(PlannedModule {
                    module: module.name.clone(),
                    will: count.will,
                    may: count.may,
                    reused: count.reused,
                    millis: took.map(|took| took.millis / took.tasks),
                });
            }
        }
        let reasons = counted.reasons.iter();
        work.reasons = reasons.map(|(reason, stars)| ReasonCount { reason: reason.clone(), stars: *stars }).collect();
        work
    }

    /// Stars that run.
    pub fn stars(&self) -> u64 {
        self.quarters.iter().map(|quarter| quarter.stars).sum()
    }

    fn seconds(&self) -> PlanBounds<f64> {
        let of = |tasks: fn(&PlannedModule) -> u64| {
            let millis = self.modules.iter().map(|module| module.millis.unwrap_or(0) as f64 * tasks(module) as f64);
            millis.sum::<f64>() / 1e3
        };
        PlanBounds { at_least: of(|module| module.will), at_most: of(|module| module.will + module.may) }
    }

    fn unmeasured(&self) -> Vec<ModuleName> {
        let modules = self.modules.iter().filter(|module| module.millis.is_none());
        modules.map(|module| module.module.clone()).collect()
    }
}

impl PlannedQuarter {
    fn of(quarter: Quarter, stars: &[StarId]) -> Self {
        let mut hash = Sha256::new();
        stars.iter().for_each(|star| hash.update(star.as_bytes()));
        let first = stars.iter().take(5).copied().collect();
        Self { quarter, stars: stars.len() as u64, digest: hex::encode(hash.finalize()), first }
    }
}

impl ReplayReason {
    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::Image { module } => format!("{module} has another image"),
            Self::UnknownImage { module } => format!("nobody can tell here whether {module} has another image"),
            Self::Definition { module } => {
                format!("{module} has another command, environment, parameters or outputs")
            }
            Self::Contract { module } => format!("{module} has other inputs, conditions or order, or is switched off"),
            Self::Tolerance { module, product } => {
                format!("{product}, which {module} makes, has another tolerance")
            }
            Self::NewModule { module } => format!("{module} is new, or switched on"),
            Self::Data { dataset } => format!("{dataset} has a newer version"),
            Self::Previous => "the quarter before has another generation, or may have".to_owned(),
            Self::Asked { state } => format!("tasks that are {state} are to be tried again"),
        }
    }
}

#[cfg(test)]
mod tests;
