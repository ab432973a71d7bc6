//! What operators ask and do: a function for each, request in, serializable answer out.
//!
//! `sas` is arguments and words around these functions, HTTP is to be routes. So nothing here knows a command line, a table,
//! HTTP, standard error or the environment: whatever a function needs comes with its [`Context`]. What was decided is in the
//! store before anything follows it; coordinators find it there.

pub mod announce;
pub mod audit;
pub mod called;
pub mod compare;
mod context;
mod error;
pub mod event;
pub mod expansion;
pub mod export;
pub mod failures;
pub mod flow;
pub mod gc;
mod look_up;
mod matrices;
pub mod matrix;
pub mod module;
pub(crate) mod patience;
pub mod pipelines;
pub mod provenance;
pub mod queue;
mod readers;
pub mod received;
pub mod replay;
pub mod run;
pub mod scrub;
pub mod selection;
pub mod star;
pub mod stars;
pub mod status;
pub mod task;
pub mod verify;
pub mod view;
pub mod workers;

pub use context::{Connected, Context, Images, Installation};
pub use error::{ErrorKind, OperateError};
pub use readers::Readers;

#[cfg(test)]
mod tests;
