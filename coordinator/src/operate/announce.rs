//! What ingestion says of a delivery: one event per quarter, over the stars whose data no event has announced yet.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{DatasetName, Quarter, StarId};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection};
use store::events::EventRecord;
use store::ingest::{IngestResult, Ingested};
use store::{Store, StoreError};

use super::{Context, OperateError, event};

/// The events that were published, and what kept others from it.
#[derive(Debug)]
pub struct Announced {
    /// Those that the broker has.
    pub events: Vec<DatasetEvent>,
    /// Why there are no more of them; what is missing is announced when the same is asked for again.
    pub stopped: Result<(), OperateError>,
}

/// Publishes events for what was ingested, and for what was ingested before and never announced.
pub async fn announce(context: &Context, dataset: &DatasetName, ingested: Vec<Ingested>) -> Announced {
    let mut events = Vec::new();
    let stopped = publish(context, dataset, ingested, &mut events).await;
    Announced { events, stopped }
}

async fn publish(
    context: &Context,
    dataset: &DatasetName,
    ingested: Vec<Ingested>,
    told: &mut Vec<DatasetEvent>,
) -> Result<(), OperateError> {
    let by = context.doer()?;
    let queue = context.installation.queue().await?;
    let of = dataset.clone();
    let quarters = context.ask(move |store| unannounced(store, &of, &ingested)).await?;
    for (quarter, stars) in quarters {
        let dataset = dataset.clone();
        let compose = move |store: &Store| {
            let nobody = StarSelection::Inline(Vec::new());
            let mut event = event::new(DatasetUpdate { dataset, quarter, stars: nobody, start: None });
            event.data.stars = store.name_stars(&event.id, stars)?;
            Ok::<_, StoreError>(event)
        };
        let event = context.ask(compose).await?;
        event::send(&queue, &event).await?;
        told.push(event.clone());
        let by = by.clone();
        context.ask(move |store| event::record(store, &by, &event)).await?;
    }
    Ok(())
}

/// Stars by quarter whose newest data no event has announced.
fn unannounced(
    store: &Store,
    dataset: &DatasetName,
    ingested: &[Ingested],
) -> Result<BTreeMap<Quarter, Vec<StarId>>, StoreError> {
    let mut quarters: BTreeMap<Quarter, Vec<StarId>> = BTreeMap::new();
    let mut before: Option<Vec<(EventRecord, BTreeSet<StarId>)>> = None;
    for one in ingested {
        let (Some(star), Some(quarter)) = (one.star, one.quarter) else { continue };
        let is_new = match &one.result {
            IngestResult::Added { .. } => true,
            IngestResult::Wrong { .. } => false,
            IngestResult::Unchanged { sequence } => {
                if before.is_none() {
                    before = Some(announcements(store, dataset)?);
                }
                !before.iter().flatten().any(|(record, stars)| {
                    record.sequence > *sequence && record.event.data.quarter == quarter && stars.contains(&star)
                })
            }
        };
        if is_new {
            quarters.entry(quarter).or_default().push(star);
        }
    }
    Ok(quarters)
}

/// The events of a dataset that were accepted, each with its stars; those of a list that cannot be read any more are none.
fn announcements(store: &Store, dataset: &DatasetName) -> Result<Vec<(EventRecord, BTreeSet<StarId>)>, StoreError> {
    let mut events = store.events()?;
    events.retain(|record| record.event.data.dataset == *dataset && record.event.data.start.is_none());
    let with_stars = |record: EventRecord| {
        let stars = match &record.event.data.stars {
            StarSelection::Inline(stars) => stars.clone(),
            StarSelection::File(list) => store.read_star_list(list)?.unwrap_or_default(),
        };
        Ok((record, stars.into_iter().collect()))
    };
    events.into_iter().map(with_stars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_event_announced_after_it_came_is_not_announced_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path()).unwrap();
        let dataset: DatasetName = "l1/lightcurve".parse().unwrap();
        let quarter = Quarter::FIRST;
        let [one, two, three] = [1, 2, 3].map(StarId::of_simulator);
        let accept = |dataset: &DatasetName, stars: Vec<StarId>| {
            let stars = StarSelection::Inline(stars);
            store
                .accept_event(&event::new(DatasetUpdate { dataset: dataset.clone(), quarter, stars, start: None }))
                .unwrap()
        };
        accept(&dataset, vec![one]);
        let came = store.next_sequence().unwrap();
        accept(&dataset, vec![two]);
        accept(&"l1/other".parse().unwrap(), vec![one]);
        let list = store.keep_star_list("list", &[three]).unwrap();
        let listed = DatasetUpdate { dataset: dataset.clone(), quarter, stars: StarSelection::File(list), start: None };
        store.accept_event(&event::new(listed)).unwrap();
        let unchanged = |star| Ingested {
            star: Some(star),
            quarter: Some(quarter),
            files: Vec::new(),
            result: IngestResult::Unchanged { sequence: came },
        };
        let found = unannounced(&store, &dataset, &[one, two, three].map(unchanged)).unwrap();
        assert_eq!(found, [(quarter, vec![one])].into(), "its event was before the version, or of another dataset");
    }
}
