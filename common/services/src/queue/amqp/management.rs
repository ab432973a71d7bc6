//! The management API: the only source of the number of unacknowledged messages. It lags by some seconds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Client;
use serde::Deserialize;

use crate::queue::{QueueError, QueueName};

const ANSWER: Duration = Duration::from_secs(5);

/// The management API of one virtual host.
pub(super) struct Management {
    client: Client,
    /// Up to the name of a queue.
    queues: reqwest::Url,
    complained: AtomicBool,
}

#[derive(Deserialize)]
struct Stats {
    #[serde(default)]
    messages_unacknowledged: u64,
}

impl Management {
    pub(super) fn new(url: &str, vhost: &str) -> Result<Self, QueueError> {
        let invalid =
            |reason: String| QueueError::Refused(format!("the address of RabbitMQ's management API: {reason}"));
        let mut queues: reqwest::Url = url.parse().map_err(|error| invalid(format!("{error}")))?;
        queues
            .path_segments_mut()
            .map_err(|()| invalid("it has no host".to_owned()))?
            .pop_if_empty()
            .extend(["api", "queues", vhost]);
        let client =
            Client::builder().timeout(ANSWER).no_proxy().build().map_err(|error| invalid(error.to_string()))?;
        Ok(Self { client, queues, complained: AtomicBool::new(false) })
    }

    /// Unacknowledged messages of a queue; `None`, and one warning, where the API does not say.
    pub(super) async fn unacknowledged(&self, queue: &QueueName) -> Option<u64> {
        let mut url = self.queues.clone();
        url.path_segments_mut().ok()?.push(&queue.to_string());
        let asked = async { self.client.get(url).send().await?.error_for_status()?.json::<Stats>().await };
        match asked.await {
            Ok(stats) => Some(stats.messages_unacknowledged),
            Err(error) => {
                if !self.complained.swap(true, Ordering::Relaxed) {
                    let error = error.without_url();
                    tracing::warn!(%error, "RabbitMQ's management API does not answer: unacknowledged messages are unknown");
                }
                None
            }
        }
    }
}
