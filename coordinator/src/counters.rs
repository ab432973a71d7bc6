//! What this process counts. The parts of the coordinator count here; `/metrics` shows it.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// Most pairs of host and module that are counted apart: who scrapes keeps each for long.
const MOST_PAIRS: usize = 2_000;

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
    pub(crate) failed_on: OnHosts,
    pub(crate) errored_on: OnHosts,
    pub(crate) lost_on: OnHosts,
    pub(crate) nondeterministic: Counter,
    /// Results that break no contract but are odd, as another unit than the data model's.
    pub(crate) warned: Family<OfModule, Counter>,
    pub(crate) hooks_told: Counter,
    pub(crate) hooks_failed: Counter,
    pub(crate) hooks_dropped: Counter,
    /// Seconds that the last comparison of store and state took.
    pub(crate) comparison: Gauge<f64, AtomicU64>,
}

/// Attempts by the host that ran them and by module; clones count together.
#[derive(Clone, Default)]
pub(crate) struct OnHosts {
    pub(crate) family: Family<OfHost, Counter>,
    known: Arc<Mutex<BTreeSet<(String, String)>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OfHost {
    host: String,
    module: String,
}

impl OnHosts {
    /// Counts one; what is beyond the most pairs counts as of host `other`.
    pub(crate) fn count(&self, host: &str, module: &str) {
        let pair = (host.to_owned(), module.to_owned());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (host, module) = if known.contains(&pair) || known.len() < MOST_PAIRS {
            known.insert(pair.clone());
            pair
        } else {
            ("other".to_owned(), pair.1)
        };
        drop(known);
        self.family.get_or_create(&OfHost { host, module }).inc();
    }
}

/// What is counted by module.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OfModule {
    pub(crate) pipeline: String,
    pub(crate) module: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_beyond_the_bound_are_counted_together() {
        let counted = OnHosts::default();
        (0..MOST_PAIRS + 5).for_each(|host| counted.count(&format!("h{host}"), "M"));
        counted.count("h0", "M");
        let of = |host: &str| counted.family.get_or_create(&OfHost { host: host.into(), module: "M".into() }).get();
        assert_eq!((of("h0"), of("other")), (2, 5));
    }
}
