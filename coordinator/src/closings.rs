//! Stars to be closed: timers offer them, builders of star files take them, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::id::{RunId, StarIndex};
use tokio::sync::mpsc;

/// Stars that wait to be closed here: work for seconds. What does not fit is named again by its timer.
const WAITING: usize = 1024;

/// Where stars to be closed are put.
#[derive(Clone)]
pub(crate) struct Closings {
    jobs: mpsc::Sender<(RunId, StarIndex)>,
    known: Arc<Mutex<AtWork>>,
    /// Whether there was less room than somebody wanted since it was last asked.
    is_short: Arc<AtomicBool>,
}

#[derive(Default)]
struct AtWork {
    at_work: BTreeSet<(RunId, StarIndex)>,
    /// How often the file of a star was refused.
    refusals: BTreeMap<(RunId, StarIndex), u32>,
}

impl Closings {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<(RunId, StarIndex)>) {
        let (jobs, receiver) = mpsc::channel(WAITING);
        (Self { jobs, known: Arc::default(), is_short: Arc::default() }, receiver)
    }

    /// How many more stars can be put here.
    pub(crate) fn room(&self) -> u32 {
        let room = self.jobs.capacity();
        if room < WAITING / 2 {
            self.is_short.store(true, Ordering::Relaxed);
        }
        u32::try_from(room).unwrap_or(u32::MAX)
    }

    /// Whether more may be asked for, since there was little room before.
    pub(crate) fn was_short(&self) -> bool {
        self.jobs.capacity() >= WAITING / 2 && self.is_short.swap(false, Ordering::Relaxed)
    }

    /// Puts a star among those to be closed, unless it is there.
    pub(crate) fn offer(&self, run: RunId, star: StarIndex) {
        if self.known().at_work.insert((run, star)) && self.jobs.try_send((run, star)).is_err() {
            self.put_off(run, star);
        }
    }

    /// The star is not at work any more; its timer names it again.
    pub(crate) fn put_off(&self, run: RunId, star: StarIndex) {
        self.known().at_work.remove(&(run, star));
    }

    /// The star is closed, or not to be.
    pub(crate) fn done(&self, run: RunId, star: StarIndex) {
        self.put_off(run, star);
        self.known().refusals.remove(&(run, star));
    }

    /// Counts a refusal; returns how many there were.
    pub(crate) fn refused(&self, run: RunId, star: StarIndex) -> u32 {
        let mut known = self.known();
        let count = known.refusals.entry((run, star)).or_default();
        *count += 1;
        *count
    }

    fn known(&self) -> MutexGuard<'_, AtWork> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
