//! The life of a run: how it stands by operators' decisions, following them, opening it again, comparing store and state,
//! its end.

pub(crate) mod comparison;
pub(crate) mod end;
pub(crate) mod follow;
pub(crate) mod holds;
pub(crate) mod remembered;
pub(crate) mod restore;
pub(crate) mod standing;
