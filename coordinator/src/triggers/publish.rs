//! Results of pipelines that are datasets to others: laid into the store as versions, then announced by an event for exactly the
//! stars that ended well.
//!
//! A mark in the store says that a run has something to announce; it goes when all of it is. Ids of events are computed from the
//! run, so that a repeat is the same event.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use domain::id::{DatasetName, ModuleIndex, RunId, StarId, StarIndex};
use domain::message::{DatasetEvent, DatasetUpdate};
use domain::pipeline::{Pipeline, PublishTime, Publishes};
use jiff::Timestamp;
use store::agent::Agent;
use store::course::Course;
use store::ingest::{IngestError, IngestResult, PublishedResults, take_results};
use store::runs::{SettledStar, StarEnd};
use store::{Store, StoreError, paths};

use crate::events::accept::{Accepted, accept};
use crate::running::Coordinator;
use crate::trouble::Trouble;

/// Batches of settled stars that are published before others get their turn.
const AT_ONCE: u64 = 4;

/// How many batches of each run are published.
#[derive(Default)]
pub(super) struct ResultPublisher {
    done: HashMap<RunId, u64>,
}

impl ResultPublisher {
    /// Publishes some of what there is to publish; whether there is more.
    pub(super) async fn publish(
        &mut self,
        running: &Coordinator,
        pipelines: &[Pipeline],
        agent: &mut Agent,
    ) -> Result<bool, Trouble> {
        let mut has_more = false;
        for run in running.services.store.ask(|store| store.unpublished_runs()).await? {
            let Some(course) = running.course(run).await? else { continue };
            let published = self.run(running, pipelines, agent, &course).await;
            has_more |= running.of_run(run, published).await?.unwrap_or(false);
        }
        Ok(has_more)
    }

    async fn run(
        &mut self,
        running: &Coordinator,
        pipelines: &[Pipeline],
        agent: &mut Agent,
        course: &Arc<Course>,
    ) -> Result<bool, Trouble> {
        let (run, store) = (course.record.run, &running.services.store);
        let Some(publishes) = &course.pipeline.publishes else {
            store.ask(move |store| store.forget_unpublished(run)).await?;
            return Ok(false);
        };
        // Whether it ended is asked first: of a run that is over, the batches that are there then are all.
        let is_over = store.ask(move |store| store.is_over(run)).await?;
        let known = self.done.get(&run).copied().unwrap_or(0);
        let last = store.ask(move |store| store.settled_batches(run, known)).await?;
        let now = last.min(known + AT_ONCE);
        for number in known + 1..=now {
            let event_id = format!("batch/{number}");
            let is_announced = publishes.when == PublishTime::Star && is_accepted(store, run, &event_id).await?;
            if !is_announced {
                let batch = store.ask(move |store| store.settled_batch(run, number)).await?;
                let well: Vec<SettledStar> = batch.into_iter().filter(|star| ended_well(star.end)).collect();
                let stars = names(store, course, well.iter().map(|star| star.star).collect()).await?;
                for (name, star) in stars.iter().zip(&well) {
                    lay(store, agent, course, publishes, *name, star).await?;
                }
                if publishes.when == PublishTime::Star {
                    announce(running, pipelines, course, &publishes.dataset, &event_id, stars).await?;
                }
            }
            self.done.insert(run, number);
        }
        if now < last {
            return Ok(true);
        }
        if is_over {
            if publishes.when == PublishTime::Run {
                self.all(running, pipelines, course, publishes).await?;
            }
            store.ask(move |store| store.forget_unpublished(run)).await?;
            self.done.remove(&run);
            // Somebody may have opened it again at this moment.
            let again = move |store: &Store| if store.is_over(run)? { Ok(()) } else { store.mark_unpublished(run) };
            store.ask(again).await?;
        }
        Ok(false)
    }

    /// Announces the stars of a run that has ended.
    async fn all(
        &self,
        running: &Coordinator,
        pipelines: &[Pipeline],
        course: &Arc<Course>,
        publishes: &Publishes,
    ) -> Result<(), Trouble> {
        let run = course.record.run;
        let look = move |store: &Store| {
            let decisions = store.run_end(run)?.map_or(0, |end| end.decisions);
            let mut well = BTreeSet::new();
            store.each_settled_row(run, |row| {
                if ended_well(row.end) {
                    well.insert(row.star);
                }
            })?;
            Ok((decisions, well.into_iter().collect()))
        };
        let (decisions, well): (u64, Vec<StarIndex>) = running.services.store.ask(look).await?;
        let stars = names(&running.services.store, course, well).await?;
        announce(running, pipelines, course, &publishes.dataset, &format!("end/{decisions}"), stars).await
    }
}

