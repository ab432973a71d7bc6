//! Dataset events: the loop over `sas.events`, accepting an event, expanding it into runs and stars.
//!
//! An event is acknowledged only after it and its runs are in the store and in the state (R4). One that cannot be read, or whose
//! record in the store is damaged, goes to the dead letters with its reason, and never ends the loop.

pub(crate) mod accept;
pub(crate) mod expand;
mod hold;
mod span;
pub(crate) mod unheard;

use std::sync::Arc;

use accept::{Accepted, accept};
use domain::message::DatasetEvent;
use domain::pipeline::Pipeline;
use services::queue::QueueName;
use store::crash::CrashPoint;
use tokio_util::sync::CancellationToken;

use crate::deliveries::{acknowledge, bury, consume};
use crate::running::Coordinator;
use crate::trouble::Outage;

/// Who publishes the events by which triggers let stars in.
pub(crate) const TRIGGER: &str = "sas trigger";

/// Unanswered events; one is accepted after the other.
const EVENTS_AHEAD: u16 = 4;

/// Accepts dataset events until `shutdown`.
pub(crate) async fn events(running: Coordinator, pipelines: Arc<[Pipeline]>, shutdown: CancellationToken) {
    let Some(mut consumer) = consume(&running.services, QueueName::Events, EVENTS_AHEAD, &shutdown).await else {
        return;
    };
    let mut outage = Outage::of("dataset events");
    while let Some(delivery) = shutdown.run_until_cancelled(consumer.next()).await {
        running.counters.events.inc();
        let event = match DatasetEvent::from_json(&delivery.body) {
            Ok(event) => Arc::new(event),
            Err(unreadable) => {
                running.counters.disposed("unreadable");
                bury(&running.counters, delivery.receipt, &unreadable.to_string()).await;
                continue;
            }
        };
        // A list of all stars makes ten megabytes.
        drop(delivery.body);
        let accepted = loop {
            match accept(&running, &pipelines, event.clone()).await {
                Ok(accepted) => break accepted,
                Err(trouble) => outage.wait(&trouble).await,
            }
            if shutdown.is_cancelled() {
                return;
            }
        };
        outage.over();
        match accepted {
            Accepted::Taken => {
                CrashPoint::EventAccepted.reached();
                acknowledge(vec![delivery.receipt]).await;
                CrashPoint::EventAcknowledged.reached();
            }
            Accepted::Refused(reason) => {
                running.counters.disposed("refused");
                bury(&running.counters, delivery.receipt, &reason).await;
                unheard::take(&running, event).await;
            }
        }
    }
}
