//! The files that pages load: in the program, each under an address that names its content, so that browsers keep it for ever.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Site;

/// Name, media type and content of each.
const FILES: &[(&str, &str, &str)] = &[
    ("style.css", CSS, include_str!("../assets/style.css")),
    ("first.js", JS, include_str!("../assets/first.js")),
    ("live.js", JS, include_str!("../assets/live.js")),
    ("matrix.css", CSS, include_str!("../assets/matrix.css")),
    ("matrix.js", JS, include_str!("../assets/matrix.js")),
    ("matrix-data.js", JS, include_str!("../assets/matrix-data.js")),
    ("matrix-draw.js", JS, include_str!("../assets/matrix-draw.js")),
    ("star.css", CSS, include_str!("../assets/star.css")),
    ("keys.js", JS, include_str!("../assets/keys.js")),
    ("icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
];

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Addresses in the order of [`FILES`].
static ADDRESSES: LazyLock<Vec<String>> =
    LazyLock::new(|| FILES.iter().map(|(name, _, content)| format!("/assets/{:016x}/{name}", hash(content))).collect());

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/assets/{hash}/{name}", get(send))
}

/// Where a file is; it must be one of ours.
pub(super) fn address(name: &str) -> &'static str {
    let at = FILES.iter().position(|(known, ..)| *known == name);
    at.and_then(|at| ADDRESSES.get(at)).map_or("", String::as_str)
}

async fn send(Path((_, name)): Path<(String, String)>) -> Response {
    let Some((_, kind, content)) = FILES.iter().find(|(known, ..)| *known == name) else {
        return (StatusCode::NOT_FOUND, "there is no such file\n").into_response();
    };
    ([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")], *content)
        .into_response()
}

fn hash(content: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_an_address_of_its_own_and_names_no_other_host() {
        for (name, _, content) in FILES {
            assert!(address(name).ends_with(name), "{name}");
            let outside = content.replace("http://www.w3.org/2000/svg", "");
            assert!(!outside.contains("http://") && !outside.contains("https://"), "{name} asks another host");
        }
        assert_eq!(address("none"), "");
    }
}
