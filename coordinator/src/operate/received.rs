//! Dataset events that were accepted, newest first, each with what became of its stars in numbers that add up (E1).

use std::collections::BTreeMap;

use domain::id::{DatasetName, EventId, PipelineName, Quarter, RunId, Sequence};
use domain::message::StarSelection;
use jiff::Timestamp;
use serde::Serialize;
use store::events::{Disposition, EventRecord};
use store::runs::StarEnd;
use store::{Store, StoreError};

use super::view::{RunPhase, known_run};
use super::{Context, OperateError};

/// Events.
#[derive(Debug, Clone, Serialize)]
pub struct ReceivedEvents {
    /// Newest first.
    pub events: Vec<ReceivedEvent>,
    /// How many there are in all.
    pub all: u64,
}

/// An event that was accepted.
#[derive(Debug, Clone, Serialize)]
pub struct ReceivedEvent {
    /// Its id.
    pub event: EventId,
    /// Its place among events and ingests.
    pub sequence: Sequence,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Who published it.
    pub source: String,
    /// The publisher's own id of it.
    pub id: String,
    /// The dataset.
    pub dataset: DatasetName,
    /// The quarter.
    pub quarter: Quarter,
    /// How many stars it names; `None` where a file names them.
    pub stars: Option<u64>,
    /// The runs that it started.
    pub runs: Vec<EventRun>,
    /// Why it started none; `None` where it did, or is not followed yet.
    pub no_run: Option<String>,
    /// Whether a coordinator is still to say what becomes of it.
    pub pending: bool,
}

/// A run of an event, with its stars by what became of them: all of these numbers together are all stars.
#[derive(Debug, Clone, Serialize)]
pub struct EventRun {
    /// The run.
    pub run: RunId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Where it is.
    pub phase: RunPhase,
    /// All its stars.
    pub stars: u64,
    /// Stars that have ended and of which is known how.
    pub ends: BTreeMap<StarEnd, u64>,
    /// Stars that have ended, and how is counted when the run ends.
    pub settled: u64,
    /// Stars in flight.
    pub in_flight: u64,
    /// Stars that are to enter.
    pub to_come: u64,
}

/// The newest events.
pub async fn list(context: &Context, most: usize) -> Result<ReceivedEvents, OperateError> {
    let (records, all) = context.ask(move |store| newest(store, most)).await?;
    let mut events = Vec::with_capacity(records.len());
    for (record, dispositions) in records {
        events.push(received(context, record, dispositions).await?);
    }
    Ok(ReceivedEvents { events, all })
}

type Found = Vec<(EventRecord, Option<Vec<Disposition>>)>;

fn newest(store: &Store, most: usize) -> Result<(Found, u64), StoreError> {
    let mut records = store.events()?;
    let all = records.len() as u64;
    records.reverse();
    records.truncate(most);
    let found = records.into_iter().map(|record| {
        let dispositions = store.dispositions(record.id)?;
        Ok((record, dispositions))
    });
    Ok((found.collect::<Result<_, StoreError>>()?, all))
}

async fn received(
    context: &Context,
    record: EventRecord,
    dispositions: Option<Vec<Disposition>>,
) -> Result<ReceivedEvent, OperateError> {
    let pending = dispositions.is_none();
    let (mut runs, mut no_run) = (Vec::new(), None);
    for disposition in dispositions.unwrap_or_default() {
        match disposition {
            Disposition::Run { run } => runs.push(of_run(context, run).await?),
            Disposition::NoPipeline => no_run = Some("no pipeline is triggered by its dataset".to_owned()),
            Disposition::Rejected { reason } => no_run = Some(reason),
        }
    }
    let update = record.event.data;
    let stars = match &update.stars {
        StarSelection::Inline(stars) => Some(stars.len() as u64),
        StarSelection::File(_) => None,
    };
    Ok(ReceivedEvent {
        event: record.id,
        sequence: record.sequence,
        accepted: record.accepted,
        source: record.event.source,
        id: record.event.id,
        dataset: update.dataset,
        quarter: update.quarter,
        stars,
        runs,
        no_run,
        pending,
    })
}

async fn of_run(context: &Context, run: RunId) -> Result<EventRun, OperateError> {
    let summary = known_run(context, run).await?;
    let (stars, in_flight) = (u64::from(summary.stars), u64::from(summary.in_flight));
    let known: u64 = summary.ends.values().sum();
    // What the state says is of one moment, what the store has of stars that ended may be of a later one.
    let to_come = u64::from(summary.to_come).min(stars.saturating_sub(known + in_flight));
    let settled = stars.saturating_sub(known + in_flight + to_come);
    Ok(EventRun {
        run,
        pipeline: summary.pipeline,
        phase: summary.phase,
        stars,
        ends: summary.ends,
        settled,
        in_flight,
        to_come,
    })
}
