//! The words and the wire that all programs share, pipelines and contracts, and the core.
//!
//! Pure: no clock, no network, no file, no thread and no log in here; only what is passed in decides what comes out.

pub mod contract;
pub mod error;
pub mod expression;
pub mod id;
pub mod message;
pub mod outcome;
pub mod pipeline;
pub mod product;
pub mod replay;
pub mod run;
pub mod text;
pub mod unit;
