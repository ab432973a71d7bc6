//! Accepting dataset events: into the store first, then into the state. Every step may be repeated by anyone.

use domain::id::{EventId, ModuleIndex, RunId, StarId};
use domain::message::{DatasetEvent, StarSelection};
use domain::pipeline::Pipeline;
use services::state::{CursorMove, RunInfo};
use store::events::{Disposition, EventRecord};
use store::runs::RunRecord;
use store::{Commit, Store, StoreError};

use crate::course::Course;
use crate::events::expand::{dispositions, runs, star_list, unique};
use crate::hooks::Moment;
use crate::ports::Ports;
use crate::runs::follow;
use crate::runs::holds;
use crate::runs::restore::restore;
use crate::runs::standing::Orders;
use crate::trouble::{Trouble, blocking};

/// What became of an event.
pub(crate) enum Accepted {
    /// It is in the store with its runs, and they are in the state.
    Taken,
    /// It names no stars that can be read; it is not on record, so that it can be sent again once that is mended.
    Refused(String),
}

/// Accepts an event, for the first time or again.
pub(crate) async fn accept(ports: &Ports, pipelines: &[Pipeline], event: DatasetEvent) -> Result<Accepted, Trouble> {
    let (store, pipelines) = (ports.store.clone(), pipelines.to_vec());
    let started = match blocking(move || begin(&store, &pipelines, &event)).await? {
        Ok(started) => started,
        Err(reason) => return Ok(Accepted::Refused(reason)),
    };
    started.open(ports).await?;
    Ok(Accepted::Taken)
}

/// Finishes an event whose acceptance was cut short. By now it is on record, so that stars which cannot be read any more
/// are its disposition.
pub(crate) async fn finish(ports: &Ports, pipelines: &[Pipeline], id: EventId) -> Result<(), Trouble> {
    let (store, pipelines) = (ports.store.clone(), pipelines.to_vec());
    let started = blocking(move || {
        let Some(record) = store.event(id)? else { return Ok(Started::default()) };
        match read_stars(&store, &record.event)? {
            Ok(stars) => dispose(&store, &record, &stars, &pipelines),
            Err(reason) => store.dispose_event(id, &[Disposition::Rejected { reason }]).map(|_| Started::default()),
        }
    })
    .await?;
    started.open(ports).await?;
    Ok(())
}

/// Enters a run into the state unless it is over. Harmless when it is there.
pub(crate) async fn open(ports: &Ports, run: RunId) -> Result<(), Trouble> {
    let orders = follow::orders(ports, run).await?;
    if orders.is_over {
        return Ok(());
    }
    let Some(course) = ports.catalog.course(run).await? else { return Ok(()) };
    crate::advance::dispatch::declare(ports, &course.classes()).await?;
    let mut info = info(&course, &orders, holds::held(ports, &course).await?);
    let store = ports.store.clone();
    let has_settled = blocking(move || store.has_settled(run)).await?;
    if has_settled && ports.state.run(run).await?.is_none() {
        // Nothing is admitted until the settled stars are back. Whoever dies meanwhile leaves a run that stands still, which
        // the comparison sees.
        info.cursor = info.stars;
        ports.state.open_run(&info).await?;
        restore(ports, &course, &orders.since_end).await?;
        rewind(ports, run).await?;
    } else {
        ports.state.open_run(&info).await?;
    }
    // Whoever ended it meanwhile closed it before it was opened here.
    if follow::orders(ports, run).await?.is_over {
        ports.state.close_run(run).await?;
    }
    ports.wakes.admission.notify_one();
    Ok(())
}

/// Lets admission begin anew, wherever it is: it passes over stars that are in already. Where it moves on at this very
/// moment the comparison asks again.
pub(crate) async fn rewind(ports: &Ports, run: RunId) -> Result<(), Trouble> {
    let Some(view) = ports.state.run(run).await? else { return Ok(()) };
    let back = CursorMove { from: view.info.cursor, to: 0 };
    ports.state.write(run, ports.epoch(), Some(back), &[]).await?;
    ports.wakes.admission.notify_one();
    Ok(())
}

