//! RabbitMQ, 3.10 to 4.x, behind the queue port.
//!
//! One connection consumes (`consumer`), others publish, one for each queue (`publisher`): an alarm of the broker blocks the
//! publishing ones, acknowledgements would be blocked with them; and a queue that takes nothing (`outlet`) holds up no other.
//! lapin's own recovery is not used; every future of it has a time-out.

mod confirms;
mod consumer;
mod differences;
mod link;
mod management;
mod outlet;
mod publication;
mod publisher;
mod topology;
mod unanswered;
mod version;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use consumer::AmqpConsumer;
pub use differences::{Difference, differences};
use lapin::uri::AMQPUri;
use link::AmqpLink;
use management::Management;
use publication::Publication;
use publisher::Publisher;
use serde::{Deserialize, Serialize};
pub use version::server_version;

use super::{Consumer, Depth, Outgoing, Queue, QueueError, QueueName};
use crate::address::Address;
use domain::id::ClassName;

/// Where RabbitMQ is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmqpConfig {
    /// `amqp://user:password@host:port/vhost`; the default virtual host is `%2f`.
    pub url: Address,
    /// The management API, `http://user:password@host:port`; without it the number of unacknowledged messages is unknown.
    #[serde(default)]
    pub management: Option<Address>,
    /// How long a queue of tasks or completions may take no message, while the broker takes those for others, before it is
    /// deleted and declared anew.
    #[serde(default = "silent_for", with = "humantime_serde")]
    pub silent_for: Duration,
}

fn silent_for() -> Duration {
    AmqpConfig::SILENT_FOR
}

/// RabbitMQ.
pub struct AmqpQueue {
    /// Consumes, declares and asks.
    link: Arc<AmqpLink>,
    publisher: Publisher,
    management: Option<Management>,
    /// How long a subscription brings nothing before it is begun anew.
    idle: Duration,
}

impl AmqpQueue {
    /// The least `silent_for`: a queue that is only slow is not deleted.
    const LEAST_SILENCE: Duration = Duration::from_secs(4);

    /// Connects; `name` is what operators see as the connection's name. [`QueueError::Refused`] for wrong credentials.
    pub async fn connect(config: &AmqpConfig, name: &str) -> Result<Self, QueueError> {
        if config.silent_for < Self::LEAST_SILENCE {
            let [least, found] =
                [Self::LEAST_SILENCE, config.silent_for].map(humantime_serde::re::humantime::format_duration);
            return Err(QueueError::Refused(format!("`[queue] silent_for` is {found}, expected {least} or more")));
        }
        let link = Arc::new(AmqpLink::new(config.uri()?, name));
        let management = config.management.as_ref().map(|url| Management::new(url, link.vhost())).transpose()?;
        link.connection().await?;
        let publisher = Publisher::new(config.uri()?, name, config.silent_for);
        Ok(Self { link, publisher, management, idle: config.silent_for / 2 })
    }
}

impl AmqpConfig {
    /// `silent_for` where nothing is said: a leader that is elected anew takes seconds.
    pub const SILENT_FOR: Duration = Duration::from_secs(120);

    /// The broker at this address, without a management API.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: Address::new(url), management: None, silent_for: Self::SILENT_FOR }
    }

    /// Its address as lapin reads it.
    fn uri(&self) -> Result<AMQPUri, QueueError> {
        let (what, expected) = ("RabbitMQ (`[queue] url`)", "amqp://user:password@host:port/vhost");
        // What the parser says of a text that is none has all of it.
        let parsed =
            self.url.checked(what, expected).and_then(|url| url.parse().map_err(|_| self.url.invalid(what, expected)));
        parsed.map_err(QueueError::Refused)
    }
}

impl AmqpQueue {
    /// What is in the queues that are there, as the broker itself says.
    async fn look(&self, queues: &[QueueName]) -> Result<Vec<Depth>, QueueError> {
        let mut depths = Vec::new();
        for queue in queues {
            if let Some(seconds) = self.publisher.silent(queue) {
                // Its leader would not answer either, and the broker take seconds to say so.
                let queue = queue.to_string();
                let silent = Some(seconds);
                depths.push(Depth { queue, ready: 0, unacknowledged: None, unknown: None, silent, consumers: 0 });
                continue;
            }
            let channel = self.link.channel().await?;
            depths.extend(topology::look(&channel, queue).await?);
            link::close(&channel).await;
        }
        Ok(depths)
    }
}

#[async_trait]
impl Queue for AmqpQueue {
    async fn declare(&self, classes: &[ClassName]) -> Result<(), QueueError> {
        let mut declared = Ok(());
        let mut channel = self.link.channel().await?;
        for queue in topology::queues(classes) {
            match topology::declare(&channel, &queue).await {
                Ok(()) => {}
                // The others are declared all the same, through another channel: a refusal closes this one.
                Err(refusal @ QueueError::Refused(_)) => {
                    declared = declared.and(Err(refusal));
                    channel = self.link.channel().await?;
                }
                Err(error) => return Err(error),
            }
        }
        link::close(&channel).await;
        declared
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        self.publisher.publish(messages.into_iter().map(Publication::from).collect()).await
    }

    async fn consume(&self, queue: QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        let consumer =
            AmqpConsumer::start(self.link.clone(), self.publisher.clone(), queue, prefetch, self.idle).await?;
        Ok(Box::new(consumer))
    }

    async fn probe(&self) -> Result<(), QueueError> {
        let channel = self.link.channel().await?;
        topology::declare(&channel, &QueueName::Probe).await?;
        link::close(&channel).await;
        self.publish(vec![Outgoing::probe()]).await.into_iter().collect()
    }

    async fn depths(&self, queues: &[QueueName]) -> Result<Vec<Depth>, QueueError> {
        let mut depths = self.look(queues).await?;
        if let Some(management) = &self.management {
            management.add_to(&mut depths).await;
        }
        Ok(depths)
    }
}
