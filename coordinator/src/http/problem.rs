//! Why there is no other answer, as RFC 9457 has it: `application/problem+json`.

use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{MediaType, Operation, Response as Described, SchemaObject};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::operate::{ErrorKind, OperateError};

/// The media type of problems.
const PROBLEM_JSON: &str = "application/problem+json";

/// When a service that is out of reach may be asked for again, in seconds.
const SOON: HeaderValue = HeaderValue::from_static("5");

/// Why there is no other answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Problem {
    /// The kind of problem, for programs: `not_found`, `refused`, `invalid`, …
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What is wrong here, what was expected, and what to do.
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        let (kind, title) = (format!("urn:sas:{kind}"), title.to_owned());
        Self { kind, title, status: status.as_u16(), detail: detail.into() }
    }

    /// The request makes no sense.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        OperateError::new(ErrorKind::Invalid, detail).into()
    }

    /// Nobody is known who asks.
    pub(super) fn unknown_caller() -> Self {
        let detail = "a token is needed, and must be one that is in force: send it as `Authorization: Bearer TOKEN`; \
                      `sas token new` makes one";
        Self::new(StatusCode::UNAUTHORIZED, "no_token", "Nobody is known who asks", detail)
    }

    /// Whoever asks may not.
    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "This is not allowed", detail)
    }

    /// The request is meant for another host.
    pub(super) fn misdirected(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", "This is another host", detail)
    }

    /// There is no such address.
    pub(super) fn no_address(path: &str) -> Self {
        let detail = format!("there is nothing at {path}; /api/v1/openapi.json says what there is");
        Self::new(StatusCode::NOT_FOUND, "not_found", "This is not there", detail)
    }

    /// The address is there, and cannot be asked so.
    pub(super) fn wrong_method(method: &str, path: &str) -> Self {
        let detail = format!("{path} does not take {method}; the header `Allow` says what it takes");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", "This cannot be asked so", detail)
    }

    /// The body is of a kind that nobody reads here.
    pub(super) fn wrong_media(found: &str, expected: &str) -> Self {
        let detail = format!("the body is {found:?}, expected {expected} (`Content-Type`)");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong_media", "This kind of body is not read here", detail)
    }

    /// The body is too large.
    pub(super) fn too_large(most: usize) -> Self {
        let detail =
            format!("the body has more than {most} bytes; many stars are named by a file below the store's root");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large", detail)
    }

    /// The body did not come in time.
    pub(super) fn too_slow() -> Self {
        let detail = "the body of the request did not come in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "The request is too slow", detail)
    }

    /// No more can follow.
    pub(super) fn too_many_follow() -> Self {
        let detail = "as many follow as there are places for; /api/v1/status says the same, once";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_follow", "No more can follow", detail)
    }

    /// The key of a repeat is that of another request.
    pub(super) fn other_request(key: &str) -> Self {
        let detail = format!("`Idempotency-Key: {key}` came before with another body: a new request needs a new key");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", "This key belongs to another request", detail)
    }

    /// The request of that key is not answered yet.
    pub(super) fn not_answered_yet(key: &str) -> Self {
        let detail = format!("the request with `Idempotency-Key: {key}` is not answered yet: ask again in a moment");
        Self::new(StatusCode::CONFLICT, "not_answered_yet", "The same is being done", detail)
    }

    /// The status of the answer.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// What is wrong, in words.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<OperateError> for Problem {
    fn from(error: OperateError) -> Self {
        let (status, title) = match error.kind {
            ErrorKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "This cannot be asked"),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "This is not there"),
            ErrorKind::Refused => (StatusCode::CONFLICT, "This cannot be done"),
            ErrorKind::AlreadySo => (StatusCode::CONFLICT, "There is nothing to do"),
            ErrorKind::OutOfReach => (StatusCode::SERVICE_UNAVAILABLE, "A service does not answer, or refuses"),
            ErrorKind::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "It takes too long"),
            ErrorKind::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "Something is broken"),
        };
        Self::new(status, &error.kind.to_string(), title, error.message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        let headers = response.headers_mut();
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(header::RETRY_AFTER, SOON)),
            _ => {}
        }
        response
    }
}

impl OperationOutput for Problem {
    type Inner = Self;

    fn operation_response(context: &mut GenContext, _: &mut Operation) -> Option<Described> {
        let schema =
            SchemaObject { json_schema: context.schema.subschema_for::<Self>(), example: None, external_docs: None };
        let media = MediaType { schema: Some(schema), ..MediaType::default() };
        let content = [(PROBLEM_JSON.to_owned(), media)].into_iter().collect();
        let description = "why there is no other answer".to_owned();
        Some(Described { description, content, ..Described::default() })
    }

    fn inferred_responses(context: &mut GenContext, operation: &mut Operation) -> Vec<(Option<u16>, Described)> {
        Self::operation_response(context, operation).map(|described| (None, described)).into_iter().collect()
    }
}
