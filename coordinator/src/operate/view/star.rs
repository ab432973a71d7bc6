//! One star in one run: from the state while it is in flight, from its generation afterwards.

mod facts;
mod task;

use std::sync::Arc;

use domain::id::{Generation, RunId, StarId, StarIndex};
use domain::run::Row;
use facts::StarFacts;
use jiff::Timestamp;
use services::state::{Phase, StateError};
use store::agent::{Agent, AgentError};
use store::course::Course;
use store::runs::{RunRecord, SettledStar};
use store::{Store, paths};

use super::{OneStar, StarSummary};
use crate::operate::look_up::{self, settled_line};
use crate::operate::{Context, OperateError};
use crate::standing;

/// What is fixed of a star's place: its run, and where it is in it.
struct Seat {
    course: Arc<Course>,
    index: StarIndex,
    star: StarId,
    /// The star file, relative to the store's root, where there is one.
    file: Option<String>,
    /// The generation that it shows, and the newest.
    shown: Option<(Generation, Generation)>,
}

/// A star in one run; without a run in the newest that has it.
pub async fn star(context: &Context, asked: OneStar) -> Result<StarSummary, OperateError> {
    let run = match asked.run {
        Some(run) => run,
        None => newest_with(context, asked.star).await?,
    };
    let course = context.course(run).await?;
    let (seat, mut facts, is_over) = context.ask(move |store| look(store, course, asked.star)).await?;
    let told = if is_over { Told::NotInFlight } else { take_state(context, &seat, &mut facts).await? };
    let mut stored_only = None;
    match told {
        Told::InFlight => {}
        Told::NotInFlight => facts = take_end(context, &seat, facts).await?,
        Told::Nothing(reason) => {
            facts = take_end(context, &seat, facts).await?;
            if facts.end.is_none() {
                facts = take_failures(context, &seat, facts).await?;
            }
            stored_only = Some(format!("{reason}: as the store has it; only tasks whose end is on record are shown"));
        }
    }
    // Of what goes on nothing is known.
    let is_known = |module| stored_only.is_none() || facts.row.cell(module).state.is_settled();
    let Seat { course, star, file, shown, .. } = seat;
    let pipeline = &course.pipeline;
    Ok(StarSummary {
        star,
        run,
        pipeline: course.record.pipeline.clone(),
        quarter: course.record.quarter,
        admitted: !facts.row.is_fresh(),
        end: facts.end,
        end_reason: facts.end_reason.clone(),
        file,
        open: shown.map(|(open, _)| open),
        newest: shown.map(|(_, newest)| newest),
        generation: facts.generation,
        tasks: pipeline
            .indexed()
            .filter(|(module, _)| is_known(*module))
            .map(|(module, _)| facts.task(pipeline, module))
            .collect(),
        stored_only,
        externals: facts.externals,
    })
}

async fn newest_with(context: &Context, star: StarId) -> Result<RunId, OperateError> {
    let found = context.ask(move |store| look_up::newest_with(store, star)).await?;
    found.map(|(run, _)| run).ok_or_else(|| OperateError::not_found(format!("no run has star {star}")))
}

/// The star's seat, what decisions say of its tasks, and whether its run is over.
fn look(store: &Store, course: Arc<Course>, star: StarId) -> Result<(Seat, StarFacts, bool), OperateError> {
    let Course { record, pipeline, stars, .. } = &*course;
    let Some(index) = stars.position(star)? else {
        return Err(OperateError::not_found(format!("{star} is not a star of run {}", record.run)));
    };
    let held = store.held(&record.pipeline)?;
    let held = held.iter().filter_map(|held| pipeline.index_of(&held.module)).collect();
    let standing = standing::read(store, record.run)?;
    let is_paused = standing.phase == Phase::Paused;
    let facts = StarFacts { row: Row::fresh(pipeline.modules.len()), held, is_paused, ..StarFacts::default() };
    let file = paths::star_file(star, record.quarter);
    let file = store.at(&file).exists().then(|| file.display().to_string());
    let open = store.open_generation(star, record.quarter)?;
    let shown = open.zip(store.latest_generation(star, record.quarter)?);
    Ok((Seat { course, index, star, file, shown }, facts, standing.is_over))
}

/// What the state tells of a star.
enum Told {
    /// Everything.
    InFlight,
    /// That the store has the rest.
    NotInFlight,
    /// Nothing, for this reason.
    Nothing(String),
}

