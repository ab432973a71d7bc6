//! What operators decided about a run, followed from the store: pause, resume, cancel, priority, what is to become of tasks.

use std::sync::Arc;

use domain::id::{RunId, StarIndex};
use domain::run::{Event, Row, TaskState};
use services::state::{Phase, RunView};
use store::course::Course;
use store::runs::Selection;

use crate::advance::dispatch::publish;
use crate::advance::{News, Race};
use crate::running::Coordinator;
use crate::runs::holds;
use crate::runs::rewind::rewind;
use crate::runs::selected::SelectedTasks;
use crate::standing::{Standing, TaskOrder};
use crate::trouble::Trouble;

/// Stars that are looked at together.
const BLOCK: usize = 4096;

/// Most stars of a cancelled run that end in one step: others must be followed, too.
const CANCELLED_AT_ONCE: usize = 4096;

/// What the store says that operators want of a run.
pub(crate) async fn orders(running: &Coordinator, run: RunId) -> Result<Arc<Standing>, Trouble> {
    let remembered = running.remembered.clone();
    Ok(running.services.store.ask(move |store| remembered.orders(store, run)).await?)
}

/// Does what the orders say and the state does not show yet.
pub(crate) async fn follow(
    running: &Coordinator,
    course: &Arc<Course>,
    view: &RunView,
    orders: &Standing,
) -> Result<(), Trouble> {
    let run = course.record.run;
    if (view.info.phase, view.info.weight) != (orders.phase, orders.weight) {
        running.services.state.set_phase(run, orders.phase, orders.weight).await?;
        tracing::info!(%run, phase = %orders.phase, weight = orders.weight, "operators decided");
        running.wakes.admission.notify_one();
    }
    if view.info.amended < orders.amended {
        running.services.state.amend(run, orders.amended).await?;
        tracing::info!(%run, decision = orders.amended, "operators amended images");
    }
    holds::follow(running, course, view).await?;
    match orders.phase {
        Phase::Active | Phase::Paused => {}
        // Those that were not admitted yet end where they would be admitted.
        Phase::Cancelling => {
            let states = view.counts.values().flatten();
            // A star in flight that is not settled has something queued or waiting (R3).
            if states.into_iter().any(|(state, _)| matches!(state, TaskState::Queued | TaskState::Waiting)) {
                cancel(running, course, view.in_flight).await?;
            }
        }
    }
    if orders.to_follow.is_empty() {
        return Ok(());
    }
    follow_tasks(running, course, orders).await?;
    if orders.has_retries() {
        // Admission may have passed over stars at the moment in which they were opened again.
        rewind(running, run).await?;
    }
    Ok(())
}

/// Does what is to become of tasks, where nobody followed it to the end yet.
pub(crate) async fn follow_tasks(
    running: &Coordinator,
    course: &Arc<Course>,
    orders: &Standing,
) -> Result<(), Trouble> {
    let run = course.record.run;
    for (number, order) in &orders.to_follow {
        match order {
            TaskOrder::Retry(selection) => retry(running, course, selection).await?,
            TaskOrder::Cancel(selection) => cancel_tasks(running, course, selection).await?,
        }
        let number = *number;
        running.services.store.ask(move |store| store.mark_followed(run, number)).await?;
        tracing::info!(%run, number, "what operators decided about tasks is followed");
    }
    Ok(())
}

/// Cancels the next stars in flight, also behind those that wait for their files. The next step takes those after them.
async fn cancel(running: &Coordinator, course: &Arc<Course>, in_flight: u32) -> Result<(), Trouble> {
    let run = course.record.run;
    let mut open = Vec::new();
    for stars in running.services.state.in_flight(run, in_flight).await?.chunks(BLOCK) {
        let current = running.services.state.load(run, stars).await?;
        open.extend(stars.iter().zip(current).filter(|(_, current)| !current.is_settled()).map(|(star, _)| *star));
        if open.len() >= CANCELLED_AT_ONCE {
            open.truncate(CANCELLED_AT_ONCE);
            break;
        }
    }
    bring_in(running, course, &open, |_, _| vec![Event::Cancel]).await
}

/// Opens the selected tasks again that are settled; what depends on them follows. Stars that are settled altogether are
/// admitted again.
async fn retry(running: &Coordinator, course: &Arc<Course>, selection: &Selection) -> Result<(), Trouble> {
    let selected = SelectedTasks::ask(&running.services.store, course, selection).await?;
    let stars = selected.only().unwrap_or_else(|| (0..course.stars.len()).map(StarIndex).collect());
    bring_in(running, course, &stars, |star, row| {
        selected.settled(course, star, row).into_iter().map(|module| Event::Reopen { module }).collect()
    })
    .await
}

/// Cancels the selected tasks that have not ended. Stars that are named without a module end altogether, also where they have
/// not entered the run.
async fn cancel_tasks(running: &Coordinator, course: &Arc<Course>, selection: &Selection) -> Result<(), Trouble> {
    let selected = SelectedTasks::ask(&running.services.store, course, selection).await?;
    let stars = match selected.only() {
        Some(stars) => stars,
        None => running.services.state.in_flight(course.record.run, u32::MAX).await?,
    };
    bring_in(running, course, &stars, |star, row| {
        if selected.is_whole_stars() {
            return vec![Event::Cancel];
        }
        selected.open(course, star, row).into_iter().map(|module| Event::CancelTask { module }).collect()
    })
    .await
}

/// Brings in what `events` says of these stars, block by block.
async fn bring_in(
    running: &Coordinator,
    course: &Arc<Course>,
    stars: &[StarIndex],
    events: impl Fn(StarIndex, &Row) -> Vec<Event>,
) -> Result<(), Trouble> {
    for stars in stars.chunks(BLOCK) {
        let mut news = News::of(course);
        let current = running.services.state.load(course.record.run, stars).await?;
        for (star, current) in stars.iter().zip(&current) {
            events(*star, &current.row).into_iter().for_each(|event| news.add(*star, event));
        }
        news.bring_in(running, Race::Again).await?;
        publish(running, course, &news.ready).await?;
        running.close_soon(news.closing);
    }
    Ok(())
}
