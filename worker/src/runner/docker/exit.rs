//! What a container's end means: of a program that was killed the engine is asked whether it was told to.

use std::collections::HashMap;

use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptions};
use futures::StreamExt;
use jiff::Timestamp;

use super::super::{Exit, RunnerError, SIGKILL, Spec, folder};
use super::{ContainerEnd, DockerRunner, engine};

impl DockerRunner {
    /// What the end of a container means that began then.
    pub(super) async fn exit(
        &self,
        name: &str,
        spec: &Spec,
        end: &ContainerEnd,
        since: Timestamp,
    ) -> Result<Exit, RunnerError> {
        if end.code == 0 {
            return Ok(folder::final_breach(&spec.output, spec.limits.output).await?.unwrap_or(Exit::Code(0)));
        }
        if !end.certain {
            let reason = format!("it went away while the program ran, and reports exit code {}", end.code);
            return Err(RunnerError::Engine { doing: "wait for a container", reason });
        }
        let inspected = self.docker.inspect_container(name, None::<InspectContainerOptions>).await;
        let state = inspected.map_err(|error| engine("inspect a container", &error))?.state.unwrap_or_default();
        if state.oom_killed.unwrap_or(false) {
            return Ok(Exit::OutOfMemory);
        }
        if let Some(exit) = folder::final_breach(&spec.output, spec.limits.output).await? {
            return Ok(exit);
        }
        Ok(match i32::try_from(end.code - 128) {
            Ok(SIGKILL) if self.was_told_to_kill(name, since).await => Exit::KilledFromOutside,
            Ok(signal @ 1..=64) => Exit::Signal(signal),
            Ok(_) | Err(_) => Exit::Code(end.code),
        })
    }

    /// Whether somebody told the engine to kill a container, or memory ran out in it; an engine that does not say may have been.
    async fn was_told_to_kill(&self, name: &str, since: Timestamp) -> bool {
        let filters = HashMap::from([("container", vec![name]), ("event", vec!["kill", "oom"])]);
        let [since, until] = [since, Timestamp::now()].map(|at| format!("{}.{:09}", at.as_second(), at.subsec_nanosecond()));
        let options = EventsOptionsBuilder::default().since(&since).until(&until).filters(&filters).build();
        // What is asked for lies in the past: the answer ends.
        match tokio::time::timeout(super::LOG_PATIENCE, self.docker.events(Some(options)).next()).await {
            Ok(first) => first.is_some(),
            Err(_) => true,
        }
    }
}
