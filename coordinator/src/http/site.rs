//! What every route has: the running coordinator, and what operators ask and do.

use std::path::PathBuf;
use std::sync::Arc;

use domain::pipeline::Pipeline;
use store::audit::Door;
use tokio::sync::Semaphore;

use super::access::Access;
use super::caller::Caller;
use super::glance::Glance;
use super::repeats::Repeats;
use super::server;
use crate::operate::matrix::Matrices;
use crate::operate::{Connected, Context, Installation, Readers};
use crate::readiness::Readiness;
use crate::running::Coordinator;

/// How many star files are read at once for people who look.
const READERS: usize = 2;

/// What every route has; clones are the same.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) running: Coordinator,
    pub(super) access: Arc<Access>,
    pub(super) repeats: Arc<Repeats>,
    /// How things stood a moment ago.
    pub(crate) glance: Glance,
    pub(crate) readiness: Arc<Readiness>,
    /// Free places for those who follow, a quarter of all connections: each has one for as long as it likes.
    pub(super) followers: Arc<Semaphore>,
    context: Context,
}

impl Site {
    /// Around a running coordinator; `agent` is the program that reads star files, the running one when `None`.
    pub(crate) fn new(
        running: Coordinator,
        pipelines: Arc<[Pipeline]>,
        agent: Option<PathBuf>,
        access: Access,
    ) -> Self {
        let services = &running.services;
        let installation = Connected { queue: services.queue.clone(), state: services.state.clone(), pipelines };
        let store = services.store.clone();
        let context = Context {
            readers: Readers::new(&store, agent, READERS),
            courses: services.courses.clone(),
            store,
            matrices: Matrices::default(),
            installation: Arc::new(installation),
            operator: String::new(),
            door: Door::Http,
            reason: None,
        };
        Self {
            running,
            access: Arc::new(access),
            repeats: Arc::default(),
            readiness: Arc::default(),
            glance: Glance::default(),
            followers: Arc::new(Semaphore::new(server::connections().div_ceil(4))),
            context,
        }
    }

    /// What is asked in nobody's name.
    pub(crate) fn installation(&self) -> &dyn Installation {
        &*self.context.installation
    }

    /// To ask and do in the name of `caller`.
    pub(crate) fn context(&self, caller: &Caller) -> Context {
        Context { operator: caller.name.clone(), door: caller.door, ..self.context.clone() }
    }
}
