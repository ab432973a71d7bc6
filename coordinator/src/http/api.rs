//! The API for programs, below `/api/v1`: JSON in and out, the answers of [`crate::operate`] as they are.
//!
//! Every route is made together with its description, so that the document cannot miss one; a test keeps it so.

mod audit;
mod events;
mod matrix;
mod page;
mod pipelines;
mod replays;
mod runs;
mod settled;
mod stages;
mod stars;
mod status;
mod tasks;
mod workers;

use aide::axum::ApiRouter;
use aide::transform::TransformOperation;
use axum::Json;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn_with_state, map_response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Site;
use super::caller::Caller;
use super::problem::Problem;
use super::{escaped, openapi, repeats};
use crate::operate::Context;

/// What most routes answer.
type ApiResult<T> = Result<Json<T>, Problem>;

/// Why something is to be done.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Why {
    /// Why, for the audit: 1000 characters at most.
    #[serde(default)]
    reason: Option<String>,
}

pub(super) fn routes(site: &Site) -> Router<Site> {
    let described = || {
        let all = ApiRouter::new()
            .merge(status::routes())
            .merge(events::routes())
            .merge(runs::routes())
            .merge(replays::routes())
            .merge(tasks::routes())
            .merge(settled::routes())
            .merge(matrix::routes())
            .merge(stages::routes())
            .merge(stars::routes())
            .merge(workers::routes())
            .merge(pipelines::routes())
            .merge(audit::routes());
        ApiRouter::new().nest("/api/v1", all)
    };
    let repeated = from_fn_with_state(site.repeats.clone(), repeats::answer_once);
    let described = openapi::describe(site.access.needs_token(), described);
    described.method_not_allowed_fallback(wrong_method).layer(repeated).layer(map_response(escaped::escape))
}

async fn wrong_method(request: Request) -> Problem {
    Problem::wrong_method(request.method().as_str(), request.uri().path())
}

/// Names a route and says in a line what it is for.
fn saying(id: &'static str, summary: &'static str) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    move |operation| operation.id(id).summary(summary)
}

/// To do something in the name of `caller`, for a reason.
fn doing(site: &Site, caller: &Caller, reason: Option<String>) -> Context {
    site.context(caller).because(reason)
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_route_is_made_without_its_description() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/api");
        let mut files = 0;
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        for path in entries.filter(|path| path.is_file()) {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains(".route("), "{} has a route that is not in the document", path.display());
            files += 1;
        }
        assert!(files > 5, "the files of the API are elsewhere");
    }
}
