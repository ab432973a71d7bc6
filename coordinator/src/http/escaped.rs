//! Answers of the API in JSON that a terminal takes for text, whatever the names in them are. What is no JSON, as the matrix's
//! bytes, passes as it is.

use std::borrow::Cow;

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use domain::text::shown_json;

/// The same answer, in which characters that a terminal would obey are escapes of JSON.
pub(super) async fn escape(answer: Response) -> Response {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") && !kind.starts_with("application/problem+json") {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    // It was made in memory.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    match std::str::from_utf8(&bytes).map(shown_json) {
        Ok(Cow::Owned(escaped)) => {
            parts.headers.remove(CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(escaped))
        }
        Ok(Cow::Borrowed(_)) | Err(_) => Response::from_parts(parts, Body::from(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use axum::Json;

    use super::*;

    #[tokio::test]
    async fn what_a_terminal_would_obey_is_escaped_and_means_the_same() {
        let said = serde_json::json!({ "name": "a\u{9b}2J\u{202e}µ" });
        let answer = escape(Json(&said).into_response()).await;
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        assert_eq!(bytes, r#"{"name":"a\u009b2J\u202eµ"}"#);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap(), said);
    }
}
