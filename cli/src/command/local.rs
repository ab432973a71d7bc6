//! `sas local`: coordinator and worker in this process, with a queue and a state in memory. The store makes it resumable.

mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use coordinator::operate::called::{CalledStar, star_among};
use coordinator::operate::failures::{RunReport, report};
use coordinator::operate::{OperateError, event};
use domain::id::{Quarter, RunId, StarId};
use domain::message::{DatasetUpdate, StarSelection, Start};
use domain::pipeline::Pipeline;
use services::config::{LogConfig, LogFormat};
use services::definition::load_file;
use services::service;
use store::Store;
use store::ingest::{IngestOptions, IngestScope, Ingested, Unnamed};
use store::migration::bring_forward;

use worker::config::{RunnerKind, WorkerConfig};

use crate::command::{ingest, run};
use crate::connect::{SiteArgs, make_store};
use crate::embedded::Embedded;
use crate::exit::{Incomplete, usage};
use crate::output::{Format, note};
use crate::progress;

/// Run a pipeline on this machine in one process: no broker, no Redis.
///
/// Takes the files into the store of `--store` and runs the pipeline on the store's stars, quarter by quarter. What the
/// store already holds is not computed again, so a run that was stopped goes on where it was. Each call is a new run of every quarter
/// of the store, unless --quarter names one, and tries again what failed.
#[derive(Debug, Args)]
pub(crate) struct LocalCommand {
    /// Pipeline file.
    #[arg(long, value_name = "FILE")]
    pipeline: PathBuf,
    /// Star files to take in first; directories mean the HDF5 files below them.
    #[arg(value_name = "STAR FILE|DIR")]
    files: Vec<PathBuf>,
    /// Only this quarter; stars whose files name none are of it, and of quarter 0 unless it is given.
    #[arg(long)]
    quarter: Option<Quarter>,
    /// Only these stars of the store, or those with these first digits of their UUIDs.
    #[arg(long, value_name = "STAR")]
    star: Vec<CalledStar>,
    /// Run modules in a container each (`docker`), or as processes without any isolation (`process`, for development). A process is
    /// known by its code in the place of an image: the program, every argument that is the path of a file or directory, and for
    /// `-m NAME` the module of that name below `PYTHONPATH`; what these load from elsewhere may change unseen.
    #[arg(long, default_value = "docker", value_parser = runner)]
    runner: RunnerKind,
    /// Attempts at the same time, per resource class; as many as there are processors unless given.
    #[arg(long, value_name = "N")]
    slots: Option<u32>,
    /// Run the modules that have `mode = "serve"` both ways, one program for all stars and one for each, and compare what
    /// they make: one that carries something from star to star is named. The star files go into two new stores, `serve`
    /// and `oneshot` in the directory of `--store`.
    #[arg(long)]
    verify_serve: bool,
    /// Give up after this time, as in `2h`.
    #[arg(long, value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

impl LocalCommand {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let log = if format == Format::Json { LogFormat::Json } else { LogFormat::Human };
        services::telemetry::start(&LogConfig { filter: "warn".to_owned(), format: log })?;
        let pipeline = load_file(&self.pipeline)?;
        // Never the configured one: a cluster may be at work on it.
        let root = site.store.as_deref().ok_or_else(|| usage("no store: name it with --store"))?;
        let serving = verify::serving(&pipeline);
        let most = u32::try_from(serving.len()).unwrap_or(u32::MAX);
        if !self.verify_serve {
            return self.run_in(root, &pipeline, most, format).await;
        }
        if serving.is_empty() || self.files.is_empty() {
            return Err(usage(
                "--verify-serve needs star files, and a pipeline with a module that has `mode = \"serve\"`",
            )
            .into());
        }
        let roots = verify::WAYS.map(|way| root.join(way));
        if let Some(old) = roots.iter().find(|root| root.exists()) {
            let reason = format!("`{}` is there: what it has would not run again; name another --store", old.display());
            return Err(OperateError::refused(reason).into());
        }
        let alone = Self { slots: Some(1), ..self };
        for (root, warm) in roots.iter().zip([most, 0]) {
            std::fs::create_dir_all(root).with_context(|| format!("failed to make `{}`", root.display()))?;
            match alone.run_in(root, &pipeline, warm, format).await {
                // What failed on both ways is no difference.
                Err(error) if error.is::<Incomplete>() => note(&format!("{error}")),
                ended => ended?,
            }
        }
        let stores = [Store::open(&roots[0])?, Store::open(&roots[1])?];
        verify::report(&verify::compare(&stores, &serving).await?, format)
    }

