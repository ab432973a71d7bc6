//! The port to the state of runs in progress: rows, counts, timers, leases, outbox.
//!
//! Two adapters: [`redis`] (the cluster) and [`memory`] (embedded run and simulation). The state is fast and may be
//! lost: what matters is in the store. Every method is idempotent and bounded by its arguments.
//!
//! A task whose cell says *queued* is in one of four places, and leaves them all when its cell changes:
//!
//! ```text
//!              ┌────── message lost, run resumed ──────┐
//!              ▼                                       │
//!  queued ─▶ outbox ── message confirmed ──▶ published ┴── claimed ──▶ leases ── ended, lost, given back ─▶ next cell
//!              │ ▲ └──────── claimed before that ────────────────────▲
//!        held  ▼ │ released   (held tasks that are published go there, too)
//!            on_hold
//! ```
//!
//! A task may be claimed, or end, before its message is noted as confirmed: then it never was *published*. What a worker runs that
//! the state has forgotten is *announced* beside that ([`State::announce`]), until the worker has claimed it anew.
//!
//! One whose cell says *waiting* is in `waits`; a star whose cells are all settled is in `closing` until its file is whole.

mod claim;
mod error;
mod flow;
pub mod memory;
pub mod redis;
mod view;
mod workers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use claim::{AnnouncedTask, Claim, ClaimRefusal, ClaimRequest, ClaimWish, Grant, Lease, RESERVE};
pub use error::StateError;
pub use flow::{Moves, PERIOD, PERIODS, Period, RunFlow, TaskPlaces};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub use view::{Counts, OpenPlace, OpenTask, RunView, RunningTask, Spent, StarView};
pub use workers::{AttemptCounts, AttemptPhase, MOST_SHOWN, REMEMBERED, RunningAttempt, WorkerInfo};

use domain::id::{
    Attempt, ClassName, Epoch, Generation, ModuleIndex, ModuleName, Nonce, PipelineName, Quarter, RunId, Sequence,
    StarIndex, Task, WorkerName,
};
use domain::message::Completion;
use domain::outcome::Outcome;
use domain::run::{Row, Star};

/// Stars whose rows are read at once by [`State::rows`].
pub const ROWS_BLOCK: u32 = 4096;

/// How long whoever was told to close a star has for it before [`State::due`] names the star again.
pub const CLOSING_PATIENCE: Duration = Duration::from_secs(30);

/// A run as the state keeps it. Everything here is also in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The run.
    pub run: RunId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The pipeline's version.
    pub version: String,
    /// The quarter of its data.
    pub quarter: Quarter,
    /// How many stars it has.
    pub stars: u32,
    /// Its modules in topological order, each with its class.
    pub modules: Vec<(ModuleName, ClassName)>,
    /// Sequence number of its event: the newest versions of externals that it uses.
    pub horizon: Sequence,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Whether tasks are handed out.
    pub phase: Phase,
    /// Weight in the choice of the next star, 1 or more.
    pub weight: u32,
    /// How many stars, in the order of the list, have been looked at for admission.
    pub cursor: u32,
    /// Modules whose tasks are not handed out, sorted: operators hold them.
    #[serde(default)]
    pub held: Vec<ModuleIndex>,
    /// Number of the newest decision that amends the run's images; 0 when none does.
    #[serde(default)]
    pub amended: u64,
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    /// Stars are admitted, tasks are claimed.
    Active,
    /// Nothing new is admitted or claimed.
    Paused,
    /// Being cancelled: nothing new is admitted or claimed.
    Cancelling,
}

/// What is known of a settled or tried task while its star is in flight; afterwards it is in the star's generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// How its newest attempt ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The attempt that this is about; 0 when it was settled without one.
    pub attempt: Attempt,
    /// The worker that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerName>,
    /// When the attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub millis: u64,
}

