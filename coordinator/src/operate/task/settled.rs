//! Tasks that have ended, page by page: of settled stars from the store, of stars in flight from the state.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{ModuleIndex, ModuleName, RunId, StarId, StarIndex};
use domain::run::{Row, TaskState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::{Store, StoreError};

use crate::operate::look_up::end_of;
use crate::operate::selection::{ShownState, SoughtTasks, TaskSelection};
use crate::operate::{Context, ErrorKind, OperateError};

/// Most stars in flight whose rows are looked at.
const MOST_IN_FLIGHT: u32 = 10_000;

/// Which tasks that have ended are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSettled {
    /// Those of these that have ended.
    pub selection: TaskSelection,
    /// Only what comes after this.
    pub after: Option<TaskPosition>,
    /// At most so many.
    pub limit: usize,
}

/// Where a task is in a list: the star's place in the run and the module's in the pipeline, as `12.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskPosition(u32, u8);

/// Tasks that have ended.
#[derive(Debug, Clone, Serialize)]
pub struct SettledTasks {
    /// The run.
    pub run: RunId,
    /// In the order of stars and modules.
    pub tasks: Vec<SettledTask>,
    /// How many are meant in all, from the beginning.
    pub all: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<TaskPosition>,
    /// What is not listed, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A task that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SettledTask {
    /// The star.
    pub star: StarId,
    /// The module.
    pub module: ModuleName,
    /// How it ended.
    pub state: ShownState,
}

impl std::fmt::Display for TaskPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl std::str::FromStr for TaskPosition {
    type Err = OperateError;

    fn from_str(text: &str) -> Result<Self, OperateError> {
        let read = text.split_once('.').and_then(|(star, module)| Some(Self(star.parse().ok()?, module.parse().ok()?)));
        read.ok_or_else(|| {
            let reason = format!("{text:?} is no place in a list: take it from the page before");
            OperateError::new(ErrorKind::Invalid, reason)
        })
    }
}

/// Lists tasks that have ended, of a run.
pub async fn settled(context: &Context, asked: ListSettled) -> Result<SettledTasks, OperateError> {
    let ListSettled { selection, after, limit } = asked;
    let not_settled = selection.states.iter().find(|state| state.settled().is_none());
    if let Some(state) = not_settled.filter(|_| selection.states.iter().any(|state| state.settled().is_some())) {
        let reason =
            format!("tasks that are {state} have not ended: ask for them and for those that have one after the other");
        return Err(OperateError::new(ErrorKind::Invalid, reason));
    }
    if selection.needs_looking() {
        let reason =
            "reason, host and age are known of tasks that failed or errored alone: leave them out, or ask for these";
        return Err(OperateError::new(ErrorKind::Invalid, reason));
    }
    let sought = selection.resolve(context).await?;
    let mut page = PageBeingFilled { after, limit: limit.max(1), ..PageBeingFilled::default() };
    let (in_flight, note) = of_state(context, &sought, &mut page).await?;
    page = context
        .ask({
            let sought = sought.clone();
            move |store| of_store(store, &sought, &in_flight, page)
        })
        .await?;
    let next = if page.left_out { page.tasks.keys().next_back().copied() } else { None };
    let all = page.all;
    let tasks = context.ask(move |_| named(&sought, page.tasks)).await?;
    Ok(SettledTasks { run: tasks.0, tasks: tasks.1, all, next, notes: note.into_iter().collect() })
}

/// The first tasks after a place, and how many there are.
#[derive(Default)]
struct PageBeingFilled {
    after: Option<TaskPosition>,
    limit: usize,
    tasks: BTreeMap<TaskPosition, TaskState>,
    all: u64,
    left_out: bool,
}

impl PageBeingFilled {
    fn look_at(&mut self, sought: &SoughtTasks, star: StarIndex, row: &Row) {
        for (module, cell) in (0..=u8::MAX).map(ModuleIndex).zip(row.cells()) {
            if !cell.state.is_settled() || !sought.has_state(cell.state.into()) || !sought.is_of(star, module) {
                continue;
            }
            self.all += 1;
            let at = TaskPosition(star.0, module.0);
            if self.after.is_some_and(|after| at <= after) {
                continue;
            }
            self.tasks.insert(at, cell.state);
            if self.tasks.len() > self.limit {
                self.tasks.pop_last();
                self.left_out = true;
            }
        }
    }
}

/// Looks at stars in flight; tells which they are, and what could not be looked at.
async fn of_state(
    context: &Context,
    sought: &SoughtTasks,
    page: &mut PageBeingFilled,
) -> Result<(BTreeSet<StarIndex>, Option<String>), OperateError> {
    let run = sought.run();
    if context.ask(move |store| end_of(store, run)).await?.is_some() {
        return Ok((BTreeSet::new(), None));
    }
    let asked = async {
        let state = context.installation.state().await?;
        let stars = state.in_flight(run, MOST_IN_FLIGHT).await?;
        let rows = state.load(run, &stars).await?;
        Ok::<_, OperateError>((stars, rows))
    };
    match asked.await {
        Ok((stars, rows)) => {
            stars.iter().zip(&rows).for_each(|(star, loaded)| page.look_at(sought, *star, &loaded.row));
            Ok((stars.into_iter().collect(), None))
        }
        Err(error) => Ok((BTreeSet::new(), Some(format!("only settled stars are listed: {error}")))),
    }
}

/// Looks at stars that are settled. Blocks on the disk.
fn of_store(
    store: &Store,
    sought: &SoughtTasks,
    in_flight: &BTreeSet<StarIndex>,
    mut page: PageBeingFilled,
) -> Result<PageBeingFilled, StoreError> {
    store.each_settled_row(sought.run(), |settled| {
        if settled.end.is_none() || in_flight.contains(&settled.star) {
            return;
        }
        if let Ok(row) = Row::from_bytes(settled.row) {
            page.look_at(sought, settled.star, &row);
        }
    })?;
    Ok(page)
}

fn named(
    sought: &SoughtTasks,
    tasks: BTreeMap<TaskPosition, TaskState>,
) -> Result<(RunId, Vec<SettledTask>), StoreError> {
    let one = |(at, state): (TaskPosition, TaskState)| {
        let star = sought.course.stars.star(StarIndex(at.0))?;
        let module = sought.course.pipeline.module(ModuleIndex(at.1)).name.clone();
        Ok(SettledTask { star, module, state: state.into() })
    };
    Ok((sought.run(), tasks.into_iter().map(one).collect::<Result<_, StoreError>>()?))
}
