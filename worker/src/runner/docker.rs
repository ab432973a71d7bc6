//! Runs a module in a container of its own, by Docker Engine 20.10 (API 1.41) or newer.
//!
//! A container's life is owned by its labels and by [`Runner::sweep`], not by the code path that started it: whatever
//! dies, what is left is found. No restart policy and no automatic removal: the exit code goes with the container.

mod calls;
mod container;
mod end;
mod image;
mod login;
mod lookup;
mod program;
mod session;
mod shared;
mod used;

use domain::id::{ImageIdentity, ImageName, WorkerName};
use domain::outcome::UsedResources;
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder, StartContainerOptions,
};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use store::presence;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use used::Looks;

pub use lookup::FoundImage;

use super::session::{Opened, SessionSpec};
use super::{BoundedLog, Ended, Exit, IsKnown, Program, Runner, RunnerError, Spec};

/// How many containers are removed at once beside what runs; who ends one more waits.
const REMOVALS: usize = 8;

/// How long the last of them are awaited before the worker ends; what is left then the sweep removes.
const REMOVING: Duration = Duration::from_secs(20);

/// How containers are run on this host (`[docker]`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DockerConfig {
    /// Whether registries are asked what an image's name stands for, and images that are not on this host are pulled.
    pub pull: bool,
    /// How long a pull may take.
    #[serde(with = "humantime_serde")]
    pub pull_timeout: Duration,
    /// Docker's `config.json` with logins to registries; that of `DOCKER_CONFIG` or `~/.docker` where it is not set.
    pub logins: Option<PathBuf>,
    /// Whether a small init process stands before the program: it passes SIGTERM on and reaps orphans.
    pub init: bool,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self { pull: true, pull_timeout: Duration::from_secs(600), logins: None, init: true }
    }
}

/// Whose containers these are.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The worker's name.
    pub worker: WorkerName,
    /// The host's name, for people.
    pub host: String,
    /// Root of the store.
    pub store: PathBuf,
    /// The directory that holds the scratch directories of all workers of this store.
    pub scratch: PathBuf,
}

/// Runs programs in containers.
pub struct DockerRunner {
    docker: Docker,
    config: DockerConfig,
    owner: Owner,
    user: User,
    /// CPUs of the engine's host; it refuses to give more.
    cpus: f64,
    /// The processor of the engine's host, as images name it; empty where the engine does not say.
    processor: String,
    /// Images that were seen on this host, each with a program that is for it.
    seen: Mutex<BTreeSet<(ImageIdentity, Program)>>,
    /// Places among the containers that are being removed.
    removals: Arc<Semaphore>,
    removing: TaskTracker,
}

/// Whom a container's program runs as.
#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
    /// Whether its output directory must be given to it.
    foreign: bool,
}

impl User {
    /// The worker's own user; where that is root, one that owns nothing.
    fn of_this_process() -> Self {
        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
        if uid.is_root() {
            Self { uid: 65532, gid: 65532, foreign: true }
        } else {
            Self { uid: uid.as_raw(), gid: gid.as_raw(), foreign: false }
        }
    }
}

impl DockerRunner {
    /// Connects to the engine that `DOCKER_HOST` names, or this host's.
    pub async fn connect(config: DockerConfig, owner: Owner) -> Result<Self, RunnerError> {
        let unreachable = |error: Error| RunnerError::Engine {
            doing: "answer",
            reason: format!("{error}; is it running, and may this user use it (group docker, or DOCKER_HOST)?"),
        };
        let docker = Docker::connect_with_defaults().map_err(unreachable)?;
        let docker = docker.negotiate_version().await.map_err(unreachable)?;
        let host = docker.info().await.map_err(unreachable)?;
        let cpus = host.ncpu.map_or(f64::INFINITY, |cpus| cpus as f64);
        let processor = image::processor(&host.architecture.unwrap_or_default()).to_owned();
        let (seen, removals, removing) = (Mutex::default(), Arc::new(Semaphore::new(REMOVALS)), TaskTracker::new());
        Ok(Self { docker, config, owner, user: User::of_this_process(), cpus, processor, seen, removals, removing })
    }

