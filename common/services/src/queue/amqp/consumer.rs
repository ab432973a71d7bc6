//! Consuming that outlives connections, channels and queues: a task of its own subscribes again for as long as it takes.
//!
//! That task also answers deliveries: acknowledgements that are given together go out as few frames (`unanswered`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use futures::stream::StreamExt;

use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::link::{AmqpLink, close, timed};
use super::publication::{Publication, TRACE_HEADER};
use super::publisher::Publisher;
use super::topology;
use super::unanswered::{AckFrame, Unanswered};
use crate::queue::{Consumer, Death, Delivery, QueueError, QueueName, Receipt};

/// Waits between attempts to subscribe again: up to five seconds, for ever.
fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
}

/// Answers that are given together at most.
const ANSWERS: usize = 4_096;

/// How long a delivery is kept whose letter did not reach the dead letters.
const UNBURIED: Duration = Duration::from_secs(10);

/// The end that the service holds. Dropping it ends the subscription.
pub(super) struct AmqpConsumer {
    /// As many as the broker sends without an answer: the prefetch.
    arrived: UnboundedReceiver<Arrived>,
    publisher: Publisher,
    queue: QueueName,
}

/// A delivery, and where its answer goes: nobody listens there any more when its channel is gone, so that it is back in the
/// queue.
struct Arrived {
    delivery: lapin::message::Delivery,
    answers: UnboundedSender<DeliveryAnswer>,
}

/// The answer to a delivery.
struct DeliveryAnswer {
    tag: u64,
    what: DeliveryVerdict,
    /// Told when the answer is on its way.
    given: Option<oneshot::Sender<Result<(), QueueError>>>,
}

/// What the broker is told of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeliveryVerdict {
    Ack,
    Requeue,
}

/// What the task behind a consumer needs to begin again.
struct Subscription {
    link: Arc<AmqpLink>,
    queue: QueueName,
    prefetch: u16,
    /// How long nothing comes before the subscription is begun anew.
    idle: Duration,
}

/// Why the task stopped listening to a channel.
enum StreamEnd {
    /// The service dropped the consumer.
    Unwanted,
    /// The channel or the connection ended, or the queue was deleted.
    Lost(String),
    /// Nothing came for long. The broker does not tell those who consume from a queue that lost its leader when it is made anew.
    Idle,
}

