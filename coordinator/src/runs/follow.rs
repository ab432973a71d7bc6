//! What operators decided about a run, followed from the store: pause, resume, cancel, priority, retry.

use std::sync::Arc;

use domain::id::{ModuleIndex, RunId, StarId, StarIndex};
use domain::run::{Event, Row, TaskState};
use services::state::{Phase, RunView};
use store::Store;
use store::course::Course;
use store::runs::Selection;

use crate::advance::dispatch::publish;
use crate::advance::{News, Race};
use crate::running::Coordinator;
use crate::runs::holds;
use crate::runs::rewind::rewind;
use crate::standing::Standing;
use crate::trouble::Trouble;

/// Stars that are looked at together.
const BLOCK: u32 = 4096;

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
    if orders.retries.is_empty() {
        return Ok(());
    }
    retries(running, course, orders).await?;
    // Admission may have passed over stars at the moment in which they were opened again.
    rewind(running, run).await
}

/// Opens the tasks again that retries are about which nobody followed to the end yet.
pub(crate) async fn retries(running: &Coordinator, course: &Arc<Course>, orders: &Standing) -> Result<(), Trouble> {
    let run = course.record.run;
    for (number, selection) in &orders.retries {
        retry(running, course, selection).await?;
        let number = *number;
        running.services.store.ask(move |store| store.mark_followed(run, number)).await?;
        tracing::info!(%run, number, ?selection, "tasks are tried again");
    }
    Ok(())
}

/// Cancels all stars in flight, also behind those that wait for their files.
async fn cancel(running: &Coordinator, course: &Arc<Course>, in_flight: u32) -> Result<(), Trouble> {
    let mut news = News::of(course);
    for star in running.services.state.in_flight(course.record.run, in_flight).await? {
        news.add(star, Event::Cancel);
    }
    news.bring_in(running, Race::Again).await?;
    running.close_soon(news.closing);
    Ok(())
}

/// Opens the selected tasks again that are settled; what depends on them follows. Stars that are settled altogether are
/// admitted again.
async fn retry(running: &Coordinator, course: &Arc<Course>, selection: &Selection) -> Result<(), Trouble> {
    let only = match selection.star {
        None => None,
        Some(star) => match position(&running.services.store, course, star).await? {
            Some(index) => Some(index.0),
            None => return Ok(()),
        },
    };
    let (first, end) = only.map_or((0, course.stars.len()), |index| (index, index + 1));
    for from in (first..end).step_by(BLOCK as usize) {
        let stars: Vec<StarIndex> = (from..end.min(from.saturating_add(BLOCK))).map(StarIndex).collect();
        let mut news = News::of(course);
        let current = running.services.state.load(course.record.run, &stars).await?;
        for (star, current) in stars.into_iter().zip(&current) {
            for module in selected(course, selection, &current.row) {
                news.add(star, Event::Reopen { module });
            }
        }
        news.bring_in(running, Race::Again).await?;
        publish(running, course, &news.ready).await?;
    }
    Ok(())
}

/// Where a star is in a run; `None` when it is not of it.
pub(crate) async fn position(store: &Store, course: &Arc<Course>, star: StarId) -> Result<Option<StarIndex>, Trouble> {
    let course = course.clone();
    Ok(store.ask(move |_| course.stars.position(star)).await?)
}

/// The settled tasks of a star, whichever it is, that a selection is about.
pub(crate) fn selected(course: &Course, selection: &Selection, row: &Row) -> Vec<ModuleIndex> {
    if row.is_fresh() {
        return Vec::new();
    }
    let wanted = selection.module.as_ref().map(|name| course.pipeline.index_of(name));
    let is_wanted = |module: &ModuleIndex| {
        let state = row.cell(*module).state;
        wanted.is_none_or(|wanted| wanted == Some(*module)) && state.is_settled() && selection.wants(state)
    };
    course.graph.modules().filter(is_wanted).collect()
}
