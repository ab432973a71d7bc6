//! A host: the real worker on it, which dies at any moment, is drained, and is started again.

use domain::id::WorkerName;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use services::traces::Traces;
use store::Store;
use worker::agent::MakeAgent;
use worker::config::WorkerConfig;
use worker::{WorkerParts, run_with};

use super::FaultKind;
use super::agent::{PackedResults, SimulatedAgent};
use super::faulty::Surroundings;
use super::life::{LEASE, Life};
use super::runner::SimulatedRunner;

/// Slots of each class.
const SLOTS: u32 = 4;

/// A host with one worker.
pub(super) struct WorkerHost {
    pub(super) name: String,
    pub(super) store: Store,
    pub(super) around: Surroundings,
}

impl WorkerHost {
    /// Has a worker for ever, one after the other.
    pub(super) async fn work(self) {
        for number in 0_u64.. {
            self.one_life(format!("{}-{number}", self.name).parse().expect("a worker name")).await;
            tokio::time::sleep(self.around.faults.between(Duration::ZERO, Duration::from_secs(2))).await;
        }
    }

    async fn one_life(&self, worker: WorkerName) {
        let life = Life::of_worker(self.around.faults.clone());
        self.around.witness.is_born(&worker, life.clone());
        let working = run_with(self.parts(worker, &life), self.make_agent(&life), life.drained());
        // Whatever ends first, the worker is dropped then, with everything that it runs.
        tokio::select! {
            ended = working => {
                if let Err(error) = ended {
                    self.around.witness.note(format!("a worker ended: {error:#}"));
                }
            }
            () = life.killed() => {}
            () = self.strikes() => {}
        }
    }

    /// Returns at a moment that has nothing to do with what the worker does.
    async fn strikes(&self) {
        loop {
            tokio::time::sleep(self.around.faults.between(Duration::from_secs(1), Duration::from_secs(60))).await;
            if self.around.faults.happens(FaultKind::WorkerKilled, 0.5) {
                // Between any two steps of what goes on at this time.
                for _ in 0..self.around.faults.below(300) {
                    tokio::task::yield_now().await;
                }
                return;
            }
        }
    }

    fn parts(&self, worker: WorkerName, life: &Life) -> WorkerParts {
        let config = WorkerConfig {
            host: Some(self.name.clone()),
            lease: LEASE,
            grace: Duration::from_secs(2),
            input_patience: Duration::from_secs(2),
            free: ByteSize(0),
            ..WorkerConfig::default()
        };
        WorkerParts {
            name: worker,
            store: self.store.clone(),
            queue: self.around.queue_of(life),
            state: self.around.state_of(life),
            runner: Arc::new(SimulatedRunner::new(
                self.around.faults.clone(),
                self.around.witness.clone(),
                life.clone(),
            )),
            traces: Traces::default(),
            config,
            slots: BTreeMap::from(["default", "heavy"].map(|class| (class.parse().expect("a class name"), SLOTS))),
        }
    }

    fn make_agent(&self, life: &Life) -> MakeAgent {
        let (faults, life, packed) = (self.around.faults.clone(), life.clone(), PackedResults::default());
        Arc::new(move |_| Box::new(SimulatedAgent::new(faults.clone(), life.clone(), packed.clone())))
    }
}
