//! Traces: what took how long, star by star, for a collector of OpenTelemetry; off unless an address is configured.
//!
//! Spans are told when they are over, with ids that everybody can compute ([`TraceContext`]). Telling never holds up the work and
//! never fails: what a collector does not take in time is dropped and counted.

mod otlp;
mod send;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::id::{RunId, SpanId, StarId, TraceContext};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::send::Sender;
use crate::address::Address;
use crate::config::ConfigError;

/// Most spans that wait to be sent, a few megabytes.
const WAITING: usize = 8_192;

/// How long a program that ends waits for its last spans to be taken.
const LAST: Duration = Duration::from_secs(5);

/// Where spans go (`[traces]`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TracesConfig {
    /// A collector that takes OTLP over HTTP: `http://host:4318`, to which `/v1/traces` is added. Without it, or empty, there
    /// are no traces.
    pub endpoint: Option<Address>,
    /// Share of the stars that are traced, from 0 to 1. Coordinators decide; workers follow what messages say.
    pub share: f64,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { endpoint: None, share: 1.0 }
    }
}

/// Something that took time and is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Which span it is.
    pub context: TraceContext,
    /// The span that it is part of.
    pub parent: Option<SpanId>,
    /// A span of another trace that it has to do with.
    pub link: Option<TraceContext>,
    /// What it is called: few names, never one with a star.
    pub name: String,
    /// Whether a message is what it is about.
    pub kind: SpanKind,
    /// When it began.
    pub started: Timestamp,
    /// When it was over.
    pub ended: Timestamp,
    /// What is known of it, by the names of OpenTelemetry's conventions where there are some, else by ours (`sas.…`).
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// Why it did not end well.
    pub error: Option<SpanError>,
}

/// What a span is to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Nothing.
    Internal,
    /// The work that the message asked for.
    Consumer,
}

/// What is known of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpanValue {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// Why a span did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanError {
    /// The kind, one of few.
    pub kind: String,
    /// One line for people.
    pub message: String,
}

impl Span {
    /// A span of which no more is known.
    pub fn new(context: TraceContext, name: impl Into<String>, started: Timestamp, ended: Timestamp) -> Self {
        Self {
            context,
            parent: None,
            link: None,
            name: name.into(),
            kind: SpanKind::Internal,
            started,
            // Clocks may be set back.
            ended: ended.max(started),
            attributes: Vec::new(),
            error: None,
        }
    }

    /// The same with something that is known of it.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<SpanValue>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// The same as the work that a message of this queue asked for.
    #[must_use]
    pub fn of_message(self, queue: &str) -> Self {
        Self { kind: SpanKind::Consumer, ..self }
            .with("messaging.system", "rabbitmq")
            .with("messaging.destination.name", queue)
            .with("messaging.operation.type", "process")
    }
}