/// Stars that have something to hand on: what failed is announced when it is mended, what another run took over by that one.
fn ended_well(end: Option<StarEnd>) -> bool {
    match end {
        Some(StarEnd::Complete | StarEnd::Incomplete) => true,
        Some(StarEnd::Failed | StarEnd::Cancelled | StarEnd::Superseded) | None => false,
    }
}

async fn names(store: &Store, course: &Arc<Course>, stars: Vec<StarIndex>) -> Result<Vec<StarId>, StoreError> {
    let course = course.clone();
    store.ask(move |_| course.names(&stars)).await
}

/// Who announces what a run made, and how events of it are called.
fn source(run: RunId) -> String {
    format!("sas run {run}")
}

async fn is_accepted(store: &Store, run: RunId, id: &str) -> Result<bool, StoreError> {
    let event = domain::id::EventId::of(&source(run), id);
    store.ask(move |store| Ok(store.dispositions(event)?.is_some())).await
}

/// Lays what a star's modules made into the store as a version of the dataset.
async fn lay(
    store: &Store,
    agent: &mut Agent,
    course: &Course,
    publishes: &Publishes,
    star: StarId,
    settled: &SettledStar,
) -> Result<(), Trouble> {
    if publishes.products.is_empty() {
        return Ok(());
    }
    let quarter = course.record.quarter;
    let makes = |module: &ModuleIndex| {
        course.pipeline.module(*module).outputs.products().any(|product| publishes.products.contains(product))
    };
    let file = |(module, key): (&ModuleIndex, &domain::id::Key)| {
        paths::product(star, quarter, &course.pipeline.module(*module).name, key)
    };
    let files = settled.keys.iter().filter(|(module, _)| makes(module)).map(file).collect();
    let (dataset, products) = (publishes.dataset.clone(), publishes.products.clone());
    let results = PublishedResults { dataset, star, quarter, files, products };
    match take_results(store, agent, &results).await {
        Ok(IngestResult::Added { .. } | IngestResult::Unchanged { .. }) => Ok(()),
        // The worker mends it when it is asked for next; others get what was there before.
        Ok(IngestResult::Wrong { reason }) => {
            tracing::error!(run = %course.record.run, %star, reason, "results cannot be handed on");
            Ok(())
        }
        Err(IngestError::Store(error)) => Err(error.into()),
        Err(IngestError::Agent(error)) => Err(error.into()),
        Err(IngestError::Unwritable(refusal)) => Err(store::agent::AgentError::Refused(refusal).into()),
    }
}

/// Accepts the event that announces these stars, for the first time or again. Where no pipeline names the dataset there is none.
async fn announce(
    running: &Coordinator,
    pipelines: &[Pipeline],
    course: &Arc<Course>,
    dataset: &DatasetName,
    id: &str,
    stars: Vec<StarId>,
) -> Result<(), Trouble> {
    let (run, quarter, count) = (course.record.run, course.record.quarter, stars.len());
    let is_heard = pipelines.iter().any(|pipeline| pipeline.trigger.on.datasets().any(|named| named == dataset));
    if stars.is_empty() || !is_heard {
        tracing::debug!(%run, %dataset, stars = count, "nobody is told of results");
        return Ok(());
    }
    let (dataset, event_id) = (dataset.clone(), id.to_owned());
    let name = format!("{run}-{}", id.replace('/', "-"));
    let compose = move |store: &Store| {
        let update = DatasetUpdate { dataset, quarter, stars: store.name_stars(&name, stars)?, start: None };
        Ok(DatasetEvent::new(&source(run), &event_id, Timestamp::now().to_string(), update))
    };
    let event = running.services.store.ask(compose).await?;
    match accept(running, pipelines, Arc::new(event)).await? {
        Accepted::Taken => tracing::info!(%run, id, stars = count, "results are announced"),
        Accepted::Refused(reason) => tracing::error!(%run, id, reason, "results cannot be announced"),
    }
    Ok(())
}
