//! A state that sometimes does not answer, before or after it did what it was asked to.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::id::{ClassName, Epoch, ModuleIndex, RunId, StarIndex, WorkerName};
use domain::run::{Row, Star};
use services::state::memory::MemoryState;
use services::state::{
    AnnouncedTask, Change, Claim, ClaimRequest, CursorMove, Due, Lease, OpenPlace, OpenTask, Phase, Ready, RunFlow,
    RunInfo, RunView, SharedState, StarView, State, StateError, WorkerInfo, Written,
};

use super::Surroundings;
use crate::simulation::FaultKind;
use crate::simulation::life::Life;
use crate::simulation::mutant::Mutant;
use crate::simulation::mutations::Mutations;

/// The state behind all programs.
pub(in crate::simulation) struct StateService {
    inner: Mutex<SharedState>,
    forgets_next: AtomicBool,
    pub(super) mutations: Mutations,
}

impl StateService {
    pub(in crate::simulation) fn new(state: SharedState) -> Self {
        Self { inner: Mutex::new(state), forgets_next: AtomicBool::new(false), mutations: Mutations::default() }
    }

    /// The state itself, which always answers.
    pub(in crate::simulation) fn inner(&self) -> SharedState {
        self.inner.lock().unwrap().clone()
    }

    /// Goes on with another one, as after a flush.
    pub(in crate::simulation) fn replace(&self, inner: SharedState) {
        *self.inner.lock().unwrap() = inner;
    }

    /// Forgets everything as soon as somebody has looked at the epoch and is about to spread it.
    pub(in crate::simulation) fn forget_before_next_spread(&self) {
        self.forgets_next.store(true, Ordering::Relaxed);
    }

    async fn spread_epoch(&self) -> Result<Epoch, StateError> {
        if self.forgets_next.swap(false, Ordering::Relaxed) {
            self.replace(Arc::new(MemoryState::new()));
        }
        self.inner().spread_epoch().await
    }
}

/// The state as one program sees it.
pub(super) struct FaultyState {
    pub(super) around: Surroundings,
    pub(super) life: Life,
}

/// Every method of the port, with a fault before or after it; what a witness must see, or a mutant does otherwise, is written out.
macro_rules! delegate {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl State for FaultyState {
            $(async fn $name(&self, $($argument: $kind),*) -> Result<$answer, StateError> {
                self.before().await?;
                let answer = self.inner().$name($($argument),*).await;
                self.after(answer).await
            })*

            async fn spread_epoch(&self) -> Result<Epoch, StateError> {
                self.before().await?;
                let answer = self.around.state.spread_epoch().await;
                self.after(answer).await
            }

            async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StateError> {
                let witness = &self.around.witness;
                let claim = async {
                    self.before().await?;
                    let mut answer = self.inner().claim(request).await;
                    if let Ok(claims) = &mut answer {
                        if self.around.faults.breaks(Mutant::NoReserve) {
                            claims.iter_mut().for_each(without_reserve);
                        }
                        witness.decided(request, claims);
                    }
                    self.after(answer).await
                };
                witness.claims(&request.worker, claim).await
            }

            async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StateError> {
                self.before().await?;
                // A worker that hangs renews nothing, and does not see that it should have.
                let hangs: Vec<bool> = leases.iter().map(|lease| self.around.witness.hangs(lease.nonce)).collect();
                let awake = leases.iter().zip(&hangs).filter(|(_, hangs)| !**hangs);
                let awake: Vec<Lease> = awake.map(|(lease, _)| lease.clone()).collect();
                let answer = self.inner().renew(&awake, lease).await;
                self.after(answer.map(|lives| {
                    let mut lives = lives.into_iter();
                    hangs.iter().map(|hangs| *hangs || lives.next().unwrap_or(false)).collect()
                }))
                .await
            }

            async fn announce(&self, leases: &[Lease], lease: Duration) -> Result<Vec<AnnouncedTask>, StateError> {
                self.before().await?;
                let answer = match self.around.faults.breaks(Mutant::NoAdoption) {
                    true => Ok(vec![AnnouncedTask::Lost; leases.len()]),
                    false => self.inner().announce(leases, lease).await,
                };
                self.after(answer).await
            }

            async fn open_run(&self, info: &RunInfo, reserve: Duration) -> Result<(), StateError> {
                self.before().await?;
                let mutations = &self.around.state.mutations;
                let answer = mutations.open_run(&self.around.faults, self.inner(), (info, reserve)).await;
                self.after(answer).await
            }

            async fn write(
                &self,
                run: RunId,
                epoch: Epoch,
                cursor: Option<CursorMove>,
                changes: &[Change],
            ) -> Result<Vec<Written>, StateError> {
                self.before().await?;
                let with = (&*self.around.faults, &self.life, self.inner());
                let answer = self.around.state.mutations.write(with, (run, epoch, cursor), changes).await;
                self.after(answer).await
            }

            async fn outbox(&self, run: RunId, age: Duration, limit: u32) -> Result<Vec<Ready>, StateError> {
                self.before().await?;
                let limit = if self.around.faults.breaks(Mutant::NoRepublication) { 0 } else { limit };
                let answer = self.inner().outbox(run, age, limit).await;
                self.after(answer).await
            }

            async fn republish(&self, run: RunId, class: &ClassName, age: Duration, limit: u32) -> Result<u32, StateError> {
                self.before().await?;
                let limit = if self.around.faults.breaks(Mutant::NoRepublication) { 0 } else { limit };
                let answer = self.inner().republish(run, class, age, limit).await;
                self.after(answer).await
            }
        }
    };
}

/// Lets what is claimed begin at once.
fn without_reserve(claim: &mut Claim) {
    if let Claim::Granted(grant) = claim {
        grant.reserve = Duration::ZERO;
    }
}

impl FaultyState {
    fn inner(&self) -> SharedState {
        self.around.state.inner()
    }

    async fn before(&self) -> Result<(), StateError> {
        tokio::task::yield_now().await;
        self.life.awake().await;
        let faults = &self.around.faults;
        if faults.happens(FaultKind::StateUnreachable, 0.005) || !faults.state_answers() {
            return Err(StateError::Unreachable("simulated".to_owned()));
        }
        Ok(())
    }

    async fn after<T: Send>(&self, answer: Result<T, StateError>) -> Result<T, StateError> {
        self.life.awake().await;
        if self.life.is_coordinators() {
            self.life.may_die(0.0005).await;
        }
        if self.around.faults.happens(FaultKind::StateAnswerLost, 0.005) {
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
    closed(run: RunId, stars: &[(StarIndex, &Row)]) -> Vec<Written>;
    published(run: RunId, tasks: &[Ready]) -> ();
    due(run: RunId, limit: u32, closing: u32, silence: Duration) -> Due;
    show_worker(worker: &WorkerInfo, lives: Duration) -> ();
    forget_worker(worker: &WorkerName) -> ();
    workers() -> Vec<WorkerInfo>;
    lost_workers() -> Vec<WorkerInfo>;
    set_drained(hosts: &BTreeSet<String>) -> ();
    drained() -> Option<BTreeSet<String>>;
    open_tasks(run: RunId, place: OpenPlace, limit: u32) -> Vec<OpenTask>;
    in_flight(run: RunId, limit: u32) -> Vec<StarIndex>;
}
