//! `sas run start`: a run over stars that the store has already.
//!
//! It goes the way of all runs: an event on RabbitMQ, with a source of its own, that the coordinator accepts, numbers and
//! expands. So the run's horizon is now, and whatever dies on the way, the event is accepted once or comes again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use coordinator::config::load_pipelines;
use coordinator::runs::standing;
use coordinator::star_list;
use domain::id::{EventId, PipelineName, Quarter, RunId, StarId};
use domain::message::{DatasetEvent, DatasetUpdate, Start};
use domain::pipeline::Pipeline;
use serde::Serialize;
use services::definition::load_file;
use store::Store;
use store::events::Disposition;
use uuid::Uuid;

use crate::command::event;
use crate::connect::Config;
use crate::exit::Stop;
use crate::output::Format;

/// Who publishes these events.
const SOURCE: &str = "sas run start";

/// How long a coordinator may take to accept an event before it is no longer waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// Start a run over stars that the store has already, without new data.
///
/// The stars' newest externals are used; what was computed from the same inputs is taken from the store by its key and ends
/// at once. With --only-group the modules of that group run, and everything upstream of them; all other modules are shown
/// as skipped (not of group …). Such a run makes no star file: the star files stay as the last whole run left them, its
/// results are in the store, and the next whole run takes them from there.
#[derive(Debug, Args)]
pub(crate) struct StartArguments {
    /// The pipeline: a name that the coordinator knows, or a file that it has loaded in the same version.
    #[arg(long, value_name = "NAME|FILE")]
    pipeline: String,
    /// Stars, or text files with one a line.
    #[arg(long, required = true, num_args = 1.., value_name = "STAR|FILE")]
    stars: Vec<String>,
    /// The quarter; of each star its newest unless given.
    #[arg(long)]
    quarter: Option<Quarter>,
    /// Run only the modules of this group, and what they need.
    #[arg(long, value_name = "GROUP")]
    only_group: Option<String>,
    /// Take stars over from runs of this pipeline and quarter that still go on.
    #[arg(long)]
    take_over: bool,
}

/// What was started for one quarter.
#[derive(Debug, Serialize)]
struct Started {
    quarter: Quarter,
    stars: usize,
    event: EventId,
    /// The run; none while no coordinator accepted the event.
    run: Option<RunId>,
}

pub(crate) async fn start(config: &Config, store: &Store, asked: StartArguments, format: Format) -> anyhow::Result<()> {
    let (pipeline, version) = find_pipeline(config, store, &asked.pipeline)?;
    if let Some(group) = &asked.only_group {
        require_group(&pipeline, group)?;
    }
    let quarters = quarters(store, read_stars(&asked.stars)?, asked.quarter)?;
    // A run that is limited to a group is in nobody's way.
    if !asked.take_over && asked.only_group.is_none() {
        for (quarter, stars) in &quarters {
            require_free(store, &pipeline.name, *quarter, stars)?;
        }
    }
    let queue = config.queue().await?;
    let mut started = Vec::new();
    for (quarter, stars) in quarters {
        let start =
            Start { pipeline: pipeline.name.clone(), version: version.clone(), only_group: asked.only_group.clone() };
        let id = Uuid::new_v4().to_string();
        let count = stars.len();
        let selection = event::select(store, &id, stars)?;
        let update = DatasetUpdate { dataset: pipeline.trigger.clone(), quarter, stars: selection, start: Some(start) };
        let event = DatasetEvent::new(SOURCE, &id, jiff::Timestamp::now().to_string(), update);
        event::publish(&queue, &event).await?;
        let run = accepted(store, event.event_id()).await?;
        started.push(Started { quarter, stars: count, event: event.event_id(), run });
    }
    format.print(&started, |started| started.iter().map(line).collect::<Vec<_>>().join("\n"));
    Ok(())
}

fn line(started: &Started) -> String {
    match started.run {
        Some(run) => {
            format!("run {run} over {} stars of {}; `sas run watch {run}` follows it", started.stars, started.quarter)
        }
        None => format!(
            "event {} over {} stars of {} is published; no coordinator took it up yet",
            started.event, started.stars, started.quarter
        ),
    }
}

