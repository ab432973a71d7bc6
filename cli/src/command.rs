//! The commands, a file each: arguments and what they do.

pub(crate) mod audit;
pub(crate) mod event;
pub(crate) mod export;
pub(crate) mod ingest;
pub(crate) mod init;
pub(crate) mod local;
pub(crate) mod module;
pub(crate) mod pipeline;
pub(crate) mod queue;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod star;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod task;
pub(crate) mod token;
pub(crate) mod worker;
