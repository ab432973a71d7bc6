//! RabbitMQ, 3.10 to 4.x, behind the queue port.
//!
//! One connection publishes (`publisher`), another consumes (`consumer`): an alarm of the broker blocks the publishing
//! one, acknowledgements would be blocked with it. lapin's own recovery is not used; every future of it has a time-out.

mod consumer;
mod link;
mod management;
mod publisher;
mod topology;
mod unanswered;
mod version;

use std::sync::Arc;

use async_trait::async_trait;
use consumer::AmqpConsumer;
use lapin::uri::AMQPUri;
use link::AmqpLink;
use management::Management;
use publisher::{Publication, Publisher};
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
}

/// RabbitMQ.
pub struct AmqpQueue {
    /// Consumes, declares and asks.
    link: Arc<AmqpLink>,
    publisher: Publisher,
    management: Option<Management>,
}

impl AmqpQueue {
    /// Connects; `name` is what operators see as the connection's name. [`QueueError::Refused`] for wrong credentials.
    pub async fn connect(config: &AmqpConfig, name: &str) -> Result<Self, QueueError> {
        let link = Arc::new(AmqpLink::new(config.uri()?, name));
        let management = config.management.as_ref().map(|url| Management::new(url, link.vhost())).transpose()?;
        link.connection().await?;
        let publisher = Publisher::start(AmqpLink::new(config.uri()?, &format!("{name} (publishes)")));
        Ok(Self { link, publisher, management })
    }
}

impl AmqpConfig {
    /// Its address as lapin reads it.
    fn uri(&self) -> Result<AMQPUri, QueueError> {
        let (what, expected) = ("RabbitMQ (`[queue] url`)", "amqp://user:password@host:port/vhost");
        // What the parser says of a text that is none has all of it.
        let parsed =
            self.url.checked(what, expected).and_then(|url| url.parse().map_err(|_| self.url.invalid(what, expected)));
        parsed.map_err(QueueError::Refused)
    }
}

#[async_trait]
impl Queue for AmqpQueue {
    async fn declare(&self, classes: &[ClassName]) -> Result<(), QueueError> {
        let channel = self.link.channel().await?;
        for queue in topology::queues(classes) {
            topology::declare(&channel, &queue).await?;
        }
        link::close(&channel).await;
        Ok(())
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        self.publisher.publish(messages.into_iter().map(Publication::from).collect()).await
    }

    async fn consume(&self, queue: QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        let consumer = AmqpConsumer::start(self.link.clone(), self.publisher.clone(), queue, prefetch).await?;
        Ok(Box::new(consumer))
    }

    async fn probe(&self) -> Result<(), QueueError> {
        let channel = self.link.channel().await?;
        topology::declare(&channel, &QueueName::Probe).await?;
        link::close(&channel).await;
        let message = Outgoing { queue: QueueName::Probe, body: b"\"probe\"".to_vec(), trace: None };
        self.publish(vec![message]).await.into_iter().collect()
    }

    async fn depths(&self, queues: &[QueueName]) -> Result<Vec<Depth>, QueueError> {
        let mut depths = Vec::new();
        for queue in queues {
            let channel = self.link.channel().await?;
            if let Some(mut depth) = topology::look(&channel, queue).await? {
                if let Some(management) = &self.management {
                    match management.unacknowledged(queue).await {
                        Ok(number) => depth.unacknowledged = Some(number),
                        Err(reason) => depth.unknown = Some(reason),
                    }
                }
                depths.push(depth);
            }
            link::close(&channel).await;
        }
        Ok(depths)
    }
}
