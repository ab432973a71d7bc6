//! The state in this process, for the embedded run, tests and simulation; it forgets everything when it is dropped.
//!
//! A lock around plain maps, never held across an await. The clock is tokio's, so that a simulation can set it.

mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use run::{BothClocks, Run};
use tokio::time::Instant;

use super::{
    AnnouncedTask, Change, Claim, ClaimRefusal, ClaimRequest, CursorMove, Due, Lease, OpenPlace, OpenTask, Phase,
    REMEMBERED, RESERVE, Ready, RunFlow, RunInfo, RunView, StarView, State, StateError, WorkerInfo, Written,
};
use domain::id::{ClassName, Epoch, ModuleIndex, RunId, StarIndex, WorkerName};
use domain::run::{Row, Star};

/// The state in this process; clones are the same state.
#[derive(Clone, Default)]
pub struct MemoryState {
    core: Arc<Mutex<Core>>,
}

#[derive(Clone, Default)]
struct Core {
    epoch: Epoch,
    runs: BTreeMap<RunId, Run>,
    /// Workers, and until when they are shown.
    workers: BTreeMap<WorkerName, (WorkerInfo, Instant)>,
    drained: Option<BTreeSet<String>>,
}

impl MemoryState {
    /// A state without runs, in epoch 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another state, which is as this one is now: what a service comes back with that lost what it wrote last.
    pub fn snapshot(&self) -> Self {
        Self { core: Arc::new(Mutex::new(self.lock().clone())) }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic in the middle of a change is our bug; going on shows it where it was made.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    fn run(&self, run: RunId) -> Result<&Run, StateError> {
        self.runs.get(&run).ok_or(StateError::NoRun(run))
    }

    fn run_mut(&mut self, run: RunId) -> Result<&mut Run, StateError> {
        self.runs.get_mut(&run).ok_or(StateError::NoRun(run))
    }
}

#[async_trait]
impl State for MemoryState {
    async fn check(&self) -> Result<(), StateError> {
        Ok(())
    }

    async fn probe(&self) -> Result<(), StateError> {
        Ok(())
    }

    async fn epoch(&self) -> Result<Epoch, StateError> {
        Ok(self.lock().epoch)
    }

    async fn begin_epoch(&self, epoch: Epoch) -> Result<Epoch, StateError> {
        let mut core = self.lock();
        if core.epoch < epoch {
            core.epoch = epoch;
            core.runs.values_mut().for_each(|run| run.begin_reserve(RESERVE, Instant::now()));
        }
        Ok(core.epoch)
    }

    async fn spread_epoch(&self) -> Result<Epoch, StateError> {
        // Runs have none of their own.
        self.epoch().await
    }

    async fn open_run(&self, info: &RunInfo, reserve: Duration) -> Result<(), StateError> {
        self.lock().runs.entry(info.run).or_insert_with(|| Run::open(info, reserve));
        Ok(())
    }

    async fn close_run(&self, run: RunId) -> Result<(), StateError> {
        self.lock().runs.remove(&run);
        Ok(())
    }

    async fn run_ids(&self) -> Result<Vec<RunId>, StateError> {
        Ok(self.runs().await?.into_iter().map(|info| info.run).collect())
    }

    async fn runs(&self) -> Result<Vec<RunInfo>, StateError> {
        let mut runs: Vec<_> = self.lock().runs.values().map(|run| run.info.clone()).collect();
        runs.sort_by_key(|info| (info.accepted, info.run));
        Ok(runs)
    }

    async fn run(&self, run: RunId) -> Result<Option<RunView>, StateError> {
        Ok(self.lock().runs.get(&run).map(|run| run.view(now())))
    }

    async fn flow(&self, run: RunId) -> Result<Option<RunFlow>, StateError> {
        Ok(self.lock().runs.get(&run).map(|run| run.flow(now())))
    }

    async fn set_phase(&self, run: RunId, phase: Phase, weight: u32) -> Result<(), StateError> {
        self.lock().run_mut(run)?.set_phase(phase, weight);
        Ok(())
    }

    async fn hold(&self, run: RunId, modules: &[ModuleIndex]) -> Result<(), StateError> {
        self.lock().run_mut(run)?.hold(modules, Instant::now());
        Ok(())
    }

    async fn amend(&self, run: RunId, number: u64) -> Result<(), StateError> {
        self.lock().run_mut(run)?.amend(number);
        Ok(())
    }

    async fn load(&self, run: RunId, stars: &[StarIndex]) -> Result<Vec<Star>, StateError> {
        let core = self.lock();
        let run = core.run(run)?;
        stars.iter().map(|&star| run.load(star)).collect()
    }

    async fn rows(&self, run: RunId, block: u32) -> Result<Vec<u8>, StateError> {
        Ok(self.lock().run(run)?.rows(block))
    }

    async fn star(&self, run: RunId, star: StarIndex) -> Result<StarView, StateError> {
        self.lock().run(run)?.star(star, now())
    }

