//! How full the queues are.

use std::collections::BTreeSet;

use domain::id::ClassName;
use services::queue::{Depth, QueueName};

use super::{ErrorKind, Installation, OperateError};

/// The depth of every queue: events, completions, tasks of each class that a run or a worker has, dead letters. Where the
/// state cannot say which classes there are, those of the pipelines that events start.
pub async fn list(installation: &dyn Installation) -> Result<Vec<Depth>, OperateError> {
    let queue = installation.queue().await?;
    let classes = match classes(installation).await {
        Err(error) if error.kind == ErrorKind::OutOfReach => {
            let pipelines = installation.pipelines().await?;
            pipelines.iter().flat_map(|pipeline| pipeline.classes.keys().cloned()).collect()
        }
        known => known?,
    };
    let mut names = vec![QueueName::Events, QueueName::Completions];
    names.extend(classes.into_iter().map(QueueName::Tasks));
    names.push(QueueName::Dead);
    Ok(queue.depths(&names).await?)
}

/// The classes that runs and workers have.
async fn classes(installation: &dyn Installation) -> Result<BTreeSet<ClassName>, OperateError> {
    let state = installation.state().await?;
    let mut classes = BTreeSet::new();
    classes.extend(state.runs().await?.into_iter().flat_map(|run| run.modules).map(|(_, class)| class));
    classes.extend(state.workers().await?.into_iter().flat_map(|worker| worker.slots.into_keys()));
    Ok(classes)
}
