//! From the outbox into the queues: publish with confirms, and note what was confirmed.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::id::{Attempt, ClassName, StarId, Task};
use domain::message::{TaskMessage, WIRE_VERSION, to_json};
use domain::run::Cell;
use services::queue::{Outgoing, QueueError, QueueName, SharedQueue};
use services::state::Ready;
use store::course::Course;
use store::crash::CrashPoint;

use crate::running::Coordinator;
use crate::trouble::Trouble;

/// Most of which the state is told at once, since nobody else is served meanwhile.
const AT_ONCE: usize = 1000;

/// Publishes the messages of these attempts, all together. On failure those that were confirmed are noted all the same,
/// and the others stay in the outbox. A queue that is silent is no failure: what is for it is published again from there, and
/// nothing else waits for it.
pub(crate) async fn publish(
    running: &Coordinator,
    course: &Arc<Course>,
    tasks: &[(Task, Attempt)],
) -> Result<(), Trouble> {
    if tasks.is_empty() {
        return Ok(());
    }
    let queue = &running.services.queue;
    let answers = queue.publish(messages(running, course, tasks).await?).await;
    CrashPoint::TasksConfirmed.reached();
    let mut confirmed = Vec::with_capacity(tasks.len());
    let mut failed: Option<QueueError> = None;
    for (&task, answer) in tasks.iter().zip(answers) {
        match answer {
            Ok(()) => confirmed.push(task),
            Err(error @ QueueError::Silent { .. }) => tracing::debug!(%error, "a task stays in the outbox"),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    running.counters.published.inc_by(confirmed.len() as u64);
    running.confirmed.add(course.record.run, confirmed);
    let Some(error) = failed else { return Ok(()) };
    // A queue that somebody deleted is made again before the next try.
    if let QueueError::Unconfirmed { .. } = error {
        declare(queue, &course.classes()).await?;
    }
    Err(error.into())
}

/// Tells the state what of a run was confirmed, as far as it still waits. What it cannot be told now is told next time.
pub(crate) async fn tell_confirmed(running: &Coordinator, course: &Course) -> Result<(), Trouble> {
    let run = course.record.run;
    let waits = |(task, attempt): &(Task, Attempt)| {
        let kept = running.rows.of(run, task.star);
        kept.is_none_or(|star| star.row.cell(task.module) == Cell::queued(*attempt))
    };
    let waiting: Vec<(Task, Attempt)> = running.confirmed.take(run).into_iter().filter(waits).collect();
    let ready = |&(task, attempt): &(Task, Attempt)| Ready { task, attempt, class: course.class(task.module).clone() };
    for (at, some) in waiting.chunks(AT_ONCE).enumerate() {
        if let Err(error) = running.services.state.published(run, &some.iter().map(ready).collect::<Vec<_>>()).await {
            running.confirmed.add(run, waiting[at * AT_ONCE..].iter().copied());
            return Err(error.into());
        }
        CrashPoint::OutboxTold.reached();
    }
    Ok(())
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
