//! What an attempt works with, and what it is to do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::id::{Attempt, Nonce, StarId, Task, TraceContext, WorkerName};
use domain::pipeline::Module;
use services::clock::HostClock;
use services::state::Grant;
use store::Store;
use tokio_util::sync::CancellationToken;

use super::kept::KeptFolders;
use super::manifests::Manifests;
use crate::agent::StoreAgent;
use crate::progress::AttemptProgress;
use crate::run::RunHere;
use crate::runner::SharedRunner;
use crate::warm::Warm;
use crate::watch::HostWatch;

/// What an attempt works with; it belongs to one slot.
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) runner: SharedRunner,
    /// Programs that serve.
    pub(crate) warm: Warm,
    pub(crate) agent: Box<dyn StoreAgent>,
    pub(crate) manifests: Manifests,
    /// The slot's own directory, on the store's file system; the agent can write there and nowhere else.
    pub(crate) folder: PathBuf,
    pub(crate) kept: KeptFolders,
    pub(crate) bounds: Bounds,
    pub(crate) worker: WorkerName,
    pub(crate) host: String,
    pub(crate) clock: HostClock,
    pub(crate) watch: Arc<HostWatch>,
}

/// Bounds of an attempt that the worker sets, not the pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Processes and threads.
    pub(crate) processes: u32,
    /// Bytes that a module may write.
    pub(crate) output: u64,
    /// Bytes that must stay free in the store while it does.
    pub(crate) free: u64,
    /// Bytes in `/tmp`.
    pub(crate) tmp: u64,
    /// How long a committed input that is not there is awaited: caches of network file systems show new files late.
    pub(crate) input_patience: Duration,
}

/// A granted claim.
pub(crate) struct Order {
    pub(crate) run: Arc<RunHere>,
    pub(crate) star: StarId,
    pub(crate) task: Task,
    pub(crate) attempt: Attempt,
    pub(crate) nonce: Nonce,
    pub(crate) grant: Arc<Grant>,
    /// Cancelled when a module may begin; none where it may at once.
    pub(crate) begins: Option<CancellationToken>,
    /// When it was claimed.
    pub(crate) started: jiff::Timestamp,
    /// The span of its star.
    pub(crate) trace: TraceContext,
    /// How far it is.
    pub(crate) progress: AttemptProgress,
}

impl Desk {
    /// The directory of an attempt, made when something runs.
    pub(super) fn folder_of(&self, order: &Order) -> PathBuf {
        self.folder.join(order.nonce.to_string())
    }
}

impl Order {
    pub(crate) fn module(&self) -> &Module {
        self.run.course.pipeline.module(self.task.module)
    }

    /// Its span.
    pub(crate) fn span(&self) -> TraceContext {
        self.trace.attempt(&self.module().name, self.attempt)
    }
}
