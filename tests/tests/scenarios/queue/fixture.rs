//! A broker with the queues of one class, and the waits that checks have in common.

use std::ops::Range;
use std::sync::Arc;

use super::*;
use anyhow::Context;
use domain::id::ClassName;
use harness::{RabbitMq, wait_until};
use services::queue::amqp::AmqpQueue;
use services::queue::memory::MemoryQueue;

/// Longest wait for anything that must come.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Fixture {
    pub(crate) queue: SharedQueue,
}

pub(crate) fn class(name: &str) -> ClassName {
    name.parse().expect("a valid class")
}

pub(crate) fn tasks(class_name: &str) -> QueueName {
    QueueName::Tasks(class(class_name))
}

pub(crate) fn body(n: u32) -> Vec<u8> {
    format!(r#"{{"number":{n}}}"#).into_bytes()
}

pub(crate) fn outgoing(queue: &QueueName, n: u32) -> Outgoing {
    Outgoing { queue: queue.clone(), body: body(n), trace: None }
}

impl Fixture {
    pub(crate) async fn memory() -> Result<Self> {
        Self::with(Arc::new(MemoryQueue::new())).await
    }

    pub(crate) async fn rabbitmq() -> Result<Self> {
        let config = RabbitMq::shared()?.vhost()?;
        Self::with(Arc::new(AmqpQueue::connect(&config, "tests").await?)).await
    }

    pub(crate) async fn with(queue: SharedQueue) -> Result<Self> {
        queue.declare(&[class("default")]).await?;
        Ok(Self { queue })
    }

    pub(crate) async fn publish(&self, queue: &QueueName, numbers: Range<u32>) -> Result<()> {
        let messages = numbers.map(|n| outgoing(queue, n)).collect();
        self.queue.publish(messages).await.into_iter().collect::<Result<(), _>>()?;
        Ok(())
    }

    pub(crate) async fn next(&self, consumer: &mut Box<dyn Consumer>) -> Result<Delivery> {
        tokio::time::timeout(SOON, consumer.next()).await.context("waited in vain for a delivery")
    }

    /// What must not come has a moment to come.
    pub(crate) async fn nothing_comes(&self, consumer: &mut Box<dyn Consumer>) {
        let waited = tokio::time::timeout(Duration::from_millis(150), consumer.next()).await;
        assert!(waited.is_err(), "a delivery beyond the prefetch");
    }

    pub(crate) async fn depth(&self, queue: &QueueName) -> Option<Depth> {
        self.queue.depths(std::slice::from_ref(queue)).await.ok()?.pop()
    }

    pub(crate) async fn wait_for_ready(&self, queue: &QueueName, ready: u64) -> Result<()> {
        wait_until(SOON, &format!("{queue} has {ready} ready"), async || {
            self.depth(queue).await.is_some_and(|depth| depth.ready == ready)
        })
        .await
    }
}
