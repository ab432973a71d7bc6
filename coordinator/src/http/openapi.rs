//! The description of the API, made from the routes themselves: OpenAPI 3.1, at `/api/v1/openapi.json`.

use std::sync::{Arc, OnceLock};

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use aide::generate::{in_context, reset_context};
use aide::openapi::{OpenApi, SecurityScheme};
use aide::transform::{TransformOpenApi, TransformOperation};
use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use schemars::generate::SchemaSettings;

use super::Site;
use super::problem::Problem;

const ABOUT: &str = "Everything that operators ask and do. Errors are problem details (RFC 9457). Lists have `next` where there \
is more; send it back as it is. A POST with `Idempotency-Key` may be repeated: the same key and body get the same answer. \
Where tokens are configured, each request needs one: `Authorization: Bearer TOKEN`; the role viewer looks, ingestion publishes \
events, operator does everything.";

/// The routes, and one more that describes them.
pub(super) fn describe(needs_token: bool, routes: impl FnOnce() -> ApiRouter<Site>) -> Router<Site> {
    reset_context();
    in_context(|context| {
        let mut settings = SchemaSettings::draft2020_12().for_serialize();
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        context.schema = settings.into_generator();
    });
    let text = Arc::new(OnceLock::<String>::new());
    let shown = text.clone();
    let show = async move || shown_text(shown.get());
    let described = get_with(show, |operation: TransformOperation<'_>| {
        operation.id("openapi").summary("This description").response_with::<200, String, _>(|response| response)
    });
    let mut document = OpenApi::default();
    let router = routes().api_route("/api/v1/openapi.json", described).finish_api_with(&mut document, about);
    if !needs_token {
        // Nothing is needed; a token is not minded.
        document.security.insert(0, Default::default());
    }
    let written = serde_json::to_string(&document).unwrap_or_else(|error| {
        tracing::error!(%error, "the description of the API cannot be written");
        "{}".to_owned()
    });
    _ = text.set(written);
    router
}

fn shown_text(text: Option<&String>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.cloned().unwrap_or_default()).into_response()
}

fn about(document: TransformOpenApi<'_>) -> TransformOpenApi<'_> {
    let token = SecurityScheme::Http {
        scheme: "bearer".to_owned(),
        bearer_format: None,
        description: Some("a token as `sas token new` makes it".to_owned()),
        extensions: Default::default(),
    };
    document
        .title("Stellar analysis, star by star")
        .version(env!("CARGO_PKG_VERSION"))
        .description(ABOUT)
        .security_scheme("token", token)
        .security_requirement("token")
        .default_response::<Problem>()
}
