//! Dataset events that were accepted, newest first, each with what became of its stars in numbers that add up (E1).

use std::collections::BTreeMap;

use domain::id::{PipelineName, RunId, Sequence};
use serde::Serialize;
use store::events::Disposition;
use store::runs::StarEnd;

use super::event::{self, EventSummary};
use super::view::{RunPhase, known_run};
use super::{Context, OperateError};

/// Events.
#[derive(Debug, Clone, Serialize)]
pub struct ReceivedEvents {
    /// Newest first.
    pub events: Vec<ReceivedEvent>,
    /// The number below which older ones are; `None` where there are none.
    pub older: Option<Sequence>,
    /// What cannot be read of others, a line each.
    pub damaged: Vec<String>,
}

/// An event that was accepted, with its runs.
#[derive(Debug, Clone, Serialize)]
pub struct ReceivedEvent {
    /// The event.
    #[serde(flatten)]
    pub event: EventSummary,
    /// The runs that it started.
    pub runs: Vec<EventRun>,
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

/// So many of the newest events, of those below a number where one is given.
pub async fn list(context: &Context, newest: usize, before: Option<Sequence>) -> Result<ReceivedEvents, OperateError> {
    let found = event::list(context, newest, before).await?;
    let mut events = Vec::with_capacity(found.events.len());
    for event in found.events {
        let mut runs = Vec::new();
        for disposition in event.dispositions.iter().flatten() {
            if let Disposition::Run { run } = disposition {
                runs.push(of_run(context, *run).await?);
            }
        }
        events.push(ReceivedEvent { event, runs });
    }
    Ok(ReceivedEvents { events, older: found.older, damaged: found.damaged })
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
