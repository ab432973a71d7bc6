//! Firings: the events by which triggers let stars into runs, in the order in which they were decided.
//!
//! `control/triggers/<pipeline>/<quarter>/<n>.json` is the n-th of a pipeline and quarter. Whoever creates it knew all before it, so
//! that no two coordinators let the same star in twice. The event is accepted after it is written here; after a crash in between
//! whoever comes next accepts it. `control/unpublished/<run>` marks a run whose results are still to be announced.

use domain::id::{PipelineName, Quarter, RunId};
use domain::message::DatasetEvent;

use super::durable::{self, Commit};
use super::{Store, StoreError, names_in, numbered, paths, read_json, to_json};

impl Store {
    /// The number of the last firing of a pipeline in a quarter; 0 where there was none. `known` is one of them, or 0.
    pub fn last_firing(&self, pipeline: &PipelineName, quarter: Quarter, known: u64) -> Result<u64, StoreError> {
        numbered::last(&self.at(paths::firings(pipeline, quarter)), "json", known)
    }

    /// The event of a firing.
    pub fn firing(
        &self,
        pipeline: &PipelineName,
        quarter: Quarter,
        number: u64,
    ) -> Result<Option<DatasetEvent>, StoreError> {
        read_json(&numbered::path(&self.at(paths::firings(pipeline, quarter)), "json", number))
    }

    /// Writes a firing down. `Exists`: somebody else decided this one, who may have let others in.
    pub fn fire(
        &self,
        pipeline: &PipelineName,
        quarter: Quarter,
        number: u64,
        event: &DatasetEvent,
    ) -> Result<Commit, StoreError> {
        let folder = self.at(paths::firings(pipeline, quarter));
        durable::make_dir(&folder)?;
        durable::create(&numbered::path(&folder, "json", number), &self.beside(), &to_json(event))
    }

    /// Marks a run as one whose results are to be announced.
    pub fn mark_unpublished(&self, run: RunId) -> Result<(), StoreError> {
        durable::make_dir(&self.at(paths::unpublished_runs()))?;
        durable::create(&self.at(paths::unpublished_run(run)), &self.beside(), b"").map(drop)
    }

    /// The runs whose results are to be announced.
    pub fn unpublished_runs(&self) -> Result<Vec<RunId>, StoreError> {
        Ok(names_in(&self.at(paths::unpublished_runs()))?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Everything of a run is announced.
    pub fn forget_unpublished(&self, run: RunId) -> Result<(), StoreError> {
        durable::remove(&self.at(paths::unpublished_run(run)))
    }
}

#[cfg(test)]
mod tests {
    use domain::id::StarId;
    use domain::message::{DatasetUpdate, StarSelection};

    use super::*;

    #[test]
    fn a_firing_is_decided_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path()).unwrap();
        let (pipeline, quarter): (PipelineName, _) = ("P".parse().unwrap(), Quarter::FIRST);
        let event = |id: &str| {
            let stars = StarSelection::Inline(vec![StarId::of_simulator(1)]);
            let update = DatasetUpdate { dataset: "a/b".parse().unwrap(), quarter, stars, start: None };
            DatasetEvent::new("test", id, "2030-01-01T00:00:00Z".to_owned(), update)
        };
        assert_eq!(store.last_firing(&pipeline, quarter, 0).unwrap(), 0);
        assert_eq!(store.fire(&pipeline, quarter, 1, &event("1")).unwrap(), Commit::Created);
        assert_eq!(store.fire(&pipeline, quarter, 1, &event("2")).unwrap(), Commit::Exists);
        assert_eq!(store.last_firing(&pipeline, quarter, 0).unwrap(), 1);
        assert_eq!(store.firing(&pipeline, quarter, 1).unwrap().unwrap().id, "1");
        let run = RunId::of(event("1").event_id(), "P", "1");
        store.mark_unpublished(run).unwrap();
        store.mark_unpublished(run).unwrap();
        assert_eq!(store.unpublished_runs().unwrap(), [run]);
        store.forget_unpublished(run).unwrap();
        store.forget_unpublished(run).unwrap();
        assert!(store.unpublished_runs().unwrap().is_empty());
    }
}
