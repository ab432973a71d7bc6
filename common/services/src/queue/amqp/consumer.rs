//! Consuming that outlives connections, channels and queues: a task of its own subscribes again for as long as it takes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use futures::stream::StreamExt;

use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Acker, BasicProperties, Channel};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::link::{Link, close, timed};
use super::publisher::{Publication, Publisher, TRACE_HEADER};
use super::topology;
use crate::queue::{Consumer, Death, Delivery, QueueError, QueueName, Receipt};

/// Waits between attempts to subscribe again: up to five seconds, for ever.
fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
}

/// The end that the service holds. Dropping it ends the subscription.
pub(super) struct AmqpConsumer {
    /// As many as the broker sends without an answer: the prefetch.
    arrived: UnboundedReceiver<lapin::message::Delivery>,
    given_back: UnboundedSender<Acker>,
    publisher: Publisher,
    queue: QueueName,
}

/// What the task behind a consumer needs to begin again.
struct Subscription {
    link: Arc<Link>,
    queue: QueueName,
    prefetch: u16,
}

/// Why the task stopped listening to a channel.
enum StreamEnd {
    /// The service dropped the consumer.
    Unwanted,
    /// The channel or the connection ended, or the queue was deleted.
    Lost(String),
}

impl AmqpConsumer {
    /// Subscribes, and declares the queue where it is not there. Cancel safe: a subscription that nobody waits for any more
    /// ends as soon as it has begun.
    pub(super) async fn start(
        link: Arc<Link>,
        publisher: Publisher,
        queue: QueueName,
        prefetch: u16,
    ) -> Result<Self, QueueError> {
        let subscription = Subscription { link, queue: queue.clone(), prefetch };
        let (arrives, arrived) = unbounded_channel();
        let (given_back, unanswered) = unbounded_channel();
        let (begun, beginning) = oneshot::channel();
        tokio::spawn(subscription.serve(begun, arrives, unanswered));
        match beginning.await {
            Ok(begun) => begun?,
            Err(_) => return Err(QueueError::Unreachable("the program ends".to_owned())),
        }
        Ok(Self { arrived, given_back, publisher, queue })
    }
}

impl Subscription {
    /// A channel that consumes; to be awaited to its end, else the broker may go on to deliver to nobody.
    async fn begin(&self) -> Result<(Channel, lapin::Consumer), QueueError> {
        let channel = self.link.channel().await?;
        match self.consume(&channel).await {
            Ok(consumer) => Ok((channel, consumer)),
            Err(error) => {
                close(&channel).await;
                Err(error)
            }
        }
    }

