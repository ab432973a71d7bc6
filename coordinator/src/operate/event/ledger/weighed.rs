//! What became of the stars of an event in a pipeline whose trigger weighs them: those that entered a run, with which event, and
//! those that wait, for what and until when. Read from the events of the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::id::{DatasetName, PipelineName, RunId, Sequence, StarId};
use domain::pipeline::TriggerExpression;
use jiff::Timestamp;
use store::events::{DisposedEvent, Disposition, EventRecord};
use store::{Store, StoreError};

use super::{DisposedStar, FoundLine, LedgerLine, StarDisposition, of_run};
use crate::operate::OperateError;
use crate::operate::look_up::record;

/// A trigger as it was when it began to weigh the stars of an event.
pub(super) struct TriggerAsked<'a> {
    pub(super) pipeline: &'a PipelineName,
    pub(super) on: &'a TriggerExpression,
    pub(super) only_if: &'a BTreeMap<DatasetName, String>,
}

/// What events say of one star of the event that is looked at.
#[derive(Default)]
struct TriggerTrace {
    /// Datasets that are there, by their place in the expression.
    there: u64,
    /// What the trigger weighs: numbers, and until when a star waits for the sake of each.
    asks: Vec<(Sequence, Option<Timestamp>)>,
    /// The last start before the event.
    before: Sequence,
    /// The first one after it.
    entered: Option<(Sequence, RunId)>,
}

/// The line of a trigger, with every star of the event.
pub(super) fn weighed(
    store: &Store,
    event: &EventRecord,
    named: &[StarId],
    asked: &TriggerAsked<'_>,
) -> Result<FoundLine, OperateError> {
    let courses = follow(store, event, named, asked)?;
    let mut runs: HashMap<RunId, HashMap<StarId, DisposedStar>> = HashMap::new();
    let entered: BTreeSet<RunId> = courses.values().filter_map(|course| Some(course.entered?.1)).collect();
    for run in entered {
        let (_, stars) = of_run(store, &record(store, run)?)?;
        runs.insert(run, stars.into_iter().map(|star| (star.star, star)).collect());
    }
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    let mut stars = Vec::with_capacity(named.len());
    for star in named {
        let course = &courses[star];
        let Some((number, run)) = course.entered else {
            let reason = missing(asked, course);
            *reasons.entry(reason.clone()).or_default() += 1;
            let reason = Some(match until(course) {
                Some(until) => format!("{reason}; enters anyway at {until}"),
                None => reason,
            });
            stars.push(DisposedStar {
                star: *star,
                run: None,
                disposition: StarDisposition::WaitingFor,
                by: None,
                reason,
            });
            continue;
        };
        let is_last = !course.asks.iter().any(|(ask, _)| *ask > event.sequence && *ask <= number);
        let entered = if is_last { StarDisposition::Expanded } else { StarDisposition::Joined };
        let found = runs.get(&run).and_then(|stars| stars.get(star)).cloned();
        let plain = DisposedStar { star: *star, run: Some(run), disposition: entered, by: None, reason: None };
        stars.push(match found {
            Some(found) if found.disposition != StarDisposition::Expanded => found,
            Some(_) | None => plain,
        });
    }
    let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} wait for {reason}")).collect();
    let mut entered: Vec<RunId> = runs.into_keys().collect();
    let line = LedgerLine {
        run: entered.pop().filter(|_| entered.is_empty()),
        pipeline: Some(asked.pipeline.clone()),
        stars: BTreeMap::new(),
        reason: Some(reasons.join("; ")).filter(|reason| !reason.is_empty()),
    };
    Ok((line, stars))
}

/// What all events of the quarter say of these stars.
fn follow(
    store: &Store,
    of: &EventRecord,
    named: &[StarId],
    asked: &TriggerAsked<'_>,
) -> Result<HashMap<StarId, TriggerTrace>, StoreError> {
    let mut courses: HashMap<StarId, TriggerTrace> =
        named.iter().map(|star| (*star, TriggerTrace::default())).collect();
    for number in store.event_numbers(Sequence(0))? {
        let Some(event) = store.event_with_number(number)? else { continue };
        let data = &event.record.event.data;
        let place = asked.on.datasets().position(|dataset| *dataset == data.dataset);
        let started = started(&event, asked.pipeline);
        if data.quarter != of.event.data.quarter || place.is_none() && started.is_none() {
            continue;
        }
        for star in store.stars_of(&data.stars)?.unwrap_or_default() {
            let Some(course) = courses.get_mut(&star) else { continue };
            match (started, place) {
                (Some(run), _) if number > of.sequence => _ = course.entered.get_or_insert((number, run)),
                (Some(_), _) => course.before = number,
                (None, place) if data.start.is_none() => {
                    course.there |= place.map_or(0, |place| 1 << place);
                    course.asks.extend(waits(&event, asked.pipeline).map(|until| (number, until)));
                }
                (None, _) => {}
            }
        }
    }
    Ok(courses)
}

/// The run that somebody, or the trigger itself, started over these stars.
fn started(event: &DisposedEvent, pipeline: &PipelineName) -> Option<RunId> {
    let start = event.record.event.data.start.as_ref()?;
    if start.pipeline != *pipeline || start.only_group.is_some() {
        return None;
    }
    event.dispositions.iter().flatten().find_map(|disposition| match disposition {
        Disposition::Run { run } => Some(*run),
        Disposition::Waits { .. } | Disposition::NoPipeline | Disposition::Rejected { .. } => None,
    })
}

/// Until when stars of an event wait at most, where this pipeline's trigger weighs them.
fn waits(event: &DisposedEvent, of: &PipelineName) -> Option<Option<Timestamp>> {
    event.dispositions.iter().flatten().find_map(|disposition| match disposition {
        Disposition::Waits { pipeline, until, .. } if pipeline == of => Some(*until),
        Disposition::Waits { .. } | Disposition::Run { .. } | Disposition::NoPipeline => None,
        Disposition::Rejected { .. } => None,
    })
}

fn until(course: &TriggerTrace) -> Option<Timestamp> {
    course.asks.iter().filter(|(number, _)| *number > course.before).filter_map(|(_, until)| *until).min()
}

/// What a star waits for, in words.
fn missing(asked: &TriggerAsked<'_>, course: &TriggerTrace) -> String {
    let is_there = |dataset: &DatasetName| {
        // One that stands there twice has the bit of its first place.
        let place = asked.on.datasets().position(|known| known == dataset);
        place.is_some_and(|place| course.there & 1 << place != 0)
    };
    let Some(missing) = asked.on.missing(&is_there) else {
        return "nothing more to come: all that is asked for is there".to_owned();
    };
    let conditions: Vec<String> = asked
        .only_if
        .iter()
        .filter(|(dataset, _)| !is_there(dataset))
        .map(|(dataset, condition)| format!(" ({dataset} only where {condition})"))
        .collect();
    missing + &conditions.concat()
}
