//! What every page has around it, and the files that pages load.

use axum::Router;
use axum::http::header;
use axum::routing::get;
use maud::{DOCTYPE, Markup, html};

use super::Site;

const STYLE: &str = include_str!("../assets/style.css");

/// The files that pages load.
pub(super) fn assets() -> Router<Site> {
    Router::new()
        .route("/assets/style.css", get(|| async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) }))
}

/// A whole page.
pub(super) fn page(title: &str, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · SAS" }
                link rel="stylesheet" href="/assets/style.css";
            }
            body {
                main { h1 { (title) } (content) }
            }
        }
    }
}
