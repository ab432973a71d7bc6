//! Runs nothing and ends well: what the cluster itself costs, for benchmarks. A module must be content without outputs.

use async_trait::async_trait;
use domain::id::ImageIdentity;
use domain::outcome::UsedResources;
use tokio_util::sync::CancellationToken;

use super::{Ended, Exit, IsKnown, Program, Runner, RunnerError, Spec, identity_of};

/// Every program ends at once with code 0.
#[derive(Debug, Default)]
pub struct NoopRunner;

#[async_trait]
impl Runner for NoopRunner {
    fn subject(&self, program: &Program) -> String {
        program.image.to_string()
    }

    async fn check(&self) -> Result<(), RunnerError> {
        Ok(())
    }

    async fn identify(&self, program: &Program) -> Result<ImageIdentity, RunnerError> {
        identity_of(&format!("noop:{}", program.image))
    }

    async fn run(&self, _spec: &Spec, _cancel: &CancellationToken) -> Result<Ended, RunnerError> {
        Ok(Ended {
            exit: Exit::Code(0),
            log: String::new(),
            millis: 0,
            certain: true,
            gone: true,
            input_is_free: true,
            used: UsedResources::default(),
        })
    }

    async fn sweep(&self, _is_known: IsKnown<'_>) -> Result<u32, RunnerError> {
        Ok(0)
    }
}
