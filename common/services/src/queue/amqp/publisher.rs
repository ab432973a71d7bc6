//! Publishing with confirms: one task, one channel, everything that waits goes out together.
//!
//! A message counts as published when the broker confirmed it and did not return it. lapin can attach a returned message to
//! another message's confirm, so returns are matched by `message_id` over the whole batch.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::link::{AmqpLink, close, timed};
use super::topology::DEAD_EXCHANGE;
use crate::queue::{Outgoing, QueueError};

/// Most unconfirmed messages: beyond it RabbitMQ slows down more than it gains.
const WINDOW: usize = 1000;

/// Longest wait for the confirms of a batch; a broker with a full disk or memory sends none.
const CONFIRM: Duration = Duration::from_secs(30);

/// AMQP's mark of a message that survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// The header with a message's span, as W3C's draft on trace context in AMQP calls it.
pub(super) const TRACE_HEADER: &str = "traceparent";

type PublishAnswer = Result<(), QueueError>;

/// Ids that no other message has: a random beginning of this publisher, and a number.
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

/// A message with its way.
pub(super) struct Publication {
    exchange: &'static str,
    /// The name of a queue; also where it came from, for a dead letter.
    routing_key: String,
    body: Vec<u8>,
    headers: BTreeMap<&'static str, String>,
}

impl From<Outgoing> for Publication {
    fn from(outgoing: Outgoing) -> Self {
        let Outgoing { queue, body, trace } = outgoing;
        let headers = trace.map(|trace| (TRACE_HEADER, trace.to_string())).into_iter().collect();
        Self { exchange: "", routing_key: queue.to_string(), body, headers }
    }
}

impl Publication {
    /// A dead letter.
    pub(super) fn dead(queue: String, body: Vec<u8>, reason: &str) -> Self {
        let reason = reason.chars().take(2000).collect();
        let headers = BTreeMap::from([("reason", reason), ("queue", queue.clone())]);
        Self { exchange: DEAD_EXCHANGE, routing_key: queue, body, headers }
    }
}

/// Where messages are handed in; clones share one channel of the broker. The task behind it ends with the last of them.
#[derive(Clone)]
pub(super) struct Publisher {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    messages: Vec<Publication>,
    answers: oneshot::Sender<Vec<PublishAnswer>>,
}

impl Publisher {
    pub(super) fn start(link: AmqpLink) -> Self {
        let (jobs, waiting) = mpsc::channel(64);
        tokio::spawn(publish_all(link, waiting));
        Self { jobs }
    }

    /// Publishes; the answers come in the order of the messages.
    pub(super) async fn publish(&self, messages: Vec<Publication>) -> Vec<PublishAnswer> {
        let count = messages.len();
        let (answers, answered) = oneshot::channel();
        let gone = || vec![Err(QueueError::Unreachable("the publisher ended".to_owned())); count];
        if self.jobs.send(Job { messages, answers }).await.is_err() {
            return gone();
        }
        answered.await.unwrap_or_else(|_| gone())
    }
}

/// Takes all jobs that wait, up to a window, as one batch; the next batch gathers meanwhile.
async fn publish_all(link: AmqpLink, mut waiting: mpsc::Receiver<Job>) {
    let mut channel = None;
    let mut ids = MessageIds::new();
    while let Some(first) = waiting.recv().await {
        let mut jobs = vec![first];
        let mut count = jobs[0].messages.len();
        while count < WINDOW
            && let Ok(job) = waiting.try_recv()
        {
            count += job.messages.len();
            jobs.push(job);
        }
        let messages: Vec<&Publication> = jobs.iter().flat_map(|job| &job.messages).collect();
        let mut answers = Vec::with_capacity(count);
        for batch in messages.chunks(WINDOW) {
            answers.extend(publish_batch(&link, &mut channel, &mut ids, batch).await);
        }
        let mut answers = answers.into_iter();
        for job in jobs {
            // A caller that went away does not want to know.
            _ = job.answers.send(answers.by_ref().take(job.messages.len()).collect());
        }
    }
}

async fn publish_batch(
    link: &AmqpLink,
    slot: &mut Option<Channel>,
    ids: &mut MessageIds,
    batch: &[&Publication],
) -> Vec<PublishAnswer> {
    let channel = match confirming_channel(link, slot).await {
        Ok(channel) => channel,
        Err(error) => return vec![Err(error); batch.len()],
    };
    let ids: Vec<String> = batch.iter().map(|_| ids.next()).collect();
    let mut pending: FuturesUnordered<_> = batch
        .iter()
        .zip(&ids)
        .enumerate()
        .map(|(at, (message, id))| async move { (at, publish_one(channel, message, id).await) })
        .collect();
    let mut outcomes: Vec<Option<lapin::Result<Confirmation>>> = batch.iter().map(|_| None).collect();
    let confirms = async {
        while let Some((at, outcome)) = pending.next().await {
            outcomes[at] = Some(outcome);
        }
    };
    let is_late = tokio::time::timeout(CONFIRM, confirms).await.is_err();
    drop(pending);

    let answers = account(batch, &ids, outcomes);
    if is_late || !channel.status().connected() {
        // Confirms that come later must not be taken for those of the next batch.
        close(channel).await;
        *slot = None;
    }
    answers
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
    batch: &[&Publication],
    ids: &[String],
    outcomes: Vec<Option<lapin::Result<Confirmation>>>,
) -> Vec<PublishAnswer> {
    let mut returned: HashMap<String, String> = HashMap::new();
    let mut answers = Vec::with_capacity(batch.len());
    for (message, outcome) in batch.iter().zip(outcomes) {
        let unconfirmed = |reason: String| Err(QueueError::Unconfirmed { queue: message.routing_key.clone(), reason });
        let (answer, attached) = match outcome {
            Some(Ok(Confirmation::Ack(attached))) => (Ok(()), attached),
            Some(Ok(Confirmation::Nack(attached))) => {
                (unconfirmed("the broker could not keep it".to_owned()), attached)
            }
            Some(Ok(Confirmation::NotRequested)) => (unconfirmed("the channel gives no confirms".to_owned()), None),
            Some(Err(error)) => (unconfirmed(error.to_string()), None),
            None => (unconfirmed(format!("no confirm for {CONFIRM:?}")), None),
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
            *answer = Err(QueueError::Unconfirmed { queue: message.routing_key.clone(), reason });
        }
    }
    answers
}
