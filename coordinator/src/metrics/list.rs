//! The list that is filled for one answer. Every metric is named in it, also one that has nothing to say yet: whoever watches for
//! a name that is not there cannot tell a mistake from a quiet day.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use crate::counters::{MetricLabels, labels};

/// Metrics in the making.
pub(super) struct List {
    registry: Registry,
}

impl Default for List {
    fn default() -> Self {
        Self { registry: Registry::with_prefix("sas") }
    }
}

impl List {
    /// Adds something that was counted.
    pub(super) fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.registry.register(name, help, Named(metric));
    }

    /// Adds a gauge without labels, named but without a number where that is not known.
    pub(super) fn gauge(&mut self, name: &str, help: &str, number: Option<f64>) {
        match number {
            Some(number) => {
                let gauge = Gauge::<f64, AtomicU64>::default();
                gauge.set(number);
                self.add(name, help, gauge);
            }
            None => self.gauges::<0>(name, help, []),
        }
    }

    /// Adds gauges of one name, apart by their labels; numbers with the same ones are added up.
    pub(super) fn gauges<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        numbers: impl IntoIterator<Item = ([(&'static str, &'a str); N], f64)>,
    ) {
        let family = Family::<MetricLabels, Gauge<f64, AtomicU64>>::default();
        for (of, number) in numbers {
            family.get_or_create_owned(&labels(of)).inc_by(number);
        }
        self.add(name, help, family);
    }

    pub(super) fn into_registry(self) -> Registry {
        self.registry
    }
}

/// A metric that is named even where it is empty.
struct Named<M>(M);

impl<M: Metric> EncodeMetric for Named<M> {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }
}

impl<M> fmt::Debug for Named<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Named")
    }
}
