//! One star in one run: from the state while it is in flight, from its generation afterwards.

mod facts;
mod task;

use domain::id::{Generation, StarId, StarIndex};
use domain::pipeline::Pipeline;
use domain::run::Row;
use facts::StarFacts;
use services::state::{Phase, StateError};
use store::agent::AgentError;
use store::runs::{RunRecord, SettledStar};
use store::{Store, paths};

use super::{OneStar, StarSummary};
use crate::operate::look_up::{self, newest_with, pipeline_of, settled_line};
use crate::operate::{Context, OperateError};
use crate::runs::standing;

/// What is fixed of a star's place: its run, and where it is in it.
struct Seat {
    record: RunRecord,
    pipeline: Pipeline,
    index: StarIndex,
    star: StarId,
    /// The newest star file, relative to the store's root, where there is one.
    file: Option<String>,
}

/// A star in one run; without a run in the newest that has it.
pub async fn star(context: &Context, asked: OneStar) -> Result<StarSummary, OperateError> {
    let (seat, mut facts, is_over) = context.ask(move |store| look(store, asked)).await?;
    let is_in_flight = !is_over && take_state(context, &seat, &mut facts).await?;
    if !is_in_flight && !take_generation(context, &seat, &mut facts).await? {
        facts = take_records(context, &seat, facts).await?;
    }
    let Seat { record, pipeline, star, file, .. } = seat;
    Ok(StarSummary {
        star,
        run: record.run,
        pipeline: record.pipeline,
        quarter: record.quarter,
        admitted: !facts.row.is_fresh(),
        end: facts.end,
        end_reason: facts.end_reason.clone(),
        file,
        generation: facts.generation,
        tasks: pipeline.indexed().map(|(module, _)| facts.task(&pipeline, module)).collect(),
        externals: facts.externals,
    })
}

/// The star's seat, what decisions say of its tasks, and whether its run is over.
fn look(store: &Store, asked: OneStar) -> Result<(Seat, StarFacts, bool), OperateError> {
    let (record, index) = place(store, asked)?;
    let pipeline = pipeline_of(store, &record)?;
    let held = store.held(&record.pipeline)?;
    let held = held.iter().filter_map(|held| pipeline.index_of(&held.module)).collect();
    let standing = standing::read(store, record.run)?;
    let is_paused = standing.phase == Phase::Paused;
    let facts = StarFacts { row: Row::fresh(pipeline.modules.len()), held, is_paused, ..StarFacts::default() };
    let file = paths::star_file(asked.star, record.quarter);
    let file = store.at(&file).exists().then(|| file.display().to_string());
    Ok((Seat { record, pipeline, index, star: asked.star, file }, facts, standing.is_over))
}

/// The run to show, and where the star is in it.
fn place(store: &Store, asked: OneStar) -> Result<(RunRecord, StarIndex), OperateError> {
    let OneStar { star, run } = asked;
    let Some(run) = run else {
        let Some((run, index)) = newest_with(store, star)? else {
            return Err(OperateError::not_found(format!("no run has star {star}")));
        };
        return Ok((look_up::record(store, run)?, index));
    };
    let record = look_up::record(store, run)?;
    match store.stars(run)?.position(star)? {
        Some(index) => Ok((record, index)),
        None => Err(OperateError::not_found(format!("{star} is not a star of run {run}"))),
    }
}

/// Takes what the state says; whether the star is in flight, so that the state says everything.
async fn take_state(context: &Context, seat: &Seat, facts: &mut StarFacts) -> Result<bool, OperateError> {
    let state = context.installation.state().await?;
    match state.star(seat.record.run, seat.index).await {
        Ok(view) => Ok(facts.take_view(view)),
        Err(StateError::NoRun(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes the star's generation of this run; whether there is one that can be read.
async fn take_generation(context: &Context, seat: &Seat, facts: &mut StarFacts) -> Result<bool, OperateError> {
    let (run, star, quarter) = (seat.record.run, seat.star, seat.record.quarter);
    let newest = context.ask(move |store| store.latest_generation(star, quarter)).await?;
    let Some(newest) = newest else { return Ok(false) };
    let mut agent = context.readers.lend().await?;
    for number in (1..=newest.0).rev().map(Generation) {
        match agent.manifest(&context.store.at(paths::generation(star, quarter, number))).await {
            Ok(manifest) if manifest.generation.as_ref().is_some_and(|info| info.run == run) => {
                facts.take_generation(manifest);
                return Ok(true);
            }
            // Another run's, or one that cannot be read.
            Ok(_) | Err(AgentError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// Takes the star's line in the settled batches, and what is on record of failures of this run, where there is no
/// generation that says more.
async fn take_records(context: &Context, seat: &Seat, mut facts: StarFacts) -> Result<StarFacts, OperateError> {
    let (run, index, star, quarter) = (seat.record.run, seat.index, seat.star, seat.record.quarter);
    let look = move |store: &Store| match settled_line(store, run, index)? {
        Some(line @ SettledStar { end: Some(_), .. }) => Ok(Some((line, store.failures(star, quarter)?))),
        Some(SettledStar { end: None, .. }) | None => Ok::<_, OperateError>(None),
    };
    if let Some((line, failures)) = context.ask(look).await?
        && facts.take_line(line)
    {
        for failure in failures.into_iter().filter(|failure| failure.run == run) {
            if let Some(module) = seat.pipeline.index_of(&failure.module) {
                facts.take_failure(module, failure);
            }
        }
    }
    Ok(facts)
}