    /// Runs the pipeline in one store, with so many programs that serve kept warm for each slot.
    async fn run_in(&self, root: &Path, pipeline: &Pipeline, warm: u32, format: Format) -> anyhow::Result<()> {
        if let Some(done) = bring_forward(root)? {
            note(&format!("store {done}"));
        }
        let is_new = Store::open(root).is_err();
        let store = make_store(root)?;
        if is_new {
            note(&format!("made a new store in `{}`", root.display()));
        }
        let ingested = self.take_in(&store, pipeline).await?;
        let work = self.work(&store)?;
        if work.is_empty() {
            return Err(OperateError::not_found("the store has no star to run; name star files").into());
        }
        let signal = service::ended_by_signal().context("failed to listen for signals")?;
        let cluster = self.start(&store, pipeline, warm).await?;
        let end = tokio::select! {
            end = self.run_quarters(&cluster, pipeline, work, format) => end,
            () = signal.cancelled() => {
                note("interrupted: stops what runs");
                Err(anyhow::anyhow!("interrupted; the same command goes on where this one was"))
            }
        };
        cluster.stop().await;
        end?;
        ingest::refuse_wrong(&ingested)
    }

    async fn start(&self, store: &Store, pipeline: &Pipeline, warm: u32) -> anyhow::Result<Embedded> {
        let processors = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
        let slots = self.slots.unwrap_or(processors).max(1);
        let slots = pipeline.classes.keys().map(|class| (class.clone(), slots)).collect();
        let config = WorkerConfig { runner: self.runner, warm, ..WorkerConfig::default() };
        Embedded::start(store, pipeline.clone(), config, slots).await
    }

    async fn take_in(&self, store: &Store, pipeline: &Pipeline) -> anyhow::Result<Vec<Ingested>> {
        if self.files.is_empty() {
            return Ok(Vec::new());
        }
        let scope = IngestScope::AsWritten { unnamed: self.quarter.map_or(Unnamed::First, Unnamed::Of) };
        let options =
            IngestOptions { dataset: pipeline.trigger.on.first().clone(), scope, aliases: pipeline.aliases.clone() };
        let taken = ingest::take_in(store, self.files.clone(), options, ingest::Whole::Files).await?;
        let ingest::TakenIn { stars, stopped, .. } = taken;
        note(&ingest::describe(&stars));
        stopped.map(|()| stars)
    }

    /// The stars to run, by quarter.
    fn work(&self, store: &Store) -> anyhow::Result<BTreeMap<Quarter, Vec<StarId>>> {
        let mut work = store.known_stars()?;
        let known: BTreeSet<StarId> = work.values().flatten().copied().collect();
        let meant = self.star.iter().map(|called| star_among(&known, called)).collect::<Result<BTreeSet<_>, _>>()?;
        work.retain(|quarter, stars| {
            stars.retain(|star| meant.is_empty() || meant.contains(star));
            !stars.is_empty() && self.quarter.is_none_or(|only| only == *quarter)
        });
        Ok(work)
    }

    /// Runs one quarter after the other, since a later one may read the one before.
    async fn run_quarters(
        &self,
        cluster: &Embedded,
        pipeline: &Pipeline,
        work: BTreeMap<Quarter, Vec<StarId>>,
        format: Format,
    ) -> anyhow::Result<()> {
        let mut ends = Vec::new();
        for (quarter, stars) in work {
            note(&format!("{quarter}: {} stars through {} {}", stars.len(), pipeline.name, pipeline.version));
            let stars = StarSelection::Inline(stars);
            // Whoever runs it here wants it to run, whatever its trigger waits for.
            let start = pipeline.trigger.plain().is_none().then(|| Start {
                pipeline: pipeline.name.clone(),
                version: None,
                only_group: None,
                replay: None,
            });
            let dataset = pipeline.trigger.on.first().clone();
            let event = event::new(DatasetUpdate { dataset, quarter, stars, start });
            let run = RunId::of(event.event_id(), pipeline.name.as_str(), &pipeline.version);
            event::send(&cluster.context, &event).await?;
            ends.push(tokio::select! {
                end = watched(cluster, run, self.timeout, format) => end?,
                error = cluster.broken() => return Err(error),
            });
        }
        if !self.verify_serve {
            format.print(&ends, |ends| ends.iter().map(run::show_report).collect::<Vec<_>>().join("\n\n"));
        }
        let store = cluster.context.store.root().display().to_string();
        ends.iter().try_for_each(|end| progress::require_complete(end, Some(&store)))
    }
}

/// How a run ended, with what failed most.
async fn watched(
    cluster: &Embedded,
    run: RunId,
    timeout: Option<Duration>,
    format: Format,
) -> anyhow::Result<RunReport> {
    progress::watch(&cluster.context, run, timeout, format).await?;
    Ok(report(&cluster.context, run).await?)
}

/// A runner by name; the one that runs nothing is for benchmarks of the cluster.
fn runner(name: &str) -> Result<RunnerKind, String> {
    match name {
        "docker" => Ok(RunnerKind::Docker),
        "process" => Ok(RunnerKind::Process),
        _ => Err("expected `docker` or `process`".to_owned()),
    }
}
