//! Spans in the messages of OTLP: the one place that knows them. Pure.

use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{self as wire, ResourceSpans, ScopeSpans, Status};
use prost::Message;

use super::{Span, SpanKind, SpanValue};

/// The form in which messages are written.
pub(super) const MEDIA_TYPE: &str = "application/x-protobuf";

/// W3C's flag of a trace that is collected.
const SAMPLED: u32 = 1;

/// The request that brings these spans of a program that is `about` this.
pub(super) fn request(about: &[(&'static str, SpanValue)], spans: impl Iterator<Item = Span>) -> Vec<u8> {
    let resource = Resource { attributes: about.iter().cloned().map(attribute).collect(), ..Resource::default() };
    let scope = InstrumentationScope {
        name: "sas".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = ScopeSpans { scope: Some(scope), spans: spans.map(written).collect(), ..ScopeSpans::default() };
    let all = ResourceSpans { resource: Some(resource), scope_spans: vec![spans], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![all] }.encode_to_vec()
}

/// How many spans of a request were refused, as the answer says; one that cannot be read says nothing.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let partial = ExportTraceServiceResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
    partial.map_or(0, |partial| partial.rejected_spans.try_into().unwrap_or(0))
}

fn written(span: Span) -> wire::Span {
    let Span { context, parent, link, name, kind, started, ended, attributes, error } = span;
    let kind = match kind {
        SpanKind::Internal => wire::span::SpanKind::Internal,
        SpanKind::Consumer => wire::span::SpanKind::Consumer,
    };
    let error_type = error.iter().map(|error| ("error.type", error.kind.as_str().into()));
    let attributes = attributes.into_iter().chain(error_type).map(attribute).collect();
    let status = error.map(|error| Status { message: error.message, code: wire::status::StatusCode::Error.into() });
    let link = link.map(|link| wire::span::Link {
        trace_id: link.trace.as_bytes().to_vec(),
        span_id: link.span.as_bytes().to_vec(),
        flags: u32::from(link.is_sampled) * SAMPLED,
        ..wire::span::Link::default()
    });
    wire::Span {
        trace_id: context.trace.as_bytes().to_vec(),
        span_id: context.span.as_bytes().to_vec(),
        parent_span_id: parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default(),
        flags: SAMPLED,
        name,
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(started),
        end_time_unix_nano: nanoseconds(ended),
        attributes,
        links: link.into_iter().collect(),
        status,
        ..wire::Span::default()
    }
}

fn attribute((name, value): (&'static str, SpanValue)) -> KeyValue {
    let value = match value {
        SpanValue::Text(text) => any_value::Value::StringValue(text),
        SpanValue::Number(number) => any_value::Value::IntValue(number),
    };
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Since 1970; times before it are not told.
fn nanoseconds(at: Timestamp) -> u64 {
    at.as_nanosecond().try_into().unwrap_or(0)
}