/// The pipeline of this name or in this file; with its version where a file says which.
fn find_pipeline(config: &Config, store: &Store, named: &str) -> anyhow::Result<(Pipeline, Option<String>)> {
    if Path::new(named).is_file() {
        let pipeline = load_file(Path::new(named))?;
        let version = pipeline.version.clone();
        return Ok((pipeline, Some(version)));
    }
    let name: PipelineName = named
        .parse()
        .map_err(|error| Stop::NotFound(format!("`{named}` is no file and no name of a pipeline: {error}")))?;
    let configured = load_pipelines(config.pipelines())?;
    if let Some(found) = configured.into_iter().find(|pipeline| pipeline.name == name) {
        return Ok((found, None));
    }
    let newest = store.runs()?.into_iter().find(|record| record.pipeline == name);
    match newest.map(|record| store.run(record.run)).transpose()?.flatten() {
        Some(mut record) => {
            record.only_group = None;
            Ok((record.load_pipeline()?, None))
        }
        None => Err(Stop::NotFound(format!(
            "no pipeline {name}: it is neither in `[coordinator] pipelines` nor was there ever a run of it; give its file"
        ))
        .into()),
    }
}

fn require_group(pipeline: &Pipeline, group: &str) -> Result<(), Stop> {
    let groups = pipeline.groups();
    if groups.contains(group) {
        return Ok(());
    }
    let known: Vec<&str> = groups.into_iter().collect();
    Err(Stop::NotFound(format!(
        "{} {} has no group {group}; it has {}",
        pipeline.name,
        pipeline.version,
        known.join(", ")
    )))
}

/// Stars that are named, and those in files that are; each once.
fn read_stars(named: &[String]) -> anyhow::Result<Vec<StarId>> {
    let mut stars = Vec::new();
    for text in named {
        if let Ok(star) = text.parse() {
            stars.push(star);
            continue;
        }
        let list = std::fs::read_to_string(text)
            .map_err(|error| Stop::NotFound(format!("`{text}` is neither a star nor a list of stars: {error}")))?;
        stars.extend(star_list(&list).map_err(|bad| Stop::Usage(format!("star list `{text}`: {bad}")))?);
    }
    stars.sort_unstable();
    stars.dedup();
    Ok(stars)
}

/// The stars by their quarter; all of them must be in the store.
fn quarters(
    store: &Store,
    stars: Vec<StarId>,
    wanted: Option<Quarter>,
) -> anyhow::Result<BTreeMap<Quarter, Vec<StarId>>> {
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
    Err(Stop::NotFound(format!("the store has no {what} of {} stars: {} …", missing.len(), shown.join(", "))).into())
}

/// No run of the pipeline that goes on may have these stars: a newer one takes them over.
fn require_free(store: &Store, pipeline: &PipelineName, quarter: Quarter, stars: &[StarId]) -> anyhow::Result<()> {
    for run in store.open_runs()? {
        let Some(record) = store.run(run)? else { continue };
        let is_other = record.pipeline != *pipeline || record.quarter != quarter || record.only_group.is_some();
        if is_other || standing::read(store, run)?.is_over {
            continue;
        }
        let list = store.stars(record.run)?;
        for star in stars {
            anyhow::ensure!(
                list.position(*star)?.is_none(),
                "run {} of {pipeline} over {quarter} goes on and has {star}: a newer run takes its stars over, so that the older \
                 ends without them; wait for it, cancel it, or say --take-over",
                record.run
            );
        }
    }
    Ok(())
}

/// The run that an event started; an error when no coordinator accepts it in time.
pub(crate) async fn run_of(store: &Store, event: EventId) -> anyhow::Result<RunId> {
    accepted(store, event).await?.ok_or_else(|| {
        let waited = PATIENCE.as_secs();
        Stop::TimedOut(format!("no coordinator accepted event {event} within {waited} s: is one running?")).into()
    })
}

/// The run that an event started, waited for; an error when it was refused.
async fn accepted(store: &Store, event: EventId) -> anyhow::Result<Option<RunId>> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match store.dispositions(event)?.unwrap_or_default().first() {
            Some(Disposition::Run { run }) => return Ok(Some(*run)),
            Some(Disposition::Rejected { reason }) => anyhow::bail!("the coordinator refused event {event}: {reason}"),
            Some(Disposition::NoPipeline) => {
                anyhow::bail!("no pipeline of the coordinator is started by the dataset of event {event}")
            }
            None if tokio::time::Instant::now() >= until => return Ok(None),
            None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