impl Detail {
    /// What a completion that ended says of its task; `None` for one that was given back.
    pub fn of(completion: &Completion) -> Option<Self> {
        match &completion.result {
            domain::message::Report::Ended(outcome) => Some(Self {
                outcome: outcome.clone(),
                attempt: completion.attempt,
                worker: Some(completion.worker.clone()),
                started: Some(completion.started),
                millis: completion.millis,
            }),
            domain::message::Report::GivenBack => None,
        }
    }

    /// What it adds to what its module took; `None` where nothing was made.
    pub fn spent(&self) -> Option<Spent> {
        match &self.outcome {
            Outcome::Succeeded(success) => {
                let remarks = success.remarks();
                Some(match success.reused {
                    true => Spent { found: 1, remarks, ..Spent::default() },
                    false => Spent { tasks: 1, millis: self.millis, found: 0, remarks },
                })
            }
            Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Failed(_) | Outcome::Errored(_) => None,
        }
    }
}

/// What was fixed when a star was admitted, so that every task of it, on any host, sees the same data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Admission {
    /// File names of the externals that it uses, relative to the star's folder: the newest of each dataset at or below
    /// the horizon.
    pub externals: Vec<String>,
    /// The star's generation in the quarter before, if there was one.
    pub previous: Option<Generation>,
    /// When it was admitted; `None` where a version before this one did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// One star's change; written whole, or not at all when `expected` is no longer what the state holds. A star that is not
/// admitted after it leaves the run: it is in flight no more, nothing is known of it, and the admission cursor goes back to
/// it where it was beyond. One that is settled after it and not to be closed is closed already: neither is it in flight.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Which star.
    pub star: StarIndex,
    /// The row, and tries, on which the decision was made. An attempt is in a row only modulo 16: one that was read long ago may
    /// look like that of now, and its tries do not.
    pub expected: Star,
    /// The row, and tries of tasks that have more than one, after it. A task whose cell changed loses its outbox,
    /// published, wait and lease entries before the new ones are written.
    pub after: Star,
    /// Tasks whose message is to be published, with their attempt: they enter the outbox.
    pub queue: Vec<(ModuleIndex, Attempt)>,
    /// Tasks that wait before their next try.
    pub wait: Vec<(ModuleIndex, Duration)>,
    /// What became known of tasks.
    pub details: Vec<(ModuleIndex, Detail)>,
    /// Set with the first change of a star: it enters the run.
    pub admission: Option<Admission>,
    /// Every task is settled: the star is to be closed.
    pub close: bool,
    /// The decision rests on the lease of this task having run out; no change when it lives.
    pub lease_lost: Option<ModuleIndex>,
    /// The decision rests on what those said who claimed these tasks; no change when somebody else claimed one, or nobody did.
    pub claimed: Vec<ClaimedTask>,
}

/// A task of which somebody says how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedTask {
    /// Which.
    pub module: ModuleIndex,
    /// The nonce of the claim.
    pub nonce: Nonce,
    /// That nobody may hold it any more: what was said can be checked without the claim.
    pub may_be_gone: bool,
}

/// Stars looked at for admission: the cursor moves only from where it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorMove {
    /// Where it was.
    pub from: u32,
    /// Where it is after.
    pub to: u32,
}

/// What became of a [`Change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is in.
    Done,
    /// Somebody else was faster: read again and decide again.
    Lost,
    /// Who speaks of this task did not claim it: somebody else holds it, or nobody.
    Unclaimed {
        /// The task's module.
        module: ModuleIndex,
        /// Whether somebody else holds it.
        is_held: bool,
    },
}

/// A task whose message is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Which.
    pub task: Task,
    /// Which attempt.
    pub attempt: Attempt,
    /// Its class.
    pub class: ClassName,
}

/// Timers of a run that went off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// Leases that ran out: on which attempt, and who had it since when.
    pub leases: Vec<(Task, RunningTask)>,
    /// Waits that are over.
    pub waits: Vec<Task>,
    /// Stars that are to be closed.
    pub closing: Vec<StarIndex>,
}

