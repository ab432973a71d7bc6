//! Deliveries of the two queues that the coordinator reads: consumed as long as it takes, answered, buried with a reason.

use futures::future::join_all;
use services::queue::{Consumer, QueueName, Receipt};
use tokio_util::sync::CancellationToken;

use crate::counters::Counters;
use crate::running::Services;
use crate::trouble::Outage;

pub(crate) type Receipts = Vec<Box<dyn Receipt>>;

/// Acknowledges.
pub(crate) async fn acknowledge(receipts: Receipts) {
    for answer in join_all(receipts.into_iter().map(Receipt::ack)).await {
        if let Err(error) = answer {
            tracing::debug!(%error, "not acknowledged: it comes again, and changes nothing");
        }
    }
}

/// Puts a message that is of no use, for its own reason, with the dead letters.
pub(crate) async fn bury(counters: &Counters, receipt: Box<dyn Receipt>, reason: &str) {
    counters.unreadable.inc();
    tracing::warn!(reason, "a message that cannot be read goes to the dead letters");
    if let Err(error) = receipt.bury(reason).await {
        tracing::debug!(%error, "not buried: it comes again");
    }
}

/// Consumes a queue, whatever is out of reach meanwhile; `None` at shutdown.
pub(crate) async fn consume(
    services: &Services,
    queue: QueueName,
    prefetch: u16,
    shutdown: &CancellationToken,
) -> Option<Box<dyn Consumer>> {
    let mut outage = Outage::of("consumers");
    while !shutdown.is_cancelled() {
        match services.queue.consume(queue.clone(), prefetch).await {
            Ok(consumer) => {
                outage.over();
                return Some(consumer);
            }
            Err(error) => outage.wait(&error.into()).await,
        }
    }
    None
}
