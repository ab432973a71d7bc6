//! The life of a run: opening it in the state, following what operators decided, restoring what settled before, its end.

pub(crate) mod end;
pub(crate) mod follow;
pub(crate) mod holds;
pub(crate) mod open;
pub(crate) mod restore;
pub(crate) mod rewind;
mod selected;
