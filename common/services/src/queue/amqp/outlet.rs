//! What is published to one queue: one task that takes all that waits together; and what is done when the queue is silent.
//!
//! A queue is silent that takes nothing while the broker can be reached: its leader is lost, or hangs. Whoever publishes to it
//! is told at once, and what is for it waits where it came from. One message at a time is tried on; when that was in vain for
//! long, the queue is deleted and declared anew. So are only queues of which store and state know everything: what is lost with
//! them is published again.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::options::QueueDeleteOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use super::confirms::{ConfirmedChannel, WINDOW};
use super::link::{close, timed_within};
use super::publication::{Publication, PublishAnswer};
use super::topology;
use crate::queue::{Outgoing, QueueError, QueueName};

/// Longest wait for a queue to be deleted: RabbitMQ first waits for its leader, and then does without.
const DELETE: Duration = Duration::from_secs(60);

/// How often a broker that takes nothing is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Longest pause between two tries of a queue that is not made anew.
const LONGEST: Duration = Duration::from_secs(60);

/// What came of trying a message on.
enum Tried {
    /// The queue took it, or the broker said why not.
    Answered,
    /// Nothing.
    Silent,
    /// The broker takes nothing for anybody: it said so.
    Blocked,
}

/// Queues that are silent, and since when; clones are the same.
#[derive(Clone, Default)]
pub(super) struct Silences(Arc<Mutex<BTreeMap<QueueName, Instant>>>);

