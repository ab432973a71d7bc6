//! `sas ingest`: delivered files into the store, and the event that says so.

mod delivery;
mod manifest;
mod progress;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use coordinator::operate::announce::announce;
use coordinator::operate::expansion::{self, Expansion};
use coordinator::operate::{self, Installation};
use delivery::{DeliveredFiles, PassedOver, listed};
use domain::id::{DatasetName, Quarter};
use domain::message::DatasetEvent;
use domain::text::shown;
use progress::Progress;
use serde::Serialize;
use services::definition::load_file;
use store::Store;
use store::agent::{Agent, AgentOptions};
use store::ingest::{IngestOptions, IngestResult, IngestScope, IngestStep, Ingested, Unnamed, ingest, rehearse};
use store::scratch::Scratch;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use watch::Watch;

use crate::command::event;
use crate::command::run::start::would_be;
use crate::connect::{Config, SiteArgs, make_store};
use crate::exit::Incomplete;
use crate::installation::Configured;
use crate::output::{Format, note, table};

/// Take star files into the store.
///
/// A version of a dataset holds the newest of every product that was delivered for it, so files may come one by one. What
/// the store has already makes no new version. A file that is wrong is said, and the others go on.
#[derive(Debug, Args)]
pub(crate) struct Ingest {
    /// Star files, several per star if need be: root attributes `PLATO_ID` and `QUARTER_NUMBER`, and `/EXTERNALS/<P>/<column>` with
    /// the attribute `unit`; of the page for operators (`deploy/README.md`) *Deliveries* says all of it. Directories mean the HDF5
    /// files below them.
    #[arg(required_unless_present_any = ["files_from", "watch"], conflicts_with = "watch", value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// A text file with more of them, one a line; `-` is standard input.
    #[arg(long, value_name = "LIST")]
    files_from: Option<PathBuf>,
    /// The dataset that the files are a version of.
    #[arg(long, default_value = "l1/lightcurve")]
    dataset: DatasetName,
    /// The quarter of stars whose files name none, as the simulator's do not. Unless it is given these are of quarter 0, and
    /// wrong where the store has other quarters of their star.
    #[arg(long, conflicts_with_all = ["per_star", "shared"])]
    quarter: Option<Quarter>,
    /// The files belong to their star and to no quarter in particular; say by `sas event publish` which quarters are to run.
    #[arg(long, conflicts_with_all = ["shared", "publish"])]
    per_star: bool,
    /// The files are the same for all stars (model grids).
    #[arg(long, conflicts_with = "publish")]
    shared: bool,
    /// Know the other spellings of products that this pipeline lists as aliases.
    #[arg(long, value_name = "FILE")]
    pipeline: Option<PathBuf>,
    /// Make the store where there is none.
    #[arg(long)]
    init: bool,
    /// Publish a dataset event for the stars that have new data, and for those whose data came before and was never
    /// published.
    #[arg(long)]
    publish: bool,
    /// Take nothing and publish nothing: say what is wrong with the files, how many stars have new data, and what an event over
    /// them would come to.
    #[arg(long, conflicts_with_all = ["watch", "init"])]
    dry_run: bool,
    /// Take deliveries from this directory as they come, and publish them: each directory in it with a `manifest.json`,
    /// `{"files": [{"path": "PLATO_….h5", "bytes": 12345, "sha256": "…"}, …]}`, is taken as a whole and moved to `done/`, or, where
    /// anything of it is not as its manifest says or cannot be ingested, refused as a whole and moved to `refused/`; a report
    /// beside it lists stars, events, and what is bad.
    #[arg(long, value_name = "DIR", conflicts_with = "files_from")]
    watch: Option<PathBuf>,
    /// How often the directory is looked at.
    #[arg(long, requires = "watch", default_value = "5s", value_parser = humantime::parse_duration)]
    every: Duration,
    /// How long nothing of a delivery must have changed before it is looked at.
    #[arg(long, requires = "watch", default_value = "10s", value_parser = humantime::parse_duration)]
    settle: Duration,
    /// Take the deliveries that are there, and end; with code 8 where some were refused.
    #[arg(long, requires = "watch")]
    once: bool,
}

#[derive(Debug, Serialize)]
struct IngestAnswer {
    stars: Vec<Ingested>,
    events: Vec<DatasetEvent>,
    /// What directories have besides, and why it is not taken.
    passed_over: Vec<PassedOver>,
}

