//! The words, the wire and the parts that coordinator, worker and command line share.
//!
//! Pure: [`id`], [`pipeline`], [`expression`], [`contract`], [`outcome`], [`message`], [`run`]; they know no clock, no
//! network, no file and no log. Shell: [`queue`], [`state`], [`store`], [`config`], [`service`], [`telemetry`].

pub mod config;
pub mod contract;
pub mod expression;
pub mod id;
pub mod message;
pub mod outcome;
pub mod pipeline;
pub mod queue;
pub mod run;
pub mod service;
pub mod state;
pub mod store;
pub mod telemetry;
