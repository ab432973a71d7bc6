//! How every queue is declared: the one place.
//!
//! Quorum queues, for they survive the loss of a node; unread messages go to `sas.dead`.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ErrorKind, ExchangeKind};

use super::link::timed;
use crate::queue::{Depth, QueueError, QueueName};
use domain::id::ClassName;

/// The exchange of dead letters; everything in it goes to [`QueueName::Dead`].
pub(super) const DEAD_EXCHANGE: &str = "sas.dead";

/// Deliveries after which RabbitMQ takes a message for poison. 4.x would do so after 20, which an outage of Redis or of the
/// store reaches with healthy tasks; 3.10 knows no way to say "never".
const DELIVERY_LIMIT: i32 = 1_000_000_000;

/// The queues of a system with these classes.
pub(super) fn queues(classes: &[ClassName]) -> Vec<QueueName> {
    let fixed = [QueueName::Dead, QueueName::Events, QueueName::Completions];
    fixed.into_iter().chain(classes.iter().cloned().map(QueueName::Tasks)).collect()
}

/// Declares a queue, and what it needs. Harmless when it is there.
pub(super) async fn declare(channel: &Channel, queue: &QueueName) -> Result<(), QueueError> {
    declare_exchange(channel).await?;
    declare_queue(channel, queue).await?;
    if *queue == QueueName::Dead {
        let name = queue.to_string();
        let bound = channel.queue_bind(
            name.as_str().into(),
            DEAD_EXCHANGE.into(),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        timed("bind queue `sas.dead`", bound).await?;
    }
    Ok(())
}

/// Declares the exchange of dead letters alone.
pub(super) async fn declare_exchange(channel: &Channel) -> Result<(), QueueError> {
    let exchange = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let declared =
        channel.exchange_declare(DEAD_EXCHANGE.into(), ExchangeKind::Fanout, exchange, FieldTable::default());
    timed("declare exchange `sas.dead`", declared).await
}

/// Declares a queue alone.
pub(super) async fn declare_queue(channel: &Channel, queue: &QueueName) -> Result<(), QueueError> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    match queue {
        QueueName::Events | QueueName::Completions | QueueName::Tasks(_) => {
            arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString(DEAD_EXCHANGE.into()));
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
        }
        QueueName::Dead => {}
        // Nobody reads them: the newest takes the place of the one before.
        QueueName::Probe => drop(arguments.insert("x-max-length".into(), AMQPValue::LongInt(1))),
    }
    let name = queue.to_string();
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let declared = channel.queue_declare(name.as_str().into(), durable, arguments);
    timed(&format!("declare queue `{name}`"), declared).await.map(drop)
}

/// Whether the exchange of dead letters is there, of whatever type. Use the channel for nothing else, as with [`look`].
pub(super) async fn has_exchange(channel: &Channel) -> Result<bool, QueueError> {
    let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let looked = async {
        let asked =
            channel.exchange_declare(DEAD_EXCHANGE.into(), ExchangeKind::Fanout, passive, FieldTable::default());
        if_there(asked.await)
    };
    Ok(timed("look at exchange `sas.dead`", looked).await?.is_some())
}

/// How full a queue is; `None` when there is none. Use the channel for nothing else: the answer "none" closes it.
pub(super) async fn look(channel: &Channel, queue: &QueueName) -> Result<Option<Depth>, QueueError> {
    let name = queue.to_string();
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let looked = async { if_there(channel.queue_declare(name.as_str().into(), passive, FieldTable::default()).await) };
    let found = timed(&format!("look at queue `{name}`"), looked).await?;
    Ok(found.map(|found| Depth {
        queue: name,
        ready: found.message_count().into(),
        unacknowledged: None,
        unknown: None,
        silent: None,
        consumers: found.consumer_count().into(),
    }))
}

/// The answer; `None` where the broker says that there is no such thing.
fn if_there<T>(answer: lapin::Result<T>) -> lapin::Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::ProtocolError(reply) if reply.get_id() == NOT_FOUND) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

const NOT_FOUND: u16 = 404;