    /// Makes a container of an image, and tells its id; brings the image here first where it is missing. Image and
    /// program are looked at once: an image that went since is missed by the engine.
    async fn create(
        &self,
        name: &str,
        program: &Program,
        identity: &ImageIdentity,
        body: ContainerCreateBody,
    ) -> Result<String, RunnerError> {
        let subject = (identity.clone(), program.clone());
        let mut is_seen = self.lock_seen().contains(&subject);
        if !is_seen {
            self.bring(program, identity).await?;
        }
        let create = || {
            let options = CreateContainerOptionsBuilder::default().name(name).build();
            self.docker.create_container(Some(options), body.clone())
        };
        let created = match create().await {
            Err(Error::DockerResponseServerError { status_code: 404, .. }) if is_seen => {
                self.lock_seen().remove(&subject);
                self.bring(program, identity).await?;
                is_seen = false;
                create().await
            }
            created => created,
        };
        let id = created.map_err(|error| not_created(&program.image, &error))?.id;
        if !is_seen {
            if let Err(refused) = self.look_at_program(&id, &program.image).await {
                self.remove_later(id).await;
                return Err(refused);
            }
            self.lock_seen().insert(subject);
        }
        Ok(id)
    }

    fn lock_seen(&self) -> std::sync::MutexGuard<'_, BTreeSet<(ImageIdentity, Program)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the container of an attempt.
    async fn create_oneshot(&self, name: &str, spec: &Spec) -> Result<String, RunnerError> {
        if self.user.foreign {
            chown(&spec.output, Some(self.user.uid), Some(self.user.gid)).map_err(|source| RunnerError::Directory {
                doing: "give away",
                path: spec.output.clone(),
                source,
            })?;
        }
        let body = container::oneshot(spec, &self.config, &self.owner, self.user, self.cpus);
        self.create(name, &spec.program, &spec.identity, body).await
    }

    /// Removes a container beside what goes on; waits only where many are being removed already. What stays is the sweep's.
    async fn remove_later(&self, name: String) {
        let Ok(place) = Arc::clone(&self.removals).acquire_owned().await else { return };
        let docker = self.docker.clone();
        self.removing.spawn(async move {
            if let Err(error) = end::remove(&docker, &name).await {
                tracing::warn!(container = name, %error, "a container stays behind until the next sweep");
            }
            drop(place);
        });
    }

    /// Starts a container and stays with it to its end.
    async fn follow(
        &self,
        (name, id): (&str, &str),
        spec: &Spec,
        cancel: &CancellationToken,
    ) -> Result<Ended, RunnerError> {
        let attach = AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).build();
        let attached = self.docker.attach_container(name, Some(attach)).await;
        let mut output = attached.map_err(|error| engine("attach to a container", &error))?.output.fuse();
        let started = Instant::now();
        let mut log = BoundedLog::shown_by(spec.last_line.clone());
        match self.docker.start_container(name, None::<StartContainerOptions>).await {
            Ok(()) => {}
            // The command is not in the image, or cannot be executed: what a shell calls 127.
            Err(Error::DockerResponseServerError { status_code: 400, message }) => {
                let (exit, used) = (Exit::Code(127), UsedResources::default());
                let log = message;
                return Ok(Ended { exit, log, millis: 0, certain: true, gone: true, input_is_free: true, used });
            }
            Err(error) => return Err(engine("start a container", &error)),
        }
        let (mut looks, mut is_silent) = (Looks::at(id), false);
        let (stop, end) = {
            let end = end::end_or_stop(&self.docker, name, spec, cancel);
            tokio::pin!(end);
            loop {
                tokio::select! {
                    end = &mut end => break end?,
                    chunk = output.next(), if !is_silent => match chunk {
                        Some(chunk) => end::keep(&mut log, chunk),
                        // It is about to end.
                        None => {
                            looks.look();
                            is_silent = true;
                        }
                    },
                    () = looks.next() => {}
                }
            }
        };
        end::drain(&mut log, &mut output).await;
        if !end.certain {
            end::catch_up(&self.docker, name, &mut log).await;
        }
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let exit = match stop {
            Some(stop) => stop,
            None => end::exit(&self.docker, name, spec, &end).await?,
        };
        let (used, certain) = (looks.used(), end.certain);
        Ok(Ended { exit, log: log.text(), millis, certain, gone: certain, input_is_free: certain, used })
    }
}

