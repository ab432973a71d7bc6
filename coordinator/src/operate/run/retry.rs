//! Settled tasks of a run are tried again.

use domain::id::{ModuleName, RunId, StarId};
use domain::run::Row;
use serde::Deserialize;
use store::Store;
use store::runs::{Decided, RunEnd, RunRecord, Selection, SettledStar};

use super::{RunDecided, require_sense, standing, write};
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
    let by = context.operator.clone();
    context.ask(move |store| decide(store, asked, by)).await
}

fn decide(store: &Store, asked: RetryTasks, by: String) -> Result<RunDecided, OperateError> {
    let RetryTasks { run, selection } = asked;
    let standing = standing(store, run)?;
    let record = record(store, run)?;
    require_known(store, &record, &selection)?;
    let what = Decided::Retry { selection: selection.clone() };
    require_sense(store, run, &standing, &what)?;
    let words = words(&selection);
    let effect = if standing.is_over {
        let count = count_at_end(store, &record, &selection)?;
        if count == 0 {
            let reason = format!("run {run} has no {words}: nothing to retry");
            return Err(OperateError::new(ErrorKind::AlreadySo, reason));
        }
        format!(
            "the run is opened again: {count} {words} are tried again, and what depends on them; what is done and unchanged is taken from the store"
        )
    } else {
        format!("{words} are tried again, and what depends on them; tasks that end later are not part of this")
    };
    let (number, decision) = write(store, run, by, what)?;
    Ok(RunDecided { run, number: Some(number), decision: Some(decision), effect })
}

/// What a selection is called.
pub fn words(selection: &Selection) -> String {
    let state = selection.state.map_or_else(|| "lost".to_owned(), |state| state.to_string());
    let module = selection.module.as_ref().map(|module| format!(" of {module}")).unwrap_or_default();
    let star = selection.star.map(|star| format!(" of {star}")).unwrap_or_default();
    format!("{state} tasks{module}{star}")
}

/// State, module and star of a selection must be such as tasks of the run can have.
fn require_known(store: &Store, record: &RunRecord, selection: &Selection) -> Result<(), OperateError> {
    if let Some(state) = selection.state.filter(|state| !state.is_settled()) {
        let reason = format!("tasks that are {state} have not ended: only those that have can be tried again");
        return Err(OperateError::new(ErrorKind::Invalid, reason));
    }
    if let Some(module) = &selection.module {
        module_of(&pipeline_of(store, record)?, module)?;
    }
    if let Some(star) = selection.star
        && store.stars(record.run)?.position(star)?.is_none()
    {
        return Err(not_of(star, record.run));
    }
    Ok(())
}

fn not_of(star: StarId, run: RunId) -> OperateError {
    OperateError::not_found(format!("{star} is not a star of run {run}"))
}

/// How many tasks of a run that ended a selection is about.
fn count_at_end(store: &Store, record: &RunRecord, selection: &Selection) -> Result<u64, OperateError> {
    let Some(star) = selection.star else {
        return Ok(store.run_end(record.run)?.map_or(0, |end| count_in(&end, selection)));
    };
    let Some(index) = store.stars(record.run)?.position(star)? else { return Ok(0) };
    let Some(line) = settled_line(store, record.run, index)? else { return Ok(0) };
    let pipeline = pipeline_of(store, record)?;
    let modules: Vec<&ModuleName> = pipeline.modules.iter().map(|module| &module.name).collect();
    Ok(count_of(line, &modules, selection))
}

/// How many tasks of all stars.
fn count_in(end: &RunEnd, selection: &Selection) -> u64 {
    let modules = end.counts.iter().filter(|(module, _)| is_of(selection, module));
    let states = modules.flat_map(|(_, states)| states);
    states.filter(|(state, _)| selection.wants(**state)).map(|(_, count)| count).sum()
}

/// How many tasks of one star.
fn count_of(line: SettledStar, modules: &[&ModuleName], selection: &Selection) -> u64 {
    let Ok(row) = Row::from_bytes(line.row) else { return 0 };
    let tasks = modules.iter().zip(row.cells());
    tasks.filter(|(module, cell)| is_of(selection, module) && selection.wants(cell.state)).count() as u64
}

fn is_of(selection: &Selection, module: &ModuleName) -> bool {
    selection.module.as_ref().is_none_or(|wanted| wanted == module)
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
        let end = RunEnd { ended: jiff::Timestamp::UNIX_EPOCH, decisions: 0, counts: counts.into(), stars: [].into() };
        let of = |module: Option<&ModuleName>, state| Selection { module: module.cloned(), star: None, state };
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
        let one = Selection { module: Some("A".parse().unwrap()), star: Some(star), state: Some(TaskState::Failed) };
        assert_eq!((words(&all), words(&one)), ("lost tasks".to_owned(), format!("failed tasks of A of {star}")));
    }
}
