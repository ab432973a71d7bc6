//! Events that a coordinator refused, for it cannot read which stars they name: who published one reads here why nothing came of it.
//!
//! Such an event is not on record, so that the same one may be sent again once its list is mended; what is here goes then.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::durable;
use super::{Store, StoreError, paths, read_json, to_json};
use domain::id::EventId;
use domain::message::DatasetEvent;

/// An event that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedEvent {
    /// When.
    pub at: Timestamp,
    /// Why, in one line.
    pub reason: String,
    /// What it said.
    pub event: DatasetEvent,
}

impl Store {
    /// Writes down that an event was refused, in place of what is there of an earlier time.
    pub fn refuse_event(&self, event: &DatasetEvent, reason: &str) -> Result<(), StoreError> {
        let refused = RefusedEvent { at: Timestamp::now(), reason: reason.to_owned(), event: event.clone() };
        self.forget_refusal(event.event_id())?;
        durable::create(&self.at(paths::refused_event(event.event_id())), &self.beside(), &to_json(&refused)).map(drop)
    }

    /// Why an event was refused; `None` where it was not, or is on its way again.
    pub fn refused_event(&self, id: EventId) -> Result<Option<RefusedEvent>, StoreError> {
        read_json(&self.at(paths::refused_event(id)))
    }

    /// Forgets that an event was refused. Harmless when it was not.
    pub(crate) fn forget_refusal(&self, id: EventId) -> Result<(), StoreError> {
        durable::remove(&self.at(paths::refused_event(id)))
    }
}

#[cfg(test)]
mod tests {
    use domain::id::Quarter;
    use domain::message::{DatasetUpdate, StarSelection};

    use super::*;
    use crate::events::Disposition;

    #[test]
    fn a_refusal_is_there_until_the_event_is_sent_again_or_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path()).unwrap();
        let (dataset, stars) = ("l1/lightcurve".parse().unwrap(), StarSelection::File("list.txt".to_owned()));
        let update = DatasetUpdate { dataset, quarter: Quarter::FIRST, stars, start: None };
        let event = DatasetEvent::new("test", "1", "2030-01-01T00:00:00Z".to_owned(), update);
        let id = event.event_id();
        let reason = || store.refused_event(id).unwrap().map(|refused| refused.reason);
        assert_eq!(reason(), None);
        store.refuse_event(&event, "no list").unwrap();
        store.refuse_event(&event, "a bad list").unwrap();
        assert_eq!(reason().as_deref(), Some("a bad list"));
        store.announce_event(&event).unwrap();
        assert_eq!(reason(), None, "it is on its way again");
        store.refuse_event(&event, "no list").unwrap();
        store.accept_event(&event).unwrap();
        store.dispose_event(id, &[Disposition::NoPipeline]).unwrap();
        assert_eq!(reason(), None, "it was accepted");
    }
}
