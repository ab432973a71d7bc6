//! Dataset events: read, made and published, and what became of their stars.

mod ledger;

use domain::error::chain;
use domain::id::{DatasetName, EventId, PipelineName, Quarter, Sequence};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection, to_json};
use jiff::Timestamp;
pub use ledger::{DisposedStar, DisposedStars, EventLedger, LedgerLine, StarDisposition, ledger, ledgers, receipt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::queue::{Outgoing, QueueName, SharedQueue};
use store::audit::{Target, Verb};
use store::events::{DisposedEvent, Disposition, EventRecord};
use store::{Commit, Store, StoreError};
use uuid::Uuid;

use super::audit::{Deed, Doer};
use super::{Context, ErrorKind, OperateError};
use crate::events::accept::other_data;

/// What publishers without a name of their own are called.
pub const SOURCE: &str = "sas";

/// Stars that have new data.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PublishEvent {
    /// The dataset.
    pub dataset: DatasetName,
    /// The quarter of the data.
    pub quarter: Quarter,
    /// The stars: `stars`, or `stars_file`, a text file below the store's root with one a line.
    #[serde(flatten)]
    pub stars: StarSelection,
    /// Who publishes; with the id it names the event, so that the same one twice is one event.
    #[serde(default)]
    pub source: Option<String>,
    /// The event's id; a new one unless given.
    #[serde(default)]
    pub id: Option<String>,
}

/// Publishes that stars have new data; what cannot be read is refused before anything is asked, as is an event that has the name of
/// another one.
pub async fn publish(context: &Context, asked: PublishEvent) -> Result<DatasetEvent, OperateError> {
    let event = compose(asked)?;
    publish_written(context, vec![event.clone()]).await?;
    Ok(event)
}

/// Publishes events as publishers wrote them; returns the line of the audit of each.
pub async fn publish_written(context: &Context, events: Vec<DatasetEvent>) -> Result<Vec<u64>, OperateError> {
    let by = context.doer()?;
    send_all(context, &events).await?;
    context.ask(move |store| events.iter().map(|event| record(store, &by, event)).collect()).await
}

/// Writes down that an event was published. Blocks on the disk.
pub(super) fn record(store: &Store, by: &Doer, event: &DatasetEvent) -> Result<u64, OperateError> {
    let DatasetUpdate { dataset, quarter, stars, .. } = &event.data;
    let count = match stars {
        StarSelection::Inline(stars) => Some(stars.len() as u64),
        StarSelection::File(_) => None,
    };
    let effect = format!("event {:?} of {:?}: new data in {dataset}, {quarter}", event.id, event.source);
    let target = Target::Event { event: event.event_id() };
    by.record(store, Deed { verb: Verb::Publish, target, count, decision: None, effect: &effect })
}

/// Some of the events, with what became of them.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct EventPage {
    /// Newest first.
    pub events: Vec<EventSummary>,
    /// The number below which older ones are; `None` where there are none.
    pub older: Option<Sequence>,
    /// What cannot be read of others, a line each.
    pub damaged: Vec<String>,
}

/// An event that was accepted, with what became of it; of many stars their number alone.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct EventSummary {
    /// Its computed id.
    pub event: EventId,
    /// Its place among the events and ingests of this store.
    pub sequence: Sequence,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Who published it.
    pub source: String,
    /// The publisher's own id of it.
    pub id: String,
    /// The dataset.
    pub dataset: DatasetName,
    /// The quarter of the data.
    pub quarter: Quarter,
    /// How many stars it names; `None` where they are in a file.
    pub stars: Option<u64>,
    /// The file below the store's root that has its stars.
    pub stars_file: Option<String>,
    /// The pipeline that somebody started over what the store has; nothing is new then.
    pub start: Option<PipelineName>,
    /// What became of it; `None` while no coordinator finished accepting it.
    pub dispositions: Option<Vec<Disposition>>,
}

/// So many of the newest events, of those below a number where one is given.
pub async fn list(context: &Context, newest: usize, before: Option<Sequence>) -> Result<EventPage, OperateError> {
    let found = context.ask(move |store| store.events_before(newest, before)).await?;
    Ok(EventPage {
        events: found.events.into_iter().map(EventSummary::of).collect(),
        older: found.older,
        damaged: found.damaged.iter().map(|error| chain(error)).collect(),
    })
}

/// One event.
pub async fn show(context: &Context, event: EventId) -> Result<EventSummary, OperateError> {
    if let Some(found) = find(context, event).await? {
        return Ok(found);
    }
    Err(match refusal(context, event).await? {
        Some(reason) => OperateError::not_found(format!("event {event} was refused: {reason}")),
        None => unknown(event),
    })
}

/// Why an event was refused: its stars cannot be read. `None` where it was not, or is on its way again.
pub async fn refusal(context: &Context, event: EventId) -> Result<Option<String>, OperateError> {
    let look = move |store: &Store| store.refused_event(event);
    Ok(context.ask(look).await?.map(|refused| refused.reason))
}

/// What is said of an event of which nothing is known.
fn unknown(event: EventId) -> OperateError {
    OperateError::not_found(format!("event {event} was not accepted, or not yet"))
}

/// One event, where it was accepted.
pub async fn find(context: &Context, event: EventId) -> Result<Option<EventSummary>, OperateError> {
    let look = move |store: &Store| {
        let Some(record) = store.event(event)? else { return Ok(None) };
        Ok::<_, StoreError>(Some(DisposedEvent { record, dispositions: store.dispositions(event)? }))
    };
    Ok(context.ask(look).await?.map(EventSummary::of))
}

