//! Dataset events: read, made and published.

use domain::id::{DatasetName, Quarter, StarId};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection, to_json};
use serde::Deserialize;
use services::queue::{Outgoing, QueueName, SharedQueue};
use store::{Store, StoreError};
use uuid::Uuid;

use super::{ErrorKind, Installation, OperateError};

/// What publishers without a name of their own are called.
pub const SOURCE: &str = "sas";

/// Stars that travel in the event itself; of more a list is laid into the store.
const INLINE: usize = 1000;

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

/// Publishes that stars have new data; what cannot be read is refused before anything is asked.
pub async fn publish(installation: &dyn Installation, asked: PublishEvent) -> Result<DatasetEvent, OperateError> {
    let event = compose(asked)?;
    send(&installation.queue().await?, &event).await?;
    Ok(event)
}

/// Reads an event as publishers write it (CloudEvents 1.0, structured JSON).
pub fn read(body: &[u8]) -> Result<DatasetEvent, OperateError> {
    Ok(DatasetEvent::from_json(body)?)
}

/// A new event with an id of its own.
pub fn new(data: DatasetUpdate) -> DatasetEvent {
    DatasetEvent::new(SOURCE, &Uuid::new_v4().to_string(), jiff::Timestamp::now().to_string(), data)
}

/// Hands an event to a broker and waits until it has it.
pub async fn send(queue: &SharedQueue, event: &DatasetEvent) -> Result<(), OperateError> {
    queue.declare(&[]).await?;
    let message = Outgoing { queue: QueueName::Events, body: to_json(event) };
    let Some(confirmed) = queue.publish(vec![message]).await.pop() else {
        return Err(OperateError::new(ErrorKind::Failed, "the broker gave no answer"));
    };
    confirmed.map_err(|error| OperateError::from(error).within(&format!("failed to publish event {}", event.id)))
}

/// How an event names its stars; many are laid into the store beside it, by the event's id. Blocks on the disk.
pub(super) fn select(store: &Store, id: &str, stars: Vec<StarId>) -> Result<StarSelection, StoreError> {
    if stars.len() <= INLINE {
        return Ok(StarSelection::Inline(stars));
    }
    Ok(StarSelection::File(store.keep_star_list(id, &stars)?))
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
