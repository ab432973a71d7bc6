//! Where something belongs in a distributed trace: W3C trace context, with ids that are computed from what they are of.
//!
//! A star in a run is a trace, an attempt a span of it. Whoever knows run, star and attempt knows the ids: a coordinator that
//! starts again goes on with the same trace, and what is told twice is the same span.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use super::{Attempt, EventId, InvalidName, ModuleName, RunId, StarId, as_text};

/// A trace: 16 bytes, not all of them zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId([u8; 16]);

/// A span: 8 bytes, not all of them zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId([u8; 8]);

/// A span in its trace; as text it is a W3C `traceparent` of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether spans of this trace are collected.
    pub is_sampled: bool,
}

as_text!(TraceContext, "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}");

impl TraceId {
    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl SpanId {
    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl TraceContext {
    /// The root of a star's trace in a run; not sampled.
    pub fn of_star(run: RunId, star: StarId) -> Self {
        Self::root(&format!("star\n{run}\n{star}"))
    }

    /// The span in which an event is accepted: in the trace of its publisher, else in one of its own, which is sampled.
    pub fn of_event(event: EventId, publisher: Option<Self>) -> Self {
        match publisher {
            Some(publisher) => publisher.child(&format!("event\n{event}")),
            None => Self { is_sampled: true, ..Self::root(&format!("event\n{event}")) },
        }
    }

    /// The span of an attempt, below a star's.
    #[must_use]
    pub fn attempt(&self, module: &ModuleName, attempt: Attempt) -> Self {
        self.child(&format!("attempt\n{module}\n{attempt}"))
    }

    /// The span below this one that is called so; of one name there is one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let span = first(&Sha256::new().chain_update(self.trace.0).chain_update(self.span.0).chain_update(name));
        Self { span: SpanId(span), ..*self }
    }

    /// The same, sampled where the trace is among this share of all, from 0 to 1. The id alone decides, so that all agree.
    #[must_use]
    pub fn sampled(self, share: f64) -> Self {
        // 53 bits are what a float holds exactly.
        let place = u128::from_be_bytes(self.trace.0) & ((1 << 53) - 1);
        Self { is_sampled: (place as f64) < share * (1_u64 << 53) as f64, ..self }
    }

    fn root(name: &str) -> Self {
        let hash = Sha256::new().chain_update(name);
        let trace = TraceId(first(&hash));
        Self { trace, span: SpanId(first(&hash.chain_update("\nroot"))), is_sampled: false }
    }
}

/// The first bytes of a hash. That all are zero, which no id may be, takes longer than the mission.
fn first<const N: usize>(hash: &Sha256) -> [u8; N] {
    let whole = hash.clone().finalize();
    std::array::from_fn(|at| whole[at])
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (hex::encode(self.trace.0), hex::encode(self.span.0));
        write!(f, "00-{trace}-{span}-{:02x}", u8::from(self.is_sampled))
    }
}

impl FromStr for TraceContext {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let expected = "00-<trace>-<span>-<flags> in lower-case hexadecimal digits";
        parse(text).ok_or_else(|| InvalidName::new("traceparent", expected, text))
    }
}

/// Of later versions what version 00 has is read, as the recommendation asks.
fn parse(text: &str) -> Option<TraceContext> {
    let mut parts = text.split('-');
    let [version] = bytes(parts.next()?)?;
    let (trace, span) = (bytes(parts.next()?)?, bytes(parts.next()?)?);
    let [flags] = bytes(parts.next()?)?;
    let is_whole = parts.next().is_none() || version > 0;
    let is_valid = version != 0xff && is_whole && trace != [0; 16] && span != [0; 8];
    is_valid.then_some(TraceContext { trace: TraceId(trace), span: SpanId(span), is_sampled: flags & 1 == 1 })
}

/// Lower-case hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let is_lower = !text.bytes().any(|digit| digit.is_ascii_uppercase());
    (is_lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn star(number: u64) -> TraceContext {
        TraceContext::of_star(RunId::of(EventId::of("test", "1"), "P", "1"), StarId::of_simulator(number))
    }

    #[test]
    fn a_traceparent_is_read_as_it_is_written() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let read: TraceContext = text.parse().unwrap();
        assert!(read.is_sampled && read.to_string() == text);
        assert_eq!(star(1).to_string().parse(), Ok(star(1)));
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-what-else";
        assert_eq!(later.parse(), Ok(read), "a later version, with flags and parts that nobody knows");
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert!(bad.parse::<TraceContext>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_computed_and_differ() {
        let module: ModuleName = "M".parse().unwrap();
        let first = star(1).attempt(&module, Attempt(1));
        assert_eq!(first, star(1).attempt(&module, Attempt(1)), "the same everywhere");
        assert_eq!(first.trace, star(1).trace);
        assert_ne!(first.span, star(1).span);
        assert_ne!(first.span, star(1).attempt(&module, Attempt(2)).span);
        assert_ne!(first.span, star(2).attempt(&module, Attempt(1)).span);
        assert_ne!(star(1).trace, star(2).trace);
    }

    #[test]
    fn an_event_is_in_the_trace_of_its_publisher() {
        let publisher: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        let event = EventId::of("test", "1");
        let joined = TraceContext::of_event(event, Some(publisher));
        assert_eq!((joined.trace, joined.is_sampled), (publisher.trace, true));
        assert_ne!(joined.span, publisher.span);
        let alone = TraceContext::of_event(event, None);
        assert!(alone.trace != publisher.trace && alone.is_sampled);
    }

    #[test]
    fn of_all_stars_the_wanted_share_is_sampled() {
        let sampled = |share: f64| (0..2_000).filter(|number| star(*number).sampled(share).is_sampled).count();
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 2_000));
        assert!((150..250).contains(&sampled(0.1)), "{}", sampled(0.1));
        assert!((0..100).all(|number| !star(number).sampled(0.1).is_sampled || star(number).sampled(0.2).is_sampled));
    }
}
