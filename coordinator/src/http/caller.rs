//! Who asks over HTTP.

use aide::OperationInput;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use store::audit::Door;

use super::problem::Problem;
use crate::tokens::Role;

/// Who asks, as the guard found: the name goes on record with what is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) door: Door,
}

impl Caller {
    /// Whether that needs no more than the role of this caller.
    pub(crate) fn may(&self, role: Role) -> bool {
        self.role >= role
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unknown_caller)
    }
}

impl OperationInput for Caller {}
