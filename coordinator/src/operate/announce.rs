//! What ingestion says of a delivery: one event per quarter, over the stars whose data no event has announced yet.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{DatasetName, Quarter, Sequence, StarId};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection};
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
        event::send(context, &event).await?;
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
    let mut before: Option<Vec<ToldEvent>> = None;
    for one in ingested {
        let (Some(star), Some(quarter)) = (one.star, one.quarter) else { continue };
        let is_new = match &one.result {
            IngestResult::Added { .. } => true,
            IngestResult::Wrong { .. } => false,
            IngestResult::Unchanged { sequence } => {
                if before.is_none() {
                    before = Some(announcements(store, dataset)?);
                }
                let of_star = |told: &ToldEvent| told.quarter == quarter && told.stars.contains(&star);
                !before.iter().flatten().any(|told| told.sequence.is_none_or(|at| at > *sequence) && of_star(told))
            }
        };
        if is_new {
            quarters.entry(quarter).or_default().push(star);
        }
    }
    Ok(quarters)
}

/// What an event says of a dataset.
struct ToldEvent {
    /// Its place among events and ingests; `None` while it is on its way, so that it comes after all of them.
    sequence: Option<Sequence>,
    quarter: Quarter,
    stars: BTreeSet<StarId>,
}

/// What the events of a dataset say, those on their way as well; the stars of a list that cannot be read any more are none.
fn announcements(store: &Store, dataset: &DatasetName) -> Result<Vec<ToldEvent>, StoreError> {
    // On their way first: one that is accepted in between is in both.
    let mut events: Vec<(Option<Sequence>, DatasetEvent)> = Vec::new();
    for id in store.announced_events()? {
        match store.announced_event(id) {
            // Of one that nobody can read nobody can tell whom it names.
            Err(error) if error.is_of_file() => {}
            read => events.extend(read?.map(|event| (None, event))),
        }
    }
    events.extend(store.events()?.into_iter().map(|record| (Some(record.sequence), record.event)));
    events.retain(|(_, event)| event.data.dataset == *dataset && event.data.start.is_none());
    let with_stars = |(sequence, event): (Option<Sequence>, DatasetEvent)| {
        let stars = match event.data.stars {
            StarSelection::Inline(stars) => stars,
            StarSelection::File(list) => store.read_star_list(&list)?.unwrap_or_default(),
        };
        Ok(ToldEvent { sequence, quarter: event.data.quarter, stars: stars.into_iter().collect() })
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
        let [one, two, three, four] = [1, 2, 3, 4].map(StarId::of_simulator);
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
        let stars = StarSelection::Inline(vec![four]);
        let on_its_way = event::new(DatasetUpdate { dataset: dataset.clone(), quarter, stars, start: None });
        store.announce_event(&on_its_way).unwrap();
        let unchanged = |star| Ingested {
            star: Some(star),
            quarter: Some(quarter),
            files: Vec::new(),
            result: IngestResult::Unchanged { sequence: came },
        };
        let found = unannounced(&store, &dataset, &[one, two, three, four].map(unchanged)).unwrap();
        assert_eq!(found, [(quarter, vec![one])].into(), "its event was before the version, or of another dataset");
    }
}
