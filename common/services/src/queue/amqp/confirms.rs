//! A channel that confirms what is published to one queue.
//!
//! A message counts as published when the broker confirmed it and did not return it. lapin can attach a returned message to
//! another message's confirm, so returns are matched by `message_id` over the whole batch.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use uuid::Uuid;

use super::link::{AmqpLink, close, timed};
use super::publication::{Publication, PublishAnswer};
use crate::queue::{QueueError, QueueName};

/// Most unconfirmed messages: beyond it RabbitMQ slows down more than it gains.
pub(super) const WINDOW: usize = 1000;

/// Longest wait for the confirms of a batch; a broker with a full disk or memory sends none.
const CONFIRM: Duration = Duration::from_secs(30);

/// AMQP's mark of a message that survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// Publishes to one queue, and waits for the confirms.
pub(super) struct ConfirmedChannel {
    pub(super) link: AmqpLink,
    pub(super) queue: QueueName,
    /// Longest wait for the confirms of a batch.
    patience: Duration,
    channel: Option<Channel>,
    ids: MessageIds,
}

/// Ids that no other message has: a random beginning of this channel, and a number.
struct MessageIds {
    beginning: String,
    number: u64,
}

impl MessageIds {
    fn new() -> Self {
        Self { beginning: Uuid::new_v4().simple().to_string(), number: 0 }
    }

    fn next(&mut self) -> String {
        self.number += 1;
        format!("{}-{}", self.beginning, self.number)
    }
}

impl ConfirmedChannel {
    /// A channel that is opened with the first batch; nobody waits longer than `most` for its confirms.
    pub(super) fn new(link: AmqpLink, queue: QueueName, most: Duration) -> Self {
        Self { link, queue, patience: CONFIRM.min(most), channel: None, ids: MessageIds::new() }
    }

    /// Publishes a batch; a queue that confirms nothing of it is silent.
    pub(super) async fn publish(&mut self, batch: &[impl Borrow<Publication>]) -> Vec<PublishAnswer> {
        let channel = match confirming_channel(&self.link, &mut self.channel).await {
            Ok(channel) => channel,
            Err(error) => return vec![Err(error); batch.len()],
        };
        let ids: Vec<String> = batch.iter().map(|_| self.ids.next()).collect();
        let mut pending: FuturesUnordered<_> = batch
            .iter()
            .zip(&ids)
            .enumerate()
            .map(|(at, (message, id))| async move { (at, publish_one(channel, message.borrow(), id).await) })
            .collect();
        let mut outcomes: Vec<Option<lapin::Result<Confirmation>>> = batch.iter().map(|_| None).collect();
        let confirms = async {
            while let Some((at, outcome)) = pending.next().await {
                outcomes[at] = Some(outcome);
            }
        };
        let is_late = tokio::time::timeout(self.patience, confirms).await.is_err();
        drop(pending);

        if is_late && outcomes.iter().all(Option::is_none) {
            self.channel = None;
            // RabbitMQ may read this connection no further: not even that a channel is to be closed. One that says so is good again
            // when the broker is.
            if !self.link.is_blocked().await {
                self.link.forget().await;
            }
            let seconds = self.patience.as_secs();
            return vec![Err(QueueError::Silent { queue: self.queue.to_string(), seconds }); batch.len()];
        }
        let answers = account(batch, &ids, outcomes, self.patience);
        if is_late || !channel.status().connected() {
            // Confirms that come later must not be taken for those of the next batch.
            close(channel).await;
            self.channel = None;
        }
        answers
    }
}

async fn confirming_channel<'a>(link: &AmqpLink, slot: &'a mut Option<Channel>) -> Result<&'a Channel, QueueError> {
    let channel = match slot.take().filter(|channel| channel.status().connected()) {
        Some(channel) => channel,
        None => {
            let channel = link.channel().await?;
            timed("ask for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
            channel
        }
    };
    Ok(slot.insert(channel))
}

async fn publish_one(channel: &Channel, message: &Publication, id: &str) -> lapin::Result<Confirmation> {
    let mut properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(id.into());
    if !message.headers.is_empty() {
        let mut headers = FieldTable::default();
        for (name, value) in &message.headers {
            headers.insert((*name).into(), AMQPValue::LongString(value.as_str().into()));
        }
        properties = properties.with_headers(headers);
    }
    let mandatory = BasicPublishOptions { mandatory: true, ..Default::default() };
    let routing_key = message.routing_key.as_str().into();
    channel.basic_publish(message.exchange.into(), routing_key, mandatory, &message.body, properties).await?.await
}

/// What became of each message of a batch.
fn account(
    batch: &[impl Borrow<Publication>],
    ids: &[String],
    outcomes: Vec<Option<lapin::Result<Confirmation>>>,
    patience: Duration,
) -> Vec<PublishAnswer> {
    let queue = |message: &Publication| message.routing_key.clone();
    let mut returned: HashMap<String, String> = HashMap::new();
    let mut answers = Vec::with_capacity(batch.len());
    for (message, outcome) in batch.iter().zip(outcomes) {
        let unconfirmed = |reason: String| Err(QueueError::Unconfirmed { queue: queue(message.borrow()), reason });
        let (answer, attached) = match outcome {
            Some(Ok(Confirmation::Ack(attached))) => (Ok(()), attached),
            Some(Ok(Confirmation::Nack(attached))) => {
                (unconfirmed("the broker could not keep it".to_owned()), attached)
            }
            Some(Ok(Confirmation::NotRequested)) => (unconfirmed("the channel gives no confirms".to_owned()), None),
            Some(Err(error)) => (unconfirmed(error.to_string()), None),
            None => (unconfirmed(format!("no confirm for {patience:?}")), None),
        };
        if let Some(attached) = attached
            && let Some(id) = attached.properties.message_id()
        {
            returned.insert(id.to_string(), attached.reply_text.to_string());
        }
        answers.push(answer);
    }
    for ((answer, id), message) in answers.iter_mut().zip(ids).zip(batch) {
        if let Some(reason) = returned.get(id) {
            let reason = format!("the broker returned it: {reason}");
            *answer = Err(QueueError::Unconfirmed { queue: queue(message.borrow()), reason });
        }
    }
    answers
}
