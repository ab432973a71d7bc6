//! The management API: the only source of the number of unacknowledged messages. It lags by some seconds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::error::chain;
use futures::future::join_all;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde::Deserialize;

use crate::address::Address;
use crate::queue::{Depth, QueueError};

/// How long it may take to answer: whoever looks at queues waits for it.
const ANSWER: Duration = Duration::from_secs(1);

/// The management API of one virtual host.
pub(super) struct Management {
    client: Client,
    /// Up to the name of a queue.
    queues: reqwest::Url,
    complained: AtomicBool,
}

/// A queue, as the API tells it.
#[derive(Deserialize)]
struct ToldQueue {
    name: String,
    /// Not told for the first seconds of a queue.
    messages_unacknowledged: Option<u64>,
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
        queues.query_pairs_mut().append_pair("columns", "name,messages_unacknowledged");
        let client = Client::builder()
            .timeout(ANSWER)
            .no_proxy()
            .redirect(Policy::none())
            .build()
            .map_err(|error| QueueError::Refused(format!("failed to make ready for {what}: {error}")))?;
        Ok(Self { client, queues, complained: AtomicBool::new(false) })
    }

    /// Adds to each queue how many messages are unacknowledged, where they were counted yet, or why that is not known. A line in
    /// the log when the API begins not to say, and one when it says again.
    pub(super) async fn add_to(&self, depths: &mut [Depth]) {
        let asked = depths.iter_mut().filter(|depth| depth.silent.is_none()).map(async |depth| {
            match self.unacknowledged(&depth.queue).await {
                Ok(number) => depth.unacknowledged = number,
                Err(reason) => depth.unknown = Some(reason),
            }
        });
        join_all(asked).await;
        let reason = depths.iter().find_map(|depth| depth.unknown.as_ref());
        let complained = self.complained.swap(reason.is_some(), Ordering::Relaxed);
        match reason {
            Some(reason) if !complained => tracing::warn!(%reason, "unacknowledged messages are unknown"),
            None if complained => tracing::info!("unacknowledged messages are known again"),
            Some(_) | None => {}
        }
    }

    async fn unacknowledged(&self, queue: &str) -> Result<Option<u64>, String> {
        let mut url = self.queues.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(queue);
        }
        let asked = async { self.client.get(url).send().await?.error_for_status()?.json::<ToldQueue>().await };
        match asked.await {
            Ok(told) if told.name == queue => Ok(told.messages_unacknowledged),
            Ok(_) => Err(self.is_another()),
            Err(error) => Err(self.reason(error)),
        }
    }

    fn place(&self) -> String {
        format!(
            "RabbitMQ's management API at {}:{} (`[queue] management`)",
            self.queues.host_str().unwrap_or_default(),
            self.queues.port_or_known_default().unwrap_or_default()
        )
    }

    fn is_another(&self) -> String {
        format!("{} gives no answer of such an API: its address may be another server's", self.place())
    }

    /// Why the API does not say, without the password that the address holds.
    fn reason(&self, error: reqwest::Error) -> String {
        let place = self.place();
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
            None if error.is_decode() => self.is_another(),
            None => format!("{place} does not answer: {}", chain(&error.without_url())),
        }
    }
}
