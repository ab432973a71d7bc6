//! Deliveries of a broker whose connections break and whose acknowledgements get lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain::message::parse_completions;
use services::queue::{Consumer, Delivery, QueueError, QueueName, Receipt};

use super::Surroundings;
use crate::simulation::FaultKind;
use crate::simulation::life::Life;
use crate::simulation::mutant::Mutant;

/// Deliveries that a consumer has not answered: each with its body.
type UnansweredDeliveries = Arc<Mutex<BTreeMap<u64, (Vec<u8>, Box<dyn Receipt>)>>>;

/// A consumer of one program.
pub(super) struct FaultyConsumer {
    pub(super) inner: Box<dyn Consumer>,
    pub(super) queue: QueueName,
    pub(super) prefetch: u16,
    pub(super) around: Surroundings,
    pub(super) life: Life,
    unanswered: UnansweredDeliveries,
    next: u64,
}

impl FaultyConsumer {
    pub(super) fn new(
        inner: Box<dyn Consumer>,
        (queue, prefetch): (QueueName, u16),
        around: Surroundings,
        life: Life,
    ) -> Self {
        Self { inner, queue, prefetch, around, life, unanswered: Arc::default(), next: 0 }
    }

    /// Deliveries that are acknowledged before anybody looked at them.
    async fn acknowledged_first(&mut self, batch: Vec<Delivery>) -> Vec<Delivery> {
        let mut given = Vec::new();
        for delivery in batch {
            self.around.witness.acknowledges(&self.queue, &delivery.body);
            _ = delivery.receipt.ack().await;
            given.push(Delivery { receipt: Box::new(Acknowledged), ..delivery });
        }
        self.life.may_die(0.1).await;
        given
    }

    fn faulty(&mut self, delivery: Delivery) -> Delivery {
        self.next += 1;
        self.unanswered.lock().unwrap().insert(self.next, (delivery.body.clone(), delivery.receipt));
        let (queue, around, unanswered) = (self.queue.clone(), self.around.clone(), self.unanswered.clone());
        let receipt = FaultyReceipt { number: self.next, queue, around, life: self.life.clone(), unanswered };
        Delivery { receipt: Box::new(receipt), ..delivery }
    }
}

#[async_trait]
impl Consumer for FaultyConsumer {
    async fn next_batch(&mut self, most: usize) -> Vec<Delivery> {
        self.life.awake().await;
        let faults = self.around.faults.clone();
        if faults.happens(FaultKind::ConnectionBroken, 0.005) {
            // Everything that is not answered is back.
            let again = self.around.broker.consume(self.queue.clone(), self.prefetch).await;
            self.inner = again.expect("the queue exists");
            self.unanswered.lock().unwrap().clear();
        }
        let batch = self.inner.next_batch(most).await;
        // Who is dropped from here on gives back what was delivered.
        self.life.awake().await;
        if self.queue == QueueName::Events {
            if faults.breaks(Mutant::EventAcknowledgedFirst) {
                return self.acknowledged_first(batch).await;
            }
            self.life.may_die(0.1).await;
        }
        if self.queue == QueueName::Completions && faults.breaks(Mutant::CountersInsteadOfRows) {
            for completion in batch.iter().flat_map(|delivery| parse_completions(&delivery.body).unwrap_or_default()) {
                let Some(graph) = self.around.witness.graph(completion.run) else { continue };
                self.around.state.mutations.completed(self.around.state.inner(), &graph, &completion).await;
            }
        }
        batch.into_iter().map(|delivery| self.faulty(delivery)).collect()
    }
}

struct FaultyReceipt {
    number: u64,
    queue: QueueName,
    around: Surroundings,
    life: Life,
    unanswered: UnansweredDeliveries,
}

impl FaultyReceipt {
    /// The real answer; none once the connection broke.
    fn take(&self) -> Result<(Vec<u8>, Box<dyn Receipt>), QueueError> {
        let taken = self.unanswered.lock().unwrap().remove(&self.number);
        taken.ok_or_else(|| QueueError::Unreachable("the connection broke".to_owned()))
    }

    /// All other deliveries that wait for an answer.
    fn others(&self) -> Vec<(Vec<u8>, Box<dyn Receipt>)> {
        let mut unanswered = self.unanswered.lock().unwrap();
        let mut others = std::mem::take(&mut *unanswered);
        unanswered.extend(others.remove_entry(&self.number));
        others.into_values().collect()
    }
}

#[async_trait]
impl Receipt for FaultyReceipt {
    async fn ack(self: Box<Self>) -> Result<(), QueueError> {
        self.life.awake().await;
        if self.around.faults.happens(FaultKind::AckLost, 0.02) {
            return Err(QueueError::Unreachable("simulated".to_owned()));
        }
        if self.around.faults.breaks(Mutant::AcknowledgementPasses) {
            for (body, receipt) in self.others() {
                self.around.witness.acknowledges(&self.queue, &body);
                _ = receipt.ack().await;
            }
        }
        let (body, receipt) = self.take()?;
        self.around.witness.acknowledges(&self.queue, &body);
        receipt.ack().await
    }

    async fn requeue(self: Box<Self>) -> Result<(), QueueError> {
        self.life.awake().await;
        self.take()?.1.requeue().await
    }

    async fn bury(self: Box<Self>, reason: &str) -> Result<(), QueueError> {
        self.life.awake().await;
        self.take()?.1.bury(reason).await
    }
}

impl Drop for FaultyReceipt {
    /// Gives the delivery back where no answer did.
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// The receipt of a delivery that was acknowledged before.
struct Acknowledged;

#[async_trait]
impl Receipt for Acknowledged {
    async fn ack(self: Box<Self>) -> Result<(), QueueError> {
        Ok(())
    }

    async fn requeue(self: Box<Self>) -> Result<(), QueueError> {
        Ok(())
    }

    async fn bury(self: Box<Self>, _reason: &str) -> Result<(), QueueError> {
        Ok(())
    }
}
