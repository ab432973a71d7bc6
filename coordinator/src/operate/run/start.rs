//! A run over stars that the store has already.
//!
//! It goes the way of all runs: an event on RabbitMQ, with a source of its own, that a coordinator accepts, numbers and
//! expands. So the run's horizon is now, and whatever dies on the way, the event is accepted once or comes again.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::id::{DatasetName, EventId, GroupName, PipelineName, Quarter, RunId, StarId};
use domain::message::{DatasetEvent, DatasetUpdate, Start};
use domain::pipeline::Pipeline;
use domain::text::did_you_mean;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::audit::{Target, Verb};
use store::events::Disposition;
use store::{Store, StoreError};
use uuid::Uuid;

use crate::operate::audit::Deed;
use crate::operate::look_up::open_runs;
use crate::operate::{Context, ErrorKind, OperateError, event, pipelines};

/// Who publishes these events.
const SOURCE: &str = "sas run start";

/// How long a coordinator may take to accept an event before it is no longer waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRun {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// Its version; the one that the coordinator has unless given.
    #[serde(default)]
    pub version: Option<String>,
    /// The stars; each is run once.
    pub stars: Vec<StarId>,
    /// The quarter; of each star its newest unless given.
    #[serde(default)]
    pub quarter: Option<Quarter>,
    /// Run only the modules of this group, and what they need.
    #[serde(default)]
    pub only_group: Option<GroupName>,
    /// Take stars over from runs of this pipeline and quarter that still go on.
    #[serde(default)]
    pub take_over: bool,
}

/// What was started for one quarter.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StartedRun {
    /// The quarter.
    pub quarter: Quarter,
    /// How many stars it has.
    pub stars: usize,
    /// The event that starts it.
    pub event: EventId,
    /// The run; none while no coordinator accepted the event.
    pub run: Option<RunId>,
    /// The line of the audit that says so.
    pub audit: Option<u64>,
}

/// Starts a run for each quarter of the stars, of a pipeline that is configured or had runs.
pub async fn start(context: &Context, asked: StartRun) -> Result<Vec<StartedRun>, OperateError> {
    let pipeline = pipelines::named(context, &asked.pipeline).await?;
    start_defined(context, asked, &pipeline).await
}

/// The same, of a pipeline whose definition the caller has; the coordinator must have loaded the same.
pub async fn start_defined(
    context: &Context,
    asked: StartRun,
    pipeline: &Pipeline,
) -> Result<Vec<StartedRun>, OperateError> {
    let StartRun { pipeline: name, version, only_group, take_over, .. } = asked.clone();
    let quarters = stars_to_start(context, asked, pipeline).await?;
    // A run that is limited to a group is in nobody's way.
    let take_over = take_over || only_group.is_some();
    let start = Start { pipeline: name, version, only_group, replay: None };
    let (dataset, what) = (pipeline.trigger.on.first().clone(), "a run".to_owned());
    start_stars(context, StarsToStart { start, dataset, quarters, take_over, what }).await
}

/// The stars that a run would have, by quarter; the store must have them, and the pipeline the group.
pub(in crate::operate) async fn stars_to_start(
    context: &Context,
    asked: StartRun,
    pipeline: &Pipeline,
) -> Result<BTreeMap<Quarter, Vec<StarId>>, OperateError> {
    if let Some(group) = &asked.only_group {
        require_group(pipeline, group)?;
    }
    context.ask(move |store| quarters(store, asked.stars, asked.quarter)).await
}

/// Stars that are to be started, a run for each quarter.
pub(in crate::operate) struct StarsToStart {
    /// What runs.
    pub(in crate::operate) start: Start,
    /// The dataset that the events name.
    pub(in crate::operate) dataset: DatasetName,
    /// The stars, which the store has.
    pub(in crate::operate) quarters: BTreeMap<Quarter, Vec<StarId>>,
    /// Whether they may be of runs that go on.
    pub(in crate::operate) take_over: bool,
    /// What is started, for the audit.
    pub(in crate::operate) what: String,
}

/// Publishes an event for each quarter, waits for its run, and writes a line into the audit.
pub(in crate::operate) async fn start_stars(
    context: &Context,
    asked: StarsToStart,
) -> Result<Vec<StartedRun>, OperateError> {
    let StarsToStart { start, dataset, quarters, take_over, what } = asked;
    let of = start.pipeline.clone();
    let look = move |store: &Store| {
        for (quarter, stars) in quarters.iter().filter(|_| !take_over) {
            require_free(store, &of, *quarter, stars)?;
        }
        Ok::<_, OperateError>(quarters)
    };
    let quarters = context.ask(look).await?;
    let by = context.doer()?;
    let mut started = Vec::new();
    for (quarter, stars) in quarters {
        let id = Uuid::new_v4().to_string();
        let (count, for_store) = (stars.len(), id.clone());
        let selection = context.ask(move |store| store.name_stars(&for_store, stars)).await?;
        let update = DatasetUpdate { dataset: dataset.clone(), quarter, stars: selection, start: Some(start.clone()) };
        let event = DatasetEvent::new(SOURCE, &id, jiff::Timestamp::now().to_string(), update);
        event::send(context, &event).await?;
        let run = accepted(context, event.event_id()).await?;
        let (by, id, what) = (by.clone(), event.event_id(), what.clone());
        let record = move |store: &Store| {
            let (target, effect) = match run {
                Some(run) => (Target::Run { run }, format!("{what} over {count} stars of {quarter}")),
                None => (Target::Event { event: id }, "no coordinator has accepted it yet".to_owned()),
            };
            let count = Some(count as u64);
            by.record(store, Deed { verb: Verb::Start, target, count, decision: None, effect: &effect })
        };
        let audit = Some(context.ask(record).await?);
        started.push(StartedRun { quarter, stars: count, event: id, run, audit });
    }
    Ok(started)
}

