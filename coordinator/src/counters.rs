//! What this process counts and measures. The parts of the coordinator count here; `/metrics` shows it.

mod labels;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use labels::{MetricLabels, labels};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Most pairs of host and module that are counted apart: who scrapes keeps each for long.
const MOST_PAIRS: usize = 2_000;

/// Counters of one name, apart by labels.
pub(crate) type CounterFamily = Family<MetricLabels, Counter>;

/// Histograms of one name, apart by labels.
pub(crate) type HistogramFamily = Family<MetricLabels, Histogram, Buckets>;

/// Counters of this process; clones count together.
#[derive(Clone)]
pub(crate) struct Counters {
    pub(crate) events: Counter,
    /// What became of events, by `disposition`; each event is one.
    pub(crate) dispositions: CounterFamily,
    pub(crate) completions: Counter,
    /// Completions of tasks that who sent them had not claimed.
    pub(crate) unclaimed: Counter,
    /// Attempts by `pipeline`, `module` and `result`.
    pub(crate) attempts: CounterFamily,
    /// How long modules ran, by `pipeline` and `module`.
    pub(crate) durations: HistogramFamily,
    /// How long attempts were ready before they were claimed, by `class`.
    pub(crate) queue_waits: HistogramFamily,
    /// How long claims took, as workers say.
    pub(crate) claims: Histogram,
    /// From taking a completion to having what it unlocked confirmed.
    pub(crate) unlocks: Histogram,
    pub(crate) unreadable: Counter,
    pub(crate) published: Counter,
    /// Messages that were published once more: nobody confirmed them, or they got lost in a queue.
    pub(crate) republished: Counter,
    pub(crate) admitted: Counter,
    pub(crate) closed: Counter,
    /// Stars by `pipeline` and `end`.
    pub(crate) ended: CounterFamily,
    pub(crate) leases_lost: Counter,
    pub(crate) failed_on: OnHosts,
    pub(crate) errored_on: OnHosts,
    pub(crate) lost_on: OnHosts,
    /// Outputs that broke their contract, by `pipeline` and `module`.
    pub(crate) violations: CounterFamily,
    pub(crate) nondeterministic: Counter,
    /// Results that break no contract but are odd, as another unit than the data model's, by `pipeline` and `module`.
    pub(crate) warned: CounterFamily,
    pub(crate) hooks_told: Counter,
    pub(crate) hooks_failed: Counter,
    pub(crate) hooks_dropped: Counter,
    /// Seconds that the last comparison of store and state took.
    pub(crate) comparison: Gauge<f64, AtomicU64>,
    /// When the last comparison, and the last sweep of timers, came to its end: seconds since 1970.
    pub(crate) compared: Gauge<f64, AtomicU64>,
    pub(crate) swept: Gauge<f64, AtomicU64>,
    /// Requests by `method`, `route` and `status`.
    pub(crate) requests: CounterFamily,
    /// How long they took, by `route`.
    pub(crate) request_times: HistogramFamily,
}

impl Counters {
    /// Counts what became of a dataset event.
    pub(crate) fn disposed(&self, disposition: &str) {
        self.dispositions.get_or_create_owned(&labels([("disposition", disposition)])).inc();
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            events: Counter::default(),
            dispositions: Family::default(),
            completions: Counter::default(),
            unclaimed: Counter::default(),
            attempts: Family::default(),
            durations: Buckets::family(0.1, 4.0, 9),
            queue_waits: Buckets::family(0.01, 4.0, 10),
            claims: Buckets { first: 0.000_5, factor: 2.0, count: 12 }.new_metric(),
            unlocks: Buckets { first: 0.001, factor: 2.0, count: 14 }.new_metric(),
            unreadable: Counter::default(),
            published: Counter::default(),
            republished: Counter::default(),
            admitted: Counter::default(),
            closed: Counter::default(),
            ended: Family::default(),
            leases_lost: Counter::default(),
            failed_on: OnHosts::default(),
            errored_on: OnHosts::default(),
            lost_on: OnHosts::default(),
            violations: Family::default(),
            nondeterministic: Counter::default(),
            warned: Family::default(),
            hooks_told: Counter::default(),
            hooks_failed: Counter::default(),
            hooks_dropped: Counter::default(),
            comparison: Gauge::default(),
            compared: Gauge::default(),
            swept: Gauge::default(),
            requests: Family::default(),
            request_times: Buckets::family(0.002, 2.0, 12),
        }
    }
}

/// Upper ends of the buckets of a histogram: the first, how many times larger each is than the one before, how many.
#[derive(Clone, Copy)]
pub(crate) struct Buckets {
    first: f64,
    factor: f64,
    count: u16,
}

impl Buckets {
    fn family(first: f64, factor: f64, count: u16) -> HistogramFamily {
        Family::new_with_constructor(Self { first, factor, count })
    }
}

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(self.first, self.factor, self.count))
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// Attempts by the `host` that ran them and by `module`; clones count together.
#[derive(Clone, Default)]
pub(crate) struct OnHosts {
    pub(crate) family: CounterFamily,
    known: Arc<Mutex<BTreeSet<(String, String)>>>,
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
        self.family.get_or_create_owned(&labels([("host", &host), ("module", &module)])).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_beyond_the_bound_are_counted_together() {
        let counted = OnHosts::default();
        (0..MOST_PAIRS + 5).for_each(|host| counted.count(&format!("h{host}"), "M"));
        counted.count("h0", "M");
        let of = |host: &str| counted.family.get_or_create(&labels([("host", host), ("module", "M")])).get();
        assert_eq!((of("h0"), of("other")), (2, 5));
    }
}
