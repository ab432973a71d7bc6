//! A runner without programs: takes its time, and ends as the script says; dies, hangs and is drained now and then.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::id::{ImageIdentity, StarId};
use domain::outcome::UsedResources;
use tokio_util::sync::CancellationToken;
use worker::runner::{Ended, Exit, IsKnown, OUTPUT, Program, Runner, RunnerError, Spec};

use super::files::ModuleOutput;
use super::life::{LEASE, Life};
use super::script::ScriptedEnd;
use super::witness::{Claimed, Witness};
use super::{FaultKind, Faults};

/// Runs nothing.
pub(super) struct SimulatedRunner {
    faults: Arc<Faults>,
    witness: Arc<Witness>,
    life: Life,
}

impl SimulatedRunner {
    pub(super) fn new(faults: Arc<Faults>, witness: Arc<Witness>, life: Life) -> Self {
        Self { faults, witness, life }
    }

    /// The time that a program takes, and what goes wrong meanwhile.
    async fn take_time(&self, nonce: &str) {
        self.life.may_die(0.02).await;
        if self.faults.happens(FaultKind::SlotPanics, 0.01) {
            // A bug: the slot is lost with its claim, the worker goes on.
            std::panic::resume_unwind(Box::new("simulated"));
        }
        let most = self.witness.slow().unwrap_or(Duration::from_millis(400));
        tokio::time::sleep(self.faults.between(Duration::from_millis(5), most)).await;
        if self.faults.happens(FaultKind::AttemptHangs, 0.06) {
            // It hangs longer than its lease lives, and reports all the same.
            self.witness.hang(nonce);
            // Often long enough for another attempt to come to its end before.
            tokio::time::sleep(self.faults.between(LEASE * 2, LEASE * 12)).await;
        } else if self.faults.happens(FaultKind::AttemptIsLong, 0.05) {
            // It runs longer than its lease, which is renewed.
            tokio::time::sleep(LEASE / 3 * 5).await;
        } else if self.faults.happens(FaultKind::WorkerDrained, 0.01) {
            // It runs until it is given back.
            self.life.drain();
            std::future::pending::<()>().await;
        }
    }

    fn end(&self, spec: &Spec, star: StarId, claimed: &Claimed) -> Result<Ended, RunnerError> {
        let Claimed { script, task, tries, .. } = claimed;
        let log = "simulated".to_owned();
        let used = UsedResources::default();
        let ended = |code| Ended {
            exit: Exit::Code(code),
            log,
            millis: 1,
            certain: true,
            gone: true,
            input_is_free: true,
            used,
        };
        match script.end(star, task.module, *tries) {
            ScriptedEnd::Well => {
                let mut seed = spec.environment["SAS_SEED"].clone();
                // Of a product that others read, it would be anybody's guess what they end with.
                if script.is_leaf(task.module) && self.faults.happens(FaultKind::ResultDiffers, 0.5) {
                    seed += "*";
                }
                let written = ModuleOutput { star, seed };
                written.write(&spec.output.join(OUTPUT));
                Ok(ended(0))
            }
            ScriptedEnd::Code(code) => Ok(ended(code)),
            ScriptedEnd::Trouble => Err(trouble("run the container")),
        }
    }
}

fn trouble(doing: &'static str) -> RunnerError {
    RunnerError::Engine { doing, reason: "simulated".to_owned() }
}

#[async_trait]
impl Runner for SimulatedRunner {
    fn subject(&self, program: &Program) -> String {
        program.image.to_string()
    }

    async fn check(&self) -> Result<(), RunnerError> {
        Ok(())
    }

    async fn identify(&self, program: &Program) -> Result<ImageIdentity, RunnerError> {
        self.life.may_die(0.01).await;
        Ok(super::script::identity(&program.image))
    }

    async fn run(&self, spec: &Spec, cancel: &CancellationToken) -> Result<Ended, RunnerError> {
        let labels = &spec.labels;
        let (Some(claimed), Ok(star)) = (self.witness.claimed(&labels.nonce), labels.star.parse()) else {
            self.witness.note(format!("{labels:?} runs without a claim"));
            return Err(trouble("know what this is"));
        };
        let _running = self.witness.begins(&claimed, &labels.nonce);
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                self.witness.stopped(&claimed);
                let used = UsedResources::default();
                let (exit, log) = (Exit::Cancelled, String::new());
                Ok(Ended { exit, log, millis: 1, certain: true, gone: true, input_is_free: true, used })
            }
            () = self.take_time(&labels.nonce) => {
                self.witness.executed();
                self.end(spec, star, &claimed)
            }
        }
    }

    async fn sweep(&self, _is_known: IsKnown<'_>) -> Result<u32, RunnerError> {
        Ok(0)
    }
}
