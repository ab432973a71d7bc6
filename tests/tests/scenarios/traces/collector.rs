//! A collector of traces: takes what OTLP over HTTP brings, and shows it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode as SpanStatus};
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A collector that takes everything.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    taken: Arc<Mutex<Vec<SeenSpan>>>,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

/// A span as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct SeenSpan {
    pub(crate) span: Span,
    pub(crate) attributes: BTreeMap<String, String>,
    /// What is known of the program that sent it.
    pub(crate) program: BTreeMap<String, String>,
}

impl Collector {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let taken = Arc::<Mutex<Vec<SeenSpan>>>::default();
        let routes = Router::new().route("/v1/traces", post(take)).with_state(taken.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { endpoint, taken, _serving: AbortOnDropHandle::new(serving) })
    }

    /// The spans whose name begins so.
    pub(crate) fn spans(&self, name: &str) -> Vec<SeenSpan> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.iter().filter(|seen| seen.span.name.starts_with(name)).cloned().collect()
    }

    /// The spans right below this one, by name.
    pub(crate) fn below(&self, parent: &SeenSpan) -> BTreeMap<String, SeenSpan> {
        let is_below = |seen: &SeenSpan| {
            seen.span.trace_id == parent.span.trace_id && seen.span.parent_span_id == parent.span.span_id
        };
        self.spans("").into_iter().filter(is_below).map(|seen| (seen.span.name.clone(), seen)).collect()
    }
}

impl SeenSpan {
    /// As a `traceparent` names it.
    pub(crate) fn traceparent(&self) -> String {
        let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("00-{}-{}-01", hexadecimal(&self.span.trace_id), hexadecimal(&self.span.span_id))
    }

    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    pub(crate) fn is_error(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code() == SpanStatus::Error)
    }
}

async fn take(State(taken): State<Arc<Mutex<Vec<SeenSpan>>>>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    for of_program in request.resource_spans {
        let program = texts(of_program.resource.unwrap_or_default().attributes);
        let spans = of_program.scope_spans.into_iter().flat_map(|scope| scope.spans);
        taken.lock().unwrap_or_else(PoisonError::into_inner).extend(spans.map(|mut span| SeenSpan {
            attributes: texts(std::mem::take(&mut span.attributes)),
            program: program.clone(),
            span,
        }));
    }
    StatusCode::OK
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| match attribute.value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => (attribute.key, text),
        Some(Value::IntValue(number)) => (attribute.key, number.to_string()),
        other => (attribute.key, format!("{other:?}")),
    };
    attributes.into_iter().map(text).collect()
}