/// The run that an event started, waited for; one that no coordinator accepts timed out.
pub async fn of_event(context: &Context, event: EventId) -> Result<RunId, OperateError> {
    accepted(context, event).await?.ok_or_else(|| {
        let waited = PATIENCE.as_secs();
        let reason = format!("no coordinator accepted event {event} within {waited} s: is one running?");
        OperateError::new(ErrorKind::TimedOut, reason)
    })
}

fn require_group(pipeline: &Pipeline, group: &GroupName) -> Result<(), OperateError> {
    let groups = pipeline.groups();
    if groups.contains(group) {
        return Ok(());
    }
    let known: Vec<&str> = groups.into_iter().map(GroupName::as_str).collect();
    let (name, version) = (&pipeline.name, &pipeline.version);
    let meant = did_you_mean(group.as_str(), known.iter().copied());
    let known = known.join(", ");
    Err(OperateError::not_found(format!("{name} {version} has no group {group}{meant} (it has {known})")))
}

/// The stars by their quarter; all of them must be in the store.
fn quarters(
    store: &Store,
    mut stars: Vec<StarId>,
    wanted: Option<Quarter>,
) -> Result<BTreeMap<Quarter, Vec<StarId>>, OperateError> {
    if stars.is_empty() {
        return Err(OperateError::new(ErrorKind::Invalid, "there are no stars to run: name at least one"));
    }
    stars.sort_unstable();
    stars.dedup();
    let mut quarters: BTreeMap<Quarter, Vec<StarId>> = BTreeMap::new();
    let mut missing = Vec::new();
    for star in stars {
        let has = store.quarters_of(star)?;
        match wanted.map_or(has.last().copied(), |wanted| has.contains(&wanted).then_some(wanted)) {
            Some(quarter) => quarters.entry(quarter).or_default().push(star),
            None => missing.push(star),
        }
    }
    if missing.is_empty() {
        return Ok(quarters);
    }
    let what = wanted.map_or_else(|| "data".to_owned(), |quarter| format!("data of {quarter}"));
    let shown: Vec<String> = missing.iter().take(5).map(ToString::to_string).collect();
    let reason = format!("the store has no {what} of {} stars: {} …", missing.len(), shown.join(", "));
    Err(OperateError::not_found(reason))
}

/// No run of the pipeline that goes on may have these stars: a newer one takes them over.
fn require_free(
    store: &Store,
    pipeline: &PipelineName,
    quarter: Quarter,
    stars: &[StarId],
) -> Result<(), OperateError> {
    for record in open_runs(store, pipeline, quarter)? {
        let list = store.stars(record.run)?;
        for star in stars {
            if list.position(*star)?.is_some() {
                return Err(OperateError::refused(format!(
                    "run {} of {pipeline} over {quarter} goes on and has {star}: a newer run takes its stars over, so that the older \
                     ends without them; wait for it, cancel it, or say --take-over",
                    record.run
                )));
            }
        }
    }
    Ok(())
}

/// The run that an event started, waited for; an error when it was refused.
async fn accepted(context: &Context, event: EventId) -> Result<Option<RunId>, OperateError> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let look = move |store: &Store| {
            let refused = store.refused_event(event)?.map(|refused| Disposition::Rejected { reason: refused.reason });
            Ok::<_, StoreError>(store.dispositions(event)?.unwrap_or_else(|| refused.into_iter().collect()))
        };
        match context.ask(look).await?.first() {
            Some(Disposition::Run { run }) => return Ok(Some(*run)),
            Some(Disposition::Rejected { reason }) => {
                return Err(OperateError::refused(format!("the coordinator refused event {event}: {reason}")));
            }
            Some(Disposition::Waits { pipeline, on, .. }) => {
                return Err(OperateError::refused(format!(
                    "stars of event {event} enter a run of {pipeline} when {on} is there; `sas event show {event}` says which wait"
                )));
            }
            Some(Disposition::NoPipeline) => {
                return Err(OperateError::refused(format!(
                    "no pipeline of the coordinator is started by the dataset of event {event}"
                )));
            }
            None if tokio::time::Instant::now() >= until => return Ok(None),
            None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
