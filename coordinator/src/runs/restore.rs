//! A run that the state lost, or that goes on after its end: what its stars settled with comes back from the settled
//! batches, so that only the rest is done again.
//!
//! What is not restored, for whatever reason, is admitted again, and keys make what is done free.

use std::sync::Arc;

use domain::id::StarIndex;
use domain::run::{Row, Star};
use services::state::{Change, Written};
use store::course::Course;
use store::runs::{Selection, SettledRow};
use store::{Store, StoreError};
use tokio::sync::mpsc;

use crate::running::Coordinator;
use crate::runs::selected::SelectedTasks;
use crate::trouble::Trouble;

/// Stars that are written at once.
const AT_ONCE: usize = 256;

/// Writes the rows of settled stars that the state holds as not admitted. Stars with tasks that were asked to be tried
/// again (`retries`) are left out.
pub(crate) async fn restore(running: &Coordinator, course: &Arc<Course>, retries: &[Selection]) -> Result<(), Trouble> {
    let mut wanted = Vec::new();
    for retry in retries {
        wanted.push(SelectedTasks::ask(&running.services.store, course, retry).await?);
    }
    // No bound: whoever reads the store waits for nobody, and rows of 300,000 stars are 30 MB.
    let (sender, mut batches) = mpsc::unbounded_channel();
    let read_course = course.clone();
    let reading = running.services.store.ask(move |store| read(store, &read_course, &wanted, &sender));
    let writing = async {
        let mut restored = 0;
        while let Some(batch) = batches.recv().await {
            restored += write(running, course, batch).await?;
        }
        Ok::<_, Trouble>(restored)
    };
    let (read, restored) = tokio::join!(reading, writing);
    read?;
    let restored = restored?;
    if restored > 0 {
        tracing::info!(run = %course.record.run, stars = restored, "settled stars are restored");
    }
    Ok(())
}

/// Reads what every star settled with last; sends what is to be restored in batches.
fn read(
    store: &Store,
    course: &Course,
    retries: &[SelectedTasks],
    batches: &mpsc::UnboundedSender<Vec<(StarIndex, Row)>>,
) -> Result<(), StoreError> {
    let mut batch = Vec::new();
    store.each_settled_row(course.record.run, |settled| {
        let star = settled.star;
        batch.extend(to_restore(course, retries, settled).map(|row| (star, row)));
        if batch.len() == AT_ONCE {
            // The other side ends early only after trouble of its own.
            let _ = batches.send(std::mem::take(&mut batch));
        }
    })?;
    let _ = batches.send(batch);
    Ok(())
}

/// The row that a star is restored with, if it is.
fn to_restore(course: &Course, retries: &[SelectedTasks], settled: SettledRow) -> Option<Row> {
    let SettledRow { star: this, row, end, .. } = settled;
    end?;
    let row = Row::from_bytes(row).ok().filter(|row| row.as_bytes().len() == course.graph.nodes.len())?;
    let again = retries.iter().any(|tasks| !tasks.settled(course, this, &row).is_empty());
    (!again).then_some(row)
}

/// Writes rows of stars that are closed already; returns how many were not admitted by somebody in the meantime.
async fn write(running: &Coordinator, course: &Arc<Course>, batch: Vec<(StarIndex, Row)>) -> Result<usize, Trouble> {
    let change = |(star, row): (StarIndex, Row)| Change {
        star,
        expected: Star::fresh(&course.graph),
        after: Star { row, ..Star::default() },
        ..Change::default()
    };
    let changes: Vec<Change> = batch.into_iter().map(change).collect();
    let written = running.services.state.write(course.record.run, running.epoch(), None, &changes).await?;
    Ok(written.into_iter().filter(|written| *written == Written::Done).count())
}
