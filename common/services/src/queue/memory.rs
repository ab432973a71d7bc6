//! A broker in this process, with the semantics of the real one: deliveries come back, confirms are true, dead letters
//! keep their reason. For the embedded run, tests and simulation; it forgets everything when it is dropped.
//!
//! A lock around plain maps, never held across an await.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{Consumer, Death, Delivery, Depth, Outgoing, Queue, QueueError, QueueName, Receipt};
use domain::id::{ClassName, TraceContext};

/// A broker in this process; clones are the same broker.
#[derive(Clone, Default)]
pub struct MemoryQueue {
    broker: Arc<Broker>,
}

#[derive(Default)]
struct Broker {
    core: Mutex<Queues>,
    /// Wakes every consumer; each looks for itself.
    changed: Notify,
}

#[derive(Default)]
struct Queues {
    queues: BTreeMap<QueueName, Messages>,
    /// Deliveries without an answer, by tag.
    unanswered: BTreeMap<u64, UnansweredMessage>,
    next_tag: u64,
    next_consumer: u64,
}

#[derive(Default)]
struct Messages {
    ready: VecDeque<Message>,
    consumers: u64,
}

#[derive(Clone)]
struct Message {
    body: Vec<u8>,
    trace: Option<TraceContext>,
    redelivered: bool,
    death: Option<Death>,
}

struct UnansweredMessage {
    queue: QueueName,
    consumer: u64,
    message: Message,
}

impl MemoryQueue {
    /// A broker without queues.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Broker {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Every change below leaves the maps whole, whatever panics between two of them.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn push(&mut self, queue: &QueueName, message: Message) -> Result<(), QueueError> {
        let messages = self.queues.get_mut(queue).ok_or_else(|| no_queue(queue))?;
        messages.ready.push_back(message);
        Ok(())
    }

    /// Takes the next message of a queue for a consumer that has fewer than `prefetch` unanswered ones.
    fn take(&mut self, queue: &QueueName, consumer: u64, prefetch: u16) -> Option<(u64, Message)> {
        let held = self.unanswered.values().filter(|unanswered| unanswered.consumer == consumer).count();
        if prefetch != 0 && held >= usize::from(prefetch) {
            return None;
        }
        let message = self.queues.get_mut(queue)?.ready.pop_front()?;
        let delivered = message.clone();
        self.next_tag += 1;
        self.unanswered.insert(self.next_tag, UnansweredMessage { queue: queue.clone(), consumer, message });
        Some((self.next_tag, delivered))
    }

    fn settle(&mut self, tag: u64) -> Result<UnansweredMessage, QueueError> {
        self.unanswered.remove(&tag).ok_or_else(|| QueueError::Unreachable("the delivery is back in its queue".into()))
    }

    fn give_back(&mut self, unanswered: UnansweredMessage) {
        if let Some(messages) = self.queues.get_mut(&unanswered.queue) {
            messages.ready.push_front(Message { redelivered: true, ..unanswered.message });
        }
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn declare(&self, classes: &[ClassName]) -> Result<(), QueueError> {
        let mut core = self.broker.lock();
        let fixed = [QueueName::Events, QueueName::Completions, QueueName::Dead];
        for queue in fixed.into_iter().chain(classes.iter().cloned().map(QueueName::Tasks)) {
            core.queues.entry(queue).or_default();
        }
        Ok(())
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        let answers = {
            let mut core = self.broker.lock();
            let publish = |Outgoing { queue, body, trace }: Outgoing| {
                core.push(&queue, Message { body, trace, redelivered: false, death: None })
            };
            messages.into_iter().map(publish).collect()
        };
        self.broker.changed.notify_waiters();
        answers
    }

    async fn consume(&self, queue: QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        let mut core = self.broker.lock();
        core.queues.entry(queue.clone()).or_default().consumers += 1;
        core.next_consumer += 1;
        let id = core.next_consumer;
        Ok(Box::new(MemoryConsumer { broker: self.broker.clone(), queue, prefetch, id }))
    }

    async fn probe(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn depths(&self, queues: &[QueueName]) -> Result<Vec<Depth>, QueueError> {
        let core = self.broker.lock();
        let depth = |queue: &QueueName| {
            let messages = core.queues.get(queue)?;
            let unacknowledged = core.unanswered.values().filter(|unanswered| unanswered.queue == *queue).count();
            Some(Depth {
                queue: queue.to_string(),
                ready: messages.ready.len() as u64,
                unacknowledged: Some(unacknowledged as u64),
                unknown: None,
                silent: None,
                consumers: messages.consumers,
            })
        };
        Ok(queues.iter().filter_map(depth).collect())
    }
}

struct MemoryConsumer {
    broker: Arc<Broker>,
    queue: QueueName,
    prefetch: u16,
    id: u64,
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next_batch(&mut self, most: usize) -> Vec<Delivery> {
        loop {
            let changed = self.broker.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed, although the look at the queue comes before the wait.
            changed.as_mut().enable();
            let batch: Vec<Delivery> = std::iter::from_fn(|| self.take()).take(most.max(1)).collect();
            if !batch.is_empty() {
                return batch;
            }
            changed.await;
        }
    }
}

impl MemoryConsumer {
    fn take(&self) -> Option<Delivery> {
        let taken = self.broker.lock().take(&self.queue, self.id, self.prefetch)?;
        let (tag, Message { body, trace, redelivered, death }) = taken;
        let receipt = MemoryReceipt { broker: self.broker.clone(), tag };
        Some(Delivery { body, trace, redelivered, death, receipt: Box::new(receipt) })
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        let mut core = self.broker.lock();
        // Newest first: each goes to the front, so they are in their old order again.
        let held: Vec<u64> =
            core.unanswered.iter().rev().filter(|(_, u)| u.consumer == self.id).map(|(&tag, _)| tag).collect();
        for tag in held {
            if let Some(unanswered) = core.unanswered.remove(&tag) {
                core.give_back(unanswered);
            }
        }
        if let Some(messages) = core.queues.get_mut(&self.queue) {
            messages.consumers -= 1;
        }
        drop(core);
        self.broker.changed.notify_waiters();
    }
}

struct MemoryReceipt {
    broker: Arc<Broker>,
    tag: u64,
}

#[async_trait]
impl Receipt for MemoryReceipt {
    async fn ack(self: Box<Self>) -> Result<(), QueueError> {
        self.broker.lock().settle(self.tag).map(drop)
    }

    async fn requeue(self: Box<Self>) -> Result<(), QueueError> {
        let mut core = self.broker.lock();
        let unanswered = core.settle(self.tag)?;
        core.give_back(unanswered);
        Ok(())
    }

    async fn bury(self: Box<Self>, reason: &str) -> Result<(), QueueError> {
        let mut core = self.broker.lock();
        let UnansweredMessage { queue, message, .. } = core.settle(self.tag)?;
        let death = Some(Death { queue: queue.to_string(), reason: reason.to_owned() });
        core.push(&QueueName::Dead, Message { redelivered: false, death, ..message })
    }
}

impl Drop for MemoryReceipt {
    /// Gives the delivery back where no answer did; wakes consumers in any case, for they may have room again.
    fn drop(&mut self) {
        let mut core = self.broker.lock();
        if let Some(unanswered) = core.unanswered.remove(&self.tag) {
            core.give_back(unanswered);
        }
        drop(core);
        self.broker.changed.notify_waiters();
    }
}

fn no_queue(queue: &QueueName) -> QueueError {
    QueueError::Unconfirmed { queue: queue.to_string(), reason: "there is no such queue".to_owned() }
}