impl Ingest {
    pub(crate) async fn run(mut self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let config = Config::load(site)?;
        if let Some(list) = &self.files_from {
            self.files.extend(listed(list)?);
        }
        let options = self.options()?;
        let installation = Configured::of(config);
        let publish = self.publish || self.watch.is_some() && !self.per_star && !self.shared;
        if publish && !self.dry_run {
            // A broker that cannot be reached is found out before anything is copied.
            installation.queue().await?;
        }
        let root = installation.config.root()?.to_owned();
        let open = move || if self.init { make_store(&root) } else { open_store(&root) };
        let store = spawn_blocking(open).await??;
        if let Some(folder) = self.watch {
            let every = Some(self.every).filter(|_| !self.once);
            let watch = Watch { folder, every, settle: self.settle, options, publish };
            return watch.run(&installation.context_with(store), format).await;
        }
        if self.dry_run {
            return dry_run(&installation.context_with(store), self.files, options, format).await;
        }
        let TakenIn { stars, stopped, passed_over } = take_in(&store, self.files, options, Whole::Files).await?;
        let mut answer = IngestAnswer { stars, events: Vec::new(), passed_over };
        if format != Format::Json {
            format.print(&answer, |answer| describe(&answer.stars));
        }
        let mut published = Ok(());
        if self.publish {
            let context = installation.context_with(store);
            let announced = announce(&context, &self.dataset, answer.stars.clone()).await;
            (answer.events, published) = (announced.events, announced.stopped);
        }
        match format {
            Format::Json => format.print(&answer, |_| String::new()),
            Format::Table | Format::Csv if answer.events.is_empty() => {}
            Format::Table | Format::Csv => format.print(&answer, |answer| published_lines(&answer.events)),
        }
        published.context("the files are in the store: the same command publishes what is not published yet")?;
        stopped?;
        refuse_wrong(&answer.stars)
    }

    fn options(&self) -> anyhow::Result<IngestOptions> {
        let scope = match (self.per_star, self.shared) {
            (true, _) => IngestScope::Star,
            (false, true) => IngestScope::Shared,
            (false, false) => IngestScope::AsWritten { unnamed: self.quarter.map_or(Unnamed::First, Unnamed::Of) },
        };
        let aliases = match &self.pipeline {
            Some(file) => load_file(file)?.aliases,
            None => BTreeMap::new(),
        };
        Ok(IngestOptions { dataset: self.dataset.clone(), scope, aliases })
    }
}

/// What a delivery would come to.
#[derive(Debug, Serialize)]
struct DryAnswer {
    /// Stars with new data, by quarter.
    new: BTreeMap<Quarter, u64>,
    /// What is wrong.
    wrong: Vec<Ingested>,
    /// What pipelines would have to do.
    expansions: Vec<Expansion>,
}

async fn dry_run(
    context: &operate::Context,
    named: Vec<PathBuf>,
    options: IngestOptions,
    format: Format,
) -> anyhow::Result<()> {
    let runtime = Handle::current();
    let dataset = options.dataset.clone();
    let look = move |store: &Store| {
        let rehearsal = async {
            let DeliveredFiles { files, wrong, passed_over } = DeliveredFiles::of(&named);
            passed_over.iter().for_each(|file| note(&format!("passed over {file}")));
            let (mut agent, _scratch) = reader(store, &files)?;
            let mut found = rehearse(store, &mut agent, &files, &options).await?;
            found.wrong.extend(wrong);
            anyhow::Ok(found)
        };
        Ok(runtime.block_on(rehearsal))
    };
    let found = context.store.ask(look).await??;
    let mut new: BTreeMap<Quarter, u64> = BTreeMap::new();
    for quarter in found.new.iter().filter_map(|(_, quarter)| *quarter) {
        *new.entry(quarter).or_default() += 1;
    }
    let expansions = expansion::of_event(context, &dataset, &new).await?;
    let wrong = found.wrong;
    let answer = DryAnswer { new, wrong, expansions };
    format.print(&answer, |answer| {
        let new = answer.new.iter().map(|(quarter, stars)| format!("{stars} stars of {quarter} have new data"));
        let mut lines: Vec<String> = new.collect();
        if lines.is_empty() {
            lines.push("no star has new data of a quarter".to_owned());
        }
        lines.extend(answer.expansions.iter().map(would_be));
        if !answer.wrong.is_empty() {
            lines.push(describe(&answer.wrong));
        }
        lines.join("\n")
    });
    refuse_wrong(&answer.wrong)
}

