//! What a replay comes to, counted star by star from what a pass found. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use domain::contract::{DefinitionChange, definition_change};
use domain::id::{ModuleName, ProductName, Quarter, StarId};
use domain::pipeline::{Module, Pipeline};
use domain::replay::{Again, ImageChange, ModuleChange, StarChanges, again};
use domain::run::TaskState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::delivered::{Delivered, NewData};
use super::programs::{KnownRun, WantedPipeline};
use super::request::Selected;
use super::survey::{Survey, SurveyedRun, SurveyedStar};

/// Why a star runs again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum ReplayReason {
    /// A module has another image.
    Image {
        /// The module.
        module: ModuleName,
    },
    /// Nobody can tell here whether a module has another image.
    UnknownImage {
        /// The module.
        module: ModuleName,
    },
    /// A module has another command, environment, parameters or outputs.
    Definition {
        /// The module.
        module: ModuleName,
    },
    /// A module has other inputs, conditions or order, or is switched off.
    Contract {
        /// The module.
        module: ModuleName,
    },
    /// A product that a module makes has another tolerance.
    Tolerance {
        /// The module.
        module: ModuleName,
        /// The product.
        product: ProductName,
    },
    /// A module is new, or switched on.
    NewModule {
        /// The module.
        module: ModuleName,
    },
    /// There is a newer version of a dataset.
    Data {
        /// The dataset, as in file names.
        dataset: String,
    },
    /// The quarter before has another generation.
    Previous,
    /// Tasks that ended so are tried again.
    Asked {
        /// The state.
        state: TaskState,
    },
}

/// What of one module a replay runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ModuleCount {
    pub(super) will: u64,
    pub(super) may: u64,
    pub(super) reused: u64,
    /// Failures that stand.
    pub(super) stands: u64,
}

/// What a replay comes to.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) modules: Vec<ModuleCount>,
    /// Stars that run, sorted.
    pub(super) stars: BTreeMap<Quarter, Vec<StarId>>,
    pub(super) reasons: BTreeMap<ReplayReason, u64>,
    /// Stars of which nothing is other.
    pub(super) unchanged: u64,
    /// Stars that would run, were they selected.
    pub(super) left_out: u64,
    /// Results of stars that do not run.
    pub(super) reused_whole: u64,
    /// Lost tasks of stars that do not run.
    pub(super) lost_left: u64,
    /// Stars taken from each run.
    pub(super) of_runs: Vec<u64>,
}

/// What stars of the same run with the same states and news come to.
struct StarVerdict {
    marks: Vec<Option<Again>>,
    states: Vec<Option<TaskState>>,
    reasons: Vec<ReplayReason>,
    is_meant: bool,
}

/// What sets stars apart: run, states, datasets, what is new of them, the quarter before.
type StarKind = (u16, u32, u32, NewData, bool);

/// Counts all stars of a pass.
pub(super) fn count(survey: &Survey, new: &Delivered, wanted: &WantedPipeline, selected: &Selected) -> Counted {
    let changes: Vec<Vec<ModuleChange>> = survey.runs.iter().map(|run| changes(&run.known, wanted, selected)).collect();
    let mut counted = Counted {
        modules: vec![ModuleCount::default(); wanted.pipeline.modules.len()],
        of_runs: vec![0; survey.runs.len()],
        ..Counted::default()
    };
    let mut kinds: HashMap<StarKind, Rc<StarVerdict>> = HashMap::new();
    let mut plain: HashMap<(u16, u32, bool), Rc<StarVerdict>> = HashMap::new();
    let mut stars: HashMap<*const StarVerdict, (Rc<StarVerdict>, u64)> = HashMap::new();
    for star in &survey.stars {
        let judge = |data: &NewData| {
            let run = &survey.runs[usize::from(star.run)];
            Rc::new(verdict(survey, run, star, data, (&changes[usize::from(star.run)], wanted, selected)))
        };
        let shared = &new.shared[usize::from(star.run)];
        let verdict = if star.datasets == 0 {
            plain.entry((star.run, star.states, star.previous)).or_insert_with(|| judge(shared)).clone()
        } else {
            let mut data = new.of(star.datasets, star.versions);
            data.products.extend(shared.products.iter().cloned());
            let kind = (star.run, star.states, star.datasets, data, star.previous);
            let data = kind.3.clone();
            kinds.entry(kind).or_insert_with(|| judge(&data)).clone()
        };
        counted.of_runs[usize::from(star.run)] += 1;
        if verdict.runs() {
            let quarter = survey.runs[usize::from(star.run)].known.record.quarter;
            counted.stars.entry(quarter).or_default().push(star.star);
        }
        stars.entry(Rc::as_ptr(&verdict)).or_insert_with(|| (verdict.clone(), 0)).1 += 1;
    }
    for (verdict, stars) in stars.into_values() {
        counted.add(&verdict, stars);
    }
    counted.stars.values_mut().for_each(|stars| stars.sort_unstable());
    counted
}

