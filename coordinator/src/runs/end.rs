//! The end of a run: every star is settled and closed, on record in the store, then forgotten by the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::id::{ModuleIndex, ModuleName, StarIndex};
use domain::outcome::Remarks;
use jiff::Timestamp;
use services::state::{Spent, StateError};
use store::Commit;
use store::course::Course;
use store::crash::CrashPoint;
use store::runs::{RunEnd, SettledStar, StarEnd, Took};

use crate::hooks::Moment;
use crate::running::Coordinator;
use crate::runs::follow;
use crate::trouble::Trouble;

/// Ends a run when nothing of it is left. Harmless when it is over, and when others do the same.
pub(crate) async fn end_if_done(running: &Coordinator, course: &Arc<Course>) -> Result<(), Trouble> {
    let run = course.record.run;
    let Some(view) = running.services.state.run(run).await? else { return Ok(()) };
    if view.info.cursor < view.info.stars || view.in_flight > 0 {
        return Ok(());
    }
    // Read before the last look at the state: a retry that comes later is not part of this end, and opens the run again.
    let orders = follow::orders(running, run).await?;
    let Some(view) = running.services.state.run(run).await? else { return Ok(()) };
    let unsettled = view.counts.values().flatten().any(|(state, count)| !state.is_settled() && *count > 0);
    if orders.has_retries() || view.in_flight > 0 || unsettled {
        return Ok(());
    }
    let end = RunEnd {
        ended: Timestamp::now(),
        decisions: orders.newest,
        counts: course.by_name(&view.counts),
        stars: ends(running, course).await?,
        remarks: remarks(course, &view.spent),
        took: took(course, &view.spent),
    };
    let stars = end.stars.clone();
    if running.services.store.ask(move |store| store.end_run(run, &end)).await? == Commit::Created {
        running.hooks.run(course, Moment::RunEnded);
    }
    CrashPoint::RunEndWritten.reached();
    running.services.state.close_run(run).await?;
    CrashPoint::RunClosed.reached();
    running.services.courses.forget(run);
    // It puts the run away.
    running.wakes.comparison.notify_one();
    if course.pipeline.publishes.is_some() {
        running.wakes.triggers.notify_one();
    }
    tracing::info!(%run, pipeline = %course.record.pipeline, ?stars, "run ended");
    Ok(())
}

/// Results that gave cause for remarks, by module.
fn remarks(course: &Course, spent: &BTreeMap<ModuleIndex, Spent>) -> BTreeMap<ModuleName, Remarks> {
    let name = |module: &ModuleIndex| course.pipeline.modules.get(module.at()).map(|module| module.name.clone());
    let odd = spent.iter().filter(|(_, spent)| spent.remarks != Remarks::default());
    odd.filter_map(|(module, spent)| Some((name(module)?, spent.remarks))).collect()
}

/// What results took that were made, by module.
fn took(course: &Course, spent: &BTreeMap<ModuleIndex, Spent>) -> BTreeMap<ModuleName, Took> {
    let name = |module: &ModuleIndex| course.pipeline.modules.get(module.at()).map(|module| module.name.clone());
    let made = spent.iter().filter(|(_, spent)| spent.tasks > 0);
    let took = |spent: &Spent| Took { tasks: spent.tasks, millis: spent.millis };
    made.filter_map(|(module, spent)| Some((name(module)?, took(spent)))).collect()
}

/// Stars by how they ended. A star whose line did not get into the settled batches gets it now, from its row (E1).
async fn ends(running: &Coordinator, course: &Arc<Course>) -> Result<BTreeMap<StarEnd, u64>, Trouble> {
    let run = course.record.run;
    let (store, len) = (&running.services.store, course.stars.len() as usize);
    let read = store.ask(move |store| {
        let mut ends = vec![None; len];
        store.each_settled_row(run, |settled| {
            if let Some(end) = ends.get_mut(settled.star.0 as usize) {
                *end = settled.end;
            }
        })?;
        Ok(ends)
    });
    let mut ends: Vec<Option<StarEnd>> = read.await?;
    let without = (0..).map(StarIndex).zip(&ends).filter(|(_, end)| end.is_none());
    let without: Vec<StarIndex> = without.map(|(star, _)| star).collect();
    for stars in without.chunks(crate::advance::AT_ONCE) {
        let lines = lines_of_rows(running, course, stars).await?;
        for line in &lines {
            ends[line.star.0 as usize] = line.end;
        }
        store.ask(move |store| store.append_settled(run, &lines)).await?;
    }
    let mut counts = BTreeMap::new();
    for end in ends.into_iter().flatten() {
        *counts.entry(end).or_default() += 1;
    }
    Ok(counts)
}

async fn lines_of_rows(
    running: &Coordinator,
    course: &Arc<Course>,
    stars: &[StarIndex],
) -> Result<Vec<SettledStar>, Trouble> {
    let loaded = match running.services.state.load(course.record.run, stars).await {
        // Somebody else ended the run, and wrote the lines.
        Err(StateError::NoRun(_)) => Vec::new(),
        loaded => loaded?,
    };
    let line = |(star, loaded): (&StarIndex, domain::run::Star)| SettledStar {
        star: *star,
        end: Some(StarEnd::of_row(&loaded.row, false)),
        row: loaded.row.as_bytes().to_vec(),
        keys: BTreeMap::new(),
        generation: None,
        reason: None,
        fingerprint: None,
    };
    Ok(stars.iter().zip(loaded).map(line).collect())
}
