//! Accepting dataset events: into the store first, then into the state. Every step may be repeated by anyone.

use std::borrow::Cow;
use std::sync::Arc;

use domain::error::chain;
use domain::id::{EventId, ReplayId, RunId, StarId};
use domain::message::{DatasetEvent, StarSelection};
use domain::pipeline::{self, Pipeline};
use jiff::Timestamp;
use services::traces::Span;
use store::crash::CrashPoint;
use store::events::{Disposition, EventRecord};
use store::runs::{ReplayOrder, RunRecord};
use store::star_lists::INLINE;
use store::{Commit, Store, StoreError};

use crate::events::expand::{dispositions, runs};
use crate::events::hold::hold;
use crate::events::span::event_span;
use crate::hooks::Moment;
use crate::running::Coordinator;
use crate::runs::open::open;
use crate::trouble::Trouble;

/// What became of an event.
pub(crate) enum Accepted {
    /// It is in the store with its runs, and they are in the state.
    Taken,
    /// It names no stars that can be read, it has the name of another event, or its record in the store is damaged. It is not on
    /// record, so that it can be sent again once that is mended.
    Refused(String),
}

/// Accepts an event, for the first time or again.
pub(crate) async fn accept(
    running: &Coordinator,
    pipelines: &[Pipeline],
    event: Arc<DatasetEvent>,
) -> Result<Accepted, Trouble> {
    let (id, terms) = (event.event_id(), Terms { pipelines: pipelines.to_vec(), hold_above: running.hold_above });
    let begun = running.services.store.ask(move |store| begin(store, &terms, &event)).await;
    let started = match begun {
        Ok(Ok(started)) => started,
        Ok(Err(reason)) => return Ok(Accepted::Refused(reason)),
        Err(damage @ (StoreError::Damaged { .. } | StoreError::Newer { .. })) => {
            return Ok(Accepted::Refused(format!("event {id} cannot be accepted: {damage}")));
        }
        Err(error) => return Err(error.into()),
    };
    started.open(running).await?;
    Ok(Accepted::Taken)
}

/// Finishes an event whose acceptance was cut short. By now it is on record, so that stars which cannot be read any more
/// are its disposition.
pub(crate) async fn finish(running: &Coordinator, pipelines: &[Pipeline], id: EventId) -> Result<(), Trouble> {
    let terms = Terms { pipelines: pipelines.to_vec(), hold_above: running.hold_above };
    let started = running.services.store.ask(move |store| {
        let Some(record) = store.event(id)? else { return Ok(Started::default()) };
        match store.stars_of(&record.event.data.stars)? {
            Ok(stars) => dispose(store, &record, &stars, &terms),
            Err(reason) => {
                let (disposed, _) = store.dispose_event(id, &[Disposition::Rejected { reason }])?;
                Ok(Started::of(&disposed, Vec::new(), false))
            }
        }
    });
    // Whoever receives it counts it, and may do so at this moment.
    Started { disposition: None, ..started.await? }.open(running).await
}

/// By what events are accepted.
struct Terms {
    pipelines: Vec<Pipeline>,
    /// Most tasks that an event may start by itself; 0: any.
    hold_above: u64,
}

/// The runs of an event.
#[derive(Default)]
struct Started {
    runs: Vec<RunId>,
    /// Those that were not on record before.
    new: Vec<RunId>,
    /// Whether a trigger weighs its stars.
    is_weighed: bool,
    /// What became of the event now; `None` where there is none.
    disposition: Option<&'static str>,
    /// What is told of the event, unless somebody else does.
    span: Option<Span>,
}

impl Started {
    fn of(dispositions: &[Disposition], new: Vec<RunId>, is_repeated: bool) -> Self {
        let run = |disposition: &Disposition| match disposition {
            Disposition::Run { run } => Some(*run),
            Disposition::Waits { .. } | Disposition::NoPipeline | Disposition::Rejected { .. } => None,
        };
        let runs: Vec<RunId> = dispositions.iter().filter_map(run).collect();
        let is_rejected = dispositions.iter().any(|disposition| matches!(disposition, Disposition::Rejected { .. }));
        let is_weighed = dispositions.iter().any(|disposition| matches!(disposition, Disposition::Waits { .. }));
        let disposition = match (is_repeated, is_rejected, runs.is_empty()) {
            (true, ..) => "repeated",
            (false, true, _) => "rejected",
            (false, false, true) if is_weighed => "waits",
            (false, false, true) => "no_pipeline",
            (false, false, false) => "run",
        };
        Self { runs, new, is_weighed, disposition: Some(disposition), span: None }
    }

    /// Enters the runs into the state.
    async fn open(self, running: &Coordinator) -> Result<(), Trouble> {
        for run in self.runs {
            if self.new.contains(&run)
                && let Some(course) = running.course(run).await?
            {
                running.hooks.run(&course, Moment::RunStarted);
            }
            let opened = open(running, run).await;
            running.of_run(run, opened).await?;
        }
        if self.is_weighed {
            running.wakes.triggers.notify_one();
        }
        if let Some(disposition) = self.disposition {
            running.counters.disposed(disposition);
        }
        if let Some(span) = self.span {
            running.traces.tell(Span { ended: Timestamp::now().max(span.started), ..span });
        }
        Ok(())
    }
}

