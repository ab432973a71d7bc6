//! From the outbox into the queues: publish with confirms, then note what was confirmed.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::id::{Attempt, ClassName, StarId, Task};
use domain::message::{TaskMessage, WIRE_VERSION, to_json};
use services::queue::{Outgoing, QueueError, QueueName, SharedQueue};
use services::state::{Ready, StateError};
use store::course::Course;

use crate::running::{Coordinator, Services};
use crate::trouble::Trouble;

/// Publishes the messages of these attempts, all together. On failure those that were confirmed are noted all the same,
/// and the others stay in the outbox.
pub(crate) async fn publish(
    running: &Coordinator,
    course: &Arc<Course>,
    tasks: &[(Task, Attempt)],
) -> Result<(), Trouble> {
    if tasks.is_empty() {
        return Ok(());
    }
    let Services { queue, state, .. } = &running.services;
    let messages = messages(running, course, tasks).await?;
    let answers = queue.publish(messages).await;
    let mut confirmed = Vec::with_capacity(tasks.len());
    let mut failed: Option<QueueError> = None;
    for (&(task, attempt), answer) in tasks.iter().zip(answers) {
        match answer {
            Ok(()) => confirmed.push(Ready { task, attempt, class: course.class(task.module).clone() }),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    running.counters.published.inc_by(confirmed.len() as u64);
    match state.published(course.record.run, &confirmed).await {
        // It ended while the broker was silent: nobody waits for these any more, and claims of them are refused.
        Ok(()) | Err(StateError::NoRun(_)) => {}
        // The broker has them all. They stay in the outbox, and are sent once more when the state answers again; sending
        // them again until then would fill the queue.
        Err(error @ StateError::Unreachable(_)) if failed.is_none() => {
            tracing::warn!(%error, "task messages are confirmed, and cannot be noted yet");
        }
        Err(error) => return Err(error.into()),
    }
    match failed {
        None => Ok(()),
        Some(error) => {
            // A queue that somebody deleted is made again before the next try.
            if let QueueError::Unconfirmed { .. } = error {
                declare(queue, &course.classes()).await?;
            }
            Err(error.into())
        }
    }
}

/// Declares the queues of these classes, and those that are always there.
pub(crate) async fn declare(queue: &SharedQueue, classes: &BTreeSet<ClassName>) -> Result<(), Trouble> {
    let classes: Vec<ClassName> = classes.iter().cloned().collect();
    Ok(queue.declare(&classes).await?)
}

async fn messages(
    running: &Coordinator,
    course: &Arc<Course>,
    tasks: &[(Task, Attempt)],
) -> Result<Vec<Outgoing>, Trouble> {
    let kept = tasks.iter().map(|(task, _)| course.stars.kept(task.star)).collect();
    let names: Vec<StarId> = match kept {
        Some(names) => names,
        None => {
            let (course, stars) = (course.clone(), tasks.iter().map(|(task, _)| task.star).collect::<Vec<_>>());
            running.services.store.ask(move |_| course.names(&stars)).await?
        }
    };
    let (epoch, run) = (running.epoch(), course.record.run);
    let message = |(&(task, attempt), name): (&(Task, Attempt), StarId)| {
        let body = TaskMessage { v: WIRE_VERSION, epoch, run, task, name, attempt };
        let queue = QueueName::Tasks(course.class(task.module).clone());
        Outgoing { queue, body: to_json(&body), trace: running.traces.star(run, name) }
    };
    Ok(tasks.iter().zip(names).map(message).collect())
}
