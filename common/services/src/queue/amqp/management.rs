//! The management API: the only source of the number of unacknowledged messages. It lags by some seconds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::error::chain;
use reqwest::{Client, StatusCode};
use serde::Deserialize;

use crate::address::Address;
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
    pub(super) fn new(address: &Address, vhost: &str) -> Result<Self, QueueError> {
        let (what, expected) = ("RabbitMQ's management API (`[queue] management`)", "http://user:password@host:15672");
        let invalid = || QueueError::Refused(address.invalid(what, expected));
        let url = address.checked(what, expected).map_err(QueueError::Refused)?;
        let mut queues: reqwest::Url = url.parse().map_err(|_| invalid())?;
        if !matches!(queues.scheme(), "http" | "https") {
            return Err(invalid());
        }
        queues.path_segments_mut().map_err(|()| invalid())?.pop_if_empty().extend(["api", "queues", vhost]);
        let client = Client::builder()
            .timeout(ANSWER)
            .no_proxy()
            .build()
            .map_err(|error| QueueError::Refused(format!("failed to make ready for {what}: {error}")))?;
        Ok(Self { client, queues, complained: AtomicBool::new(false) })
    }

    /// Unacknowledged messages of a queue; why they are not known, and one warning, where the API does not say.
    pub(super) async fn unacknowledged(&self, queue: &QueueName) -> Result<u64, String> {
        let mut url = self.queues.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(&queue.to_string());
        }
        let asked = async { self.client.get(url).send().await?.error_for_status()?.json::<Stats>().await };
        match asked.await {
            Ok(stats) => Ok(stats.messages_unacknowledged),
            Err(error) => {
                let reason = self.reason(error);
                if !self.complained.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%reason, "unacknowledged messages are unknown");
                }
                Err(reason)
            }
        }
    }

    /// Why the API does not say, without the password that the address holds.
    fn reason(&self, error: reqwest::Error) -> String {
        let place = format!(
            "RabbitMQ's management API at {}:{} (`[queue] management`)",
            self.queues.host_str().unwrap_or_default(),
            self.queues.port_or_known_default().unwrap_or_default()
        );
        match error.status() {
            Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                format!(
                    "{place} does not let us in: user and password of its address must be of a user with the tag `management`"
                )
            }
            Some(StatusCode::NOT_FOUND) => {
                format!("{place} does not know the queue: its address may be another server's")
            }
            Some(status) => format!("{place} answers {status}"),
            None if error.is_decode() => {
                format!("{place} gives no answer of such an API: its address may be another server's")
            }
            None => format!("{place} does not answer: {}", chain(&error.without_url())),
        }
    }
}
