//! What this process counts. The parts of the coordinator count here; `/metrics` shows it.

use prometheus_client::metrics::counter::Counter;

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
}
