//! Claim: from deliveries to granted attempts, or to nothing.
//!
//! Deliveries are answered as soon as their claims are decided (R4): from there the leases are the only claim. What cannot be
//! claimed within a second goes back to the queue; what cannot be read goes to the dead letters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::error::chain;
use domain::id::{Attempt, Epoch, Nonce, RunId, StarId, Task, TraceContext, WorkerName};
use domain::message::{ClaimTimes, TaskMessage, parse_task};
use futures::future::join_all;
use services::queue::{Delivery, QueueError, Receipt};
use services::state::{Claim, ClaimRequest, ClaimWish, Grant, SharedState, StateError};
use store::StoreError;
use store::crash::CrashPoint;
use tokio::time::Instant;

use crate::gate::Gate;
use crate::run::{RunHere, RunsHere};

/// How long a claim may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the store may take to say what a task is about: the first of a run reads its whole definition.
const READING: Duration = Duration::from_secs(10);

/// Most attempts that are asked for at once, since nobody else is served meanwhile.
const AT_ONCE: usize = 128;

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
    pub(crate) work: Work,
}

/// What came of claims.
#[derive(Default)]
pub(crate) struct DecidedClaims {
    /// What may be run.
    pub(crate) granted: Vec<Granted>,
    /// Deliveries that are decided, granted or not: to be acknowledged at once, and nobody need wait for it.
    pub(crate) decided: Vec<Box<dyn Receipt>>,
}

/// The run with the star, or why this worker cannot run its tasks.
type Work = Result<(Arc<RunHere>, StarId), String>;

/// What a delivery is about.
enum DeliverySubject {
    Known(Arc<RunHere>, StarId),
    /// The run cannot be understood; the claim is asked for, so that the task does not wait for ever.
    Odd(String),
    /// It can never be run.
    Unreadable(String),
    /// The store is out of reach.
    Later(String),
}

/// A delivery whose attempt is asked for.
struct Wish {
    message: TaskMessage,
    /// The span of its star.
    trace: TraceContext,
    work: Work,
    receipt: Box<dyn Receipt>,
}

impl Claims {
    pub(crate) fn new(state: SharedState, runs: RunsHere, worker: WorkerName, lease: Duration) -> Self {
        Self { state, runs, worker, lease, unsure: Mutex::default() }
    }

    /// Claims what deliveries ask for; what goes back or is buried is answered here.
    pub(crate) async fn claim(&self, deliveries: Vec<Delivery>, gate: &Gate) -> DecidedClaims {
        let mut by_run: BTreeMap<(RunId, Epoch), Vec<Wish>> = BTreeMap::new();
        let mut deliveries = deliveries.into_iter();
        while let Some(delivery) = deliveries.next() {
            match self.wish(delivery).await {
                Ok(Some(wish)) => by_run.entry((wish.message.run, wish.message.epoch)).or_default().push(wish),
                Ok(None) => {}
                Err(reason) => {
                    gate.close(&reason);
                    requeue(deliveries.by_ref().map(|delivery| delivery.receipt)).await;
                }
            }
        }
        CrashPoint::TasksTaken.reached();
        let mut asked = Vec::new();
        for ((run, epoch), mut wishes) in by_run {
            while !wishes.is_empty() {
                let rest = wishes.split_off(wishes.len().min(AT_ONCE));
                asked.push(self.ask(run, epoch, std::mem::replace(&mut wishes, rest), gate));
            }
        }
        join_all(asked).await.into_iter().fold(DecidedClaims::default(), |mut all, claimed| {
            all.granted.extend(claimed.granted);
            all.decided.extend(claimed.decided);
            all
        })
    }

    /// What a delivery asks for; one that can never be run is buried. Fails, with the delivery back in its queue, where the
    /// store is out of reach.
    async fn wish(&self, Delivery { body, trace, receipt, .. }: Delivery) -> Result<Option<Wish>, String> {
        let message = match parse_task(&body) {
            Ok(message) => message,
            Err(error) => {
                bury(receipt, &error.to_string()).await;
                return Ok(None);
            }
        };
        let subject = tokio::time::timeout(READING, self.subject(&message)).await;
        let late = || DeliverySubject::Later(format!("the store did not answer within {} s", READING.as_secs()));
        let work = match subject.unwrap_or_else(|_| late()) {
            DeliverySubject::Known(run, star) => Ok((run, star)),
            DeliverySubject::Odd(reason) => Err(reason),
            DeliverySubject::Unreadable(reason) => {
                bury(receipt, &reason).await;
                return Ok(None);
            }
            DeliverySubject::Later(reason) => {
                requeue([receipt]).await;
                return Err(reason);
            }
        };
        // Without a word of who sent it nothing of it is collected.
        let trace = trace.unwrap_or_else(|| TraceContext::of_star(message.run, message.name));
        Ok(Some(Wish { message, trace, work, receipt }))
    }

