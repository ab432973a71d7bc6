//! How full the queues are.

use std::collections::BTreeSet;

use domain::id::ClassName;
use services::queue::{Depth, QueueName};

use super::patience::soon;
use super::{Installation, OperateError};

/// The depth of every queue: events, completions, tasks of each class that a run or a worker has, dead letters. Where the
/// state cannot say which classes there are, those of the pipelines that events start. Every error is the broker's.
pub async fn list(installation: &dyn Installation) -> Result<Vec<Depth>, OperateError> {
    let queue = soon("RabbitMQ", installation.queue()).await?;
    let mut names = vec![QueueName::Events, QueueName::Completions];
    names.extend(classes(installation).await.into_iter().map(QueueName::Tasks));
    names.push(QueueName::Dead);
    let depths = async { Ok::<_, OperateError>(queue.depths(&names).await?) };
    soon("RabbitMQ", depths).await
}

/// The classes that are known. What is wrong with the state, or with pipelines, is said by whoever asks these: it is no trouble of
/// the broker.
async fn classes(installation: &dyn Installation) -> BTreeSet<ClassName> {
    if let Ok(classes) = soon("Redis", classes_in_state(installation)).await {
        return classes;
    }
    let pipelines = installation.pipelines().await;
    let pipelines = pipelines.iter().flat_map(|pipelines| pipelines.iter());
    pipelines.flat_map(|pipeline| pipeline.classes.keys().cloned()).collect()
}

/// The classes that runs and workers have.
async fn classes_in_state(installation: &dyn Installation) -> Result<BTreeSet<ClassName>, OperateError> {
    let state = installation.state().await?;
    let mut classes = BTreeSet::new();
    classes.extend(state.runs().await?.into_iter().flat_map(|run| run.modules).map(|(_, class)| class));
    classes.extend(state.workers().await?.into_iter().flat_map(|worker| worker.slots.into_keys()));
    Ok(classes)
}
