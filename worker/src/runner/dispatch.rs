//! Runs nothing and leaves nothing: what claims, leases, messages and state alone cost, for benchmarks.
//!
//! An attempt ends well at once, with a key and without a file, so that nobody may ever build on it: only runs that are
//! limited to a group may have such attempts, for these make no star files.

use async_trait::async_trait;
use domain::id::ImageIdentity;
use tokio_util::sync::CancellationToken;

use super::{Effect, Ended, IsKnown, Program, Runner, RunnerError, Spec, identity_of};

/// No program is ever run.
#[derive(Debug, Default)]
pub struct DispatchRunner;

#[async_trait]
impl Runner for DispatchRunner {
    fn effect(&self) -> Effect {
        Effect::Nothing
    }

    fn subject(&self, program: &Program) -> String {
        format!("dispatch: {}", program.image)
    }

    async fn check(&self) -> Result<(), RunnerError> {
        Ok(())
    }

    async fn identify(&self, program: &Program) -> Result<ImageIdentity, RunnerError> {
        identity_of(&format!("dispatch:{}", program.image))
    }

    async fn run(&self, _spec: &Spec, _cancel: &CancellationToken) -> Result<Ended, RunnerError> {
        Err(RunnerError::Refused("the dispatch runner runs no program".to_owned()))
    }

    async fn sweep(&self, _is_known: IsKnown<'_>) -> Result<u32, RunnerError> {
        Ok(0)
    }
}
