//! A message on its way to the broker.

use std::collections::BTreeMap;

use super::topology::DEAD_EXCHANGE;
use crate::queue::{Outgoing, QueueError, QueueName};

/// The header with a message's span, as W3C's draft on trace context in AMQP calls it.
pub(super) const TRACE_HEADER: &str = "traceparent";

/// What became of a message: `Ok` where the broker confirmed it.
pub(super) type PublishAnswer = Result<(), QueueError>;

/// A message with its way.
pub(super) struct Publication {
    /// Where it ends.
    pub(super) queue: QueueName,
    pub(super) exchange: &'static str,
    /// The name of a queue; also where it came from, for a dead letter.
    pub(super) routing_key: String,
    pub(super) body: Vec<u8>,
    pub(super) headers: BTreeMap<&'static str, String>,
}

impl From<Outgoing> for Publication {
    fn from(outgoing: Outgoing) -> Self {
        let Outgoing { queue, body, trace } = outgoing;
        let headers = trace.map(|trace| (TRACE_HEADER, trace.to_string())).into_iter().collect();
        Self { exchange: "", routing_key: queue.to_string(), queue, body, headers }
    }
}

impl Publication {
    /// A dead letter.
    pub(super) fn dead(queue: String, body: Vec<u8>, reason: &str) -> Self {
        let reason = reason.chars().take(2000).collect();
        let headers = BTreeMap::from([("reason", reason), ("queue", queue.clone())]);
        Self { queue: QueueName::Dead, exchange: DEAD_EXCHANGE, routing_key: queue, body, headers }
    }
}
