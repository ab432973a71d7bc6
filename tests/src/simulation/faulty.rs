//! A broker and a state that fail now and then, as each program of the simulation sees them.

mod consumer;
mod queue;
mod state;

use std::sync::Arc;

use services::queue::SharedQueue;
use services::state::SharedState;

use super::Faults;
use super::life::Life;
use super::witness::Witness;
use queue::FaultyQueue;
use state::FaultyState;
pub(super) use state::StateService;

/// What programs of the simulation have in common.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) broker: SharedQueue,
    pub(super) state: Arc<StateService>,
    pub(super) faults: Arc<Faults>,
    pub(super) witness: Arc<Witness>,
}

impl Surroundings {
    /// The broker, as a program sees it.
    pub(super) fn queue_of(&self, life: &Life) -> SharedQueue {
        Arc::new(FaultyQueue { around: self.clone(), life: life.clone() })
    }

    /// The state, as a program sees it.
    pub(super) fn state_of(&self, life: &Life) -> SharedState {
        Arc::new(FaultyState { around: self.clone(), life: life.clone() })
    }
}
