//! Tasks that have not ended, from the state.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{Attempt, ModuleName, StarId, StarIndex, Task, WorkerName};
use domain::run::TaskState;
use services::state::{OpenPlace, OpenTask, SharedState, StateError};

use super::ListedTask;
use crate::operate::look_up::end_of;
use crate::operate::selection::{ShownState, SoughtTasks};
use crate::operate::{Context, OperateError};

/// Most tasks, or stars, of each place that are looked at.
const MOST: u32 = 20_000;

/// Tasks that have not ended.
pub(super) struct OpenTasks {
    /// What has been as it is for longest comes first.
    pub(super) tasks: Vec<ListedTask>,
    /// That there are more than were looked at.
    pub(super) note: Option<String>,
    /// How many more are blocked, of stars that are to come.
    pub(super) of_stars_to_come: u64,
}

/// The places of the state, and what their tasks are called.
const PLACES: [(OpenPlace, ShownState); 4] = [
    (OpenPlace::Running, ShownState::Running),
    (OpenPlace::Queued, ShownState::Queued),
    (OpenPlace::OnHold, ShownState::OnHold),
    (OpenPlace::Waiting, ShownState::Waiting),
];

/// Finds the tasks that are meant; blocked ones only where they are asked for. None where the run is over.
pub(super) async fn find_open(context: &Context, sought: &SoughtTasks) -> Result<OpenTasks, OperateError> {
    let run = sought.run();
    let nothing = OpenTasks { tasks: Vec::new(), note: None, of_stars_to_come: 0 };
    if context.ask(move |store| end_of(store, run)).await?.is_some() {
        return Ok(nothing);
    }
    let state = context.installation.state().await?;
    match of_state(&state, sought).await {
        Ok((found, is_cut)) => {
            let sought = sought.clone();
            let lines = last_lines(&state, &sought).await?;
            let of_stars_to_come = of_stars_to_come(&state, &sought).await?;
            let tasks = context.ask(move |_| named(&sought, found, &lines)).await?;
            let note = is_cut.then(|| format!("only the first {MOST} of each state were looked at"));
            Ok(OpenTasks { tasks, note, of_stars_to_come })
        }
        // It ended, or was not taken up yet.
        Err(StateError::NoRun(_)) => Ok(nothing),
        Err(error) => Err(error.into()),
    }
}

/// The tasks that are meant, and whether there are more than were looked at.
async fn of_state(
    state: &SharedState,
    sought: &SoughtTasks,
) -> Result<(Vec<(ShownState, OpenTask)>, bool), StateError> {
    let (mut tasks, mut is_cut) = (Vec::new(), false);
    for (place, shown) in PLACES.into_iter().filter(|(_, shown)| sought.has_state(*shown)) {
        let found = state.open_tasks(sought.run(), place, MOST).await?;
        is_cut |= found.len() == MOST as usize;
        let is_meant = |open: &OpenTask| {
            sought.is_of(open.task.star, open.task.module)
                && sought.has_host(open.worker.as_ref().map(WorkerName::host))
                && sought.has_age(open.since)
        };
        tasks.extend(found.into_iter().filter(is_meant).map(|open| (shown, open)));
    }
    if asks_for_blocked(sought) {
        let blocked = blocked(state, sought).await?;
        tasks.extend(blocked.into_iter().map(|open| (ShownState::Blocked, open)));
    }
    Ok((tasks, is_cut))
}

/// Blocked tasks are listed only where they are asked for; they have no host and no age.
fn asks_for_blocked(sought: &SoughtTasks) -> bool {
    sought.asked.states.contains(&ShownState::Blocked) && sought.has_host(None) && sought.has_age(None)
}

/// How many blocked tasks are meant whose stars are to come: all that these have.
async fn of_stars_to_come(state: &SharedState, sought: &SoughtTasks) -> Result<u64, StateError> {
    let Some(view) = state.run(sought.run()).await?.filter(|_| asks_for_blocked(sought)) else { return Ok(0) };
    let stars = match &sought.stars {
        Some(stars) => stars.range(StarIndex(view.info.cursor)..).count() as u64,
        None => view.to_come().into(),
    };
    let modules = sought.modules.as_ref().map_or(sought.course.pipeline.modules.len(), BTreeSet::len);
    Ok(stars * modules as u64)
}

/// The blocked tasks of stars in flight.
async fn blocked(state: &SharedState, sought: &SoughtTasks) -> Result<Vec<OpenTask>, StateError> {
    let run = sought.run();
    let mut stars = state.in_flight(run, MOST).await?;
    stars.retain(|star| sought.stars.as_ref().is_none_or(|wanted| wanted.contains(star)));
    let loaded = state.load(run, &stars).await?;
    let mut blocked = Vec::new();
    for (star, loaded) in stars.into_iter().zip(loaded).filter(|(_, loaded)| !loaded.row.is_fresh()) {
        let is_meant = |module: &domain::id::ModuleIndex| {
            loaded.row.cell(*module).state == TaskState::Blocked && sought.is_of(star, *module)
        };
        let open = |module| OpenTask {
            task: Task { star, module },
            attempt: loaded.attempt(module),
            worker: None,
            since: None,
            due: None,
        };
        blocked.extend(sought.course.graph.modules().filter(is_meant).map(open));
    }
    Ok(blocked)
}

/// The newest log lines of attempts that run.
type LastLines = BTreeMap<(StarId, ModuleName, Attempt), String>;

async fn last_lines(state: &SharedState, sought: &SoughtTasks) -> Result<LastLines, StateError> {
    if !sought.has_state(ShownState::Running) {
        return Ok(BTreeMap::new());
    }
    let attempts = state.workers().await?.into_iter().flat_map(|worker| worker.attempts);
    let of_run = attempts.filter(|running| running.run == sought.run());
    Ok(of_run.map(|running| ((running.star, running.module, running.attempt), running.last_line)).collect())
}

/// With their names. Blocks on the disk.
fn named(
    sought: &SoughtTasks,
    mut found: Vec<(ShownState, OpenTask)>,
    lines: &LastLines,
) -> Result<Vec<ListedTask>, OperateError> {
    let course = &sought.course;
    found.sort_by_key(|(state, open)| (*state, open.since.is_none(), open.since, open.task.star));
    let mut names: BTreeMap<StarIndex, StarId> = BTreeMap::new();
    let mut tasks = Vec::with_capacity(found.len());
    for (state, open) in found {
        let star = match names.get(&open.task.star) {
            Some(star) => *star,
            None => course.stars.star(open.task.star)?,
        };
        names.insert(open.task.star, star);
        let Some(module) = course.pipeline.modules.get(open.task.module.at()) else { continue };
        let module = module.name.clone();
        let line = lines.get(&(star, module.clone(), open.attempt));
        tasks.push(ListedTask {
            star,
            module,
            state,
            attempt: open.attempt,
            host: open.worker.as_ref().map(|worker| worker.host().to_owned()),
            since: open.since,
            due: open.due,
            reason: None,
            last_line: line.cloned().unwrap_or_default(),
        });
    }
    Ok(tasks)
}
