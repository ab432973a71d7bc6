//! The pages for people: HTML that is whole without a script; scripts keep it up to date and draw.

mod act;
mod assets;
mod audit;
mod commands;
mod drawing;
mod events;
mod failures;
mod graph;
pub(super) mod layout;
mod matrix;
mod overview;
mod parts;
mod query;
mod queues;
mod run;
mod runs;
mod search;
mod star;
mod stars;
mod states;
mod tasks;
mod workers;

use axum::Router;
use axum::routing::get;

use super::Site;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/", get(overview::show))
        .route("/runs", get(runs::show))
        .route("/runs/{run}", get(run::show))
        .route("/runs/{run}/tasks", get(tasks::show))
        .route("/runs/{run}/stars", get(stars::show))
        .route("/runs/{run}/failures", get(failures::of_run))
        .route("/failures", get(failures::of_all))
        .route("/queues", get(queues::show))
        .route("/queues/{pipeline}/{module}", get(queues::behind))
        .route("/workers", get(workers::show))
        .route("/events", get(events::show))
        .route("/audit", get(audit::show))
        .route("/search", get(search::go))
        .route("/runs/{run}/matrix", get(matrix::show))
        .route("/stars/{star}", get(star::show))
        .route("/stars/{star}/lineage/{product}", get(star::show_lineage))
        .merge(act::routes())
        .merge(assets::routes())
}
