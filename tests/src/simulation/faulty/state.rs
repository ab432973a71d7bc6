//! A state that sometimes does not answer, before or after it did what it was asked to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::id::{ClassName, Epoch, ModuleIndex, RunId, StarIndex, WorkerName};
use domain::run::{Row, Star};
use services::state::{
    Change, Claim, ClaimRequest, CursorMove, Due, Lease, OpenPlace, OpenTask, Phase, Ready, RunFlow, RunInfo, RunView,
    SharedState, StarView, State, StateError, WorkerInfo, Written,
};

use crate::simulation::Faults;
use crate::simulation::witness::Witness;

/// A state with faults.
pub(in crate::simulation) struct FaultyState {
    inner: Mutex<SharedState>,
    faults: Arc<Faults>,
    witness: Arc<Witness>,
}

impl FaultyState {
    pub(in crate::simulation) fn new(inner: SharedState, faults: Arc<Faults>, witness: Arc<Witness>) -> Self {
        Self { inner: Mutex::new(inner), faults, witness }
    }

    /// The state itself, which always answers.
    pub(in crate::simulation) fn inner(&self) -> SharedState {
        self.inner.lock().unwrap().clone()
    }

    /// Goes on with another one, as after a flush.
    pub(in crate::simulation) fn replace(&self, inner: SharedState) {
        *self.inner.lock().unwrap() = inner;
    }
}

/// Every method of the port, with a fault before or after it; what a witness must see is written out.
macro_rules! delegate {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl State for FaultyState {
            $(async fn $name(&self, $($argument: $kind),*) -> Result<$answer, StateError> {
                self.faults_before().await?;
                let answer = self.inner().$name($($argument),*).await;
                self.faults_after(answer)
            })*

            async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StateError> {
                let claim = async {
                    self.faults_before().await?;
                    let answer = self.inner().claim(request).await;
                    for (wish, claim) in request.wishes.iter().zip(answer.iter().flatten()) {
                        if let Claim::Granted(grant) = claim {
                            self.witness.granted(request.run, wish, grant);
                        }
                    }
                    self.faults_after(answer)
                };
                self.witness.claims(&request.worker, claim).await
            }

            async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StateError> {
                self.faults_before().await?;
                // A worker that hangs renews nothing, and does not see that it should have.
                let hangs: Vec<bool> = leases.iter().map(|lease| self.witness.hangs(lease.nonce)).collect();
                let awake = leases.iter().zip(&hangs).filter(|(_, hangs)| !**hangs);
                let awake: Vec<Lease> = awake.map(|(lease, _)| lease.clone()).collect();
                let answer = self.inner().renew(&awake, lease).await;
                self.faults_after(answer.map(|lives| {
                    let mut lives = lives.into_iter();
                    hangs.iter().map(|hangs| *hangs || lives.next().unwrap_or(false)).collect()
                }))
            }
        }
    };
}

impl FaultyState {
    async fn faults_before(&self) -> Result<(), StateError> {
        tokio::task::yield_now().await;
        if self.faults.happens(0.005) || !self.faults.state_answers() {
            return Err(StateError::Unreachable("simulated".to_owned()));
        }
        Ok(())
    }

    fn faults_after<T>(&self, answer: Result<T, StateError>) -> Result<T, StateError> {
        if self.faults.happens(0.005) {
            Err(StateError::Unreachable("simulated, after it was done".to_owned()))
        } else {
            answer
        }
    }
}

delegate! {
    check() -> ();
    probe() -> ();
    epoch() -> Epoch;
    begin_epoch(epoch: Epoch) -> Epoch;
    spread_epoch() -> Epoch;
    open_run(info: &RunInfo) -> ();
    close_run(run: RunId) -> ();
    run_ids() -> Vec<RunId>;
    runs() -> Vec<RunInfo>;
    run(run: RunId) -> Option<RunView>;
    flow(run: RunId) -> Option<RunFlow>;
    set_phase(run: RunId, phase: Phase, weight: u32) -> ();
    hold(run: RunId, modules: &[ModuleIndex]) -> ();
    amend(run: RunId, number: u64) -> ();
    load(run: RunId, stars: &[StarIndex]) -> Vec<Star>;
    rows(run: RunId, block: u32) -> Vec<u8>;
    star(run: RunId, star: StarIndex) -> StarView;
    write(run: RunId, epoch: Epoch, cursor: Option<CursorMove>, changes: &[Change]) -> Vec<Written>;
    closed(run: RunId, star: StarIndex, row: &Row) -> Written;
    outbox(run: RunId, age: Duration, limit: u32) -> Vec<Ready>;
    published(run: RunId, tasks: &[Ready]) -> ();
    republish(run: RunId, class: &ClassName, age: Duration, limit: u32) -> u32;
    due(run: RunId, limit: u32, silence: Duration) -> Due;
    show_worker(worker: &WorkerInfo, lives: Duration) -> ();
    forget_worker(worker: &WorkerName) -> ();
    workers() -> Vec<WorkerInfo>;
    lost_workers() -> Vec<WorkerInfo>;
    set_drained(hosts: &BTreeSet<String>) -> ();
    drained() -> Option<BTreeSet<String>>;
    open_tasks(run: RunId, place: OpenPlace, limit: u32) -> Vec<OpenTask>;
    in_flight(run: RunId, limit: u32) -> Vec<StarIndex>;
}