    /// Asks for attempts of one run.
    async fn ask(&self, run: RunId, epoch: Epoch, asked: Vec<Wish>, gate: &Gate) -> DecidedClaims {
        let wishes: Vec<ClaimWish> = asked.iter().map(|wish| self.claim_wish(wish)).collect();
        let nonces: Vec<Nonce> = wishes.iter().map(|wish| wish.nonce).collect();
        let request = ClaimRequest { run, epoch, worker: self.worker.clone(), lease: self.lease, wishes };
        let began = Instant::now();
        let claims = match tokio::time::timeout(PATIENCE, self.state.claim(&request)).await {
            Ok(Ok(claims)) => claims,
            // The run is over; or its own trouble is none of other runs' tasks.
            Ok(Err(error @ (StateError::NoRun(_) | StateError::Damaged { .. }))) => {
                tracing::debug!(%run, %error, "not granted");
                let decided = asked.into_iter().map(|wish| wish.receipt).collect();
                return DecidedClaims { granted: Vec::new(), decided };
            }
            Ok(Err(error)) => return self.put_off(asked, &nonces, gate, &error.to_string()).await,
            Err(_) => {
                return self.put_off(asked, &nonces, gate, "the state did not answer a claim within a second").await;
            }
        };
        let took_micros = whole(began.elapsed().as_micros());
        let mut claimed = DecidedClaims::default();
        for ((Wish { message, trace, work, receipt }, nonce), claim) in asked.into_iter().zip(nonces).zip(claims) {
            claimed.decided.push(receipt);
            match claim {
                Claim::Granted(grant) => {
                    let waited_millis = grant.waited.map(|waited| whole(waited.as_millis()));
                    let times = ClaimTimes { waited_millis, took_micros };
                    claimed.granted.push(Granted { message, nonce, grant: *grant, times, trace, work });
                }
                Claim::Refused(refusal) => tracing::debug!(task = %message, %refusal, "not granted"),
            }
        }
        CrashPoint::AttemptsClaimed.reached();
        claimed
    }

    /// Nobody knows what became of these claims: the deliveries go back, and their nonces are kept.
    async fn put_off(&self, asked: Vec<Wish>, nonces: &[Nonce], gate: &Gate, reason: &str) -> DecidedClaims {
        asked.iter().zip(nonces).for_each(|(wish, nonce)| self.unsure(&wish.message, *nonce));
        gate.close(reason);
        requeue(asked.into_iter().map(|wish| wish.receipt)).await;
        DecidedClaims::default()
    }

    async fn subject(&self, message: &TaskMessage) -> DeliverySubject {
        let run = match self.runs.find(message.run).await {
            Ok(run) => run,
            Err(error) => {
                let reason = format!("failed to read run {}: {}", message.run, chain(&error));
                let is_out_of_reach = matches!(error, StoreError::Io { .. } | StoreError::Away(_));
                return if is_out_of_reach { DeliverySubject::Later(reason) } else { DeliverySubject::Odd(reason) };
            }
        };
        if message.task.module.at() >= run.course.pipeline.modules.len() {
            return DeliverySubject::Unreadable(format!("run {} has no module {}", message.run, message.task.module.0));
        }
        match self.runs.star(&run, message.task.star).await {
            Ok(star) => DeliverySubject::Known(run, star),
            Err(error @ (StoreError::Io { .. } | StoreError::Away(_))) => {
                // A handle that was kept open may be stale for good, as after a file server was replaced.
                self.runs.forget(message.run);
                DeliverySubject::Later(chain(&error))
            }
            Err(error) => DeliverySubject::Unreadable(error.to_string()),
        }
    }

    fn claim_wish(&self, Wish { message, work, .. }: &Wish) -> ClaimWish {
        let TaskMessage { run, task, attempt, .. } = *message;
        let known = self.unsure.lock().unwrap_or_else(PoisonError::into_inner).remove(&(run, task, attempt));
        let reads = work.as_ref().map_or_else(|_| Vec::new(), |(run, _)| run.reads(task.module).to_vec());
        ClaimWish { task, attempt, nonce: known.unwrap_or_else(Nonce::random), reads }
    }

    fn unsure(&self, message: &TaskMessage, nonce: Nonce) {
        let mut unsure = self.unsure.lock().unwrap_or_else(PoisonError::into_inner);
        if unsure.len() >= UNSURE {
            unsure.clear();
        }
        // Of two deliveries of one task in a call the first may have been granted; the state never grants the second.
        unsure.entry((message.run, message.task, message.attempt)).or_insert(nonce);
    }
}

fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Acknowledges deliveries that are decided.
pub(crate) async fn acknowledge(decided: Vec<Box<dyn Receipt>>) {
    join_all(decided.into_iter().map(Receipt::ack)).await.into_iter().for_each(note);
    CrashPoint::ClaimsAcknowledged.reached();
}

async fn requeue(receipts: impl IntoIterator<Item = Box<dyn Receipt>>) {
    join_all(receipts.into_iter().map(Receipt::requeue)).await.into_iter().for_each(note);
}

async fn bury(receipt: Box<dyn Receipt>, reason: &str) {
    tracing::warn!(reason, "a task message goes to the dead letters");
    note(receipt.bury(reason).await);
}

/// When the broker is gone the delivery comes back, and is refused or claimed then.
fn note(answered: Result<(), QueueError>) {
    if let Err(error) = answered {
        tracing::debug!(%error, "a delivery could not be answered and will come back");
    }
}
