//! Claim: from a delivery to a granted attempt, or to nothing.
//!
//! The delivery is answered as soon as the claim is decided (R4): from there the lease is the only claim. What cannot be
//! claimed within a second goes back to the queue; what cannot be read goes to the dead letters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::error::chain;
use domain::id::{Attempt, ModuleIndex, Nonce, RunId, StarId, Task, TraceContext, WorkerName};
use domain::message::{ClaimTimes, TaskMessage, parse_task};
use services::queue::{Delivery, Receipt};
use services::state::{Claim, ClaimRequest, Grant, SharedState, StateError};
use store::StoreError;
use tokio::time::Instant;

use crate::gate::Gate;
use crate::run::{RunHere, RunsHere};

/// How long a claim may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the store may take to say what a task is about: the first of a run reads its whole definition.
const READING: Duration = Duration::from_secs(10);

/// Nonces of claims without answer that are kept.
const UNSURE: usize = 1_024;

/// Claims attempts for one worker.
pub(crate) struct Claims {
    pub(crate) state: SharedState,
    pub(crate) runs: RunsHere,
    pub(crate) worker: WorkerName,
    pub(crate) lease: Duration,
    /// Nonces of claims whose answer never came: the same one is granted again.
    unsure: Mutex<BTreeMap<(RunId, Task, Attempt), Nonce>>,
}

/// An attempt that may be run.
pub(crate) struct Granted {
    pub(crate) message: TaskMessage,
    pub(crate) nonce: Nonce,
    pub(crate) grant: Grant,
    pub(crate) times: ClaimTimes,
    /// The span of its star.
    pub(crate) trace: TraceContext,
    /// The run with the star, or why this worker cannot run its tasks.
    pub(crate) work: Result<(Arc<RunHere>, StarId), String>,
}

/// What a delivery is about.
enum Subject {
    Known(Arc<RunHere>, StarId),
    /// The run cannot be understood; the claim is asked for, so that the task does not wait for ever.
    Odd(String),
    /// It can never be run.
    Unreadable(String),
    /// The store is out of reach.
    Later(String),
}

impl Claims {
    pub(crate) fn new(state: SharedState, runs: RunsHere, worker: WorkerName, lease: Duration) -> Self {
        Self { state, runs, worker, lease, unsure: Mutex::default() }
    }

    /// Claims what a delivery asks for, and answers the delivery.
    pub(crate) async fn claim(&self, delivery: Delivery, gate: &Gate) -> Option<Granted> {
        let Delivery { body, trace, receipt, .. } = delivery;
        let message = match parse_task(&body) {
            Ok(message) => message,
            Err(error) => {
                answer(receipt, DeliveryAnswer::Bury(error.to_string())).await;
                return None;
            }
        };
        let subject = tokio::time::timeout(READING, self.subject(&message)).await;
        let late = || Subject::Later(format!("the store did not answer within {} s", READING.as_secs()));
        let (upstream, work) = match subject.unwrap_or_else(|_| late()) {
            Subject::Known(run, star) => {
                (run.course.pipeline.module(message.task.module).upstream.clone(), Ok((run, star)))
            }
            Subject::Odd(reason) => (Vec::new(), Err(reason)),
            Subject::Unreadable(reason) => {
                answer(receipt, DeliveryAnswer::Bury(reason)).await;
                return None;
            }
            Subject::Later(reason) => {
                gate.close(&reason);
                answer(receipt, DeliveryAnswer::Requeue).await;
                return None;
            }
        };
        let request = self.request(&message, upstream);
        let nonce = request.nonce;
        let asked = Instant::now();
        match tokio::time::timeout(PATIENCE, self.state.claim(&request)).await {
            Ok(Ok(Claim::Granted(grant))) => {
                let times = ClaimTimes {
                    waited_millis: grant.waited.map(|waited| whole(waited.as_millis())),
                    took_micros: whole(asked.elapsed().as_micros()),
                };
                answer(receipt, DeliveryAnswer::Ack).await;
                // Without a word of who sent it nothing of it is collected.
                let trace = trace.unwrap_or_else(|| TraceContext::of_star(message.run, message.name));
                Some(Granted { message, nonce, grant: *grant, times, trace, work })
            }
            Ok(Ok(Claim::Refused(refusal))) => {
                tracing::debug!(task = %message, %refusal, "not granted");
                answer(receipt, DeliveryAnswer::Ack).await;
                None
            }
            Ok(Err(StateError::NoRun(_))) => {
                answer(receipt, DeliveryAnswer::Ack).await;
                None
            }
            // The run's own trouble is none of other runs' tasks.
            Ok(Err(error @ StateError::Damaged { .. })) => {
                tracing::debug!(task = %message, %error, "not granted");
                answer(receipt, DeliveryAnswer::Ack).await;
                None
            }
            Ok(Err(error)) => {
                self.unsure(&message, nonce);
                gate.close(&error.to_string());
                answer(receipt, DeliveryAnswer::Requeue).await;
                None
            }
            Err(_) => {
                self.unsure(&message, nonce);
                gate.close("the state did not answer a claim within a second");
                answer(receipt, DeliveryAnswer::Requeue).await;
                None
            }
        }
    }

