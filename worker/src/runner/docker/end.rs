//! The end of a container: awaited through outages of the engine, brought about, and what it means; its log to the last line,
//! and its removal.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::ContainerState;
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StopContainerOptionsBuilder, WaitContainerOptions,
};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::super::{BoundedLog, Exit, RunnerError, SIGKILL, Spec, TERM_PATIENCE, folder, must_stop};
use super::engine;

/// How long the engine may be out of reach while a container runs before the attempt is given up.
const ENGINE_PATIENCE: Duration = Duration::from_secs(120);

/// Wait before an engine that was out of reach is asked again.
const ENGINE_PAUSE: Duration = Duration::from_secs(1);

/// How long the rest of a log is awaited after its container has ended.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// How a container ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct ContainerEnd {
    pub(super) code: i64,
    /// Whether the engine was there all the time: a restarted one may report anything.
    pub(super) certain: bool,
}

/// Waits for a container's end, or brings it about and says why.
pub(super) async fn end_or_stop(
    docker: &Docker,
    name: &str,
    spec: &Spec,
    cancel: &CancellationToken,
) -> Result<(Option<Exit>, ContainerEnd), RunnerError> {
    let stop = tokio::select! {
        biased;
        end = end(docker, name) => return Ok((None, end?)),
        stop = must_stop(&spec.limits, &spec.output, cancel) => stop,
    };
    let patience = i32::try_from(TERM_PATIENCE.as_secs()).unwrap_or(i32::MAX);
    let options = StopContainerOptionsBuilder::default().t(patience).build();
    match docker.stop_container(name, Some(options)).await {
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 304 | 404, .. }) => {
            Ok((Some(stop), ContainerEnd { code: 137, certain: true }))
        }
        Err(error) => Err(engine("stop a container", &error)),
    }
}

/// Waits for a container's end; through a restart of the engine, too.
pub(super) async fn end(docker: &Docker, name: &str) -> Result<ContainerEnd, RunnerError> {
    let mut certain = true;
    loop {
        let waited = docker.wait_container(name, None::<WaitContainerOptions>).next().await;
        match waited {
            Some(Ok(response)) => return Ok(ContainerEnd { code: response.status_code, certain }),
            // What the library calls an error is a code that is not 0.
            Some(Err(Error::DockerContainerWaitError { code, .. })) => return Ok(ContainerEnd { code, certain }),
            Some(Err(_)) | None => {
                certain = false;
                if let Some(code) = end_after_outage(docker, name).await? {
                    return Ok(ContainerEnd { code, certain });
                }
                // It runs, and yet cannot be waited for: not at once again.
                tokio::time::sleep(ENGINE_PAUSE).await;
            }
        }
    }
}

/// Once the engine answers again: a container's exit code, or `None` when it runs on.
async fn end_after_outage(docker: &Docker, name: &str) -> Result<Option<i64>, RunnerError> {
    let since = Instant::now();
    loop {
        match docker.inspect_container(name, None::<InspectContainerOptions>).await {
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

/// What the end of an attempt's container means.
pub(super) async fn exit(docker: &Docker, name: &str, spec: &Spec, end: &ContainerEnd) -> Result<Exit, RunnerError> {
    let breach = || folder::final_breach(&spec.output, spec.limits.output);
    if end.code == 0 {
        return Ok(breach().await?.unwrap_or(Exit::Code(0)));
    }
    let exit = bare_exit(docker, name, end).await?;
    if exit == Exit::OutOfMemory {
        return Ok(exit);
    }
    Ok(breach().await?.unwrap_or(exit))
}

/// What the end of a container means, whatever it wrote.
pub(super) async fn bare_exit(docker: &Docker, name: &str, end: &ContainerEnd) -> Result<Exit, RunnerError> {
    if end.code == 0 {
        return Ok(Exit::Code(0));
    }
    if !end.certain {
        let reason = format!("it went away while the program ran, and reports exit code {}", end.code);
        return Err(RunnerError::Engine { doing: "wait for a container", reason });
    }
    let inspected = docker.inspect_container(name, None::<InspectContainerOptions>).await;
    let state = inspected.map_err(|error| engine("inspect a container", &error))?.state.unwrap_or_default();
    if state.oom_killed.unwrap_or(false) {
        return Ok(Exit::OutOfMemory);
    }
    Ok(match i32::try_from(end.code - 128) {
        Ok(SIGKILL) if was_told_to_kill(docker, name, &state).await => Exit::KilledFromOutside,
        Ok(signal @ 1..=64) => Exit::Signal(signal),
        Ok(_) | Err(_) => Exit::Code(end.code),
    })
}

/// Whether somebody told the engine to kill a container since it began, or memory ran out in it; an engine that does not say may
/// have been.
async fn was_told_to_kill(docker: &Docker, name: &str, state: &ContainerState) -> bool {
    let began = state.started_at.as_deref().and_then(|text| text.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    happened(docker, name, &["kill", "oom"], began).await.unwrap_or(true)
}

/// Whether one of these events happened to a container since then; `None` where the engine does not say.
pub(super) async fn happened(docker: &Docker, name: &str, events: &[&str], since: Timestamp) -> Option<bool> {
    let filters = HashMap::from([("container", vec![name]), ("event", events.to_vec())]);
    let [since, until] =
        [since, Timestamp::now()].map(|at| format!("{}.{:09}", at.as_second(), at.subsec_nanosecond()));
    let options = EventsOptionsBuilder::default().since(&since).until(&until).filters(&filters).build();
    // What is asked for lies in the past: the answer ends.
    let first = tokio::time::timeout(LOG_PATIENCE, docker.events(Some(options)).next()).await;
    match first {
        Ok(None) => Some(false),
        Ok(Some(Ok(_))) => Some(true),
        Ok(Some(Err(_))) | Err(_) => None,
    }
}

/// Removes a container, running or not.
pub(super) async fn remove(docker: &Docker, name: &str) -> Result<(), RunnerError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match docker.remove_container(name, Some(options)).await {
        // Not there, or being removed by somebody else.
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
        Err(error) => Err(engine("remove a container", &error)),
    }
}

/// Takes what the engine kept of a container's log for the log, of which an outage cut the rest off.
pub(super) async fn catch_up(docker: &Docker, name: &str, log: &mut BoundedLog) {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
    let mut kept = BoundedLog::default();
    drain(&mut kept, &mut docker.logs(name, Some(options))).await;
    if !kept.text().is_empty() {
        *log = kept;
    }
}

/// Keeps a piece of a log.
pub(super) fn keep(log: &mut BoundedLog, chunk: Result<LogOutput, Error>) {
    if let Ok(output) = chunk {
        let stream = u8::from(matches!(output, LogOutput::StdErr { .. }));
        log.push_of(stream, &output.into_bytes());
    }
}

/// Reads what is left of the log of a container that has ended.
pub(super) async fn drain(log: &mut BoundedLog, output: &mut (impl Stream<Item = Result<LogOutput, Error>> + Unpin)) {
    let rest = async {
        while let Some(chunk) = output.next().await {
            keep(log, chunk);
        }
    };
    let _ = tokio::time::timeout(LOG_PATIENCE, rest).await;
}
