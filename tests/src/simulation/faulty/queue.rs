//! A broker that loses, repeats and delays messages, and confirms late or never.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::id::ClassName;
use services::queue::{Consumer, Delivery, Depth, Outgoing, Queue, QueueError, QueueName, Receipt, SharedQueue};

use crate::simulation::Faults;
use crate::simulation::witness::Witness;

/// How long a confirm is waited for, as on RabbitMQ.
const CONFIRM: Duration = Duration::from_secs(30);

/// A broker that loses, repeats and delays messages, and confirms late or never.
pub(in crate::simulation) struct FaultyQueue {
    inner: SharedQueue,
    faults: Arc<Faults>,
    witness: Arc<Witness>,
}

impl FaultyQueue {
    pub(in crate::simulation) fn new(inner: SharedQueue, faults: Arc<Faults>, witness: Arc<Witness>) -> Self {
        Self { inner, faults, witness }
    }

    fn later(&self, message: Outgoing) {
        let (inner, delay) = (self.inner.clone(), self.faults.between(Duration::ZERO, Duration::from_secs(3)));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            drop(inner.publish(vec![message]).await);
        });
    }

    async fn publish_one(&self, message: Outgoing) -> Result<(), QueueError> {
        let unconfirmed =
            || QueueError::Unconfirmed { queue: message.queue.to_string(), reason: "simulated".to_owned() };
        if self.faults.happens(0.01) {
            // Confirmed and lost all the same, as by a broker that forgets.
            return Ok(());
        }
        if self.faults.happens(0.02) {
            return Err(unconfirmed());
        }
        if self.faults.happens(0.1) {
            self.later(message);
            return Ok(());
        }
        if self.faults.happens(0.05) {
            self.later(message.clone());
        }
        if message.queue == QueueName::Completions && self.faults.happens(0.05) {
            // Its sender says it twice.
            drop(self.inner.publish(vec![message.clone()]).await);
        }
        let lies = self.faults.happens(0.02).then(unconfirmed);
        let mut answers = self.inner.publish(vec![message]).await;
        lies.map_or_else(|| answers.remove(0), Err)
    }
}

#[async_trait]
impl Queue for FaultyQueue {
    async fn declare(&self, classes: &[ClassName]) -> Result<(), QueueError> {
        self.inner.declare(classes).await
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        for message in messages.iter().filter(|message| message.queue == QueueName::Completions) {
            self.witness.reports(&message.body).await;
        }
        tokio::time::sleep(self.faults.between(Duration::ZERO, Duration::from_millis(5))).await;
        let mut confirms = self.faults.broker();
        let of_tasks = messages.iter().any(|message| matches!(message.queue, QueueName::Tasks(_)));
        let confirmed = confirms.wait_for(|confirms| *confirms || !of_tasks);
        let silent = tokio::time::timeout(CONFIRM, confirmed).await.is_err();
        if silent || self.faults.happens(0.01) {
            return messages.iter().map(|_| Err(QueueError::Unreachable("simulated".to_owned()))).collect();
        }
        let mut answers = Vec::new();
        for message in messages {
            answers.push(self.publish_one(message).await);
        }
        answers
    }

    async fn consume(&self, queue: QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        let inner = self.inner.consume(queue.clone(), prefetch).await?;
        let (broker, faults) = (self.inner.clone(), self.faults.clone());
        Ok(Box::new(FaultyConsumer { inner, broker, queue, prefetch, faults }))
    }

    async fn probe(&self) -> Result<(), QueueError> {
        self.inner.probe().await
    }

    async fn depths(&self, queues: &[QueueName]) -> Result<Vec<Depth>, QueueError> {
        self.inner.depths(queues).await
    }
}

struct FaultyConsumer {
    inner: Box<dyn Consumer>,
    broker: SharedQueue,
    queue: QueueName,
    prefetch: u16,
    faults: Arc<Faults>,
}

#[async_trait]
impl Consumer for FaultyConsumer {
    async fn next_batch(&mut self, most: usize) -> Vec<Delivery> {
        if self.faults.happens(0.005) {
            // The connection breaks: everything that is not answered is back.
            let again = self.broker.consume(self.queue.clone(), self.prefetch).await;
            self.inner = again.expect("the queue exists");
        }
        let faulty = |delivery: Delivery| {
            let receipt = FaultyReceipt { inner: delivery.receipt, faults: self.faults.clone() };
            Delivery { receipt: Box::new(receipt), ..delivery }
        };
        self.inner.next_batch(most).await.into_iter().map(faulty).collect()
    }
}

struct FaultyReceipt {
    inner: Box<dyn Receipt>,
    faults: Arc<Faults>,
}

#[async_trait]
impl Receipt for FaultyReceipt {
    async fn ack(self: Box<Self>) -> Result<(), QueueError> {
        if self.faults.happens(0.02) {
            return Err(QueueError::Unreachable("simulated".to_owned()));
        }
        self.inner.ack().await
    }

    async fn requeue(self: Box<Self>) -> Result<(), QueueError> {
        self.inner.requeue().await
    }

    async fn bury(self: Box<Self>, reason: &str) -> Result<(), QueueError> {
        self.inner.bury(reason).await
    }
}