impl StarVerdict {
    fn has_work(&self) -> bool {
        self.marks.iter().any(Option::is_some)
    }

    fn runs(&self) -> bool {
        self.is_meant && self.has_work()
    }
}

impl Counted {
    fn add(&mut self, verdict: &StarVerdict, stars: u64) {
        let tasks = || verdict.states.iter().zip(&verdict.marks);
        if !verdict.runs() {
            let of = |is: fn(TaskState) -> bool| {
                verdict.states.iter().flatten().filter(|state| is(**state)).count() as u64 * stars
            };
            self.reused_whole += of(|state| state == TaskState::Succeeded);
            self.lost_left += of(TaskState::is_lost);
            *(if verdict.has_work() { &mut self.left_out } else { &mut self.unchanged }) += stars;
            return;
        }
        for (module, (state, mark)) in self.modules.iter_mut().zip(tasks()) {
            match (mark, state) {
                (Some(Again::Will), _) => module.will += stars,
                (Some(Again::May), _) => module.may += stars,
                (None, Some(TaskState::Succeeded)) => module.reused += stars,
                (None, Some(TaskState::Failed)) => module.stands += stars,
                (None, _) => {}
            }
        }
        for reason in &verdict.reasons {
            *self.reasons.entry(reason.clone()).or_default() += stars;
        }
    }
}

/// What is other of each module of the pipeline that is to run than it was in a run.
fn changes(known: &KnownRun, wanted: &WantedPipeline, selected: &Selected) -> Vec<ModuleChange> {
    let change = |(at, module): (usize, &Module)| {
        let definition = definition_change(&known.pipeline, (&wanted.pipeline, module));
        let now = wanted.programs.get(&module.name).map(|program| &program.identity);
        let image = match (known.identity(&module.name), now) {
            (Some(was), Some(now)) if was == now => ImageChange::Same,
            (Some(_), Some(_)) => ImageChange::Other,
            (Some(_), None) => ImageChange::Unknown,
            (None, _) if known.was_amended(&module.name) => ImageChange::Unknown,
            (None, _) => ImageChange::Same,
        };
        let is_other = definition.is_some() || image == ImageChange::Other;
        let was_at_work = is_other
            && now.is_some_and(|now| {
                let others = wanted.before.iter().filter(|other| other.record.run != known.record.run);
                others.into_iter().any(|other| other.was_at_work(module, now))
            });
        let failures_stand = !selected.asked[at].contains(&TaskState::Failed) && has_same_limits(known, module);
        ModuleChange { definition, image, was_at_work, failures_stand }
    };
    wanted.pipeline.modules.iter().enumerate().map(change).collect()
}

/// Whether what is not in keys, and yet decides whether a module fails, is as it was.
pub(super) fn has_same_limits(known: &KnownRun, module: &Module) -> bool {
    let was = known.pipeline.modules.iter().find(|was| was.name == module.name);
    was.is_none_or(|was| {
        (was.memory, was.time_limit, was.retry, &was.retry_on)
            == (module.memory, module.time_limit, module.retry, &module.retry_on)
    })
}