impl From<&str> for SpanValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for SpanValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for SpanValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for SpanValue {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// Where the parts of a program tell their spans; clones are the same. The default is off.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Collecting>>);

#[derive(Debug)]
struct Collecting {
    share: f64,
    waiting: mpsc::Sender<Span>,
    counts: Arc<SpanCounts>,
}

/// What became of spans.
#[derive(Debug, Default)]
struct SpanCounts {
    sent: AtomicU64,
    dropped: AtomicU64,
}

/// The work of sending spans to the collector.
pub struct Sending(Option<Sender>);

impl Traces {
    /// As configured. `about` is what all spans of this program have in common, by OpenTelemetry's names (`service.name`).
    pub fn new(config: &TracesConfig, about: &[(&'static str, &str)]) -> Result<(Self, Sending), ConfigError> {
        let invalid = |reason| ConfigError::Invalid { from: String::new(), reason };
        if !(0.0..=1.0).contains(&config.share) {
            return Err(invalid(format!("[traces] share is {}, expected a number from 0 to 1", config.share)));
        }
        let Some(endpoint) = config.endpoint.as_ref().filter(|endpoint| !endpoint.secret().is_empty()) else {
            return Ok((Self::default(), Sending(None)));
        };
        let (waiting, told) = mpsc::channel(WAITING);
        let counts = Arc::<SpanCounts>::default();
        let about = about.iter().map(|(name, value)| (*name, SpanValue::from(*value))).collect();
        let sender = Sender::new(endpoint, about, told, counts.clone()).map_err(invalid)?;
        Ok((Self(Some(Arc::new(Collecting { share: config.share, waiting, counts }))), Sending(Some(sender))))
    }

    /// Whether anything is told to anybody.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The root of a star's trace in a run; `None` where that star is not traced.
    pub fn star(&self, run: RunId, star: StarId) -> Option<TraceContext> {
        let context = TraceContext::of_star(run, star).sampled(self.0.as_ref()?.share);
        context.is_sampled.then_some(context)
    }

    /// Tells of something that is over, where its trace is sampled.
    pub fn tell(&self, span: Span) {
        let Some(collecting) = self.0.as_ref().filter(|_| span.context.is_sampled) else { return };
        if collecting.waiting.try_send(span).is_err() && collecting.counts.dropped.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!("spans come faster than the collector of traces takes them: what is too much is dropped");
        }
    }

    /// How many spans the collector took, and how many were dropped, since the program began.
    pub fn counts(&self) -> (u64, u64) {
        let read = |counts: &SpanCounts| (counts.sent.load(Ordering::Relaxed), counts.dropped.load(Ordering::Relaxed));
        self.0.as_ref().map_or((0, 0), |collecting| read(&collecting.counts))
    }
}

impl Sending {
    /// Sends while `work` goes on, then what is left, for a few seconds at most.
    pub async fn beside<T>(self, work: impl Future<Output = T>) -> T {
        let Some(sender) = self.0 else { return work.await };
        let closing = CancellationToken::new();
        let sending = tokio::spawn(sender.send_all(closing.clone()));
        let result = work.await;
        closing.cancel();
        if timeout(LAST, sending).await.is_err() {
            tracing::warn!("the last spans are dropped: the collector of traces does not take them");
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use domain::id::EventId;

    use super::*;

    fn opened(endpoint: &str, share: f64) -> Result<(Traces, Sending), String> {
        let config = TracesConfig { endpoint: Some(Address::new(endpoint)), share };
        Traces::new(&config, &[("service.name", "test")]).map_err(|error| error.to_string())
    }

    fn run() -> RunId {
        RunId::of(EventId::of("test", "1"), "P", "1")
    }

    #[test]
    fn what_is_configured_wrong_is_said_without_the_password() {
        for (endpoint, share, word) in [
            ("http://collector:4318", 1.5, "share is 1.5"),
            ("http://collector:4318", f64::NAN, "share"),
            ("collector:4318", 1.0, "`[traces] endpoint`"),
            ("grpc://op:S3cret@collector:4317", 1.0, "grpc://***@collector:4317"),
        ] {
            let Err(error) = opened(endpoint, share) else { panic!("{endpoint} and {share} are taken") };
            assert!(error.contains(word) && !error.contains("S3cret"), "{error:?} does not name {word}");
        }
    }

    #[test]
    fn without_an_address_no_star_is_traced() {
        let (off, _) = opened("", 1.0).unwrap();
        let (on, _) = opened("http://collector:4318", 1.0).unwrap();
        let star = StarId::of_simulator(1);
        assert!(!off.is_on() && off.star(run(), star).is_none());
        assert!(on.is_on() && on.star(run(), star).is_some_and(|context| context.is_sampled));
    }

    #[test]
    fn what_nobody_takes_is_dropped_and_counted() {
        let (traces, _sending) = opened("http://collector:4318", 1.0).unwrap();
        let unsampled = TraceContext::of_star(run(), StarId::of_simulator(1));
        let span = |context| Span::new(context, "star", Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        (0..WAITING + 5).for_each(|_| traces.tell(span(unsampled.sampled(1.0))));
        traces.tell(span(unsampled));
        assert_eq!(traces.counts(), (0, 5));
    }
}
