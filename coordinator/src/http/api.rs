//! The API for programs, below `/api/v1`.

mod matrix;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Site;
use crate::operate::{ErrorKind, OperateError};

pub(super) fn routes(_: &Site) -> Router<Site> {
    Router::new().nest("/api/v1", matrix::routes())
}

/// Why something was not done, as RFC 9457 has it.
struct Refused(OperateError);

impl From<OperateError> for Refused {
    fn from(error: OperateError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0.kind {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Refused | ErrorKind::AlreadySo => StatusCode::CONFLICT,
            ErrorKind::OutOfReach => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            ErrorKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let problem = serde_json::json!({
            "title": self.0.kind.to_string(), "status": status.as_u16(), "detail": self.0.message,
        });
        (status, [(header::CONTENT_TYPE, "application/problem+json")], problem.to_string()).into_response()
    }
}
