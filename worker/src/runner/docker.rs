//! Runs a module in a container of its own, by Docker Engine 20.10 (API 1.41) or newer.
//!
//! A container's life is owned by its labels and by [`Runner::sweep`], not by the code path that started it: whatever
//! dies, what is left is found. No restart policy and no automatic removal: the exit code goes with the container.

mod calls;
mod container;
mod exit;
mod image;
mod login;
mod lookup;
mod shared;

use domain::id::{ImageIdentity, ImageName, WorkerName};
use std::collections::HashMap;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, InspectContainerOptions,
    ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, WaitContainerOptions,
};
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use store::presence;
use tokio_util::sync::CancellationToken;

pub use lookup::FoundImage;

use super::{BoundedLog, Ended, Exit, IsKnown, Program, Runner, RunnerError, Spec, TERM_PATIENCE, must_stop};

/// How long the engine may be out of reach while a container runs before the attempt is given up.
const ENGINE_PATIENCE: Duration = Duration::from_secs(120);

/// Wait before an engine that was out of reach is asked again.
const ENGINE_PAUSE: Duration = Duration::from_secs(1);

/// How long the rest of a log is awaited after its container has ended.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

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
        Ok(Self { docker, config, owner, user: User::of_this_process(), cpus, processor })
    }

    /// Makes the container; brings its image here first where that is missing.
    async fn create(&self, name: &str, spec: &Spec) -> Result<(), RunnerError> {
        if self.user.foreign {
            chown(&spec.output, Some(self.user.uid), Some(self.user.gid)).map_err(|source| RunnerError::Directory {
                doing: "give away",
                path: spec.output.clone(),
                source,
            })?;
        }
        self.bring(&spec.program, &spec.identity).await?;
        let body = container::body(spec, &self.config, &self.owner, self.user, self.cpus);
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let created = self.docker.create_container(Some(options), body).await;
        created.map(drop).map_err(|error| not_created(&spec.program.image, &error))
    }

    /// Starts a container and stays with it to its end.
    async fn follow(&self, name: &str, spec: &Spec, cancel: &CancellationToken) -> Result<Ended, RunnerError> {
        let attach = AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).build();
        let attached = self.docker.attach_container(name, Some(attach)).await;
        let mut output = attached.map_err(|error| engine("attach to a container", &error))?.output.fuse();
        let (started, since) = (Instant::now(), jiff::Timestamp::now());
        let mut log = BoundedLog::shown_by(spec.last_line.clone());
        match self.docker.start_container(name, None::<StartContainerOptions>).await {
            Ok(()) => {}
            // The command is not in the image, or cannot be executed: what a shell calls 127.
            Err(Error::DockerResponseServerError { status_code: 400, message }) => {
                return Ok(Ended { exit: Exit::Code(127), log: message, millis: 0, certain: true });
            }
            Err(error) => return Err(engine("start a container", &error)),
        }
        let (stop, end) = {
            let end = self.end_or_stop(name, spec, cancel);
            tokio::pin!(end);
            loop {
                tokio::select! {
                    end = &mut end => break end?,
                    Some(chunk) = output.next() => keep(&mut log, chunk),
                }
            }
        };
        drain(&mut log, &mut output).await;
        if !end.certain {
            self.catch_up(name, &mut log).await;
        }
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let exit = match stop {
            Some(stop) => stop,
            None => self.exit(name, spec, &end, since).await?,
        };
        Ok(Ended { exit, log: log.text(), millis, certain: end.certain })
    }

    /// Takes what the engine kept of a container's log for the log, of which an outage cut the rest off.
    async fn catch_up(&self, name: &str, log: &mut BoundedLog) {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let mut kept = BoundedLog::default();
        drain(&mut kept, &mut self.docker.logs(name, Some(options))).await;
        if !kept.text().is_empty() {
            *log = kept;
        }
    }

    /// Waits for a container's end, or brings it about and says why.
    async fn end_or_stop(
        &self,
        name: &str,
        spec: &Spec,
        cancel: &CancellationToken,
    ) -> Result<(Option<Exit>, ContainerEnd), RunnerError> {
        let stop = tokio::select! {
            biased;
            end = self.end(name) => return Ok((None, end?)),
            stop = must_stop(spec, cancel) => stop,
        };
        let patience = i32::try_from(TERM_PATIENCE.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(patience).build();
        match self.docker.stop_container(name, Some(options)).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 304 | 404, .. }) => {
                Ok((Some(stop), ContainerEnd { code: 137, certain: true }))
            }
            Err(error) => Err(engine("stop a container", &error)),
        }
    }

    /// Waits for a container's end; through a restart of the engine, too.
    async fn end(&self, name: &str) -> Result<ContainerEnd, RunnerError> {
        let mut certain = true;
        loop {
            let waited = self.docker.wait_container(name, None::<WaitContainerOptions>).next().await;
            match waited {
                Some(Ok(response)) => return Ok(ContainerEnd { code: response.status_code, certain }),
                // What the library calls an error is a code that is not 0.
                Some(Err(Error::DockerContainerWaitError { code, .. })) => return Ok(ContainerEnd { code, certain }),
                Some(Err(_)) | None => {
                    certain = false;
                    if let Some(code) = self.end_after_outage(name).await? {
                        return Ok(ContainerEnd { code, certain });
                    }
                    // It runs, and yet cannot be waited for: not at once again.
                    tokio::time::sleep(ENGINE_PAUSE).await;
                }
            }
        }
    }

    /// Once the engine answers again: a container's exit code, or `None` when it runs on.
    async fn end_after_outage(&self, name: &str) -> Result<Option<i64>, RunnerError> {
        let since = Instant::now();
        loop {
            match self.docker.inspect_container(name, None::<InspectContainerOptions>).await {
                Ok(found) => {
                    let state = found.state.unwrap_or_default();
                    return Ok(if state.running.unwrap_or(false) { None } else { state.exit_code.or(Some(255)) });
                }
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                    let reason = "it is gone: somebody else removed it".to_owned();
                    return Err(RunnerError::Engine { doing: "wait for a container", reason });
                }
                Err(error) if since.elapsed() > ENGINE_PATIENCE => {
                    return Err(engine("wait for a container", &error));
                }
                Err(_) => tokio::time::sleep(ENGINE_PAUSE).await,
            }
        }
    }

    /// Removes a container, running or not.
    async fn remove(&self, name: &str) -> Result<(), RunnerError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(name, Some(options)).await {
            // Not there, or being removed by somebody else.
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            Err(error) => Err(engine("remove a container", &error)),
        }
    }
}

