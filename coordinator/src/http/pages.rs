//! The pages for people: HTML that is whole without a script; scripts keep it up to date and draw.

mod assets;
pub(super) mod layout;
mod matrix;
mod overview;
mod parts;
mod star;
mod states;

use axum::Router;
use axum::routing::get;

use super::Site;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/", get(overview::show))
        .route("/runs/{run}/matrix", get(matrix::show))
        .route("/stars/{star}", get(star::show))
        .route("/stars/{star}/lineage/{product}", get(star::show_lineage))
        .merge(assets::routes())
}
