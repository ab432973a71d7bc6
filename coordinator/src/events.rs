//! Dataset events: accepted into the store, expanded into runs.

pub(crate) mod accept;
pub(crate) mod expand;