/// Takes what the state says.
async fn take_state(context: &Context, seat: &Seat, facts: &mut StarFacts) -> Result<Told, OperateError> {
    let state = match context.installation.state().await {
        Ok(state) => state,
        Err(error) => return Ok(Told::Nothing(error.message)),
    };
    match state.star(seat.course.record.run, seat.index).await {
        Ok(view) => {
            let runs = !view.running.is_empty();
            let is_in_flight = facts.take_view(view, Timestamp::now());
            if runs {
                let attempts = state.workers().await?.into_iter().flat_map(|worker| worker.attempts);
                let (run, star) = (seat.course.record.run, seat.star);
                let of_star = attempts.filter(|attempt| (attempt.run, attempt.star) == (run, star));
                facts.take_attempts(&seat.course.pipeline, of_star);
            }
            Ok(if is_in_flight { Told::InFlight } else { Told::NotInFlight })
        }
        Err(StateError::NoRun(_)) => Ok(Told::Nothing("Redis does not have the run".to_owned())),
        Err(error) if error.is_away() => Ok(Told::Nothing(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Takes what a star ended with that is not in flight: from its generation of this run, which says most; where there is none
/// that can be read, from its line in the settled batches and what is on record of failures.
async fn take_end(context: &Context, seat: &Seat, mut facts: StarFacts) -> Result<StarFacts, OperateError> {
    let (run, index) = (seat.course.record.run, seat.index);
    let (star, quarter) = (seat.star, seat.course.record.quarter);
    let look = move |store: &Store| {
        let line = settled_line(store, run, index)?;
        let is_there = |number: &Generation| store.at(paths::generation(star, quarter, *number)).exists();
        let generation = line.as_ref().map(|line| line.generation.filter(is_there));
        Ok::<_, OperateError>((line, generation))
    };
    let (line, generation) = context.ask(look).await?;
    let has_file = match generation {
        Some(Some(number)) => {
            let mut agent = context.readers.lend().await?;
            take_generation(context, &mut agent, seat, number, &mut facts).await?
        }
        Some(None) => false,
        None => take_any_generation(context, seat, &mut facts).await?,
    };
    match line {
        Some(line) if !has_file => take_line(context, seat, facts, line).await,
        Some(_) | None => Ok(facts),
    }
}

/// Takes the newest generation that this run made of a star whose line is not written yet; whether there is one.
async fn take_any_generation(context: &Context, seat: &Seat, facts: &mut StarFacts) -> Result<bool, OperateError> {
    let (star, quarter) = (seat.star, seat.course.record.quarter);
    let newest = context.ask(move |store| store.latest_generation(star, quarter)).await?;
    let Some(newest) = newest else { return Ok(false) };
    let mut agent = context.readers.lend().await?;
    for number in (1..=newest.0).rev().map(Generation) {
        if take_generation(context, &mut agent, seat, number, facts).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes a generation of the star; false where it is another run's, or cannot be read.
async fn take_generation(
    context: &Context,
    agent: &mut Agent,
    seat: &Seat,
    number: Generation,
    facts: &mut StarFacts,
) -> Result<bool, OperateError> {
    let Seat { course, star, .. } = seat;
    match agent.manifest(&context.store.at(paths::generation(*star, course.record.quarter, number))).await {
        Ok(manifest) if manifest.generation.as_ref().is_some_and(|info| info.run == course.record.run) => {
            facts.take_generation(manifest);
            Ok(true)
        }
        Ok(_) | Err(AgentError::Refused(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes the star's line in the settled batches, and what is on record of failures of this run.
async fn take_line(
    context: &Context,
    seat: &Seat,
    mut facts: StarFacts,
    line: SettledStar,
) -> Result<StarFacts, OperateError> {
    if facts.take_line(line) { take_failures(context, seat, facts).await } else { Ok(facts) }
}

/// Takes what is on record of failures of this run.
async fn take_failures(context: &Context, seat: &Seat, mut facts: StarFacts) -> Result<StarFacts, OperateError> {
    let RunRecord { run, quarter, .. } = seat.course.record;
    let star = seat.star;
    let failures = context.ask(move |store| store.failures(star, quarter)).await?;
    for failure in failures.into_iter().filter(|failure| failure.run == run) {
        if let Some(module) = seat.course.pipeline.index_of(&failure.module) {
            facts.take_failure(module, failure);
        }
    }
    Ok(facts)
}