    /// Consumes. The queue is declared first: whoever deleted it did not mean us to wait for it.
    async fn consume(&self, channel: &Channel) -> Result<lapin::Consumer, QueueError> {
        topology::declare(channel, &self.queue).await?;
        timed("set the prefetch", channel.basic_qos(self.prefetch, BasicQosOptions::default())).await?;
        let name = self.queue.to_string();
        let consume = channel.basic_consume(
            name.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        timed(&format!("consume `{name}`"), consume).await
    }

    /// Begins, says whether that was possible, and hands on what arrives until nobody listens.
    async fn serve(
        self,
        begun: oneshot::Sender<Result<(), QueueError>>,
        arrives: UnboundedSender<lapin::message::Delivery>,
        mut unanswered: UnboundedReceiver<Acker>,
    ) {
        let (mut current, answer) = match self.begin().await {
            Ok(current) => (Some(current), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // Nobody may wait for it any more: then nobody listens either.
        _ = begun.send(answer);
        while let Some((channel, mut consumer)) = current {
            let end = listen(&mut consumer, &arrives, &mut unanswered).await;
            close(&channel).await;
            current = match end {
                StreamEnd::Unwanted => return,
                StreamEnd::Lost(reason) => {
                    tracing::warn!(queue = %self.queue, reason, "deliveries stopped; subscribing again");
                    self.begin_again(&arrives).await
                }
            };
        }
    }

    /// Subscribes, however long the broker is away, until nobody listens. The outage was logged when it began.
    async fn begin_again(
        &self,
        arrives: &UnboundedSender<lapin::message::Delivery>,
    ) -> Option<(Channel, lapin::Consumer)> {
        let mut delays = backoff().build();
        loop {
            match self.begin().await {
                Ok(current) => {
                    tracing::info!(queue = %self.queue, "deliveries go on");
                    return Some(current);
                }
                Err(error @ QueueError::Refused(_)) => {
                    tracing::error!(queue = %self.queue, %error, "the broker does not let us subscribe");
                }
                Err(error) => tracing::debug!(queue = %self.queue, %error, "not subscribed yet"),
            }
            tokio::select! {
                () = arrives.closed() => return None,
                () = tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(5))) => {}
            }
        }
    }
}

/// Hands on what arrives until the channel ends or nobody listens.
async fn listen(
    consumer: &mut lapin::Consumer,
    arrives: &UnboundedSender<lapin::message::Delivery>,
    unanswered: &mut UnboundedReceiver<Acker>,
) -> StreamEnd {
    loop {
        tokio::select! {
            () = arrives.closed() => return StreamEnd::Unwanted,
            Some(acker) = unanswered.recv() => {
                let requeue = BasicNackOptions { requeue: true, ..Default::default() };
                if let Err(error) = timed("give a delivery back", acker.nack(requeue)).await {
                    return StreamEnd::Lost(error.to_string());
                }
            }
            next = consumer.next() => match next {
                Some(Ok(delivery)) => if arrives.send(delivery).is_err() {
                    return StreamEnd::Unwanted;
                },
                Some(Err(error)) => return StreamEnd::Lost(error.to_string()),
                None => return StreamEnd::Lost("the broker cancelled the consumer: the queue was deleted, or its node stopped".to_owned()),
            },
        }
    }
}

#[async_trait]
impl Consumer for AmqpConsumer {
    async fn next(&mut self) -> Delivery {
        loop {
            let Some(delivery) = self.arrived.recv().await else {
                // The task ends after us, or with the runtime; then nobody waits for an answer.
                std::future::pending::<()>().await;
                continue;
            };
            if delivery.acker.poisoned() {
                // Its channel is gone, so it is back in the queue and comes again.
                continue;
            }
            let receipt = AmqpReceipt {
                acker: Some(delivery.acker),
                given_back: self.given_back.clone(),
                publisher: self.publisher.clone(),
                queue: self.queue.clone(),
                body: delivery.data.clone(),
            };
            return Delivery {
                body: delivery.data,
                trace: header(&delivery.properties, TRACE_HEADER).and_then(|text| text.parse().ok()),
                redelivered: delivery.redelivered,
                death: death(&delivery.properties),
                receipt: Box::new(receipt),
            };
        }
    }
}

/// What our headers say of a dead letter, or those of the broker for one that it moved itself.
fn death(properties: &BasicProperties) -> Option<Death> {
    let text = |name: &str| header(properties, name);
    let queue = text("queue").or_else(|| text("x-first-death-queue"))?;
    let reason = text("reason").or_else(|| text("x-first-death-reason"))?;
    Some(Death { queue, reason })
}

/// The text of a header.
fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    let value = properties.headers().as_ref()?.inner().get(name)?;
    if let AMQPValue::LongString(text) = value { Some(text.to_string()) } else { None }
}

struct AmqpReceipt {
    /// Taken by the answer.
    acker: Option<Acker>,
    given_back: UnboundedSender<Acker>,
    publisher: Publisher,
    queue: QueueName,
    body: Vec<u8>,
}

impl AmqpReceipt {
    async fn answered(answer: impl Future<Output = lapin::Result<bool>>) -> Result<(), QueueError> {
        if timed("answer a delivery", answer).await? {
            Ok(())
        } else {
            Err(QueueError::Unreachable("the delivery is back in its queue".to_owned()))
        }
    }
}

#[async_trait]
impl Receipt for AmqpReceipt {
    async fn ack(mut self: Box<Self>) -> Result<(), QueueError> {
        let Some(acker) = self.acker.take() else { return Ok(()) };
        Self::answered(acker.ack(BasicAckOptions::default())).await
    }

    async fn requeue(mut self: Box<Self>) -> Result<(), QueueError> {
        let Some(acker) = self.acker.take() else { return Ok(()) };
        Self::answered(acker.nack(BasicNackOptions { requeue: true, ..Default::default() })).await
    }

    async fn bury(mut self: Box<Self>, reason: &str) -> Result<(), QueueError> {
        let letter = Publication::dead(self.queue.to_string(), std::mem::take(&mut self.body), reason);
        // Until the letter is confirmed the delivery is unanswered: an error gives it back.
        self.publisher.publish(vec![letter]).await.into_iter().collect::<Result<(), _>>()?;
        self.ack().await
    }
}

impl Drop for AmqpReceipt {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take() {
            // Nobody takes it when the consumer is dropped: then the channel closes, which gives back everything.
            _ = self.given_back.send(acker);
        }
    }
}
