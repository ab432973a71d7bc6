//! What is counted and shown at `/metrics`, in the words of the design.
//!
//! [`Counters`](crate::counters::Counters) are of this process; gauges are read from store, state and broker when they are asked
//! for, so that every coordinator shows the same. A service that is away leaves its gauges out, and says so in
//! `sas_service_up`. No label is ever a star.

mod flow;
mod list;
mod plain;
mod process;
mod runs;
mod services;

use list::List;
use prometheus_client::encoding::text::encode;

use crate::operate::Installation;
use crate::operate::flow::flow as look_at_flow;
use crate::readiness::Readiness;
use crate::running::Coordinator;

/// The form in which metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricsForm {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4.
    Plain,
}

impl MetricsForm {
    /// What a client takes, by its header `Accept`.
    pub(crate) fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Plain }
    }

    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All metrics.
pub(crate) async fn text(
    running: &Coordinator,
    installation: &dyn Installation,
    readiness: &Readiness,
    form: MetricsForm,
) -> String {
    let (flow, ready, runs) =
        tokio::join!(look_at_flow(installation), readiness.look(&running.services), runs::RunsSeen::look(running));
    let mut list = List::default();
    process::add(&mut list, running);
    services::add(&mut list, &ready, running).await;
    runs::add(&mut list, &runs);
    if let Ok(flow) = flow {
        flow::add(&mut list, &flow);
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    _ = encode(&mut text, &list.into_registry());
    match form {
        MetricsForm::OpenMetrics => text,
        MetricsForm::Plain => plain::of(&text),
    }
}
