//! How full the queues are.

use std::collections::BTreeSet;

use services::queue::{Depth, QueueName};

use super::{Installation, OperateError};

/// The depth of every queue: events, completions, tasks of each class that a run or a worker has, dead letters.
pub async fn list(installation: &dyn Installation) -> Result<Vec<Depth>, OperateError> {
    let (queue, state) = (installation.queue().await?, installation.state().await?);
    let mut classes = BTreeSet::new();
    classes.extend(state.runs().await?.into_iter().flat_map(|run| run.modules).map(|(_, class)| class));
    classes.extend(state.workers().await?.into_iter().flat_map(|worker| worker.slots.into_keys()));
    let mut names = vec![QueueName::Events, QueueName::Completions];
    names.extend(classes.into_iter().map(QueueName::Tasks));
    names.push(QueueName::Dead);
    Ok(queue.depths(&names).await?)
}