impl AmqpConsumer {
    /// Subscribes, and declares the queue where it is not there. Cancel safe: a subscription that nobody waits for any more
    /// ends as soon as it has begun.
    pub(super) async fn start(
        link: Arc<AmqpLink>,
        publisher: Publisher,
        queue: QueueName,
        prefetch: u16,
        idle: Duration,
    ) -> Result<Self, QueueError> {
        let subscription = Subscription { link, queue: queue.clone(), prefetch, idle };
        let (arrives, arrived) = unbounded_channel();
        let (begun, beginning) = oneshot::channel();
        tokio::spawn(subscription.serve(begun, arrives));
        match beginning.await {
            Ok(begun) => begun?,
            Err(_) => return Err(QueueError::Unreachable("the program ends".to_owned())),
        }
        Ok(Self { arrived, publisher, queue })
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
    async fn serve(self, begun: oneshot::Sender<Result<(), QueueError>>, arrives: UnboundedSender<Arrived>) {
        let (mut current, answer) = match self.begin().await {
            Ok(current) => (Some(current), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // Nobody may wait for it any more: then nobody listens either.
        _ = begun.send(answer);
        while let Some((channel, mut consumer)) = current {
            let end = listen(&channel, &mut consumer, &arrives, self.idle).await;
            close(&channel).await;
            let lost = match end {
                StreamEnd::Unwanted => return,
                StreamEnd::Lost(reason) => Err(reason),
                StreamEnd::Idle => self.begin().await.map_err(|error| error.to_string()),
            };
            current = match lost {
                Ok(begun) => Some(begun),
                Err(reason) => {
                    tracing::warn!(queue = %self.queue, reason, "deliveries stopped; subscribing again");
                    self.begin_again(&arrives).await
                }
            };
        }
    }

    /// Subscribes, however long the broker is away, until nobody listens. The outage was logged when it began.
    async fn begin_again(&self, arrives: &UnboundedSender<Arrived>) -> Option<(Channel, lapin::Consumer)> {
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

/// Hands on what arrives, and answers, until the channel ends, nobody listens, or nothing was there to do for as long as `idle`.
async fn listen(
    channel: &Channel,
    consumer: &mut lapin::Consumer,
    arrives: &UnboundedSender<Arrived>,
    idle: Duration,
) -> StreamEnd {
    let (answers, mut given) = unbounded_channel();
    let (mut unanswered, mut batch) = (Unanswered::default(), Vec::new());
    loop {
        tokio::select! {
            biased;
            _ = given.recv_many(&mut batch, ANSWERS) => {
                if let Err(error) = answer(channel, &mut unanswered, batch.drain(..)).await {
                    return StreamEnd::Lost(error.to_string());
                }
            }
            () = arrives.closed() => return StreamEnd::Unwanted,
            () = tokio::time::sleep(idle), if unanswered.is_empty() => return StreamEnd::Idle,
            next = consumer.next() => match next {
                Some(Ok(delivery)) => {
                    unanswered.arrived(delivery.delivery_tag);
                    if arrives.send(Arrived { delivery, answers: answers.clone() }).is_err() {
                        return StreamEnd::Unwanted;
                    }
                }
                Some(Err(error)) => return StreamEnd::Lost(error.to_string()),
                None => return StreamEnd::Lost("the broker cancelled the consumer: the queue was deleted, or its node stopped".to_owned()),
            },
        }
    }
}

/// Tells the broker these answers: what goes back goes first, so that it keeps no acknowledgement from going with others.
async fn answer(
    channel: &Channel,
    unanswered: &mut Unanswered,
    answers: impl Iterator<Item = DeliveryAnswer>,
) -> Result<(), QueueError> {
    let (acks, back): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.what == DeliveryVerdict::Ack);
    for answer in &back {
        let requeue = BasicNackOptions { requeue: true, ..Default::default() };
        timed("give a delivery back", channel.basic_nack(answer.tag, requeue)).await?;
        unanswered.answered(answer.tag);
    }
    let tags: BTreeSet<u64> = acks.iter().map(|answer| answer.tag).collect();
    for AckFrame { tag, multiple } in unanswered.acknowledge(&tags) {
        timed("acknowledge deliveries", channel.basic_ack(tag, BasicAckOptions { multiple })).await?;
    }
    for given in acks.into_iter().chain(back).filter_map(|answer| answer.given) {
        // Whoever gave it need not wait.
        _ = given.send(Ok(()));
    }
    Ok(())
}

#[async_trait]
impl Consumer for AmqpConsumer {
    async fn next_batch(&mut self, most: usize) -> Vec<Delivery> {
        let mut arrived = Vec::new();
        loop {
            if self.arrived.recv_many(&mut arrived, most.max(1)).await == 0 {
                // The task ends after us, or with the runtime; then nobody waits for an answer.
                std::future::pending::<()>().await;
            }
            // Where nobody listens for answers the channel is gone: the delivery is back in the queue and comes again.
            let lives = arrived.drain(..).filter(|arrived| !arrived.answers.is_closed());
            let batch: Vec<Delivery> = lives.map(|arrived| self.delivery(arrived)).collect();
            if !batch.is_empty() {
                return batch;
            }
        }
    }
}

impl AmqpConsumer {
    fn delivery(&self, Arrived { delivery, answers }: Arrived) -> Delivery {
        let receipt = AmqpReceipt {
            tag: Some(delivery.delivery_tag),
            answers,
            publisher: self.publisher.clone(),
            queue: self.queue.clone(),
            body: delivery.data.clone(),
        };
        Delivery {
            body: delivery.data,
            trace: header(&delivery.properties, TRACE_HEADER).and_then(|text| text.parse().ok()),
            redelivered: delivery.redelivered,
            death: death(&delivery.properties),
            receipt: Box::new(receipt),
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
    tag: Option<u64>,
    answers: UnboundedSender<DeliveryAnswer>,
    publisher: Publisher,
    queue: QueueName,
    body: Vec<u8>,
}

impl AmqpReceipt {
    async fn answer(&mut self, what: DeliveryVerdict) -> Result<(), QueueError> {
        let Some(tag) = self.tag.take() else { return Ok(()) };
        let gone = || QueueError::Unreachable("the delivery is back in its queue".to_owned());
        let (given, is_given) = oneshot::channel();
        self.answers.send(DeliveryAnswer { tag, what, given: Some(given) }).map_err(|_| gone())?;
        is_given.await.unwrap_or_else(|_| Err(gone()))
    }
}

#[async_trait]
impl Receipt for AmqpReceipt {
    async fn ack(mut self: Box<Self>) -> Result<(), QueueError> {
        self.answer(DeliveryVerdict::Ack).await
    }

    async fn requeue(mut self: Box<Self>) -> Result<(), QueueError> {
        self.answer(DeliveryVerdict::Requeue).await
    }

    async fn bury(mut self: Box<Self>, reason: &str) -> Result<(), QueueError> {
        let letter = Publication::dead(self.queue.to_string(), std::mem::take(&mut self.body), reason);
        // Until the letter is confirmed the delivery is unanswered: an error gives it back.
        let buried: Result<(), _> = self.publisher.publish(vec![letter]).await.into_iter().collect();
        if let Err(error) = buried {
            // It comes again: not at once, and again and again.
            tokio::spawn(async move {
                tokio::time::sleep(UNBURIED).await;
                drop(self);
            });
            return Err(error);
        }
        self.ack().await
    }
}

impl Drop for AmqpReceipt {
    fn drop(&mut self) {
        if let Some(tag) = self.tag.take() {
            // Nobody takes it when the consumer is dropped: then the channel closes, which gives back everything.
            _ = self.answers.send(DeliveryAnswer { tag, what: DeliveryVerdict::Requeue, given: None });
        }
    }
}
