//! What comes with a request: read whole, within bounds of size and time, and refused with the name of what is wrong.

use std::time::Duration;

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::{MediaType, Operation, RequestBody, SchemaObject};
use aide::operation::{ParamLocation, add_parameters, parameters_from_schema, set_body};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::problem::Problem;

/// The largest body of a request, in bytes: a hundred thousand stars by name.
pub(super) const LARGEST: usize = 8 << 20;

/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads a body to its end.
pub(super) async fn read(body: Body, most: usize) -> Result<Bytes, Problem> {
    let read = timeout(PATIENCE, to_bytes(body, most)).await.map_err(|_| Problem::too_slow())?;
    // Whoever goes away meanwhile does not read the answer.
    read.map_err(|_| Problem::too_large(most))
}

/// What is asked for, as JSON in the body; a body that is not there asks for nothing in particular.
pub(super) struct Asked<T>(pub(super) T);

/// What is asked for, in the query of the address.
pub(super) struct AskedBy<T>(pub(super) T);

/// What is asked about, in the path of the address.
pub(super) struct About<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        let body = read(request.into_body(), LARGEST).await?;
        let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
        // A form of another site has no such type: what it could send without a question is not read.
        if let Some(kind) = kind.filter(|kind| !is_json(kind)) {
            return Err(Problem::wrong_media(&kind, "application/json"));
        }
        // A list of values in the order of the fields would be read, too.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(Problem::invalid("the body is not what is expected here: expected an object, `{…}`"));
        }
        let mut reader = serde_json::Deserializer::from_slice(body);
        let asked = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let place = error.path().to_string();
            let place = if place == "." { String::new() } else { format!("field `{place}`: ") };
            Problem::invalid(format!("the body is not what is expected here: {place}{}", error.into_inner()))
        })?;
        reader.end().map_err(|error| Problem::invalid(format!("the body goes on after its end: {error}")))?;
        Ok(Self(asked))
    }
}

/// Whether a media type is that of JSON, whatever else it says.
pub(super) fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for AskedBy<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let asked = Query::try_from_uri(&parts.uri);
        let wrong = |error: axum::extract::rejection::QueryRejection| {
            Problem::invalid(format!("the query of the address is not what is expected here: {}", error.body_text()))
        };
        asked.map(|Query(asked)| Self(asked)).map_err(wrong)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for About<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let about = Path::from_request_parts(parts, state).await;
        about.map(|Path(about)| Self(about)).map_err(|error| Problem::invalid(error.body_text()))
    }
}

impl<T: JsonSchema> OperationInput for Asked<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        let json_schema = T::json_schema(&mut schemas_of_requests());
        let schema = SchemaObject { json_schema, example: None, external_docs: None };
        let media = MediaType { schema: Some(schema), ..MediaType::default() };
        let content = [("application/json".to_owned(), media)].into_iter().collect();
        set_body(context, operation, RequestBody { content, ..RequestBody::default() });
    }
}

impl<T: JsonSchema> OperationInput for AskedBy<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        add(context, operation, T::json_schema, ParamLocation::Query);
    }
}

impl<T: JsonSchema> OperationInput for About<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        add(context, operation, T::json_schema, ParamLocation::Path);
    }
}

/// Schemas of what is read: what may be missing there is there in what is written.
pub(super) fn schemas_of_requests() -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator()
}

fn add(
    context: &mut GenContext,
    operation: &mut Operation,
    schema: impl FnOnce(&mut SchemaGenerator) -> Schema,
    location: ParamLocation,
) {
    let schema = schema(&mut schemas_of_requests());
    let parameters = parameters_from_schema(context, schema, location);
    add_parameters(context, operation, parameters);
}
