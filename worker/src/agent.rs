//! What an attempt asks a store agent. The store's own is one; the simulation has another.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use store::agent::{
    Agent, AgentError, AgentOptions, AskWithin, Checked, Manifest, MarkSealed, ReadScalars, Seal, Stage, WantedScalars,
};

/// The requests that an attempt makes; `store::agent::Agent` says what each means.
#[async_trait]
pub trait StoreAgent: Send + Sync {
    /// What one of our files holds.
    async fn manifest(&mut self, file: &Path) -> Result<Manifest, AgentError>;
    /// Scalars among columns of products.
    async fn scalars(&mut self, wants: Vec<WantedScalars>) -> Result<Vec<ReadScalars>, AgentError>;
    /// Builds a module's input.
    async fn stage(&mut self, stage: Stage) -> Result<(), AgentError>;
    /// Checks a module's output, and packs one that keeps its contract.
    async fn seal(&mut self, seal: Seal) -> Result<Checked, AgentError>;
    /// Whether a product differs from another one by no more than is tolerated; who knows no values says no.
    async fn within(&mut self, _: AskWithin) -> Result<bool, AgentError> {
        Ok(false)
    }
    /// Writes into a sealed result what its products stand for.
    async fn mark(&mut self, _: MarkSealed) -> Result<(), AgentError> {
        Ok(())
    }
    /// Makes the next request one to a fresh agent.
    fn end(&mut self);
}

/// Makes the agent of a slot.
pub type MakeAgent = Arc<dyn Fn(AgentOptions) -> Box<dyn StoreAgent> + Send + Sync>;

#[async_trait]
impl StoreAgent for Agent {
    async fn manifest(&mut self, file: &Path) -> Result<Manifest, AgentError> {
        Self::manifest(self, file).await
    }

    async fn scalars(&mut self, wants: Vec<WantedScalars>) -> Result<Vec<ReadScalars>, AgentError> {
        Self::scalars(self, wants).await
    }

    async fn stage(&mut self, stage: Stage) -> Result<(), AgentError> {
        Self::stage(self, stage).await
    }

    async fn seal(&mut self, seal: Seal) -> Result<Checked, AgentError> {
        Self::seal(self, seal).await
    }

    async fn within(&mut self, ask: AskWithin) -> Result<bool, AgentError> {
        Self::within(self, ask).await
    }

    async fn mark(&mut self, mark: MarkSealed) -> Result<(), AgentError> {
        Self::mark(self, mark).await
    }

    fn end(&mut self) {
        Self::end(self);
    }
}