/// What became of a delivery.
pub(crate) struct TakenIn {
    /// Of each star and quarter, or file that has no place.
    pub(crate) stars: Vec<Ingested>,
    /// Why it stopped before its end, if it did.
    pub(crate) stopped: anyhow::Result<()>,
    /// What it has besides, and why that is not taken.
    pub(crate) passed_over: Vec<PassedOver>,
}

/// What is taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    /// What is wrong with one star's files is no matter of the others.
    Files,
    /// Nothing of a delivery with anything wrong in it.
    Delivery,
}

/// Ingests files, and those below directories, with an agent of its own; on a thread of its own, for it waits for the disk
/// at every step.
pub(crate) async fn take_in(
    store: &Store,
    named: Vec<PathBuf>,
    options: IngestOptions,
    whole: Whole,
) -> anyhow::Result<TakenIn> {
    let runtime = Handle::current();
    store.ask(move |store| Ok(runtime.block_on(take_in_here(store, &named, &options, whole)))).await?
}

async fn take_in_here(
    store: &Store,
    named: &[PathBuf],
    options: &IngestOptions,
    whole: Whole,
) -> anyhow::Result<TakenIn> {
    let DeliveredFiles { files, wrong: mut stars, passed_over } = DeliveredFiles::of(named);
    if whole == Whole::Files {
        passed_over.iter().for_each(|file| note(&format!("passed over {file}")));
    }
    let (mut agent, _scratch) = reader(store, &files)?;
    if whole == Whole::Delivery {
        stars.extend(rehearse(store, &mut agent, &files, options).await?.wrong);
        if !stars.is_empty() {
            return Ok(TakenIn { stars, stopped: Ok(()), passed_over });
        }
    }
    let mut progress = Progress::new(files.len());
    let mut tell = |step| match step {
        IngestStep::Inspected => progress.inspected(),
        IngestStep::Done(ingested) => {
            progress.done(&ingested);
            stars.push(ingested);
        }
    };
    let stopped = ingest(store, &mut agent, &files, options, &mut tell)
        .await
        .map_err(|error| anyhow::Error::new(error).context("ingestion stopped; the same command goes on where it was"));
    progress.close();
    Ok(TakenIn { stars, stopped, passed_over })
}

/// An agent that may read these files, with its directory.
fn reader(store: &Store, files: &[PathBuf]) -> anyhow::Result<(Agent, Scratch)> {
    let scratch = store.own_scratch("ingest")?;
    // What the agent cannot be told of, it need not read: ingestion says what is wrong with it.
    let readable = files.iter().filter_map(|file| file.canonicalize().ok().filter(|file| file.to_str().is_some()));
    let readable = readable.collect();
    Ok((Agent::new(AgentOptions { readable, ..AgentOptions::new(store.root(), scratch.path()) }), scratch))
}

fn open_store(root: &Path) -> anyhow::Result<Store> {
    Store::open(root).context("nothing was taken in; `--init` makes a store where there is none")
}

fn published_lines(events: &[DatasetEvent]) -> String {
    events.iter().map(event::published).collect::<Vec<_>>().join("\n")
}

/// An error when a file was wrong; the others are in the store all the same.
pub(crate) fn refuse_wrong(stars: &[Ingested]) -> anyhow::Result<()> {
    let wrong = stars.iter().filter(|star| matches!(star.result, IngestResult::Wrong { .. })).count();
    if wrong > 0 {
        return Err(Incomplete(format!("{wrong} of {} deliveries could not be taken in", stars.len())).into());
    }
    Ok(())
}

/// What became of the files, as a table and a line for each that is wrong.
pub(crate) fn describe(stars: &[Ingested]) -> String {
    let mut table = table(["STAR", "QUARTER", "RESULT", "FILES"]);
    let mut wrong = String::new();
    for ingested in stars {
        let files: Vec<_> = ingested.files.iter().map(|file| file.display().to_string()).collect();
        let result = match &ingested.result {
            IngestResult::Added { sequence, products } => format!("version {sequence}: {} products", products.len()),
            IngestResult::Unchanged { sequence } => format!("unchanged since version {sequence}"),
            IngestResult::Wrong { reason } => {
                wrong += &format!("wrong: {}: {}\n", shown(&files.join(", ")), shown(reason));
                "wrong, see below".to_owned()
            }
        };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.add_row([
            or_dash(ingested.star.map(|star| star.to_string())),
            or_dash(ingested.quarter.map(|quarter| quarter.to_string())),
            result,
            files.join(", "),
        ]);
    }
    format!("{table}\n{wrong}")
}
