//! What a function of this room needs around it.

use std::sync::Arc;

use async_trait::async_trait;
use domain::id::{ImageIdentity, ImageName, RunId};
use domain::pipeline::Pipeline;
use services::queue::SharedQueue;
use services::state::SharedState;
use store::Store;
use store::audit::Door;
use store::course::{Course, Courses};

use super::matrices::Matrices;
use super::{ErrorKind, OperateError, Readers, look_up};

/// Who asks, and what is there to ask. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The store.
    pub store: Store,
    /// What else the installation has.
    pub installation: Arc<dyn Installation>,
    /// What is fixed of the runs that were asked about.
    pub courses: Courses,
    /// Who opens star files.
    pub readers: Readers,
    /// The matrices that somebody looks at.
    pub matrices: Matrices,
    /// Who asks: the name that goes on record with decisions.
    pub operator: String,
    /// Through which door.
    pub door: Door,
    /// Why, for the record of what is done.
    pub reason: Option<String>,
}

/// What an installation has besides its store. Each is asked for only when it is needed, so that whatever the store alone
/// can answer or refuse needs no service.
#[async_trait]
pub trait Installation: Send + Sync {
    /// The broker.
    async fn queue(&self) -> Result<SharedQueue, OperateError>;
    /// The state.
    async fn state(&self) -> Result<SharedState, OperateError>;
    /// The pipelines that events start.
    async fn pipelines(&self) -> Result<Arc<[Pipeline]>, OperateError>;
    /// Whoever knows which image a name means now.
    async fn images(&self) -> Result<Arc<dyn Images>, OperateError>;
}

/// Tells what a module's image is.
#[async_trait]
pub trait Images: Send + Sync {
    /// Under which name the store keeps the identity of this image, run with this command.
    fn subject(&self, image: &ImageName, command: &[String]) -> String;
    /// The identity that it has now: what changes when its code changes.
    async fn identify(&self, image: &ImageName, command: &[String]) -> Result<ImageIdentity, OperateError>;
}

impl Context {
    /// For an operator of an installation; star files are read by agents of the running program.
    pub fn new(store: Store, installation: Arc<dyn Installation>, operator: impl Into<String>) -> Self {
        let readers = Readers::new(&store, None, 1);
        Self {
            courses: Courses::new(store.clone()),
            store,
            installation,
            readers,
            matrices: Matrices::default(),
            operator: operator.into(),
            door: Door::Cli,
            reason: None,
        }
    }

    /// The same, for this reason.
    #[must_use]
    pub fn because(self, reason: Option<String>) -> Self {
        Self { reason, ..self }
    }

    /// What is fixed of a run.
    pub(super) async fn course(&self, run: RunId) -> Result<Arc<Course>, OperateError> {
        self.courses.find(run).await?.ok_or_else(|| look_up::no_run(run))
    }

    /// Asks the store where it disturbs nobody.
    pub(super) async fn ask<T, E>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, OperateError>
    where
        T: Send + 'static,
        E: Into<OperateError> + Send + 'static,
    {
        self.store.ask(move |store| Ok(work(store))).await?.map_err(Into::into)
    }
}

/// An installation whose services are connected, as a running coordinator has it.
pub struct Connected {
    /// The broker.
    pub queue: SharedQueue,
    /// The state.
    pub state: SharedState,
    /// The pipelines that events start.
    pub pipelines: Arc<[Pipeline]>,
}

#[async_trait]
impl Installation for Connected {
    async fn queue(&self) -> Result<SharedQueue, OperateError> {
        Ok(self.queue.clone())
    }

    async fn state(&self) -> Result<SharedState, OperateError> {
        Ok(self.state.clone())
    }

    async fn pipelines(&self) -> Result<Arc<[Pipeline]>, OperateError> {
        Ok(self.pipelines.clone())
    }

    async fn images(&self) -> Result<Arc<dyn Images>, OperateError> {
        let reason = "a coordinator runs no images and cannot tell which one a name means: \
                      amend with `sas run amend` on a host where modules run";
        Err(OperateError::new(ErrorKind::OutOfReach, reason))
    }
}
