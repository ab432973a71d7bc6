//! Stars whose files are built: their lines on record in batches, then they are forgotten by the state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::id::{RunId, StarIndex};
use domain::run::Row;
use services::state::{StateError, Written};
use services::traces::Span;
use store::course::Course;
use store::crash::CrashPoint;
use store::runs::{FailedTasks, SettledStar};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::counters::labels;
use crate::running::Coordinator;
use crate::runs::end::end_if_done;
use crate::trouble::{Outage, Trouble};

/// Most stars in one settled batch.
const BATCH: usize = 512;

/// How long a batch is filled.
const FILL: Duration = Duration::from_millis(200);

/// A star whose file is built.
pub(crate) struct Settled {
    pub(super) course: Arc<Course>,
    pub(super) row: Row,
    pub(super) line: SettledStar,
    pub(super) failed: FailedTasks,
    /// What is told of it, where it is traced.
    pub(super) span: Option<Span>,
}

/// Writes the lines of settled stars in batches, then forgets the stars.
pub(crate) async fn write_lines(running: Coordinator, mut settled: mpsc::Receiver<Settled>) {
    let mut outage = Outage::of("settled batches");
    while let Some(first) = settled.recv().await {
        let mut batch = vec![first];
        let until = Instant::now() + FILL;
        while batch.len() < BATCH
            && let Ok(Some(next)) = timeout_at(until, settled.recv()).await
        {
            batch.push(next);
        }
        let mut by_run: BTreeMap<RunId, Vec<Settled>> = BTreeMap::new();
        for done in batch {
            by_run.entry(done.course.record.run).or_default().push(done);
        }
        for (run, batch) in by_run {
            // Lines that are written twice say the same, but need not be written at every try.
            let mut is_written = false;
            loop {
                let closed = close(&running, &batch, &mut is_written).await;
                match running.of_run(run, closed).await {
                    Ok(_) => break,
                    Err(trouble) => outage.wait(&trouble).await,
                }
            }
            outage.over();
            for done in &batch {
                running.closings.done(run, done.line.star);
            }
        }
        running.wakes.admission.notify_one();
        if running.closings.was_short() {
            running.wakes.closing.notify_one();
        }
    }
}

/// Writes the lines of stars of one run, forgets the stars, and ends the run after the last one.
async fn close(running: &Coordinator, batch: &[Settled], is_written: &mut bool) -> Result<(), Trouble> {
    let Some(first) = batch.first() else { return Ok(()) };
    let run = first.course.record.run;
    if !*is_written {
        let (lines, failed) = on_record(batch);
        running.services.store.ask(move |store| store.append_settled_with(run, &lines, &failed)).await?;
        *is_written = true;
        CrashPoint::LinesWritten.reached();
    }
    let stars: Vec<_> = batch.iter().map(|done| (done.line.star, &done.row)).collect();
    let closed = match running.services.state.closed(run, &stars).await {
        Ok(closed) => closed,
        // It is over.
        Err(StateError::NoRun(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // What was reopened since is not this batch's matter any more.
    for (done, _) in batch.iter().zip(closed).filter(|(_, closed)| *closed == Written::Done) {
        running.counters.closed.inc();
        if let Some(end) = done.line.end {
            let (pipeline, end) = (done.course.record.pipeline.as_str(), end.to_string());
            let of = labels([("pipeline", pipeline), ("end", end.as_str())]);
            running.counters.ended.get_or_create_owned(&of).inc();
        }
        done.span.iter().for_each(|span| running.traces.tell(span.clone()));
        running.hooks.star_ended(&done.course, done.line.star, done.line.end);
    }
    CrashPoint::StarsClosed.reached();
    if first.course.pipeline.publishes.is_some() {
        running.wakes.triggers.notify_one();
    }
    end_if_done(running, &first.course).await
}

/// The lines of stars, of several about one star the last, and what failed of these stars.
fn on_record(batch: &[Settled]) -> (Vec<SettledStar>, FailedTasks) {
    let last: BTreeMap<StarIndex, &Settled> = batch.iter().map(|done| (done.line.star, done)).collect();
    let mut failed = FailedTasks::default();
    last.values().for_each(|done| failed.extend(&done.failed, |_| true));
    (last.into_values().map(|done| done.line.clone()).collect(), failed)
}