    async fn subject(&self, message: &TaskMessage) -> Subject {
        let run = match self.runs.find(message.run).await {
            Ok(run) => run,
            Err(error) => {
                let reason = format!("failed to read run {}: {}", message.run, chain(&error));
                let is_out_of_reach = matches!(error, StoreError::Io { .. });
                return if is_out_of_reach { Subject::Later(reason) } else { Subject::Odd(reason) };
            }
        };
        if message.task.module.at() >= run.course.pipeline.modules.len() {
            return Subject::Unreadable(format!("run {} has no module {}", message.run, message.task.module.0));
        }
        match self.runs.star(&run, message.task.star).await {
            Ok(star) => Subject::Known(run, star),
            Err(error @ StoreError::Io { .. }) => {
                // A handle that was kept open may be stale for good, as after a file server was replaced.
                self.runs.forget(message.run);
                Subject::Later(chain(&error))
            }
            Err(error) => Subject::Unreadable(error.to_string()),
        }
    }

    fn request(&self, message: &TaskMessage, upstream: Vec<ModuleIndex>) -> ClaimRequest {
        let mut unsure = self.unsure.lock().unwrap_or_else(PoisonError::into_inner);
        let nonce = unsure.remove(&(message.run, message.task, message.attempt)).unwrap_or_else(Nonce::random);
        ClaimRequest {
            run: message.run,
            epoch: message.epoch,
            task: message.task,
            attempt: message.attempt,
            nonce,
            worker: self.worker.clone(),
            lease: self.lease,
            upstream,
        }
    }

    fn unsure(&self, message: &TaskMessage, nonce: Nonce) {
        let mut unsure = self.unsure.lock().unwrap_or_else(PoisonError::into_inner);
        if unsure.len() >= UNSURE {
            unsure.clear();
        }
        unsure.insert((message.run, message.task, message.attempt), nonce);
    }
}

fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

enum DeliveryAnswer {
    Ack,
    Requeue,
    Bury(String),
}

/// Answers a delivery. When the broker is gone the delivery comes back, and is refused or claimed then.
async fn answer(receipt: Box<dyn Receipt>, answer: DeliveryAnswer) {
    let answered = match answer {
        DeliveryAnswer::Ack => receipt.ack().await,
        DeliveryAnswer::Requeue => receipt.requeue().await,
        DeliveryAnswer::Bury(reason) => {
            tracing::warn!(reason, "a task message goes to the dead letters");
            receipt.bury(&reason).await
        }
    };
    if let Err(error) = answered {
        tracing::debug!(%error, "a delivery could not be answered and will come back");
    }
}
