//! A broker and a state that fail now and then.

mod queue;
mod state;

pub(super) use queue::FaultyQueue;
pub(super) use state::FaultyState;
