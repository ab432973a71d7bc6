//! Events on their way from a publisher to a coordinator.
//!
//! A broker that is wiped takes with it what nobody has accepted. So whoever publishes an event through this program lays it down
//! here first, and it is removed when it is accepted; what stays is published again. An event that others hand to the broker
//! themselves is in no file before it is accepted.
//!
//! Source and id name an event. One that comes again under the name of another says other data, and is nobody's repeat: every door
//! asks here.

use super::durable::{self, Commit};
use super::{Store, StoreError, is_there, names_in, paths, read_json, to_json};
use domain::id::EventId;
use domain::message::{DatasetEvent, DatasetUpdate};

impl Store {
    /// Lays an event down before it is published; one that was accepted needs that no more, one that is there stays as it is.
    pub fn announce_event(&self, event: &DatasetEvent) -> Result<Commit, StoreError> {
        let id = event.event_id();
        if is_there(&self.at(paths::event_dispositions(id)))? {
            return Ok(Commit::Exists);
        }
        // Perhaps it is of another user; who accepts the event removes it.
        let _ = self.forget_refusal(id);
        durable::create(&self.at(paths::announced_event(id)), &self.beside(), &to_json(event))
    }

    /// Whether an event of this source and id was accepted or announced with other data.
    pub fn has_other_data(&self, event: &DatasetEvent) -> Result<bool, StoreError> {
        let id = event.event_id();
        // What is announced first: once it is gone there, the event is on record.
        let announced = match self.announced_event(id) {
            // It is accepted whatever it says, and nobody can tell.
            Err(error) if error.is_of_file() => None,
            read => read?,
        };
        let on_record = self.event(id)?.map(|record| record.event);
        match on_record.or(announced) {
            Some(known) => Ok(!self.is_same_data(&known.data, &event.data)?),
            None => Ok(false),
        }
    }

    /// Whether two events say the same: the same stars, in whatever order and however named, of the same dataset and quarter. Where the
    /// list of the first cannot be read any more nobody can tell, and it counts as the same.
    pub fn is_same_data(&self, known: &DatasetUpdate, said: &DatasetUpdate) -> Result<bool, StoreError> {
        if known == said {
            return Ok(true);
        }
        if (&known.dataset, known.quarter, &known.start) != (&said.dataset, said.quarter, &said.start) {
            return Ok(false);
        }
        match self.stars_of(&known.stars)? {
            Ok(stars) => Ok(self.stars_of(&said.stars)? == Ok(stars)),
            Err(_) => Ok(true),
        }
    }

    /// Takes an event away that was accepted, or never published. Harmless when it is gone.
    pub fn take_announced(&self, id: EventId) -> Result<(), StoreError> {
        durable::remove(&self.at(paths::announced_event(id)))
    }

    /// Events that were announced and not accepted yet, by id.
    pub fn announced_events(&self) -> Result<Vec<EventId>, StoreError> {
        let mut waiting = Vec::new();
        let names = names_in(&self.at(paths::announced_events()))?;
        for id in names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok()) {
            if is_there(&self.at(paths::event_dispositions(id)))? {
                // Another user's file, perhaps in a folder of another group: it disturbs nobody.
                let _ = self.take_announced(id);
            } else {
                waiting.push(id);
            }
        }
        Ok(waiting)
    }

    /// What an announced event says; `None` when it is accepted by now.
    pub fn announced_event(&self, id: EventId) -> Result<Option<DatasetEvent>, StoreError> {
        read_json(&self.at(paths::announced_event(id)))
    }
}

#[cfg(test)]
mod tests {
    use domain::id::{Quarter, StarId};
    use domain::message::{DatasetUpdate, StarSelection};

    use super::*;
    use crate::events::Disposition;

    #[test]
    fn an_older_store_gets_the_directories_that_it_lacks_and_where_none_is_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path()).unwrap();
        let announced = store.at(paths::announced_events());
        std::fs::remove_dir(&announced).unwrap();
        store.complete().unwrap();
        store.complete().unwrap();
        assert!(announced.is_dir());
        std::fs::remove_dir_all(store.root()).unwrap();
        std::fs::create_dir(store.root()).unwrap();
        store.complete().unwrap_err();
        assert_eq!(store.root().read_dir().unwrap().count(), 0, "as under a file system that is not mounted");
    }

    #[test]
    fn an_announced_event_is_there_until_it_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path()).unwrap();
        let stars = StarSelection::Inline(vec![StarId::of_simulator(1)]);
        let dataset = "l1/lightcurve".parse().unwrap();
        let update = DatasetUpdate { dataset, quarter: Quarter::FIRST, stars, start: None };
        let event = DatasetEvent::new("test", "1", "2026-01-01T00:00:00Z".to_owned(), update);
        let id = event.event_id();
        assert_eq!(store.announced_events().unwrap(), []);
        store.announce_event(&event).unwrap();
        store.announce_event(&event).unwrap();
        assert_eq!(store.announced_events().unwrap(), [id]);
        assert_eq!(store.announced_event(id).unwrap(), Some(event.clone()));

        store.accept_event(&event).unwrap();
        assert_eq!(store.announced_events().unwrap(), [id], "it is not known yet what becomes of it");
        store.dispose_event(id, &[Disposition::NoPipeline]).unwrap();
        assert_eq!(store.announced_events().unwrap(), [], "it is accepted");
        assert!(!store.root().join(paths::announced_event(id)).exists(), "nobody needs it");
        store.announce_event(&event).unwrap();
        assert_eq!(store.announced_event(id).unwrap(), None, "what is accepted needs no announcement");
    }

    #[test]
    fn an_event_under_the_name_of_another_is_no_repeat_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path()).unwrap();
        let numbers =
            |numbers: &[u64]| StarSelection::Inline(numbers.iter().copied().map(StarId::of_simulator).collect());
        let event = |dataset: &str, stars: StarSelection| {
            let update =
                DatasetUpdate { dataset: dataset.parse().unwrap(), quarter: Quarter::FIRST, stars, start: None };
            DatasetEvent::new("test", "1", "2030-01-01T00:00:00Z".to_owned(), update)
        };
        let first = event("l1/lightcurve", numbers(&[1, 2]));
        let is_other = |event: &DatasetEvent| store.has_other_data(event).unwrap();
        assert!(!is_other(&first), "nothing is known");
        let list = store.keep_star_list("list", &[1, 2].map(StarId::of_simulator)).unwrap();
        let same = [
            first.clone(),
            event("l1/lightcurve", numbers(&[2, 1, 2])),
            event("l1/lightcurve", StarSelection::File(list)),
        ];
        let missing = StarSelection::File("missing.txt".to_owned());
        let other = [
            event("l1/lightcurve", numbers(&[1])),
            event("l1/other", numbers(&[1, 2])),
            event("l1/lightcurve", missing),
        ];
        let check = || {
            assert_eq!(same.each_ref().map(is_other), [false; 3]);
            assert_eq!(other.each_ref().map(is_other), [true; 3]);
        };
        assert_eq!(store.announce_event(&first).unwrap(), Commit::Created);
        check();
        assert_eq!(store.announce_event(&other[0]).unwrap(), Commit::Exists);
        assert_eq!(store.announced_event(first.event_id()).unwrap(), Some(first.clone()), "it is not written over");
        store.accept_event(&first).unwrap();
        store.dispose_event(first.event_id(), &[Disposition::NoPipeline]).unwrap();
        check();
    }
}
