//! Where dataset events are, from their announcement to their dispositions. Pure.

use std::path::PathBuf;

use super::SEQUENCE_SHARD;
use domain::id::{EventId, Sequence};

/// Dataset events that were accepted, in the order of their numbers.
pub fn event_index() -> PathBuf {
    PathBuf::from("control/events")
}

/// The folder of events whose numbers lie in this thousand.
pub fn event_shard(shard: u64) -> PathBuf {
    event_index().join(shard.to_string())
}

/// Which event has this number.
pub fn event_by_number(number: Sequence) -> PathBuf {
    event_shard(number.0 / SEQUENCE_SHARD).join(number.to_string())
}

/// Where events are.
pub fn events() -> PathBuf {
    PathBuf::from("events")
}

/// What an event said, and its sequence number.
pub fn event(event: EventId) -> PathBuf {
    events().join(format!("{event}.json"))
}

/// What became of an event.
pub fn event_dispositions(event: EventId) -> PathBuf {
    events().join(format!("{event}.dispositions.json"))
}

/// Where a mark is of every event whose acceptance is under way.
pub fn pending_events() -> PathBuf {
    PathBuf::from("control/pending")
}

/// The mark of an event whose acceptance is under way.
pub fn pending_event(event: EventId) -> PathBuf {
    pending_events().join(event.to_string())
}

/// Where events are that were published and not accepted yet.
pub fn announced_events() -> PathBuf {
    PathBuf::from("control/announced")
}

/// An event that was published and not accepted yet.
pub fn announced_event(event: EventId) -> PathBuf {
    announced_events().join(format!("{event}.json"))
}

/// Why an event was refused.
pub fn refused_event(event: EventId) -> PathBuf {
    PathBuf::from("control/refused").join(format!("{event}.json"))
}
