//! Dataset events that were accepted, and what became of them (E1).
//!
//! An event is accepted in two files, each the first link's: what it said with its number, then its dispositions after
//! its runs are in the store. A crash in between leaves an event without dispositions, which the next coordinator finishes:
//! `control/pending/<event>` is there from before the first file until after the second.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::durable;
use super::{Store, StoreError, io_error, names_in, paths, read_json, to_json};
use domain::id::{EventId, RunId, Sequence, StarId};
use domain::message::DatasetEvent;

/// An event that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "disposition", rename_all = "snake_case")]
pub enum Disposition {
    /// It started a run.
    Run {
        /// The run.
        run: RunId,
    },
    /// No pipeline is triggered by its dataset.
    NoPipeline,
    /// It named nothing that a run could be made of.
    Rejected {
        /// Why, in one line.
        reason: String,
    },
}

impl Store {
    /// Writes an event down and gives it its number; an event that is there keeps its record.
    pub fn accept_event(&self, event: &DatasetEvent) -> Result<EventRecord, StoreError> {
        let id = event.event_id();
        if let Some(record) = self.event(id)? {
            return Ok(record);
        }
        let sequence = self.next_sequence()?;
        let record = EventRecord { id, sequence, accepted: Timestamp::now(), event: event.clone() };
        durable::create(&self.at(paths::pending_event(id)), &self.beside(), b"")?;
        durable::create(&self.at(paths::event(id)), &self.beside(), &to_json(&record))?;
        self.event(id)?.ok_or_else(|| StoreError::NotFound { what: format!("event {id}") })
    }

    /// Lays a list of stars into the store for an event of many; returns its path below the root. `name` is a word without
    /// slashes that nobody else uses.
    pub fn keep_star_list(&self, name: &str, stars: &[StarId]) -> Result<String, StoreError> {
        durable::make_dir(&self.at(paths::star_lists()))?;
        let list: String = stars.iter().map(|star| format!("{star}\n")).collect();
        let path = paths::name_of_star_list(name);
        durable::create(&self.at(&path), &self.beside(), list.as_bytes())?;
        Ok(path)
    }

    /// Records what became of an event; returns what is on record, which is what the first caller said.
    pub fn dispose_event(&self, id: EventId, dispositions: &[Disposition]) -> Result<Vec<Disposition>, StoreError> {
        let path = self.at(paths::event_dispositions(id));
        durable::create(&path, &self.beside(), &to_json(&dispositions))?;
        self.forget_pending(id)?;
        read_json(&path)?.ok_or_else(|| StoreError::NotFound { what: format!("dispositions of event {id}") })
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
            if self.at(paths::event_dispositions(id)).exists() {
                self.forget_pending(id)?;
            } else if self.at(paths::event(id)).exists() {
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
        let path = self.at(paths::pending_event(id));
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(io_error("remove", &path, source)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
