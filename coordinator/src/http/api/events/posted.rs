//! Events as publishers send them over HTTP: the structured, the binary and the batched form of CloudEvents 1.0.

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::{MediaType, Operation, RequestBody, SchemaObject};
use aide::operation::set_body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use domain::message::{DatasetEvent, DatasetUpdate, to_json};
use percent_encoding::percent_decode_str;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

use crate::http::Site;
use crate::http::body::{self, LARGEST, is_json};
use crate::http::problem::Problem;
use crate::operate::event;

/// An event in a document of its own.
const STRUCTURED: &str = "application/cloudevents+json";

/// Many events in a list.
const BATCH: &str = "application/cloudevents-batch+json";

/// The most events of a batch.
const MOST: usize = 1000;

/// Events that somebody sent.
pub(super) enum PostedEvents {
    One(Box<DatasetEvent>),
    Batch(Vec<DatasetEvent>),
}

impl FromRequest<Site> for PostedEvents {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Site) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let body = body::read(request.into_body(), LARGEST).await?;
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is = |name: &str| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(name);
        if is(STRUCTURED) {
            return one(&body);
        }
        if is(BATCH) {
            return batch(&body);
        }
        if headers.contains_key("ce-specversion") && (kind.is_empty() || is_json(kind)) {
            return one(&to_json(&Value::Object(binary(&headers, &body)?)));
        }
        let expected = format!(
            "{STRUCTURED}, {BATCH}, or application/json with the headers `ce-specversion`, `ce-type`, `ce-source`, `ce-id`"
        );
        Err(Problem::wrong_media(kind, &expected))
    }
}

fn one(body: &[u8]) -> Result<PostedEvents, Problem> {
    Ok(PostedEvents::One(Box::new(read(body)?)))
}

fn read(body: &[u8]) -> Result<DatasetEvent, Problem> {
    event::read(body).map_err(|error| Problem::invalid(error.message))
}

fn batch(body: &[u8]) -> Result<PostedEvents, Problem> {
    let wrong = |reason: String| Problem::invalid(format!("unreadable batch of events: {reason}"));
    let events: Vec<Value> = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    if events.len() > MOST {
        return Err(wrong(format!("it has {} events, {MOST} are the most", events.len())));
    }
    let events = (1..).zip(&events).map(|(number, event)| {
        read(&to_json(event)).map_err(|problem| wrong(format!("event {number}: {}", problem.detail())))
    });
    Ok(PostedEvents::Batch(events.collect::<Result<_, _>>()?))
}

/// The attributes of an event are headers, its data the body.
fn binary(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Problem> {
    let wrong = |reason: String| Problem::invalid(format!("unreadable dataset event: {reason}"));
    let mut event = Map::new();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        let value = value.to_str().map_err(|_| wrong(format!("header `{name}` is not ASCII")))?;
        let value =
            percent_decode_str(value).decode_utf8().map_err(|_| wrong(format!("header `{name}` is not UTF-8")))?;
        event.insert(attribute.to_owned(), value.into_owned().into());
    }
    let data: Value = serde_json::from_slice(body).map_err(|error| wrong(format!("its data are no JSON: {error}")))?;
    event.insert("datacontenttype".to_owned(), "application/json".into());
    event.insert("data".to_owned(), data);
    Ok(event)
}

impl OperationInput for PostedEvents {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        let media = |json_schema: Schema| MediaType {
            schema: Some(SchemaObject { json_schema, example: None, external_docs: None }),
            ..MediaType::default()
        };
        let mut schemas = body::schemas_of_requests();
        let forms = [
            (STRUCTURED, DatasetEvent::json_schema(&mut schemas)),
            (BATCH, Vec::<DatasetEvent>::json_schema(&mut schemas)),
            ("application/json", DatasetUpdate::json_schema(&mut schemas)),
        ];
        let content = forms.into_iter().map(|(name, schema)| (name.to_owned(), media(schema))).collect();
        let description =
            "one event, a batch, or (application/json) the data of one whose attributes are `ce-` headers";
        let description = Some(description.to_owned());
        set_body(context, operation, RequestBody { content, description, required: true, ..RequestBody::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_the_binary_form_are_headers_that_may_be_escaped() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("ce-specversion", "1.0"), ("ce-source", "K%C3%B6ln%20%22x%22"), ("other", "1")] {
            headers.insert(name, value.parse().unwrap());
        }
        let event = binary(&headers, b"{\"a\":1}").unwrap();
        assert_eq!(event["source"], "Köln \"x\"");
        assert_eq!((event.get("other"), &event["data"]["a"]), (None, &1.into()));
        assert!(binary(&headers, b"no").unwrap_err().detail().contains("no JSON"));
    }
}
