//! The pages for people: HTML that is whole without a script; scripts keep it up to date and draw.

mod layout;
mod overview;

use axum::Router;
use axum::routing::get;

use super::Site;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/", get(overview::show)).merge(layout::assets())
}
