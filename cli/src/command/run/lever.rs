//! The levers of a run: decisions that are written to the store, where coordinators find and follow them within a second.
//!
//! Redis need not answer: what is decided is on record before anything follows it, and outlives whatever is down now.

use clap::Args;
use coordinator::runs::standing::{self, Orders, Sense};
use domain::id::{ModuleName, RunId, StarId};
use domain::run::{Row, TaskState};
use serde::Serialize;
use services::state::Phase;
use store::Store;
use store::runs::{Decided, Decision, RunEnd, RunRecord, Selection};

use crate::exit::Stop;
use crate::operator::operator;
use crate::output::Format;

/// Which tasks are run again.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// The run.
    run: RunId,
    /// Only tasks of this module.
    #[arg(long)]
    module: Option<ModuleName>,
    /// Only tasks of this star.
    #[arg(long)]
    star: Option<StarId>,
    /// Only tasks in this state; without it those that were lost (failed, errored, upstream_failed, cancelled). What a
    /// newer run took over (superseded) runs again only where it is named: the newer run has it.
    #[arg(long, value_parser = settled)]
    state: Option<TaskState>,
}

/// What was decided, and what comes of it.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) run: RunId,
    /// The decision's number; none when everything was so already.
    pub(crate) number: Option<u64>,
    #[serde(flatten)]
    pub(crate) decision: Option<Decision>,
    pub(crate) effect: String,
}

/// Decides about a run, unless it makes no sense, and says what will happen.
pub(crate) fn decide(store: &Store, run: RunId, what: Decided, format: Format) -> anyhow::Result<()> {
    let orders = standing(store, run)?;
    let (number, decision) = match require_sense(store, run, &orders, &what)? {
        Sense::Already => (None, None),
        Sense::Changes | Sense::Ended | Sense::Cancelling => {
            let (number, decision) = write(store, run, what.clone())?;
            (Some(number), Some(decision))
        }
    };
    let effect =
        if number.is_none() { "nothing was decided: it is so already".to_owned() } else { effect(&orders, &what) };
    Answer { run, number, decision, effect }.print(format);
    Ok(())
}

/// Has settled tasks of a run run again.
pub(crate) fn retry(store: &Store, asked: Retry, format: Format) -> anyhow::Result<()> {
    let run = asked.run;
    let orders = standing(store, run)?;
    let record = store.run(run)?.ok_or_else(|| unknown(run))?;
    let selection = Selection { module: asked.module, star: asked.star, state: asked.state };
    require_known(store, &record, &selection)?;
    let what = Decided::Retry { selection: selection.clone() };
    require_sense(store, run, &orders, &what)?;
    let words = words(&selection);
    let effect = if orders.is_over {
        let count = count_at_end(store, &record, &selection)?;
        anyhow::ensure!(count > 0, "run {run} has no {words}: nothing to retry");
        format!(
            "the run is opened again: {count} {words} are tried again, and what depends on them; what is done and unchanged is taken from the store"
        )
    } else {
        format!("{words} are tried again, and what depends on them; tasks that end later are not part of this")
    };
    let (number, decision) = write(store, run, what)?;
    Answer { run, number: Some(number), decision: Some(decision), effect }.print(format);
    Ok(())
}

/// How an existing run stands by its decisions.
pub(crate) fn standing(store: &Store, run: RunId) -> anyhow::Result<Orders> {
    if store.run(run)?.is_none() {
        return Err(unknown(run).into());
    }
    Ok(standing::read(store, run)?)
}

/// Refuses what cannot have any effect.
pub(crate) fn require_sense(store: &Store, run: RunId, orders: &Orders, what: &Decided) -> anyhow::Result<Sense> {
    let sense = orders.sense(what);
    match sense {
        Sense::Changes | Sense::Already => Ok(sense),
        Sense::Ended => {
            let ended = store.run_end(run)?.map(|end| end.ended.strftime("%F %T UTC").to_string());
            anyhow::bail!(
                "run {run} ended at {}: there is nothing left to decide; `sas run retry {run}` opens it again",
                ended.unwrap_or_default()
            )
        }
        Sense::Cancelling => anyhow::bail!(
            "run {run} is being cancelled: only when it has ended can tasks of it be tried again (`sas run retry {run}`)"
        ),
    }
}

