//! Dataset events that were accepted, and what became of them (E1).
//!
//! An event is accepted in two files, each the first link's: what it said with its number, then its dispositions after
//! its runs are in the store. A crash in between leaves an event without dispositions, which the next coordinator finishes:
//! `control/pending/<event>` is there from before the first file until after the second. `control/events/<n / 1000>/<n>` names
//! the event with number n, so that a list of the newest reads no others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::durable::{self, Commit};
use super::{Store, StoreError, is_there, names_in, paths, read_json, to_json};
use domain::id::{DatasetName, EventId, PipelineName, RunId, Sequence};
use domain::message::DatasetEvent;
use domain::pipeline::TriggerExpression;

/// An event that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventRecord {
    /// Its computed id.
    pub id: EventId,
    /// Its place among the events and ingests of this store; the horizon of the runs that it starts.
    pub sequence: Sequence,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// What it said.
    pub event: DatasetEvent,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "disposition", rename_all = "snake_case")]
pub enum Disposition {
    /// It started a run.
    Run {
        /// The run.
        run: RunId,
    },
    /// The trigger of a pipeline names its dataset: its stars enter a run as soon as what the trigger asks for is there.
    Waits {
        /// The pipeline.
        pipeline: PipelineName,
        /// What its trigger asks for.
        on: TriggerExpression,
        /// Datasets that it asks for only where a condition holds.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        only_if: BTreeMap<DatasetName, String>,
        /// When they enter anyway.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// No pipeline is triggered by its dataset.
    NoPipeline,
    /// It named nothing that a run could be made of.
    Rejected {
        /// Why, in one line.
        reason: String,
    },
}

/// An event that was accepted, with what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DisposedEvent {
    /// What is on record of it.
    #[serde(flatten)]
    pub record: EventRecord,
    /// What became of it; `None` while nobody finished accepting it.
    pub dispositions: Option<Vec<Disposition>>,
}

/// Some of the events.
#[derive(Debug, Default)]
pub struct EventList {
    /// Newest first.
    pub events: Vec<DisposedEvent>,
    /// The number below which there are more.
    pub older: Option<Sequence>,
    /// What cannot be read.
    pub damaged: Vec<StoreError>,
}

impl Store {
    /// Writes an event down and gives it its number; an event that is there keeps its record.
    pub fn accept_event(&self, event: &DatasetEvent) -> Result<EventRecord, StoreError> {
        let id = event.event_id();
        if let Some(record) = self.event(id)? {
            self.index_event(&record)?;
            return Ok(record);
        }
        let sequence = self.next_sequence()?;
        let record = EventRecord { id, sequence, accepted: Timestamp::now(), event: event.clone() };
        durable::create(&self.at(paths::pending_event(id)), &self.beside(), b"")?;
        durable::create(&self.at(paths::event(id)), &self.beside(), &to_json(&record))?;
        let record = self.event(id)?.ok_or_else(|| StoreError::NotFound { what: format!("event {id}") })?;
        self.index_event(&record)?;
        Ok(record)
    }