fn verdict(
    survey: &Survey,
    run: &SurveyedRun,
    star: &SurveyedStar,
    data: &NewData,
    (modules, wanted, selected): (&[ModuleChange], &WantedPipeline, &Selected),
) -> StarVerdict {
    let (pipeline, was) = (&wanted.pipeline, &run.known.pipeline);
    let settled = &survey.states.all[star.states as usize];
    let state = |module: &Module| {
        let index = was.index_of(&module.name).filter(|index| was.module(*index).enabled)?;
        settled.get(index.at()).copied()
    };
    let states: Vec<Option<TaskState>> = pipeline.modules.iter().map(state).collect();
    let changes = StarChanges {
        modules,
        externals: &data.products,
        is_certain: data.is_certain,
        previous: star.previous,
        asked: &selected.asked,
    };
    let marks = again(pipeline, &states, changes);
    let is_meant = selected.is_meant(&states, &marks);
    let mut reasons = BTreeSet::new();
    for (at, module) in pipeline.modules.iter().enumerate() {
        reasons.extend(
            states[at].filter(|state| selected.asked[at].contains(state)).map(|state| ReplayReason::Asked { state }),
        );
        let is_off = !module.enabled && modules[at].definition.is_some();
        if marks[at].is_some() || is_off {
            reasons.extend(own_reasons(module, modules[at]));
            reasons.extend(tolerance_reasons((was, pipeline), module, modules[at]));
        }
    }
    if !data.products.is_empty() {
        let datasets = survey.datasets.all[star.datasets as usize].iter();
        let shared = run.shared.iter().map(|version| &version.dataset);
        reasons.extend(datasets.chain(shared).map(|dataset| ReplayReason::Data { dataset: dataset.clone() }));
    }
    if star.previous {
        reasons.insert(ReplayReason::Previous);
    }
    StarVerdict { marks, states, reasons: reasons.into_iter().collect(), is_meant }
}

/// What of a module itself is other.
fn own_reasons(module: &Module, change: ModuleChange) -> impl Iterator<Item = ReplayReason> {
    let module = module.name.clone();
    let of_image = match change.image {
        ImageChange::Same => None,
        ImageChange::Other => Some(ReplayReason::Image { module: module.clone() }),
        ImageChange::Unknown => Some(ReplayReason::UnknownImage { module: module.clone() }),
    };
    let of_definition = change.definition.and_then(|change| match change {
        DefinitionChange::New => Some(ReplayReason::NewModule { module }),
        DefinitionChange::Makes => Some(ReplayReason::Definition { module }),
        DefinitionChange::Decides => Some(ReplayReason::Contract { module }),
        // Told by product.
        DefinitionChange::Tolerates => None,
    });
    of_image.into_iter().chain(of_definition)
}

/// Which products of a module that was there before have another tolerance.
fn tolerance_reasons<'a>(
    (was, pipeline): (&'a Pipeline, &'a Pipeline),
    module: &'a Module,
    change: ModuleChange,
) -> impl Iterator<Item = ReplayReason> + 'a {
    let is_told = !matches!(change.definition, None | Some(DefinitionChange::New));
    let is_other = move |product: &&ProductName| was.tolerances.get(*product) != pipeline.tolerances.get(*product);
    let products = module.outputs.products().filter(move |_| is_told).filter(is_other);
    products.map(|product| ReplayReason::Tolerance { module: module.name.clone(), product: product.clone() })
}

/// Modules whose failures in earlier runs stand in runs of this plan.
pub(super) fn failures_stand(survey: &Survey, pipeline: &Pipeline, selected: &Selected) -> BTreeSet<ModuleName> {
    let stands = |(at, module): &(usize, &Module)| {
        module.enabled
            && !selected.asked[*at].contains(&TaskState::Failed)
            && survey.runs.iter().all(|run| has_same_limits(&run.known, module))
    };
    pipeline.modules.iter().enumerate().filter(stands).map(|(_, module)| module.name.clone()).collect()
}