/// Writes a decision down; coordinators find it by themselves, and at once where the run has ended.
pub(crate) fn write(store: &Store, run: RunId, what: Decided) -> anyhow::Result<(u64, Decision)> {
    let decision = Decision { at: jiff::Timestamp::now(), by: operator(), what };
    let number = store.decide(run, &decision)?;
    store.nudge(run)?;
    Ok((number, decision))
}

impl Answer {
    pub(crate) fn print(&self, format: Format) {
        format.print(self, |answer| match answer.number {
            Some(number) => format!("run {}, decision {number}: {}", answer.run, answer.effect),
            None => format!("run {}: {}", answer.run, answer.effect),
        });
    }
}

pub(crate) fn unknown(run: RunId) -> Stop {
    Stop::NotFound(format!("run {run} is not in the store; `sas run list` shows all"))
}

fn effect(orders: &Orders, what: &Decided) -> String {
    match what {
        Decided::Pause => {
            "no star enters it and no task of it is claimed any more; what runs now goes on to its end".to_owned()
        }
        Decided::Resume => "stars enter it and tasks of it are claimed again".to_owned(),
        Decided::Cancel => "what has not ended ends as cancelled, what runs now is stopped; committed results and the \
                            star files of stars that are done stay"
            .to_owned(),
        Decided::Priority { weight } => {
            let paused = if orders.phase == Phase::Paused { ", once it goes on" } else { "" };
            format!(
                "its weight was {}, now {weight}: the next star comes from the run with the fewest in flight per weight{paused}",
                orders.weight
            )
        }
        Decided::Retry { .. } => "settled tasks are tried again".to_owned(),
        Decided::Amend { images } => format!("{} modules have another image", images.len()),
    }
}

/// Module and star of a selection must be of the run.
fn require_known(store: &Store, record: &RunRecord, selection: &Selection) -> anyhow::Result<()> {
    if let Some(module) = &selection.module {
        require_module(record, module)?;
    }
    if let Some(star) = selection.star
        && store.stars(record.run)?.position(star)?.is_none()
    {
        return Err(Stop::NotFound(format!("{star} is not a star of run {}", record.run)).into());
    }
    Ok(())
}

/// A module must be of the run's pipeline.
pub(crate) fn require_module(record: &RunRecord, module: &ModuleName) -> anyhow::Result<()> {
    if record.load_pipeline()?.index_of(module).is_some() {
        return Ok(());
    }
    Err(Stop::NotFound(format!("{} {} has no module {module}", record.pipeline, record.version)).into())
}

/// How many tasks of a run that ended a selection is about.
fn count_at_end(store: &Store, record: &RunRecord, selection: &Selection) -> anyhow::Result<u64> {
    let is_wanted = |state: &TaskState| selection.wants(*state);
    let Some(star) = selection.star else {
        let Some(RunEnd { counts, .. }) = store.run_end(record.run)? else { return Ok(0) };
        let of_modules =
            counts.iter().filter(|(module, _)| selection.module.as_ref().is_none_or(|wanted| wanted == *module));
        return Ok(of_modules
            .flat_map(|(_, states)| states)
            .filter(|(state, _)| is_wanted(state))
            .map(|(_, n)| n)
            .sum());
    };
    let Some(index) = store.stars(record.run)?.position(star)? else { return Ok(0) };
    let line = store.settled_star(record.run, index)?;
    let Some(row) = line.and_then(|line| Row::from_bytes(line.row).ok()) else { return Ok(0) };
    let pipeline = record.load_pipeline()?;
    let tasks = pipeline.modules.iter().zip(row.cells());
    let wanted = tasks.filter(|(module, cell)| {
        selection.module.as_ref().is_none_or(|wanted| *wanted == module.name) && is_wanted(&cell.state)
    });
    Ok(wanted.count() as u64)
}

pub(crate) fn words(selection: &Selection) -> String {
    let state = selection.state.map_or_else(|| "lost".to_owned(), |state| state.to_string());
    let module = selection.module.as_ref().map(|module| format!(" of {module}")).unwrap_or_default();
    let star = selection.star.map(|star| format!(" of {star}")).unwrap_or_default();
    format!("{state} tasks{module}{star}")
}

/// A state in which a task has ended.
fn settled(text: &str) -> Result<TaskState, String> {
    let settled = text.parse().ok().filter(|state: &TaskState| state.is_settled());
    settled.ok_or_else(|| {
        "expected failed, errored, upstream_failed, cancelled, superseded, skipped or succeeded".to_owned()
    })
}
