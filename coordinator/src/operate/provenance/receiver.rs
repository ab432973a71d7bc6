//! Whoever takes provenance over HTTP: documents are sent as they come, each tried three times.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use domain::error::chain;
use reqwest::{Client, Url};
use serde_json::Value;
use services::address::Address;

use crate::operate::{ErrorKind, OperateError};

/// Documents in one request to an address that takes many.
const BATCH: usize = 100;

/// How long a receiver may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Tries after the first.
const AGAIN: usize = 2;

/// Takes documents over HTTP: a hundred at a time, as one list, where the address ends with `/batch`, and else one by one, as
/// receivers of OpenLineage have it.
pub struct Receiver {
    client: Client,
    url: Url,
    /// Documents in one request.
    batch: usize,
    waiting: Vec<Value>,
    requests: u64,
}

impl Receiver {
    /// The receiver at this address, which must be one of HTTP.
    pub fn new(address: &str) -> Result<Self, OperateError> {
        let shown = Address::new(address);
        let wrong = |why: String| OperateError::new(ErrorKind::Invalid, format!("no receiver at `{shown}`: {why}"));
        let url: Url = address.parse().map_err(|error| wrong(format!("{error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("expected an address that begins with http:// or https://".to_owned()));
        }
        let client = Client::builder().timeout(ANSWER).build().map_err(|error| wrong(chain(&error)))?;
        let batch = if url.path().trim_end_matches('/').ends_with("/batch") { BATCH } else { 1 };
        Ok(Self { client, url, batch, waiting: Vec::new(), requests: 0 })
    }

    /// Takes a document, and sends what makes a request.
    pub async fn take(&mut self, document: Value) -> Result<(), OperateError> {
        self.waiting.push(document);
        if self.waiting.len() < self.batch { Ok(()) } else { self.send().await }
    }

    /// Sends the rest; how many requests it took.
    pub async fn finish(mut self) -> Result<u64, OperateError> {
        if !self.waiting.is_empty() {
            self.send().await?;
        }
        Ok(self.requests)
    }

    async fn send(&mut self) -> Result<(), OperateError> {
        let body = match self.batch {
            1 => self.waiting.pop().unwrap_or_default(),
            _ => Value::Array(std::mem::take(&mut self.waiting)),
        };
        let (client, url, body) = (&self.client, &self.url, &body);
        let once = || async move {
            let answer = client.post(url.clone()).json(body).send().await;
            answer.and_then(reqwest::Response::error_for_status).map(drop).map_err(reqwest::Error::without_url)
        };
        // What it refuses it refuses again.
        let may_pass = |error: &reqwest::Error| error.status().is_none_or(|status| status.is_server_error());
        let sent = once.retry(ExponentialBuilder::new().with_jitter().with_max_times(AGAIN)).when(may_pass).await;
        self.requests += 1;
        sent.map_err(|error| {
            let place = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
            let reason = format!("the receiver at {place} did not take request {}: {}", self.requests, chain(&error));
            OperateError::new(ErrorKind::OutOfReach, reason)
        })
    }
}
