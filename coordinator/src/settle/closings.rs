//! Stars to be closed on their way: offered by timers, taken by builders, on record in batches, forgotten by the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::id::{RunId, StarIndex};
use domain::run::Row;
use futures::future::join_all;
use services::state::{StateError, Written};
use store::course::Course;
use store::runs::SettledStar;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::running::Coordinator;
use crate::runs::end::end_if_done;
use crate::trouble::{Outage, Trouble};

/// Stars that wait to be closed; what does not fit is named again by its timer.
const WAITING: usize = 4096;

/// Most stars in one settled batch.
const BATCH: usize = 512;

/// How long a batch is filled.
const FILL: Duration = Duration::from_millis(200);

/// Where stars to be closed are put.
#[derive(Clone)]
pub(crate) struct Closings {
    jobs: mpsc::Sender<(RunId, StarIndex)>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    at_work: BTreeSet<(RunId, StarIndex)>,
    /// How often the file of a star was refused.
    refusals: BTreeMap<(RunId, StarIndex), u32>,
}

impl Closings {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<(RunId, StarIndex)>) {
        let (jobs, receiver) = mpsc::channel(WAITING);
        (Self { jobs, known: Arc::default() }, receiver)
    }

    /// Puts a star among those to be closed, unless it is there.
    pub(crate) fn offer(&self, run: RunId, star: StarIndex) {
        if self.known().at_work.insert((run, star)) && self.jobs.try_send((run, star)).is_err() {
            self.put_off(run, star);
        }
    }

    /// The star is not at work any more; its timer names it again.
    pub(super) fn put_off(&self, run: RunId, star: StarIndex) {
        self.known().at_work.remove(&(run, star));
    }

    /// The star is closed, or not to be.
    pub(super) fn done(&self, run: RunId, star: StarIndex) {
        self.put_off(run, star);
        self.known().refusals.remove(&(run, star));
    }

    /// Counts a refusal; returns how many there were.
    pub(super) fn refused(&self, run: RunId, star: StarIndex) -> u32 {
        let mut known = self.known();
        let count = known.refusals.entry((run, star)).or_default();
        *count += 1;
        *count
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A star whose file is built.
pub(crate) struct Settled {
    pub(super) course: Arc<Course>,
    pub(super) row: Row,
    pub(super) line: SettledStar,
}

/// Writes the lines of settled stars in batches, then forgets the stars.
pub(crate) async fn write_lines(running: Coordinator, mut settled: mpsc::Receiver<Settled>) {
    let mut outage = Outage::of("settled batches");
    while let Some(first) = settled.recv().await {
        let mut batch = vec![first];
        let until = Instant::now() + FILL;
        while batch.len() < BATCH
            && let Ok(Some(next)) = timeout_at(until, settled.recv()).await
        {
            batch.push(next);
        }
        let mut by_run: BTreeMap<RunId, Vec<Settled>> = BTreeMap::new();
        for done in batch {
            by_run.entry(done.course.record.run).or_default().push(done);
        }
        for (run, batch) in by_run {
            // Lines that are written twice say the same, but need not be written at every try.
            let mut is_written = false;
            loop {
                let closed = close(&running, &batch, &mut is_written).await;
                match running.of_run(run, closed).await {
                    Ok(_) => break,
                    Err(trouble) => outage.wait(&trouble).await,
                }
            }
            outage.over();
            for done in &batch {
                running.closings.done(run, done.line.star);
            }
        }
        running.wakes.admission.notify_one();
    }
}

/// Writes the lines of stars of one run, forgets the stars, and ends the run after the last one.
async fn close(running: &Coordinator, batch: &[Settled], is_written: &mut bool) -> Result<(), Trouble> {
    let Some(first) = batch.first() else { return Ok(()) };
    let run = first.course.record.run;
    if !*is_written {
        let lines: Vec<SettledStar> = batch.iter().map(|done| done.line.clone()).collect();
        running.services.store.ask(move |store| store.append_settled(run, &lines)).await?;
        *is_written = true;
    }
    let closed = join_all(batch.iter().map(|done| running.services.state.closed(run, done.line.star, &done.row))).await;
    for (done, closed) in batch.iter().zip(closed) {
        match closed {
            // Reopened since, or the run is over: neither is this star's matter any more.
            Ok(Written::Done) => {
                running.counters.closed.inc();
                running.hooks.star_ended(&done.course, done.line.star, done.line.end);
            }
            Ok(Written::Lost) => {}
            Err(StateError::NoRun(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    end_if_done(running, &first.course).await
}