fn info(course: &Course, orders: &Orders, held: Vec<ModuleIndex>) -> RunInfo {
    let record = &course.record;
    RunInfo {
        run: record.run,
        pipeline: record.pipeline.clone(),
        version: record.version.clone(),
        quarter: record.quarter,
        stars: course.stars.len(),
        modules: course.pipeline.modules.iter().map(|module| (module.name.clone(), module.class.clone())).collect(),
        horizon: record.horizon,
        accepted: record.accepted,
        phase: orders.phase,
        weight: orders.weight,
        cursor: 0,
        held,
        amended: orders.amended,
    }
}

/// The runs of an event.
#[derive(Default)]
struct Started {
    runs: Vec<RunId>,
    /// Those that were not on record before.
    new: Vec<RunId>,
}

impl Started {
    fn of(dispositions: &[Disposition], new: Vec<RunId>) -> Self {
        let run = |disposition: &Disposition| match disposition {
            Disposition::Run { run } => Some(*run),
            Disposition::NoPipeline | Disposition::Rejected { .. } => None,
        };
        Self { runs: dispositions.iter().filter_map(run).collect(), new }
    }

    /// Enters the runs into the state.
    async fn open(self, ports: &Ports) -> Result<(), Trouble> {
        for run in self.runs {
            if self.new.contains(&run)
                && let Some(course) = ports.catalog.course(run).await?
            {
                ports.hooks.run(&course, Moment::RunStarted);
            }
            open(ports, run).await?;
        }
        Ok(())
    }
}

/// Event and runs into the store; the runs, or why its stars cannot be read.
fn begin(store: &Store, pipelines: &[Pipeline], event: &DatasetEvent) -> Result<Result<Started, String>, StoreError> {
    let id = event.event_id();
    if let Some(dispositions) = store.dispositions(id)? {
        return Ok(Ok(Started::of(&dispositions, Vec::new())));
    }
    let stars = match read_stars(store, event)? {
        Ok(stars) => stars,
        Err(reason) => return Ok(Err(reason)),
    };
    let record = store.accept_event(event)?;
    dispose(store, &record, &stars, pipelines).map(Ok)
}

/// The runs of an accepted event, then what became of it; returns the runs on record.
fn dispose(
    store: &Store,
    record: &EventRecord,
    stars: &[StarId],
    pipelines: &[Pipeline],
) -> Result<Started, StoreError> {
    let mut new = Vec::new();
    let records: Vec<RunRecord> = runs(record, stars, pipelines);
    for record in &records {
        if store.create_run(record, stars)? == Commit::Created {
            new.push(record.run);
        }
        tracing::info!(run = %record.run, pipeline = %record.pipeline, stars = record.stars, "run accepted");
    }
    if records.is_empty() && record.event.data.start.is_none() {
        let known: Vec<&str> = pipelines.iter().map(|pipeline| pipeline.trigger.as_str()).collect();
        let (event, dataset) = (record.id, &record.event.data.dataset);
        tracing::warn!(%event, %dataset, "no pipeline is started by this dataset; there are some for {}", known.join(", "));
    }
    Ok(Started::of(&store.dispose_event(record.id, &dispositions(&record.event.data, &records, pipelines))?, new))
}

/// The stars that an event names, sorted, each once; or why they cannot be read.
fn read_stars(store: &Store, event: &DatasetEvent) -> Result<Result<Vec<StarId>, String>, StoreError> {
    let file = match &event.data.stars {
        StarSelection::Inline(stars) => return Ok(Ok(unique(stars.clone()))),
        StarSelection::File(file) => file,
    };
    let path = store.at(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(star_list(&text).map_err(|bad| format!("star list `{file}`: {bad}"))),
        Err(error) if is_for_good(&error) && store.root().join("store.json").exists() => {
            Ok(Err(format!("star list `{file}` cannot be read: {error}")))
        }
        Err(source) => Err(StoreError::Io { doing: "read", path, source }),
    }
}

/// Whether waiting does not mend an error of reading a file.
fn is_for_good(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as E;
    matches!(
        error.kind(),
        E::NotFound
            | E::NotADirectory
            | E::IsADirectory
            | E::InvalidData
            | E::InvalidInput
            | E::InvalidFilename
            | E::PermissionDenied
    )
}
