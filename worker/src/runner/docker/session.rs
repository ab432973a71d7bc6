//! A program that serves in a container: requests and answers go through the streams that the engine attaches.
//!
//! Its stdin is closed when this process goes away, so that a program whose worker was killed ends by itself; what does not
//! the sweep ends, by the label of its session.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{AttachContainerOptionsBuilder, StartContainerOptions, StatsOptionsBuilder};
use domain::outcome::UsedResources;
use futures::{StreamExt, stream};
use jiff::Timestamp;

use super::super::session::{Gauge, Opened, SessionSpec, Utterance, Vessel};
use super::super::{Exit, RunnerError};
use super::used::Looks;
use super::{DockerRunner, container, end, engine};

/// How long the engine may take to say how a container ended whose streams did.
const PATIENCE: Duration = Duration::from_secs(20);

impl DockerRunner {
    /// Starts it.
    pub(super) async fn open_session(&self, spec: &SessionSpec) -> Result<Opened, RunnerError> {
        let name = container::session_name(spec);
        let body = container::session(spec, &self.config, &self.owner, self.user, self.cpus);
        let id = self.create(&name, &spec.kind.program, &spec.kind.identity, body).await?;
        let opened = self.attach_and_start(&name, id).await;
        if opened.is_err() {
            self.remove_later(name).await;
        }
        opened
    }

    async fn attach_and_start(&self, name: &str, id: String) -> Result<Opened, RunnerError> {
        let attach =
            AttachContainerOptionsBuilder::default().stdin(true).stdout(true).stderr(true).stream(true).build();
        let attached = self.docker.attach_container(name, Some(attach)).await;
        let attached = attached.map_err(|error| engine("attach to a container", &error))?;
        let began = Timestamp::now();
        let container = ServingContainer { docker: self.docker.clone(), name: name.to_owned(), id, began, exit: None };
        let (container, unstarted) = match self.docker.start_container(name, None::<StartContainerOptions>).await {
            Ok(()) => (container, None),
            // The command is not in the image, or cannot be executed: what a shell calls 127.
            Err(Error::DockerResponseServerError { status_code: 400, message }) => {
                (ServingContainer { exit: Some(Exit::Code(127)), ..container }, Some(message))
            }
            Err(error) => return Err(engine("start a container", &error)),
        };
        Ok(Opened {
            input: attached.input,
            output: match unstarted {
                None => Box::pin(attached.output.scan((), |(), chunk| std::future::ready(said(chunk)))),
                Some(message) => Box::pin(stream::iter([Utterance::Err(message.into_bytes())])),
            },
            vessel: Box::new(container),
            inside: container::INSIDE.map(Into::into),
            is_isolated: true,
            owner: self.user.foreign.then_some((self.user.uid, self.user.gid)),
        })
    }
}

/// What came through the engine; nothing where it went away, which is found out when it is asked for the end.
fn said(chunk: Result<LogOutput, Error>) -> Option<Utterance> {
    Some(match chunk.ok()? {
        LogOutput::StdErr { message } => Utterance::Err(message.to_vec()),
        LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
            Utterance::Out(message.to_vec())
        }
    })
}

/// A container that serves.
struct ServingContainer {
    docker: Docker,
    name: String,
    /// What its control groups are called by.
    id: String,
    /// When it was about to be started.
    began: Timestamp,
    exit: Option<Exit>,
}

#[async_trait]
impl Vessel for ServingContainer {
    async fn end(&mut self) -> Result<Exit, RunnerError> {
        if let Some(exit) = self.exit {
            return Ok(exit);
        }
        let ended = tokio::time::timeout(PATIENCE, end::end(&self.docker, &self.name)).await;
        let lost = || "it does not pass on what the program says, and the program has not ended".to_owned();
        let ended = ended.map_err(|_| RunnerError::Engine { doing: "follow a container", reason: lost() })??;
        let exit = end::bare_exit(&self.docker, &self.name, &ended).await?;
        self.exit = Some(exit);
        Ok(exit)
    }

    /// Of a container that runs, engines tell this only as an event.
    async fn ran_out_of_memory(&mut self) -> bool {
        end::happened(&self.docker, &self.name, &["oom"], self.began).await.unwrap_or(false)
    }

    async fn kill(&mut self) {
        if let Err(error) = end::remove(&self.docker, &self.name).await {
            tracing::warn!(container = self.name, %error, "a session's container stays behind until the next sweep");
        }
    }

    fn gauge(&self) -> Arc<dyn Gauge> {
        Arc::new(ContainerMemory { docker: self.docker.clone(), name: self.name.clone() })
    }

    fn used(&self) -> UsedResources {
        let mut looks = Looks::at(&self.id);
        looks.look();
        looks.used()
    }
}

/// Memory of a container.
struct ContainerMemory {
    docker: Docker,
    name: String,
}

#[async_trait]
impl Gauge for ContainerMemory {
    async fn memory(&self) -> Option<u64> {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let told = self.docker.stats(&self.name, Some(options)).next().await?.ok()?.memory_stats?;
        let stats = told.stats.unwrap_or_default();
        Some(told.usage?.saturating_sub(given_back(&stats)))
    }
}

/// Bytes of files that the kernel keeps in memory for speed, as control groups of either version tell them.
fn given_back(stats: &HashMap<String, u64>) -> u64 {
    let of = |names: [&str; 2]| names.iter().find_map(|name| stats.get(*name)).copied().unwrap_or(0);
    of(["total_inactive_file", "inactive_file"]) + of(["total_active_file", "active_file"])
}
