//! Events that were announced in the store and that no coordinator hears: the broker lost them, and they are published again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::error::chain;
use domain::id::EventId;
use domain::message::{DatasetEvent, to_json};
use services::queue::{Outgoing, QueueName};
use store::Store;
use tokio::time::Instant;

use crate::running::Coordinator;
use crate::trouble::Trouble;

/// How long an announced event may be on its way. Each time that it is published again it has twice as long.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// The announced events that were not accepted at the last look.
#[derive(Default)]
pub(crate) struct UnheardEvents(BTreeMap<EventId, Wait>);

/// Until when an event may be on its way.
#[derive(Clone, Copy)]
struct Wait {
    until: Instant,
    then: Duration,
}

impl UnheardEvents {
    /// Publishes those again that have been on their way for too long while none waits in the queue.
    pub(crate) async fn publish_again(&mut self, running: &Coordinator) -> Result<(), Trouble> {
        let announced = running.services.store.ask(|store| store.announced_events()).await?;
        let late = self.late(&announced.into_iter().collect(), Instant::now());
        if late.is_empty() {
            return Ok(());
        }
        let depths = running.services.queue.depths(&[QueueName::Events]).await?;
        if depths.iter().any(|depth| depth.ready > 0) {
            return Ok(());
        }
        for id in late {
            match running.services.store.ask(move |store| store.announced_event(id)).await {
                Ok(None) => continue,
                Ok(Some(event)) => {
                    tracing::warn!(event = %id, "an announced event that nobody received is published again");
                    let message = Outgoing { queue: QueueName::Events, body: to_json(&event), trace: None };
                    for published in running.services.queue.publish(vec![message]).await {
                        published?;
                    }
                }
                // The others are published nevertheless.
                Err(error) => {
                    tracing::warn!(event = %id, error = chain(&error), "an announced event cannot be read, and so not be published again");
                }
            }
            self.put_off(id, Instant::now());
        }
        Ok(())
    }

    /// Those of the announced events that are late; what is announced no more is forgotten.
    fn late(&mut self, announced: &BTreeSet<EventId>, now: Instant) -> Vec<EventId> {
        self.0.retain(|id, _| announced.contains(id));
        for id in announced {
            self.0.entry(*id).or_insert(Wait { until: now + ON_ITS_WAY, then: 2 * ON_ITS_WAY });
        }
        self.0.iter().filter(|(_, wait)| wait.until <= now).map(|(id, _)| *id).collect()
    }

    /// Gives an event time anew, more than before.
    fn put_off(&mut self, id: EventId, now: Instant) {
        if let Some(wait) = self.0.get_mut(&id) {
            *wait = Wait { until: now + wait.then, then: wait.then.saturating_mul(2) };
        }
    }
}

/// Takes an event out of the store that was refused: it is among the dead letters. Another one of the same name stays.
pub(crate) async fn take(running: &Coordinator, event: Arc<DatasetEvent>) {
    let id = event.event_id();
    let take = move |store: &Store| match store.announced_event(id)? {
        Some(announced) if announced.data == event.data => store.take_announced(id),
        Some(_) | None => Ok(()),
    };
    if let Err(error) = running.services.store.ask(take).await {
        tracing::warn!(event = %id, %error, "a refused event cannot be taken out of the store, and is published again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_late_after_a_while_and_after_twice_as_long_when_it_was_published_again() {
        let [lost, accepted] = ["1", "2"].map(|id| EventId::of("test", id));
        let (mut unheard, start) = (UnheardEvents::default(), Instant::now());
        let (both, one) = ([lost, accepted].into(), [lost].into());
        assert_eq!(unheard.late(&both, start), []);
        assert_eq!(unheard.late(&one, start + ON_ITS_WAY / 2), []);
        assert_eq!(unheard.late(&one, start + ON_ITS_WAY), [lost]);
        assert_eq!(unheard.late(&one, start + ON_ITS_WAY), [lost], "it was not published: the broker was away");
        unheard.put_off(lost, start + ON_ITS_WAY);
        assert_eq!(unheard.late(&one, start + 2 * ON_ITS_WAY), []);
        assert_eq!(unheard.late(&one, start + 3 * ON_ITS_WAY), [lost]);
        assert_eq!(unheard.late(&BTreeSet::new(), start + 9 * ON_ITS_WAY), [], "it was accepted");
    }
}
