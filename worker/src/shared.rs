//! What all slots of a worker share, and what each gets from it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use domain::id::{ClassName, WorkerName};
use services::clock::HostClock;
use services::queue::SharedQueue;
use services::state::SharedState;
use services::traces::Traces;
use store::Store;
use store::agent::AgentOptions;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agent::MakeAgent;
use crate::attempt::{Bounds, Desk, KeptFolders, Manifests, prefetch};
use crate::claim::Claims;
use crate::config::WorkerConfig;
use crate::gate::Gate;
use crate::ledger::Ledger;
use crate::report::PendingReport;
use crate::run::RunHere;
use crate::runner::{Effect, SharedRunner};
use crate::tally::Tally;
use crate::warm::Warm;
use crate::watch::HostWatch;

/// What all slots share.
pub(crate) struct Worker {
    pub(crate) name: WorkerName,
    pub(crate) queue: SharedQueue,
    pub(crate) gate: Gate,
    pub(crate) claims: Claims,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) tally: Tally,
    pub(crate) clock: HostClock,
    /// When it began.
    pub(crate) began: jiff::Timestamp,
    /// Stops every attempt; they are given back.
    pub(crate) give_back: CancellationToken,
    pub(crate) state: SharedState,
    pub(crate) store: Store,
    pub(crate) runner: SharedRunner,
    /// Of store and host, while programs run.
    pub(crate) watch: Arc<HostWatch>,
    /// Programs that serve.
    pub(crate) warm: Warm,
    pub(crate) traces: Traces,
    pub(crate) config: WorkerConfig,
    pub(crate) slots: BTreeMap<ClassName, u32>,
    pub(crate) scratch: PathBuf,
    pub(crate) make_agent: MakeAgent,
    pub(crate) reports: mpsc::Sender<PendingReport>,
    /// Of committed files that slots have read.
    pub(crate) manifests: Manifests,
    /// Of attempts that are over.
    pub(crate) kept: KeptFolders,
    /// Images on their way; ends with the worker.
    pub(crate) fetching: Mutex<JoinSet<()>>,
}

impl Worker {
    /// A desk for a slot.
    pub(crate) fn desk(&self, class: &ClassName, slot: u32) -> Desk {
        let folder = self.scratch.join(format!("{class}-{slot}"));
        if let Err(error) = std::fs::create_dir_all(&folder) {
            // Every attempt there will say so.
            tracing::warn!(folder = %folder.display(), %error, "a slot has no directory");
        }
        let options = AgentOptions::new(self.store.root(), &folder).with_outputs_of(self.config.output.as_u64());
        let options = AgentOptions { program: self.config.agent.clone(), ..options };
        Desk {
            store: self.store.clone(),
            runner: Arc::clone(&self.runner),
            warm: self.warm.clone(),
            agent: (self.make_agent)(options),
            manifests: self.manifests.clone(),
            folder,
            kept: self.kept.clone(),
            bounds: Bounds {
                processes: self.config.processes,
                output: self.config.output.as_u64(),
                free: self.config.free.as_u64(),
                tmp: self.config.tmp.as_u64(),
                input_patience: self.config.input_patience,
            },
            worker: self.name.clone(),
            host: self.config.host(),
            clock: self.clock.clone(),
            watch: Arc::clone(&self.watch),
        }
    }

    /// Brings the images of a run here in the background, where any is run.
    pub(crate) fn prefetch(&self, run: &Arc<RunHere>) {
        if self.runner.effect() == Effect::Nothing {
            return;
        }
        let classes = self.slots.iter().filter(|(_, slots)| **slots > 0).map(|(class, _)| class.clone()).collect();
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        while fetching.try_join_next().is_some() {}
        fetching.spawn(prefetch(self.store.clone(), Arc::clone(&self.runner), Arc::clone(run), classes));
    }

    /// Hands a completion on; waits while too many are unconfirmed.
    pub(crate) async fn report(&self, report: PendingReport) {
        if self.reports.send(report).await.is_err() {
            tracing::error!("nobody publishes completions any more; this attempt is repeated");
        }
    }
}
