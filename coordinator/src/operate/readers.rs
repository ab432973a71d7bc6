//! A few store agents for questions about star files: hired when they are first needed, lent out for one question at a time.
//!
//! However many ask at once, no more than so many child processes run.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleResult};
use store::Store;
use store::agent::{Agent, AgentOptions};
use store::scratch::Scratch;

use super::{ErrorKind, OperateError};

/// How long a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(60);

/// A pool of store agents; clones are the same.
#[derive(Clone)]
pub struct Readers(Pool<Hiring>);

/// An agent and the directory that is its own; both go together.
pub(super) struct HiredAgent {
    agent: Agent,
    _scratch: Scratch,
}

pub(super) struct Hiring {
    store: Store,
    program: Option<PathBuf>,
}

impl Readers {
    /// At most `most` agents, started as `program`; `None` is the running program, which must begin with
    /// [`store::agent::serve_if_asked`].
    pub fn new(store: &Store, program: Option<PathBuf>, most: usize) -> Self {
        let hiring = Hiring { store: store.clone(), program };
        let pool = Pool::builder(hiring).max_size(most.max(1)).wait_timeout(Some(PATIENCE)).runtime(Runtime::Tokio1);
        Self(pool.build().expect("a runtime is named"))
    }

    /// A pool of its own with at most `most` agents of the same kind, for a question that keeps many busy.
    pub(super) fn another(&self, most: usize) -> Self {
        let Hiring { store, program } = self.0.manager();
        Self::new(store, program.clone(), most)
    }

    /// An agent for one question. It goes back when it is dropped.
    pub(super) async fn lend(&self) -> Result<Object<Hiring>, OperateError> {
        self.0.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(_) => OperateError::new(
                ErrorKind::TimedOut,
                format!("all readers of star files were busy for {} s: ask again", PATIENCE.as_secs()),
            ),
            error @ (PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_)) => {
                OperateError::new(ErrorKind::Failed, error.to_string())
            }
        })
    }
}

impl Manager for Hiring {
    type Type = HiredAgent;
    type Error = OperateError;

    async fn create(&self) -> Result<HiredAgent, OperateError> {
        let scratch = self.store.ask(|store| store.own_scratch("reader")).await?;
        let mut options = AgentOptions::new(self.store.root(), scratch.path());
        options.program.clone_from(&self.program);
        Ok(HiredAgent { agent: Agent::new(options), _scratch: scratch })
    }

    /// An agent replaces a child that died or was left in the middle of a question by itself.
    async fn recycle(&self, _: &mut HiredAgent, _: &Metrics) -> RecycleResult<OperateError> {
        Ok(())
    }
}

impl Deref for HiredAgent {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

impl DerefMut for HiredAgent {
    fn deref_mut(&mut self) -> &mut Agent {
        &mut self.agent
    }
}