    async fn write(
        &self,
        run: RunId,
        epoch: Epoch,
        cursor: Option<CursorMove>,
        changes: &[Change],
    ) -> Result<Vec<Written>, StateError> {
        let mut core = self.lock();
        let now = core.epoch;
        let run = core.run_mut(run)?;
        if epoch != now {
            return Err(StateError::Epoch { expected: epoch, now });
        }
        Ok(run.write(cursor, changes, Instant::now()))
    }

    async fn closed(&self, run: RunId, stars: &[(StarIndex, &Row)]) -> Result<Vec<Written>, StateError> {
        let mut core = self.lock();
        let of = core.run_mut(run)?;
        Ok(stars.iter().map(|(star, row)| of.closed(*star, row)).collect())
    }

    async fn outbox(&self, run: RunId, age: Duration, limit: u32) -> Result<Vec<Ready>, StateError> {
        Ok(self.lock().run(run)?.outbox(age, limit, Instant::now()))
    }

    async fn published(&self, run: RunId, tasks: &[Ready]) -> Result<(), StateError> {
        self.lock().run_mut(run)?.published(tasks, Instant::now());
        Ok(())
    }

    async fn republish(&self, run: RunId, class: &ClassName, age: Duration, limit: u32) -> Result<u32, StateError> {
        Ok(self.lock().run_mut(run)?.republish(class, age, limit, Instant::now()))
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StateError> {
        let mut core = self.lock();
        let now = core.epoch;
        let refused = |refusal| Ok(vec![Claim::Refused(refusal); request.wishes.len()]);
        let Some(run) = core.runs.get_mut(&request.run) else {
            return refused(ClaimRefusal::NoRun);
        };
        match request.epoch.cmp(&now) {
            std::cmp::Ordering::Less => refused(ClaimRefusal::Stale),
            std::cmp::Ordering::Greater => Err(StateError::Epoch { expected: request.epoch, now }),
            std::cmp::Ordering::Equal => {
                request.wishes.iter().map(|wish| run.claim(request, wish, Instant::now())).collect()
            }
        }
    }

    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StateError> {
        let mut core = self.lock();
        let until = Instant::now() + lease;
        let renew = |lease: &Lease| core.runs.get_mut(&lease.run).is_some_and(|run| run.renew(lease, until));
        Ok(leases.iter().map(renew).collect())
    }

    async fn announce(&self, leases: &[Lease], lease: Duration) -> Result<Vec<AnnouncedTask>, StateError> {
        let (mut core, now) = (self.lock(), Instant::now());
        let announce = |lease_of: &Lease| match core.runs.get_mut(&lease_of.run) {
            Some(run) => run.announce(lease_of, now + lease, now),
            None => Ok(AnnouncedTask::NoRun),
        };
        leases.iter().map(announce).collect()
    }

    async fn due(&self, run: RunId, limit: u32, closing: u32, silence: Duration) -> Result<Due, StateError> {
        Ok(self.lock().run_mut(run)?.due(limit, closing, silence, now()))
    }

    async fn show_worker(&self, worker: &WorkerInfo, lives: Duration) -> Result<(), StateError> {
        let until = Instant::now() + lives;
        self.lock().workers.insert(worker.worker.clone(), (worker.clone(), until));
        Ok(())
    }

    async fn forget_worker(&self, worker: &WorkerName) -> Result<(), StateError> {
        self.lock().workers.remove(worker);
        Ok(())
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, StateError> {
        let (core, now) = (self.lock(), Instant::now());
        let living = core.workers.values().filter(|(_, until)| *until > now);
        Ok(living.map(|(worker, _)| worker.clone()).collect())
    }

    async fn lost_workers(&self) -> Result<Vec<WorkerInfo>, StateError> {
        let (mut core, now) = (self.lock(), Instant::now());
        core.workers.retain(|_, (_, until)| *until + REMEMBERED > now);
        let lost = core.workers.values().filter(|(_, until)| *until <= now);
        Ok(lost.map(|(worker, _)| worker.clone()).collect())
    }

    async fn set_drained(&self, hosts: &BTreeSet<String>) -> Result<(), StateError> {
        self.lock().drained = Some(hosts.clone());
        Ok(())
    }

    async fn drained(&self) -> Result<Option<BTreeSet<String>>, StateError> {
        Ok(self.lock().drained.clone())
    }

    async fn open_tasks(&self, run: RunId, place: OpenPlace, limit: u32) -> Result<Vec<OpenTask>, StateError> {
        Ok(self.lock().run(run)?.open_tasks(place, limit, now()))
    }

    async fn in_flight(&self, run: RunId, limit: u32) -> Result<Vec<StarIndex>, StateError> {
        Ok(self.lock().run(run)?.in_flight(limit))
    }
}

fn now() -> BothClocks {
    BothClocks { instant: Instant::now(), wall: Timestamp::now() }
}