impl Silences {
    /// For how many seconds a queue has been silent, if it is.
    pub(super) fn seconds(&self, queue: &QueueName) -> Option<u64> {
        self.all().get(queue).map(|since| since.elapsed().as_secs())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<QueueName, Instant>> {
        // Every change leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer says that the queue is silent.
fn is_silent(answer: &PublishAnswer) -> bool {
    matches!(answer, Err(QueueError::Silent { .. }))
}

/// Messages for one queue, and where the answers go.
pub(super) struct Job {
    pub(super) messages: Vec<Publication>,
    pub(super) answers: oneshot::Sender<Vec<PublishAnswer>>,
}

/// Publishes to one queue.
pub(super) struct Outlet {
    channel: ConfirmedChannel,
    /// How long the queue may take nothing before it is made anew.
    silent_for: Duration,
    silences: Silences,
}

impl Outlet {
    pub(super) fn new(channel: ConfirmedChannel, silent_for: Duration, silences: Silences) -> Self {
        Self { channel, silent_for, silences }
    }

    /// Publishes all that waits, up to a window, as one batch; the next batch gathers meanwhile.
    pub(super) async fn serve(mut self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(Gathered { mut messages, askers }) = gather(&mut waiting).await {
            let mut began = Instant::now();
            let mut answers: Vec<PublishAnswer> = Vec::with_capacity(messages.len());
            for batch in messages.chunks(WINDOW) {
                // A queue that is silent is not asked about the rest.
                match answers.last().filter(|answer| is_silent(answer)).cloned() {
                    Some(silent) => answers.extend(vec![silent; batch.len()]),
                    None => {
                        began = Instant::now();
                        answers.extend(self.channel.publish(batch).await);
                    }
                }
            }
            let silent = answers.last().is_some_and(is_silent);
            if silent {
                // Whoever is told finds it named.
                self.silences.all().insert(self.channel.queue.clone(), began);
            }
            let mut answers = answers.into_iter();
            for (count, asker) in askers {
                // A caller that went away does not want to know.
                _ = asker.send(answers.by_ref().take(count).collect());
            }
            if silent && let Some(message) = messages.pop() {
                self.outlast(began, &message, &mut waiting).await;
            }
        }
    }

    /// Tries one message on until the queue, or the broker, answers; whoever comes meanwhile is told at once that it does not. The
    /// time during which the broker takes nothing for anybody is not the queue's.
    async fn outlast(&mut self, since: Instant, message: &Publication, waiting: &mut mpsc::Receiver<Job>) {
        let (silences, queue, silent_for) = (self.silences.clone(), self.channel.queue.clone(), self.silent_for);
        let seconds = || since.elapsed().as_secs();
        tracing::warn!(%queue, seconds = seconds(), "the queue takes no message: what is for it waits, other queues go on");
        // Not all at the same time, where several are silenced by the same queue.
        let jitter = f64::from(Uuid::new_v4().as_bytes()[0]) / 1024.0;
        let mut due = since + silent_for.mul_f64(1.0 + jitter);
        loop {
            let refusal = || Err(QueueError::Silent { queue: queue.to_string(), seconds: seconds() });
            let mut tried = pin!(self.try_on(due, since, message));
            let tried = loop {
                tokio::select! {
                    tried = &mut tried => break tried,
                    job = waiting.recv() => match job {
                        Some(Job { messages, answers }) => _ = answers.send(vec![refusal(); messages.len()]),
                        None => break Tried::Answered,
                    },
                }
            };
            match tried {
                Tried::Answered => break,
                Tried::Silent => {}
                Tried::Blocked => due = Instant::now() + silent_for,
            }
        }
        silences.all().remove(&queue);
        tracing::info!(%queue, seconds = seconds(), "the queue is asked as any other again");
    }

    /// Tries a message on; a queue that has been silent for long is made anew before, if the broker takes messages for others, and
    /// the queue takes none after that either.
    async fn try_on(&mut self, due: Instant, since: Instant, message: &Publication) -> Tried {
        if self.channel.link.is_blocked().await {
            tokio::time::sleep(LOOK).await;
            return Tried::Blocked;
        }
        if Instant::now() >= due {
            if !self.may_be_made_anew() {
                // Whatever it takes of this later is a repeat: not too many.
                tokio::time::sleep((since.elapsed() / 2).min(LONGEST)).await;
            } else if let Err(error) = self.others_are_served().await {
                tracing::warn!(queue = %self.channel.queue, %error, "the broker takes nothing for others either: the queue stays");
            } else if !self.is_silent(message).await {
                return Tried::Answered;
            } else if let Err(error) = self.make_anew().await {
                tracing::error!(queue = %self.channel.queue, %error, "the queue takes no message, and is not made anew");
            }
        }
        if self.is_silent(message).await { Tried::Silent } else { Tried::Answered }
    }

    async fn is_silent(&mut self, message: &Publication) -> bool {
        self.channel.publish(&[message]).await.iter().any(is_silent)
    }

    /// Whether store and state know everything that is in the queue; into the others, strangers may have written.
    fn may_be_made_anew(&self) -> bool {
        match self.channel.queue {
            QueueName::Tasks(_) | QueueName::Completions | QueueName::Probe => true,
            QueueName::Events | QueueName::Dead => false,
        }
    }

    /// Deletes the queue and declares it.
    async fn make_anew(&self) -> Result<(), QueueError> {
        let channel = self.channel.link.channel().await?;
        let name = self.channel.queue.to_string();
        let deleted = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
        timed_within(DELETE, &format!("delete queue `{name}`"), deleted).await?;
        topology::declare(&channel, &self.channel.queue).await?;
        close(&channel).await;
        tracing::warn!(
            queue = name,
            "the queue took no message for long: deleted and declared anew; what it held is published again"
        );
        Ok(())
    }

    /// Has a message of no use confirmed, through another queue.
    async fn others_are_served(&self) -> Result<(), QueueError> {
        if self.channel.queue == QueueName::Probe {
            return Ok(());
        }
        let link = self.channel.link.another("probes");
        let channel = link.channel().await?;
        topology::declare(&channel, &QueueName::Probe).await?;
        close(&channel).await;
        let message = Publication::from(Outgoing::probe());
        let mut others = ConfirmedChannel::new(link, QueueName::Probe, self.silent_for);
        others.publish(&[&message]).await.into_iter().collect()
    }
}

/// What waited for a queue, and who wants to know of how many messages each what became of them.
struct Gathered {
    messages: Vec<Publication>,
    askers: Vec<(usize, oneshot::Sender<Vec<PublishAnswer>>)>,
}

/// Takes all jobs that wait, up to a window of messages; `None` when no more can come.
async fn gather(waiting: &mut mpsc::Receiver<Job>) -> Option<Gathered> {
    let mut gathered = Gathered { messages: Vec::new(), askers: Vec::new() };
    let mut next = Some(waiting.recv().await?);
    while let Some(Job { messages, answers }) = next {
        gathered.askers.push((messages.len(), answers));
        gathered.messages.extend(messages);
        next = if gathered.messages.len() < WINDOW { waiting.try_recv().ok() } else { None };
    }
    Some(gathered)
}