impl EventSummary {
    fn of(DisposedEvent { record, dispositions }: DisposedEvent) -> Self {
        let EventRecord { id: event, sequence, accepted, event: DatasetEvent { source, id, data, .. } } = record;
        let (stars, stars_file) = match data.stars {
            StarSelection::Inline(stars) => (Some(stars.len() as u64), None),
            StarSelection::File(file) => (None, Some(file)),
        };
        let start = data.start.map(|start| start.pipeline);
        let (dataset, quarter) = (data.dataset, data.quarter);
        Self { event, sequence, accepted, source, id, dataset, quarter, stars, stars_file, start, dispositions }
    }
}

/// Reads an event as publishers write it (CloudEvents 1.0, structured JSON).
pub fn read(body: &[u8]) -> Result<DatasetEvent, OperateError> {
    Ok(DatasetEvent::from_json(body)?)
}

/// A new event with an id of its own.
pub fn new(data: DatasetUpdate) -> DatasetEvent {
    DatasetEvent::new(SOURCE, &Uuid::new_v4().to_string(), Timestamp::now().to_string(), data)
}

/// Hands an event to the broker and waits until it has it. It is in the store before, so that it is published again where the
/// broker loses it, or does not say that it has it.
pub async fn send(context: &Context, event: &DatasetEvent) -> Result<(), OperateError> {
    send_all(context, std::slice::from_ref(event)).await
}

/// The same with many. Where one fails others may be published: the same may be sent again.
async fn send_all(context: &Context, events: &[DatasetEvent]) -> Result<(), OperateError> {
    let queue = context.installation.queue().await?;
    queue.declare(&[]).await?;
    let announced = events.to_vec();
    context.ask(move |store| announce_all(store, &announced)).await?;
    hand_over(&queue, events).await
}

/// Lays events down before they are published; none where one cannot be, or has the name of another event.
fn announce_all(store: &Store, events: &[DatasetEvent]) -> Result<(), OperateError> {
    require_own_names(store, events)?;
    let mut new = Vec::new();
    let mut announce = || {
        for event in events {
            if store.announce_event(event)? == Commit::Created {
                new.push(event.event_id());
            }
        }
        // Somebody may have been faster, and a name may be twice among them.
        require_own_names(store, events)
    };
    let announced = announce();
    if announced.is_err() {
        for id in new {
            if let Err(error) = store.take_announced(id) {
                tracing::warn!(event = %id, error = chain(&error), "an event stays in the store, and is published later");
            }
        }
    }
    announced
}

/// Which of these events were accepted before; refuses them where another one with the same source and id is known.
pub async fn are_repeats(context: &Context, events: &[DatasetEvent]) -> Result<Vec<bool>, OperateError> {
    let events = events.to_vec();
    let look = move |store: &Store| {
        require_own_names(store, &events)?;
        let is_repeat = |event: &DatasetEvent| Ok(store.event(event.event_id())?.is_some());
        events.iter().map(is_repeat).collect::<Result<_, OperateError>>()
    };
    context.ask(look).await
}

/// Refuses events of which another one with the same source and id is known. Blocks on the disk.
fn require_own_names(store: &Store, events: &[DatasetEvent]) -> Result<(), OperateError> {
    for event in events {
        if store.has_other_data(event)? {
            return Err(OperateError::refused(other_data(event)));
        }
    }
    Ok(())
}

/// Hands events to the broker and waits until it has them.
async fn hand_over(queue: &SharedQueue, events: &[DatasetEvent]) -> Result<(), OperateError> {
    let messages = events.iter().map(|event| Outgoing { queue: QueueName::Events, body: to_json(event), trace: None });
    let confirmed = queue.publish(messages.collect()).await;
    if confirmed.len() != events.len() {
        return Err(OperateError::new(ErrorKind::Failed, "the broker gave no answer"));
    }
    for (event, confirmed) in events.iter().zip(confirmed) {
        let doing = || {
            format!(
                "failed to publish event {}; it is in the store, and a coordinator tries again within minutes",
                event.id
            )
        };
        confirmed.map_err(|error| OperateError::from(error).within(&doing()))?;
    }
    Ok(())
}

/// The event that somebody asks for, as whoever receives it reads it.
fn compose(asked: PublishEvent) -> Result<DatasetEvent, OperateError> {
    let PublishEvent { dataset, quarter, stars, source, id } = asked;
    let mut event = new(DatasetUpdate { dataset, quarter, stars, start: None });
    event.source = source.unwrap_or(event.source);
    event.id = id.unwrap_or(event.id);
    read(&to_json(&event))
}

#[cfg(test)]
mod tests {
    use domain::id::StarId;

    use super::*;

    fn check(request: serde_json::Value) -> Result<DatasetEvent, OperateError> {
        compose(serde_json::from_value(request).unwrap())
    }

    #[test]
    fn an_event_that_is_asked_for_is_one_that_can_be_read() {
        let star = StarId::of_simulator(1).to_string();
        let event = check(serde_json::json!({"dataset": "l1/lightcurve", "quarter": 3, "stars": [star]})).unwrap();
        assert_eq!((event.source.as_str(), event.data.quarter.to_string().as_str()), (SOURCE, "Q003"));
        let named = serde_json::json!({
            "dataset": "l1/lightcurve", "quarter": 3, "stars_file": "control/lists/x.txt", "source": "me", "id": "7"
        });
        let event = check(named).unwrap();
        assert_eq!((event.source.as_str(), event.id.as_str()), ("me", "7"));

        for (stars, word) in [("stars", "at least one star"), ("stars_file", "expected a path relative")] {
            let nothing = if stars == "stars" { serde_json::json!([]) } else { serde_json::json!("../x") };
            let refused = check(serde_json::json!({"dataset": "l1/lightcurve", "quarter": 3, stars: nothing}));
            let refused = refused.unwrap_err();
            assert!(refused.kind == ErrorKind::Refused && refused.message.contains(word), "{refused}");
        }
    }
}
