//! Publishing with confirms: what waits for a queue goes out together.
//!
//! Each queue has a task, a connection and a channel of its own: RabbitMQ reads a connection no further while a queue behind it
//! takes nothing, and then nothing for any other queue would get through either.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use lapin::uri::AMQPUri;
use tokio::sync::{mpsc, oneshot};

use super::confirms::ConfirmedChannel;
use super::link::AmqpLink;
use super::outlet::{Job, Outlet, Silences};
use super::publication::{Publication, PublishAnswer};
use crate::queue::{QueueError, QueueName};

/// Callers that wait for a queue's task, at most.
const CALLERS: usize = 64;

/// Where messages are handed in; clones share what they publish through, which ends with the last of them.
#[derive(Clone)]
pub(super) struct Publisher(Arc<Shared>);

struct Shared {
    uri: AMQPUri,
    name: String,
    /// How long a queue may take nothing before it is made anew.
    silent_for: Duration,
    outlets: Mutex<HashMap<QueueName, mpsc::Sender<Job>>>,
    silences: Silences,
}

impl Publisher {
    /// `name` is what operators see as the name of its connections.
    pub(super) fn new(uri: AMQPUri, name: &str, silent_for: Duration) -> Self {
        let name = name.to_owned();
        Self(Arc::new(Shared { uri, name, silent_for, outlets: Mutex::default(), silences: Silences::default() }))
    }

    /// Publishes; the answers come in the order of the messages.
    pub(super) async fn publish(&self, messages: Vec<Publication>) -> Vec<PublishAnswer> {
        let count = messages.len();
        let mut by_queue: BTreeMap<QueueName, (Vec<usize>, Vec<Publication>)> = BTreeMap::new();
        for (at, message) in messages.into_iter().enumerate() {
            let (places, messages) = by_queue.entry(message.queue.clone()).or_default();
            places.push(at);
            messages.push(message);
        }
        let published = by_queue.into_iter().map(async |(queue, (places, messages))| {
            let answers = self.publish_to(queue, messages).await;
            places.into_iter().zip(answers)
        });
        let unanswered = QueueError::Unreachable("the publisher said nothing of it".to_owned());
        let mut answers: Vec<PublishAnswer> = vec![Err(unanswered); count];
        for (at, answer) in join_all(published).await.into_iter().flatten() {
            answers[at] = answer;
        }
        answers
    }

    /// For how many seconds a queue has taken nothing, where it is silent.
    pub(super) fn silent(&self, queue: &QueueName) -> Option<u64> {
        self.0.silences.seconds(queue)
    }

    async fn publish_to(&self, queue: QueueName, messages: Vec<Publication>) -> Vec<PublishAnswer> {
        let count = messages.len();
        let (answers, answered) = oneshot::channel();
        let gone = || vec![Err(QueueError::Unreachable("the publisher ended".to_owned())); count];
        if self.outlet(queue).send(Job { messages, answers }).await.is_err() {
            return gone();
        }
        answered.await.unwrap_or_else(|_| gone())
    }

    /// Where messages for a queue go; begins with the first.
    fn outlet(&self, queue: QueueName) -> mpsc::Sender<Job> {
        let Shared { uri, name, silent_for, outlets, silences } = &*self.0;
        // Every change leaves the map whole.
        let mut outlets = outlets.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = |queue: &QueueName| {
            let (jobs, waiting) = mpsc::channel(CALLERS);
            let link = AmqpLink::new(uri.clone(), &format!("{name} (publishes to {queue})"));
            let channel = ConfirmedChannel::new(link, queue.clone(), *silent_for);
            tokio::spawn(Outlet::new(channel, *silent_for, silences.clone()).serve(waiting));
            jobs
        };
        outlets.entry(queue).or_insert_with_key(begin).clone()
    }
}
