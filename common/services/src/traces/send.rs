//! Sends spans in batches, as they come; what the collector does not take is dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::error::chain;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Span, SpanCounts, SpanValue, otlp};
use crate::address::Address;

/// Most spans in one request.
const BATCH: usize = 512;

/// How long a batch is filled after its first span.
const FILL: Duration = Duration::from_secs(1);

/// How long a collector may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Where spans are taken from the program, and sent from.
pub(super) struct Sender {
    client: Client,
    url: Url,
    about: Vec<(&'static str, SpanValue)>,
    told: mpsc::Receiver<Span>,
    counts: Arc<SpanCounts>,
}

impl Sender {
    /// For the collector at this address; the error says what is wrong with it.
    pub(super) fn new(
        endpoint: &Address,
        about: Vec<(&'static str, SpanValue)>,
        told: mpsc::Receiver<Span>,
        counts: Arc<SpanCounts>,
    ) -> Result<Self, String> {
        let (what, expected) = ("the collector of traces (`[traces] endpoint`)", "http://host:4318");
        let invalid = || endpoint.invalid(what, expected);
        let mut url: Url = endpoint.checked(what, expected)?.parse().map_err(|_| invalid())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid());
        }
        url.path_segments_mut().map_err(|()| invalid())?.pop_if_empty().extend(["v1", "traces"]);
        let client = Client::builder().timeout(ANSWER).no_proxy().build();
        let client = client.map_err(|error| format!("failed to make ready for {what}: {error}"))?;
        Ok(Self { client, url, about, told, counts })
    }

    /// Sends what is told until `closing`, and what was told before that.
    pub(super) async fn send_all(mut self, closing: CancellationToken) {
        let mut is_away = false;
        let mut batch = Vec::new();
        while self.gather(&mut batch, &closing).await {
            let count = batch.len() as u64;
            match self.post(otlp::request(&self.about, batch.drain(..))).await {
                Ok(rejected) => {
                    self.count(count.saturating_sub(rejected), rejected);
                    if is_away {
                        let dropped = self.counts.dropped.load(Ordering::Relaxed);
                        tracing::info!(dropped, "the collector of traces takes spans again");
                    }
                    is_away = false;
                }
                Err(reason) => {
                    self.count(0, count);
                    if !is_away {
                        tracing::warn!(
                            reason,
                            "the collector of traces takes no spans; they are dropped until it does"
                        );
                    }
                    is_away = true;
                }
            }
        }
    }

    /// Waits for spans, and a little for more; false when no more come.
    async fn gather(&mut self, batch: &mut Vec<Span>, closing: &CancellationToken) -> bool {
        let first = tokio::select! {
            first = self.told.recv_many(batch, BATCH) => first,
            () = closing.cancelled() => {
                self.told.close();
                self.told.recv_many(batch, BATCH).await
            }
        };
        let more = async { while batch.len() < BATCH && self.told.recv_many(batch, BATCH - batch.len()).await > 0 {} };
        if first > 0 {
            _ = closing.run_until_cancelled(timeout(FILL, more)).await;
        }
        first > 0
    }

    /// Sends a request; returns how many of its spans the collector refused.
    async fn post(&self, request: Vec<u8>) -> Result<u64, String> {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, otlp::MEDIA_TYPE).body(request);
        let answered = async { request.send().await?.error_for_status()?.bytes().await };
        let answer = answered.await.map_err(|error| chain(&error.without_url()))?;
        Ok(otlp::rejected(&answer))
    }

    fn count(&self, sent: u64, dropped: u64) {
        self.counts.sent.fetch_add(sent, Ordering::Relaxed);
        self.counts.dropped.fetch_add(dropped, Ordering::Relaxed);
    }
}