/// The state of runs in progress.
///
/// Methods that name a run fail with [`StateError::NoRun`] when it is not in the state, where nothing else is said. A star
/// beyond the run's list reads as not admitted and is never written, so that a message from anywhere does no harm.
#[async_trait]
pub trait State: Send + Sync {
    /// Checks that the service keeps what it is given (no eviction, append-only file) and answers.
    async fn check(&self) -> Result<(), StateError>;
    /// Writes and reads something that is of no use, for a minute, with what runs are written and read with: an error says why that
    /// cannot be done.
    async fn probe(&self) -> Result<(), StateError>;
    /// Its own clock, by which leases are counted.
    async fn clock(&self) -> Result<Timestamp, StateError> {
        Ok(Timestamp::now())
    }
    /// The epoch of this life of the state; 0 before any was set.
    async fn epoch(&self) -> Result<Epoch, StateError>;
    /// Begins `epoch` where the state, or a run in it, holds an older one; returns the one in force. In runs that get another
    /// claims are granted under reserve for [`RESERVE`].
    async fn begin_epoch(&self, epoch: Epoch) -> Result<Epoch, StateError>;
    /// Brings every run to the epoch in force, which it returns. Begins none: a state that was emptied a moment ago still has 0.
    async fn spread_epoch(&self) -> Result<Epoch, StateError>;

    /// Enters a run with all its stars blocked. Harmless when it is there. For as long as `reserve` claims are granted under
    /// reserve: zero for a run of which nobody can run anything, [`RESERVE`] for one that the state may have lost.
    async fn open_run(&self, info: &RunInfo, reserve: Duration) -> Result<(), StateError>;
    /// Forgets a run. Harmless when it is not there.
    async fn close_run(&self, run: RunId) -> Result<(), StateError>;
    /// Ids of the runs in the state, oldest first: also of those that cannot be read.
    async fn run_ids(&self) -> Result<Vec<RunId>, StateError>;
    /// Runs in the state, oldest first. One that is damaged is left out: [`State::run`] says what is wrong with it.
    async fn runs(&self) -> Result<Vec<RunInfo>, StateError>;
    /// How a run stands; `None` when it is not in the state.
    async fn run(&self, run: RunId) -> Result<Option<RunView>, StateError>;
    /// Where the tasks of a run are, all seen at once, and how many came and went of late; `None` when it is not in the state.
    async fn flow(&self, run: RunId) -> Result<Option<RunFlow>, StateError>;
    /// Changes whether a run goes on, or its weight. A run that becomes active has its published tasks back in the
    /// outbox, older than any age, for claims were refused in the meantime and their messages are gone.
    async fn set_phase(&self, run: RunId, phase: Phase, weight: u32) -> Result<(), StateError>;

    /// Holds the tasks of these modules, and of no others: those that are queued and not claimed are put aside, also any
    /// that are queued later, and claims of them are refused. Those of modules that were held before go back to the outbox,
    /// older than any age. Where there are many that takes many steps; until the last one the view says so.
    async fn hold(&self, run: RunId, modules: &[ModuleIndex]) -> Result<(), StateError>;

    /// Every claim that is granted from now on tells of the amendment with this number, or of a newer one.
    async fn amend(&self, run: RunId, number: u64) -> Result<(), StateError>;

    /// The state of these stars, in their order.
    async fn load(&self, run: RunId, stars: &[StarIndex]) -> Result<Vec<Star>, StateError>;
    /// The rows of many stars, one after the other as they are kept: those of the block with this number, which begins at
    /// star `block` × [`ROWS_BLOCK`] and ends with the run's last star at the latest. Empty beyond that. Nobody checks the bytes.
    async fn rows(&self, run: RunId, block: u32) -> Result<Vec<u8>, StateError>;
    /// Everything about one star.
    async fn star(&self, run: RunId, star: StarIndex) -> Result<StarView, StateError>;
    /// Writes changes, each whole or not at all, in one step; at most about a thousand at once, for nobody else is served
    /// meanwhile. With a cursor move that is lost, nothing is written. From its first change until it is closed a star is
    /// in flight.
    async fn write(
        &self,
        run: RunId,
        epoch: Epoch,
        cursor: Option<CursorMove>,
        changes: &[Change],
    ) -> Result<Vec<Written>, StateError>;
    /// Star files are built: forgets each star's details and timers, unless it was reopened since (its row differs). At most
    /// about a thousand at once.
    async fn closed(&self, run: RunId, stars: &[(StarIndex, &Row)]) -> Result<Vec<Written>, StateError>;

