//! Triggers: stars enter runs when what their pipelines ask for is there, and results of pipelines start others.
//!
//! Nothing is kept that the store does not have: events say what came, and for which pipelines it waits until when; firings say
//! which stars entered. So a coordinator that starts anew, and a state that lost everything, change nothing here. Several
//! coordinators may weigh at once: of two that decide the same firing one is first, and the other looks again.

mod book;
mod conditions;
mod log;
mod publish;

use std::collections::BTreeMap;
use std::sync::Arc;

use book::{Book, DatasetSet};
use domain::id::{DatasetName, PipelineName, Quarter, StarId};
use domain::message::{DatasetEvent, DatasetUpdate, Start};
use domain::pipeline::{Pipeline, Weighed};
use jiff::Timestamp;
use log::EventLog;
use publish::ResultPublisher;
use store::Commit;
use store::agent::Agent;
use store::scratch::Scratch;
use tokio::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::events::TRIGGER;
use crate::events::accept::{Accepted, accept};
use crate::running::Coordinator;
use crate::trouble::{Outage, Trouble};

/// How often everything is looked at without a nudge: others may have decided something.
const LOOK: Duration = Duration::from_secs(5);

/// Least time between two looks, so that what comes together enters together.
const PAUSE: Duration = Duration::from_millis(100);

/// Most stars whose conditions are looked at before those that are ready enter.
const LOOKED_AT: usize = 1000;

/// Weighs triggers, and publishes results; what HDF5 is asked with an agent of its own.
pub(crate) struct Triggers {
    running: Coordinator,
    pipelines: Arc<[Pipeline]>,
    agent: Agent,
    /// Where its agent writes.
    _scratch: Scratch,
    books: Books,
    /// The last firing of each pipeline and quarter that is known to be accepted.
    accepted: BTreeMap<(PipelineName, Quarter), u64>,
    publisher: ResultPublisher,
}

/// What came, by pipeline, and which events were read for it.
#[derive(Default)]
struct Books {
    log: EventLog,
    of: BTreeMap<PipelineName, Book>,
}

impl Triggers {
    pub(crate) fn new(running: Coordinator, pipelines: Arc<[Pipeline]>, (scratch, agent): (Scratch, Agent)) -> Self {
        let publisher = ResultPublisher::default();
        Self {
            running,
            pipelines,
            agent,
            _scratch: scratch,
            books: Books::default(),
            accepted: BTreeMap::new(),
            publisher,
        }
    }

    /// Works until `shutdown`.
    pub(crate) async fn work(mut self, shutdown: CancellationToken) {
        let mut outage = Outage::of("triggers");
        while !shutdown.is_cancelled() {
            let next = match self.look().await {
                Ok(next) => {
                    outage.over();
                    next
                }
                Err(trouble) => {
                    outage.wait(&trouble).await;
                    // What was read of the store may be half of it.
                    self.books = Books::default();
                    continue;
                }
            };
            tokio::time::sleep(PAUSE).await;
            let wakes = self.running.wakes.clone();
            let woken = tokio::time::timeout(next, wakes.triggers.notified());
            if shutdown.run_until_cancelled(woken).await.is_none() {
                return;
            }
        }
    }

    /// Does what there is to do; returns when to look again.
    async fn look(&mut self) -> Result<Duration, Trouble> {
        let has_more = self.publisher.publish(&self.running, &self.pipelines, &mut self.agent).await?;
        let mut next = if has_more { Duration::ZERO } else { LOOK };
        for pipeline in self.pipelines.clone().iter().filter(|pipeline| pipeline.trigger.plain().is_none()) {
            let again = loop {
                if let Some(again) = self.weigh(pipeline).await? {
                    break again;
                }
            };
            next = next.min(again);
        }
        Ok(next)
    }

    /// Lets in what is ready of a pipeline; how long it can wait then, or `None` where there may be more to do at once.
    async fn weigh(&mut self, pipeline: &Pipeline) -> Result<Option<Duration>, Trouble> {
        let mut last = BTreeMap::new();
        // Firings first: what is read of events after that has all of them.
        for quarter in self.book(pipeline).quarters() {
            last.insert(quarter, self.last_accepted(pipeline, quarter).await?);
        }
        self.read_on().await?;
        let mut next = None;
        for quarter in self.book(pipeline).quarters() {
            let Some(last) = last.get(&quarter) else { return Ok(None) };
            let ReadyStars { stars, again } = self.ready(pipeline, quarter).await?;
            next = [next, again].into_iter().flatten().min();
            if !stars.is_empty() {
                return Ok((!self.fire(pipeline, quarter, last + 1, stars).await?).then_some(LOOK));
            }
        }
        Ok(Some(next.unwrap_or(LOOK)))
    }

    fn book(&mut self, pipeline: &Pipeline) -> &mut Book {
        let new = || Book::of(&pipeline.name, &pipeline.trigger);
        self.books.of.entry(pipeline.name.clone()).or_insert_with(new)
    }

    /// Reads events that were not read yet.
    async fn read_on(&mut self) -> Result<(), Trouble> {
        for pipeline in self.pipelines.clone().iter().filter(|pipeline| pipeline.trigger.plain().is_none()) {
            self.book(pipeline);
        }
        let mut books = std::mem::take(&mut self.books);
        let read = self.running.services.store.ask(move |store| {
            books.log.read(store, &mut books.of)?;
            Ok(books)
        });
        self.books = read.await?;
        Ok(())
    }

