//! Settled tasks of a run are tried again.

use std::collections::BTreeSet;

use domain::id::{ModuleName, RunId, StarId};
use domain::run::Row;
use serde::Deserialize;
use store::Store;
use store::runs::{Decided, RunEnd, RunRecord, Selection, SettledStar};

use super::{RunDecided, require_sense, standing, write};
use crate::operate::audit::Doer;
use crate::operate::look_up::{pipeline_of, record, settled_line};
use crate::operate::pipelines::module_of;
use crate::operate::{Context, ErrorKind, OperateError};

/// Which tasks are run again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RetryTasks {
    /// The run.
    pub run: RunId,
    /// Its tasks: without a state those that were lost, but not to a newer run.
    #[serde(flatten)]
    pub selection: Selection,
}

/// Has settled tasks of a run run again; one that has ended is opened again.
pub async fn retry(context: &Context, asked: RetryTasks) -> Result<RunDecided, OperateError> {
    let by = context.doer()?;
    context.ask(move |store| decide(store, asked, &by)).await
}

fn decide(store: &Store, asked: RetryTasks, by: &Doer) -> Result<RunDecided, OperateError> {
    let RetryTasks { run, selection } = asked;
    let standing = standing(store, run)?;
    let record = record(store, run)?;
    require_known(store, &record, &selection)?;
    let what = Decided::Retry { selection: selection.clone() };
    require_sense(store, run, &standing, &what)?;
    let words = words(&selection);
    let (count, effect) = if standing.is_over {
        let count = count_at_end(store, &record, &selection)?;
        if count == 0 {
            let reason = format!("run {run} has no {words}: nothing to retry");
            return Err(OperateError::new(ErrorKind::AlreadySo, reason));
        }
        let effect = format!(
            "the run is opened again: {count} {words} are tried again, and what depends on them; what is done and unchanged is taken from the store"
        );
        (Some(count), effect)
    } else {
        let effect =
            format!("{words} are tried again, and what depends on them; tasks that end later are not part of this");
        (None, effect)
    };
    let decided = write(store, run, by, what)?;
    RunDecided::on_record(store, run, by, decided, (count, effect))
}

/// What a selection is called.
pub fn words(selection: &Selection) -> String {
    let any = |names: Vec<String>| match names.len() {
        0..=3 => names.join(" or "),
        more => format!("{} or {} more", names[..3].join(" or "), more - 3),
    };
    let state = match selection.states.is_empty() {
        true => "lost".to_owned(),
        false => any(selection.states.iter().map(ToString::to_string).collect()),
    };
    let of = |names: Vec<String>| if names.is_empty() { String::new() } else { format!(" of {}", any(names)) };
    let modules = of(selection.modules.iter().map(ToString::to_string).collect());
    let stars = of(selection.stars.iter().map(ToString::to_string).collect());
    match &selection.tasks {
        Some(tasks) => format!("{} selected tasks", tasks.values().map(BTreeSet::len).sum::<usize>()),
        None => format!("{state} tasks{modules}{stars}"),
    }
}

/// What the tasks are called that a selection is about and that have not ended.
pub fn open_words(selection: &Selection) -> String {
    match selection.tasks {
        Some(_) => words(selection),
        None => words(&Selection { states: BTreeSet::new(), ..selection.clone() }).replacen("lost", "open", 1),
    }
}

/// State, module and star of a selection must be such as tasks of the run can have.
fn require_known(store: &Store, record: &RunRecord, selection: &Selection) -> Result<(), OperateError> {
    if let Some(state) = selection.states.iter().find(|state| !state.is_settled()) {
        let reason = format!("tasks that are {state} have not ended: only those that have can be tried again");
        return Err(OperateError::new(ErrorKind::Invalid, reason));
    }
    let pipeline = pipeline_of(store, record)?;
    for module in &selection.modules {
        module_of(&pipeline, module)?;
    }
    let stars = store.stars(record.run)?;
    for star in &selection.stars {
        if stars.position(*star)?.is_none() {
            return Err(not_of(*star, record.run));
        }
    }
    Ok(())
}

fn not_of(star: StarId, run: RunId) -> OperateError {
    OperateError::not_found(format!("{star} is not a star of run {run}"))
}

/// How many tasks of a run that ended a selection is about.
pub(in crate::operate) fn count_at_end(
    store: &Store,
    record: &RunRecord,
    selection: &Selection,
) -> Result<u64, OperateError> {
    if selection.stars.is_empty() {
        return Ok(store.run_end(record.run)?.map_or(0, |end| count_in(&end, selection)));
    }
    let pipeline = pipeline_of(store, record)?;
    let modules: Vec<&ModuleName> = pipeline.modules.iter().map(|module| &module.name).collect();
    let stars = store.stars(record.run)?;
    let mut count = 0;
    for star in &selection.stars {
        let Some(index) = stars.position(*star)? else { continue };
        let line = settled_line(store, record.run, index)?;
        count += line.map_or(0, |line| count_of(line, &modules, selection));
    }
    Ok(count)
}

/// How many tasks of all stars.
fn count_in(end: &RunEnd, selection: &Selection) -> u64 {
    let modules = end.counts.iter().filter(|(module, _)| selection.is_of(module));
    let states = modules.flat_map(|(_, states)| states);
    states.filter(|(state, _)| selection.wants(**state)).map(|(_, count)| count).sum()
}

/// How many tasks of one star.
fn count_of(line: SettledStar, modules: &[&ModuleName], selection: &Selection) -> u64 {
    let Ok(row) = Row::from_bytes(line.row) else { return 0 };
    let tasks = modules.iter().zip(row.cells());
    tasks.filter(|(module, cell)| selection.is_of(module) && selection.wants(cell.state)).count() as u64
}

#[cfg(test)]
mod tests {
    use domain::run::TaskState;

    use super::*;

    #[test]
    fn a_selection_counts_its_tasks_of_one_star_and_of_all() {
        let [a, b] = ["A", "B"].map(|name| name.parse::<ModuleName>().unwrap());
        let counts = [
            (a.clone(), [(TaskState::Succeeded, 5), (TaskState::Failed, 2)].into()),
            (b.clone(), [(TaskState::UpstreamFailed, 2), (TaskState::Superseded, 3)].into()),
        ];
        let end = RunEnd {
            ended: jiff::Timestamp::UNIX_EPOCH,
            decisions: 0,
            counts: counts.into(),
            stars: [].into(),
            remarks: Default::default(),
            took: Default::default(),
        };
        let of = |module: Option<&ModuleName>, state: Option<TaskState>| Selection {
            modules: module.into_iter().cloned().collect(),
            states: state.into_iter().collect(),
            ..Selection::default()
        };
        for (selection, expected) in [
            (of(None, None), 4),
            (of(Some(&a), None), 2),
            (of(Some(&b), Some(TaskState::Superseded)), 3),
            (of(None, Some(TaskState::Cancelled)), 0),
        ] {
            assert_eq!(count_in(&end, &selection), expected, "{}", words(&selection));
        }
    }

    #[test]
    fn a_selection_is_called_by_what_narrows_it() {
        let star = StarId::of_simulator(1);
        let all = Selection::default();
        let one = Selection {
            modules: ["A".parse().unwrap()].into(),
            stars: [star].into(),
            states: [TaskState::Failed].into(),
            tasks: None,
        };
        assert_eq!((words(&all), words(&one)), ("lost tasks".to_owned(), format!("failed tasks of A of {star}")));
    }
}