/// How a container ended.
#[derive(Debug, Clone, Copy)]
struct ContainerEnd {
    code: i64,
    /// Whether the engine was there all the time: a restarted one may report anything.
    certain: bool,
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
        let ended = match self.create(&name, spec).await {
            Ok(()) => self.follow(&name, spec, cancel).await,
            Err(error) => Err(error),
        };
        if let Err(error) = self.remove(&name).await {
            tracing::warn!(container = name, %error, "a container stays behind until the next sweep");
        }
        ended
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
            match self.remove(&id).await {
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
                labels.get(container::NONCE).is_some_and(|nonce| is_known(nonce))
            }
            // A name that is no directory's would lead elsewhere.
            Some(worker) if !worker.contains('/') => presence::lives(&self.owner.scratch.join(Path::new(worker))),
            Some(_) | None => false,
        }
    }
}

fn keep(log: &mut BoundedLog, chunk: Result<LogOutput, Error>) {
    if let Ok(output) = chunk {
        let stream = u8::from(matches!(output, LogOutput::StdErr { .. }));
        log.push_of(stream, &output.into_bytes());
    }
}

/// Reads what is left of the log of a container that has ended.
async fn drain(log: &mut BoundedLog, output: &mut (impl Stream<Item = Result<LogOutput, Error>> + Unpin)) {
    let rest = async {
        while let Some(chunk) = output.next().await {
            keep(log, chunk);
        }
    };
    let _ = tokio::time::timeout(LOG_PATIENCE, rest).await;
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