    /// So many of the newest events below this number, of all where there is none, newest first; older ones are not read.
    pub fn events_before(&self, most: usize, before: Option<Sequence>) -> Result<EventList, StoreError> {
        self.index_old_events()?;
        let mut found = EventList::default();
        let shards = numbers_in(&self.at(paths::event_index()))?;
        let is_older = |number: u64| before.is_none_or(|before| number < before.0);
        for shard in shards.into_iter().rev().filter(|shard| is_older(shard * paths::SEQUENCE_SHARD)) {
            let folder = self.at(paths::event_shard(shard));
            for number in numbers_in(&folder)?.into_iter().rev().filter(|number| is_older(*number)) {
                if found.events.len() == most {
                    found.older = found.events.last().map(|last| last.record.sequence);
                    return Ok(found);
                }
                match self.event_with_number(Sequence(number)) {
                    Ok(Some(event)) => found.events.push(event),
                    Ok(None) => {}
                    Err(error @ (StoreError::Damaged { .. } | StoreError::Newer { .. })) => found.damaged.push(error),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(found)
    }

    /// The numbers of all events after this one, oldest first. Reads names alone, and of numbers before it none but those of its
    /// thousand.
    pub fn event_numbers(&self, after: Sequence) -> Result<Vec<Sequence>, StoreError> {
        self.index_old_events()?;
        let mut found = Vec::new();
        let is_asked = |shard: &u64| *shard >= after.0 / paths::SEQUENCE_SHARD;
        for shard in numbers_in(&self.at(paths::event_index()))?.into_iter().filter(is_asked) {
            let numbers = numbers_in(&self.at(paths::event_shard(shard)))?;
            found.extend(numbers.into_iter().filter(|number| *number > after.0).map(Sequence));
        }
        Ok(found)
    }

    /// The event with this number, if it is on record.
    pub fn event_with_number(&self, number: Sequence) -> Result<Option<DisposedEvent>, StoreError> {
        let Some(id) = read_json(&self.at(paths::event_by_number(number)))? else { return Ok(None) };
        let Some(record) = self.event(id)? else { return Ok(None) };
        Ok(Some(DisposedEvent { record, dispositions: self.dispositions(id)? }))
    }

    /// Names an event by its number.
    fn index_event(&self, record: &EventRecord) -> Result<(), StoreError> {
        let path = self.at(paths::event_by_number(record.sequence));
        durable::create(&path, &self.beside(), &to_json(&record.id)).map(drop)
    }

    /// The same with all events of a store that was made before there were such names, once.
    fn index_old_events(&self) -> Result<(), StoreError> {
        let sign = self.at(paths::event_index()).join("all");
        if is_there(&sign)? {
            return Ok(());
        }
        for record in self.events()? {
            self.index_event(&record)?;
        }
        durable::make_dir(&self.at(paths::event_index()))?;
        durable::create(&sign, &self.beside(), b"").map(drop)
    }

    /// Records what became of an event; returns what is on record, which is what the first caller said, and whether that was
    /// this one.
    pub fn dispose_event(
        &self,
        id: EventId,
        dispositions: &[Disposition],
    ) -> Result<(Vec<Disposition>, Commit), StoreError> {
        let path = self.at(paths::event_dispositions(id));
        let commit = durable::create(&path, &self.beside(), &to_json(&dispositions))?;
        self.forget_pending(id)?;
        // Perhaps they are of a user whose files this one must not remove; the comparison removes the first, or leaves it alone.
        let _ = self.take_announced(id);
        let _ = self.forget_refusal(id);
        let on_record = read_json(&path)?;
        let missing = || StoreError::NotFound { what: format!("dispositions of event {id}") };
        Ok((on_record.ok_or_else(missing)?, commit))
    }

    /// An event that was accepted.
    pub fn event(&self, id: EventId) -> Result<Option<EventRecord>, StoreError> {
        read_json(&self.at(paths::event(id)))
    }

    /// What became of an event; `None` when nobody finished accepting it.
    pub fn dispositions(&self, id: EventId) -> Result<Option<Vec<Disposition>>, StoreError> {
        read_json(&self.at(paths::event_dispositions(id)))
    }

    /// All events that were accepted, oldest first.
    pub fn events(&self) -> Result<Vec<EventRecord>, StoreError> {
        let mut records = Vec::new();
        for name in names_in(&self.at(paths::events()))? {
            if let Some(id) = name.strip_suffix(".json").and_then(|stem| stem.parse().ok()) {
                records.extend(self.event(id)?);
            }
        }
        records.sort_by_key(|record: &EventRecord| record.sequence);
        Ok(records)
    }

    /// Events whose acceptance was cut short, or goes on just now, by id: they are on record, their dispositions are not.
    pub fn undisposed_events(&self) -> Result<Vec<EventId>, StoreError> {
        let mut undisposed = Vec::new();
        for id in names_in(&self.at(paths::pending_events()))?.iter().filter_map(|name| name.parse().ok()) {
            if is_there(&self.at(paths::event_dispositions(id)))? {
                self.forget_pending(id)?;
            } else if is_there(&self.at(paths::event(id)))? {
                undisposed.push(id);
            }
        }
        Ok(undisposed)
    }

    /// Marks every event as pending that has no dispositions; for stores without such marks. Reads the names of all events.
    pub(crate) fn mark_pending_events(&self) -> Result<(), StoreError> {
        let names: BTreeSet<String> = names_in(&self.at(paths::events()))?.into_iter().collect();
        let undisposed = names
            .iter()
            .filter_map(|name| name.strip_suffix(".json")?.parse().ok())
            .filter(|id: &EventId| !names.contains(&format!("{id}.dispositions.json")));
        for id in undisposed {
            durable::create(&self.at(paths::pending_event(id)), &self.beside(), b"")?;
        }
        durable::make_dir(&self.at(paths::pending_events()))
    }

    fn forget_pending(&self, id: EventId) -> Result<(), StoreError> {
        durable::remove(&self.at(paths::pending_event(id)))
    }
}

/// Names in a folder that are numbers, in their order.
fn numbers_in(folder: &Path) -> Result<Vec<u64>, StoreError> {
    let mut numbers: Vec<u64> = names_in(folder)?.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use domain::id::{Quarter, StarId};
    use domain::message::{DatasetUpdate, StarSelection};

    use super::*;

    #[test]
    fn the_newest_events_are_listed_also_of_a_store_that_has_no_index_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path()).unwrap();
        let accept = |id: &str| {
            let stars = StarSelection::Inline(vec![StarId::of_simulator(1)]);
            let dataset = "l1/lightcurve".parse().unwrap();
            let update = DatasetUpdate { dataset, quarter: Quarter::FIRST, stars, start: None };
            store.accept_event(&DatasetEvent::new("test", id, "2030-01-01T00:00:00Z".to_owned(), update)).unwrap()
        };
        let ids = |most, before| {
            let found = store.events_before(most, before).unwrap();
            let ids: Vec<String> = found.events.iter().map(|event| event.record.event.id.clone()).collect();
            (ids.join(" "), found.older)
        };
        let first = accept("1");
        std::fs::remove_dir_all(store.at(paths::event_index())).unwrap();
        let second = accept("2");
        store.next_sequence().unwrap();
        store.dispose_event(second.id, &[Disposition::NoPipeline]).unwrap();
        assert_eq!(accept("1"), first);
        let third = accept("3");
        assert_eq!(ids(2, None), ("3 2".to_owned(), Some(second.sequence)));
        assert_eq!(ids(2, Some(second.sequence)), ("1".to_owned(), None));
        assert_eq!(ids(9, Some(third.sequence)), ("2 1".to_owned(), None));
        let listed = store.events_before(2, None).unwrap().events;
        assert_eq!((&listed[0].dispositions, &listed[1].dispositions), (&None, &Some(vec![Disposition::NoPipeline])));
    }
}