    /// The last firing of a quarter, after it was seen to that all of them are accepted.
    async fn last_accepted(&mut self, pipeline: &Pipeline, quarter: Quarter) -> Result<u64, Trouble> {
        let key = (pipeline.name.clone(), quarter);
        let known = self.accepted.get(&key).copied().unwrap_or(0);
        let (name, store) = (pipeline.name.clone(), self.running.services.store.clone());
        let last = store.ask(move |store| store.last_firing(&name, quarter, known)).await?;
        for number in known + 1..=last {
            let name = pipeline.name.clone();
            if let Some(event) = store.ask(move |store| store.firing(&name, quarter, number)).await? {
                self.accept(event).await?;
            }
            self.accepted.insert(key.clone(), number);
        }
        Ok(last)
    }

    /// Whether an event that lets stars in is accepted.
    async fn accept(&self, event: DatasetEvent) -> Result<bool, Trouble> {
        let id = event.id.clone();
        match accept(&self.running, &self.pipelines, Arc::new(event)).await? {
            Accepted::Taken => Ok(true),
            Accepted::Refused(reason) => {
                tracing::error!(event = id, reason, "stars of a trigger cannot enter");
                Ok(false)
            }
        }
    }

    /// The stars of a quarter that enter now, and how long the others can wait.
    async fn ready(&mut self, pipeline: &Pipeline, quarter: Quarter) -> Result<ReadyStars, Trouble> {
        self.ask_conditions(pipeline, quarter).await?;
        let now = Timestamp::now();
        let book = &*self.book(pipeline);
        let mut ready = ReadyStars::default();
        let mut first: Option<Timestamp> = None;
        for (star, there, waiting) in book.waiting(quarter) {
            let there = there | waiting.spared.unwrap_or(0);
            match pipeline.trigger.weigh(&|dataset| book.bit(dataset) & there != 0, waiting.arrived, now) {
                Weighed::Enters => ready.stars.push(star),
                Weighed::Waits(until) => first = [first, until].into_iter().flatten().min(),
            }
        }
        ready.again = first.map(|first| Duration::try_from(first.duration_since(now)).unwrap_or_default());
        Ok(ready)
    }

    /// Looks at the conditions of stars for which all is there but what may not be asked for.
    async fn ask_conditions(&mut self, pipeline: &Pipeline, quarter: Quarter) -> Result<(), Trouble> {
        if pipeline.trigger.only_if.is_empty() {
            return Ok(());
        }
        let book = &*self.book(pipeline);
        let conditional: DatasetSet = pipeline.trigger.only_if.keys().map(|dataset| book.bit(dataset)).sum();
        let holds = |there: DatasetSet| pipeline.trigger.on.holds(&|dataset| book.bit(dataset) & there != 0);
        let asked = book
            .waiting(quarter)
            .filter(|(_, there, waiting)| waiting.spared.is_none() && !holds(*there) && holds(there | conditional));
        let asked: Vec<(StarId, DatasetSet)> = asked.map(|(star, there, _)| (star, there)).take(LOOKED_AT).collect();
        for (star, there) in asked {
            let mut spared = 0;
            for (dataset, condition) in &pipeline.trigger.only_if {
                let bit = self.book(pipeline).bit(dataset);
                let store = &self.running.services.store;
                let place = (star, quarter);
                if there & bit == 0 && !conditions::holds(store, &mut self.agent, pipeline, condition, place).await? {
                    spared |= bit;
                }
            }
            self.book(pipeline).spare(quarter, star, spared);
        }
        Ok(())
    }

    /// Decides that these stars enter, unless somebody else decided this firing; false when they cannot.
    async fn fire(
        &self,
        pipeline: &Pipeline,
        quarter: Quarter,
        number: u64,
        stars: Vec<StarId>,
    ) -> Result<bool, Trouble> {
        let (name, count) = (pipeline.name.clone(), stars.len());
        let dataset: DatasetName = pipeline.trigger.on.first().clone();
        let decided = self.running.services.store.ask(move |store| {
            // Another one may lay down another list for the same firing.
            let list = format!("trigger-{name}-{quarter}-{number}-{}", uuid::Uuid::new_v4());
            let stars = store.name_stars(&list, stars)?;
            let start = Start { pipeline: name.clone(), version: None, only_group: None, replay: None };
            let update = DatasetUpdate { dataset, quarter, stars, start: Some(start) };
            let id = format!("{name}/{quarter}/{number}");
            let event = DatasetEvent::new(TRIGGER, &id, Timestamp::now().to_string(), update);
            Ok((store.fire(&name, quarter, number, &event)?, event))
        });
        let (commit, event) = decided.await?;
        if commit == Commit::Exists {
            return Ok(true);
        }
        tracing::info!(pipeline = %pipeline.name, %quarter, stars = count, "what a trigger asks for is there");
        self.accept(event).await
    }
}

/// What weighing came to.
#[derive(Default)]
struct ReadyStars {
    stars: Vec<StarId>,
    again: Option<Duration>,
}
