//! What the parts of a coordinator ask, and what is theirs alone while it runs: the epoch that it believes in, nudges between
//! the loops, counters, rates, rows of stars in flight, messages that were confirmed, stars on their way to be closed, what is set aside.

use domain::id::Epoch;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::id::{EventId, RunId};
use services::queue::SharedQueue;
use services::state::{RunView, SharedState, StateError};
use services::traces::Traces;
use store::Store;
use store::course::{Course, Courses};
use tokio::sync::Notify;

use crate::aside::{Aside, Party};
use crate::closings::Closings;
use crate::confirmed::Confirmed;
use crate::counters::Counters;
use crate::hooks::Hooks;
use crate::rates::Rates;
use crate::rows::Rows;
use crate::standing::Remembered;
use crate::trouble::Trouble;

/// What is asked: store, broker, state, and what is fixed of runs. Clones are the same.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) store: Store,
    pub(crate) queue: SharedQueue,
    pub(crate) state: SharedState,
    pub(crate) courses: Courses,
}

impl Services {
    pub(crate) fn new(store: Store, queue: SharedQueue, state: SharedState) -> Self {
        Self { courses: Courses::new(store.clone()), store, queue, state }
    }
}

/// A coordinator at work; clones are the same.
#[derive(Clone)]
pub(crate) struct Coordinator {
    pub(crate) services: Services,
    pub(crate) counters: Counters,
    pub(crate) hooks: Hooks,
    pub(crate) traces: Traces,
    pub(crate) wakes: Arc<Wakes>,
    pub(crate) closings: Closings,
    pub(crate) aside: Aside,
    pub(crate) remembered: Arc<Remembered>,
    pub(crate) rows: Arc<Rows>,
    pub(crate) confirmed: Arc<Confirmed>,
    pub(crate) rates: Arc<Rates>,
    /// Most tasks that an event may start by itself; 0: any.
    pub(crate) hold_above: u64,
    epoch: Arc<AtomicU64>,
}

/// Nudges between the loops, so that none has to look often; what a nudge says is also found by the next look.
#[derive(Default)]
pub(crate) struct Wakes {
    /// Stars may be missing in the classes' queues.
    pub(crate) admission: Notify,
    /// Stars are to be closed.
    pub(crate) closing: Notify,
    /// Store and state are to be compared: operators decided something, or an epoch began.
    pub(crate) comparison: Notify,
    /// Triggers are to be weighed, or results to be published.
    pub(crate) triggers: Notify,
}

impl Coordinator {
    pub(crate) fn new(
        services: Services,
        hooks: Hooks,
        traces: Traces,
        counters: Counters,
        closings: Closings,
    ) -> Self {
        Self {
            services,
            counters,
            hooks,
            traces,
            wakes: Arc::default(),
            closings,
            aside: Aside::default(),
            remembered: Arc::default(),
            rows: Arc::default(),
            confirmed: Arc::default(),
            rates: Arc::default(),
            hold_above: 0,
            epoch: Arc::default(),
        }
    }

    /// The epoch that was in force when it was last looked at.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    /// Looks at the epoch again. A state without one, or with an older one than the store knows, was lost or rolled back:
    /// its next life begins. Two coordinators that see this at once begin the same one.
    pub(crate) async fn look_at_epoch(&self) -> Result<Epoch, Trouble> {
        let Services { store, state, .. } = &self.services;
        // The state first: an epoch is in the store before it is in the state.
        let held = state.epoch().await?;
        let known = store.ask(|store| store.newest_epoch()).await?;
        if held > known {
            return Err(Trouble::Foreign { held, known });
        }
        let mut epoch = held;
        if held < known || held == Epoch(0) {
            store.ask(move |store| store.begin_epoch(known.next())).await?;
            epoch = state.begin_epoch(known.next()).await?;
            tracing::info!(epoch = epoch.0, before = held.0, "an epoch begins");
            self.wakes.comparison.notify_one();
        }
        self.epoch.store(epoch.0, Ordering::Relaxed);
        Ok(epoch)
    }

    /// The same after the state refused an epoch: whoever began the one in force may have died before all runs had it. Where the
    /// state is emptied in between, the epoch that was seen is over: it is looked at again, never set.
    pub(crate) async fn mend_epoch(&self) -> Result<(), Trouble> {
        loop {
            let epoch = self.look_at_epoch().await?;
            if epoch != Epoch(0) && self.services.state.spread_epoch().await? == epoch {
                return Ok(());
            }
        }
    }

    /// Wakes whoever closes stars when there are any.
    pub(crate) fn close_soon(&self, stars: u32) {
        if stars > 0 {
            self.wakes.closing.notify_one();
        }
    }

    /// What came of something that was done for one run: `None` when the trouble is that run's own, which is then set aside,
    /// or when it ended meanwhile. Everybody's trouble is an error.
    pub(crate) async fn of_run<T>(&self, run: RunId, done: Result<T, Trouble>) -> Result<Option<T>, Trouble> {
        match done {
            Err(Trouble::State(StateError::NoRun(run))) => {
                tracing::debug!(%run, "the run ended meanwhile");
                Ok(None)
            }
            done => self.aside.of(&self.services.store, Party::Run(run), done).await,
        }
    }

    /// The same of a dataset event that is on record.
    pub(crate) async fn of_event<T>(&self, event: EventId, done: Result<T, Trouble>) -> Result<Option<T>, Trouble> {
        self.aside.of(&self.services.store, Party::Event(event), done).await
    }

    /// What is fixed of a run; `None` when no such run was ever accepted, or it is set aside.
    pub(crate) async fn course(&self, run: RunId) -> Result<Option<Arc<Course>>, Trouble> {
        if self.aside.holds(Party::Run(run)) {
            return Ok(None);
        }
        let found = self.services.courses.find(run).await.map_err(Trouble::from);
        Ok(self.of_run(run, found).await?.flatten())
    }

    /// How a run stands in the state; `None` when it is not there, or is set aside.
    pub(crate) async fn view(&self, run: RunId) -> Result<Option<RunView>, Trouble> {
        if self.aside.holds(Party::Run(run)) {
            return Ok(None);
        }
        let found = self.services.state.run(run).await.map_err(Trouble::from);
        Ok(self.of_run(run, found).await?.flatten())
    }
}
