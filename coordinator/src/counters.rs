//! What this process counts. The parts of the coordinator count here; `/metrics` shows it.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

/// Counters of this process; clones count together.
#[derive(Clone, Default)]
pub(crate) struct Counters {
    pub(crate) events: Counter,
    pub(crate) completions: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) published: Counter,
    pub(crate) admitted: Counter,
    pub(crate) closed: Counter,
    pub(crate) leases_lost: Counter,
    pub(crate) nondeterministic: Counter,
    pub(crate) hooks_told: Counter,
    pub(crate) hooks_failed: Counter,
    pub(crate) hooks_dropped: Counter,
    /// Seconds that the last comparison of store and state took.
    pub(crate) comparison: Gauge<f64, AtomicU64>,
}