#[async_trait]
impl Runner for DockerRunner {
    fn subject(&self, program: &Program) -> String {
        program.image.to_string()
    }

    async fn check(&self) -> Result<(), RunnerError> {
        self.docker.ping().await.map(drop).map_err(|error| engine("answer", &error))
    }

    async fn identify(&self, program: &Program) -> Result<ImageIdentity, RunnerError> {
        self.identify_image(&program.image).await
    }

    async fn fetch(&self, program: &Program, identity: &ImageIdentity) -> Result<(), RunnerError> {
        self.bring(program, identity).await
    }

    async fn run(&self, spec: &Spec, cancel: &CancellationToken) -> Result<Ended, RunnerError> {
        let name = container::name(&spec.labels);
        let ended = match self.create_oneshot(&name, spec).await {
            Ok(id) => self.follow((&name, &id), spec, cancel).await,
            Err(error) => Err(error),
        };
        match &ended {
            Ok(_) => self.remove_later(name).await,
            // Where nobody knows how it ended it may run.
            Err(_) => {
                if let Err(error) = end::remove(&self.docker, &name).await {
                    tracing::warn!(container = name, %error, "a container stays behind until the next sweep");
                }
            }
        }
        ended
    }

    async fn open(&self, spec: &SessionSpec) -> Result<Option<Opened>, RunnerError> {
        self.open_session(spec).await.map(Some)
    }

    async fn finish(&self) {
        self.removing.close();
        if tokio::time::timeout(REMOVING, self.removing.wait()).await.is_err() {
            tracing::warn!("containers stay behind until the next sweep: the engine does not remove them");
        }
    }

    async fn sweep(&self, is_known: IsKnown<'_>) -> Result<u32, RunnerError> {
        let label = format!("{}={}", container::STORE, self.owner.store.display());
        let filters = HashMap::from([("label", vec![label.as_str()])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found =
            self.docker.list_containers(Some(options)).await.map_err(|error| engine("list containers", &error))?;
        let mut removed = 0;
        for container in found {
            let (Some(id), Some(labels)) = (container.id, container.labels) else { continue };
            if self.is_wanted(&labels, is_known) {
                continue;
            }
            let worker = labels.get(container::WORKER);
            match end::remove(&self.docker, &id).await {
                Ok(()) => {
                    removed += 1;
                    tracing::info!(container = id, ?worker, "removed an orphan container");
                }
                // The next sweep tries again; the others need not wait for it.
                Err(error) => tracing::warn!(container = id, ?worker, %error, "an orphan container stays behind"),
            }
        }
        Ok(removed)
    }
}

impl DockerRunner {
    fn is_wanted(&self, labels: &HashMap<String, String>, is_known: IsKnown<'_>) -> bool {
        match labels.get(container::WORKER) {
            Some(worker) if worker == self.owner.worker.as_str() => {
                let name = labels.get(container::NONCE).or(labels.get(container::SESSION));
                name.is_some_and(|name| is_known(name))
            }
            // A name that is no directory's would lead elsewhere.
            Some(worker) if !worker.contains('/') => presence::lives(&self.owner.scratch.join(Path::new(worker))),
            Some(_) | None => false,
        }
    }
}

/// A container that cannot be as it should be is no sign of a sick engine, unless its mounts are not there.
fn not_created(image: &ImageName, error: &Error) -> RunnerError {
    if let Error::DockerResponseServerError { status_code: 400, message } = error
        && !message.contains(shared::NO_SOURCE)
    {
        return RunnerError::Refused(format!(
            "the engine makes no container of image `{image}` as the pipeline wants it: {message}; change the image, or the \
             module's definition"
        ));
    }
    engine("create a container", error)
}

fn engine(doing: &'static str, error: &Error) -> RunnerError {
    RunnerError::Engine { doing, reason: error.to_string() }
}
