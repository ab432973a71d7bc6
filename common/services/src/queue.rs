//! The port to the message broker: publish with confirms, consume with acknowledgements.
//!
//! Two adapters: [`amqp`] (RabbitMQ) and [`memory`] (embedded run and simulation). Delivery is at least once, in no
//! particular order; everything that consumes expects repeats.

pub mod amqp;
pub mod memory;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;

use domain::id::{ClassName, TraceContext};

/// A queue by what it is for; the one place that knows how queues are called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QueueName {
    /// Dataset events, from ingestion to the coordinator.
    Events,
    /// Completions, from workers to the coordinator.
    Completions,
    /// Ready tasks of one resource class, from the coordinator to workers.
    Tasks(ClassName),
    /// What could not be read, with the reason.
    Dead,
    /// Messages of no use, of which one is kept: whoever asks whether the broker takes messages publishes one.
    Probe,
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events => f.write_str("sas.events"),
            Self::Completions => f.write_str("sas.completions"),
            Self::Tasks(class) => write!(f, "sas.tasks.{class}"),
            Self::Dead => f.write_str("sas.dead"),
            Self::Probe => f.write_str("sas.probe"),
        }
    }
}

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where to.
    pub queue: QueueName,
    /// JSON.
    pub body: Vec<u8>,
    /// The span that it is sent in, where that is sampled; it travels in the header `traceparent`.
    pub trace: Option<TraceContext>,
}

impl Outgoing {
    /// A message of no use.
    pub fn probe() -> Self {
        Self { queue: QueueName::Probe, body: b"\"probe\"".to_vec(), trace: None }
    }
}

/// A message that arrived. Dropped without an answer, it comes back.
pub struct Delivery {
    /// JSON, not yet parsed.
    pub body: Vec<u8>,
    /// The span that it was sent in, as its header says.
    pub trace: Option<TraceContext>,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// Where it came from and why, for a delivery from the dead letters.
    pub death: Option<Death>,
    /// Answers it.
    pub receipt: Box<dyn Receipt>,
}

/// Why a message is among the dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Death {
    /// The queue that it was in.
    pub queue: String,
    /// Why it could not be read.
    pub reason: String,
}

/// The one answer to a delivery; those that are given together cost little more than one. Once the consumer is dropped, or lost its connection, the delivery is back in its queue
/// and every answer is [`QueueError::Unreachable`].
#[async_trait]
pub trait Receipt: Send + Sync {
    /// It is dealt with, its consequences are confirmed.
    async fn ack(self: Box<Self>) -> Result<(), QueueError>;
    /// Back to its queue, for anyone.
    async fn requeue(self: Box<Self>) -> Result<(), QueueError>;
    /// To the dead letters with a reason; it cannot be read.
    async fn bury(self: Box<Self>, reason: &str) -> Result<(), QueueError>;
}

/// What an adapter could not do. Except for [`QueueError::Refused`] the caller waits and tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The broker is out of reach or the connection broke.
    #[error("message broker out of reach: {0}")]
    Unreachable(String),
    /// The broker did not confirm the message.
    #[error("message to {queue} was not confirmed: {reason}")]
    Unconfirmed {
        /// Where it should have gone.
        queue: String,
        /// Why, as far as known.
        reason: String,
    },
    /// The queue takes no message, though the broker can be reached. It waits where it came from: others are not held up by it.
    #[error("queue {queue} has taken no message for {seconds} s")]
    Silent {
        /// Which.
        queue: String,
        /// For how long.
        seconds: u64,
    },
    /// The broker does not let us do it (credentials, virtual host, a queue or exchange declared otherwise); says what to change.
    #[error("message broker refused: {0}")]
    Refused(String),
}

/// How full a queue is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Depth {
    /// The queue's name.
    pub queue: String,
    /// Messages that wait.
    pub ready: u64,
    /// Messages that were delivered and not answered yet; `None` where the broker's management API is not configured.
    pub unacknowledged: Option<u64>,
    /// Why that number is not known, though the management API is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// For how many seconds it has taken no message of this program, where it is silent: then its other numbers mean nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<u64>,
    /// Consumers.
    pub consumers: u64,
}

/// A stream of deliveries. Dropping it gives back every delivery that is not answered. It survives the loss of the connection:
/// whoever asks waits until the broker is back.
#[async_trait]
pub trait Consumer: Send {
    /// The next deliveries, one at least, at most `most`: waits for the first, takes others only as far as they are there.
    /// Cancel safe.
    async fn next_batch(&mut self, most: usize) -> Vec<Delivery>;

    /// The next delivery; waits for it. Cancel safe.
    async fn next(&mut self) -> Delivery {
        loop {
            if let Some(delivery) = self.next_batch(1).await.pop() {
                return delivery;
            }
        }
    }
}

/// A message broker.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Declares events, completions, dead letters and the task queues of these classes. Harmless when they exist. A
    /// queue that is refused keeps no other from being declared; the first refusal is told.
    async fn declare(&self, classes: &[ClassName]) -> Result<(), QueueError>;
    /// Publishes all; the answers come in the order of the messages, `Ok` only where the broker confirmed.
    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<(), QueueError>>;
    /// Consumes a queue with at most `prefetch` unanswered deliveries; 0 is no limit. Declares it where it is not there.
    async fn consume(&self, queue: QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError>;
    /// Has a message of no use confirmed: an error says why none can be published.
    async fn probe(&self) -> Result<(), QueueError>;
    /// How full these queues are; a queue that does not exist is left out.
    async fn depths(&self, queues: &[QueueName]) -> Result<Vec<Depth>, QueueError>;
}

/// A shared broker.
pub type SharedQueue = Arc<dyn Queue>;