    /// Outbox entries older than `age`, oldest first, at most `limit` of each class: none waits for another's queue.
    async fn outbox(&self, run: RunId, age: Duration, limit: u32) -> Result<Vec<Ready>, StateError>;
    /// Notes that these messages are confirmed by the broker: from the outbox to published. Tasks that were claimed in
    /// the meantime, or moved on, are left alone.
    async fn published(&self, run: RunId, tasks: &[Ready]) -> Result<(), StateError>;
    /// Puts published tasks that nobody claimed for `age` back into the outbox, older than any age, at most `limit` of a
    /// class; returns how many.
    async fn republish(&self, run: RunId, class: &ClassName, age: Duration, limit: u32) -> Result<u32, StateError>;

    /// Asks for attempts; the answers come in the order of the wishes, each for itself. Granted when the task is queued with the
    /// attempt, no other nonce holds a live lease, and the run is active and the module not held, or the nonce holds the lease
    /// already. Messages of a newer epoch than the state's are [`StateError::Epoch`]: the state was rolled back.
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StateError>;
    /// Renews leases; `false` where the lease is lost and the attempt must be stopped. A lease that ran out and that nobody
    /// acted upon yet lives again. In a run that is damaged none is lost: nobody can tell.
    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StateError>;
    /// Somebody runs what the state does not know any more: the claims were lost with an earlier life of the run. Unless the task
    /// has moved on, or another has begun it, nobody else may claim it for as long as a lease lives; under reserve it is taken from
    /// who claimed it.
    async fn announce(&self, leases: &[Lease], lease: Duration) -> Result<Vec<AnnouncedTask>, StateError>;

    /// Timers that went off, the longest overdue first: at most `limit` leases and as many waits, which are named until a change of
    /// their task; at most `closing` stars to be closed, each of which is named again after [`CLOSING_PATIENCE`].
    ///
    /// When nobody asked for longer than `silence`, and than a third of the longest lease, this state or all coordinators were
    /// away, and workers may have been unable to renew: no lease is named then until each had the time to, and coordinators that of
    /// twice that silence to take in what was reported meanwhile.
    async fn due(&self, run: RunId, limit: u32, closing: u32, silence: Duration) -> Result<Due, StateError>;
    /// Shows a worker, for as long as `lives`.
    async fn show_worker(&self, worker: &WorkerInfo, lives: Duration) -> Result<(), StateError>;
    /// Takes a worker that ends off the list.
    async fn forget_worker(&self, worker: &WorkerName) -> Result<(), StateError>;
    /// Workers that live.
    async fn workers(&self) -> Result<Vec<WorkerInfo>, StateError>;
    /// Workers that showed themselves within [`REMEMBERED`], do so no more, and did not take leave; each as it was last seen.
    async fn lost_workers(&self) -> Result<Vec<WorkerInfo>, StateError>;
    /// Tells workers which hosts are drained, and that no others are.
    async fn set_drained(&self, hosts: &BTreeSet<String>) -> Result<(), StateError>;
    /// The hosts that are drained; `None` where nobody told since the state began.
    async fn drained(&self) -> Result<Option<BTreeSet<String>>, StateError>;

    /// Tasks of a run that are in this place, at most `limit`: those that are there for longest first, of waiting ones those
    /// that are due first. What runs is looked through whole: that is as long as there are slots.
    async fn open_tasks(&self, run: RunId, place: OpenPlace, limit: u32) -> Result<Vec<OpenTask>, StateError>;
    /// The first stars that are admitted and not closed, in their order.
    async fn in_flight(&self, run: RunId, limit: u32) -> Result<Vec<StarIndex>, StateError>;
}

/// A shared state.
pub type SharedState = Arc<dyn State>;