/// What is said of an event that has the name of another one.
pub(crate) fn other_data(event: &DatasetEvent) -> String {
    let DatasetEvent { id, source, .. } = event;
    format!("event {id:?} of {source:?} is known with other data: new data need an event with a new id")
}

/// Event and runs into the store; the runs, or why nothing can come of it.
fn begin(store: &Store, terms: &Terms, event: &DatasetEvent) -> Result<Result<Started, String>, StoreError> {
    if store.has_other_data(event)? {
        return Ok(Err(other_data(event)));
    }
    if let Some(dispositions) = store.dispositions(event.event_id())? {
        return Ok(Ok(Started::of(&dispositions, Vec::new(), true)));
    }
    let stars = match store.stars_of(&event.data.stars)? {
        Ok(stars) => stars,
        Err(reason) => {
            match store.refuse_event(event, &reason) {
                Err(error) if error.may_pass() => return Err(error),
                // Whoever asks finds nothing; the others must not wait for that.
                Err(error) => {
                    tracing::warn!(event = %event.event_id(), error = chain(&error), "why it is refused cannot be written down");
                }
                Ok(()) => {}
            }
            return Ok(Err(reason));
        }
    };
    let kept = lean(store, event, &stars)?;
    let record = store.accept_event(&kept)?;
    // What is on record counts: somebody may have sent other data under the same name at this moment.
    if !store.is_same_data(&record.event.data, &event.data)? {
        return Ok(Err(other_data(event)));
    }
    CrashPoint::EventWritten.reached();
    dispose(store, &record, &stars, terms).map(Ok)
}

/// The event as it is kept: where it has a long list of stars with it, that is laid into the store first and only named, for
/// events are read far more often than their stars.
fn lean<'e>(store: &Store, event: &'e DatasetEvent, stars: &[StarId]) -> Result<Cow<'e, DatasetEvent>, StoreError> {
    if !matches!(&event.data.stars, StarSelection::Inline(named) if named.len() > INLINE) {
        return Ok(Cow::Borrowed(event));
    }
    let list = store.keep_star_list(&format!("event-{}", event.event_id()), stars)?;
    Ok(Cow::Owned(event.with_stars(StarSelection::File(list))))
}

/// The runs of an accepted event, then what became of it; returns the runs on record.
fn dispose(store: &Store, record: &EventRecord, stars: &[StarId], terms: &Terms) -> Result<Started, StoreError> {
    let mut new = Vec::new();
    let replay = match record.event.data.start.as_ref().and_then(|start| start.replay) {
        Some(id) => match ordered(store, id)? {
            Ok(replay) => Some(replay),
            Err(reason) => {
                let (disposed, _) = store.dispose_event(record.id, &[Disposition::Rejected { reason }])?;
                return Ok(Started::of(&disposed, new, false));
            }
        },
        None => None,
    };
    let pipelines = replay.as_ref().map_or(&terms.pipelines[..], |(pipeline, _)| std::slice::from_ref(pipeline));
    let mut records: Vec<RunRecord> = runs(record, stars, pipelines);
    for run in &mut records {
        if let Some((_, order)) = &replay {
            run.replay = Some(order.replayed.clone());
            store.fix_identities(run.run, &order.identities)?;
        }
        // Before the run is there: nobody admits anything of it.
        if let Some(pipeline) = pipelines.iter().find(|pipeline| pipeline.name == run.pipeline) {
            hold(store, terms.hold_above, record, run, pipeline)?;
        }
        if store.create_run(&*run, stars)? == Commit::Created {
            new.push(run.run);
        }
        CrashPoint::RunWritten.reached();
        tracing::info!(run = %run.run, pipeline = %run.pipeline, stars = run.stars, "run accepted");
    }
    let became = dispositions(record, &records, pipelines);
    if became == [Disposition::NoPipeline] {
        let known: Vec<String> = pipelines.iter().map(|pipeline| pipeline.trigger.on.to_string()).collect();
        let (event, dataset) = (record.id, &record.event.data.dataset);
        tracing::warn!(%event, %dataset, "no pipeline is started by this dataset; there are some for {}", known.join(", "));
    }
    let (disposed, commit) = store.dispose_event(record.id, &became)?;
    CrashPoint::EventDisposed.reached();
    let started = Started::of(&disposed, new, false);
    // Others may have finished it at the same time: the first of them tells it.
    let span = (commit == Commit::Created).then(|| event_span(record, &started.runs, stars.len()));
    Ok(Started { span, ..started })
}

/// What somebody ordered to be replayed, or why it cannot be.
fn ordered(store: &Store, id: ReplayId) -> Result<Result<(Pipeline, ReplayOrder), String>, StoreError> {
    let Some(order) = store.replay_order(id)? else {
        return Ok(Err(format!("the store has no order {id} of a replay")));
    };
    let model = Some(order.data_model.as_str()).filter(|text| !text.is_empty());
    Ok(match pipeline::load(&format!("order {id} of a replay"), &order.definition, model) {
        Ok(pipeline) => Ok((pipeline, order)),
        Err(mistakes) => Err(mistakes.to_string()),
    })
}
