//! `sas ingest`: delivered files into the store, and the event that says so.

mod delivery;
mod progress;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use coordinator::operate::Installation;
use coordinator::operate::announce::announce;
use delivery::{DeliveredFiles, listed};
use domain::id::{DatasetName, Quarter};
use domain::message::DatasetEvent;
use domain::text::shown;
use progress::Progress;
use serde::Serialize;
use services::definition::load_file;
use store::Store;
use store::agent::{Agent, AgentOptions};
use store::ingest::{IngestOptions, IngestResult, IngestScope, IngestStep, Ingested, Unnamed, ingest};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::command::event;
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
    /// Files in the layout of the prototype (`/EXTERNALS/…`), several per star if need be; directories mean the HDF5 files
    /// below them.
    #[arg(required_unless_present = "files_from", value_name = "FILE|DIR")]
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
}

#[derive(Debug, Serialize)]
struct IngestAnswer {
    stars: Vec<Ingested>,
    events: Vec<DatasetEvent>,
}

impl Ingest {
    pub(crate) async fn run(mut self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let config = Config::load(site)?;
        if let Some(list) = &self.files_from {
            self.files.extend(listed(list)?);
        }
        let options = self.options()?;
        let installation = Configured::of(config);
        if self.publish {
            // A broker that cannot be reached is found out before anything is copied.
            installation.queue().await?;
        }
        let root = installation.config.root()?.to_owned();
        let open = move || if self.init { make_store(&root) } else { open_store(&root) };
        let store = spawn_blocking(open).await??;
        let TakenIn { stars, stopped } = take_in(&store, self.files, options).await?;
        let mut answer = IngestAnswer { stars, events: Vec::new() };
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

/// What became of a delivery.
pub(crate) struct TakenIn {
    /// Of each star and quarter, or file that has no place.
    pub(crate) stars: Vec<Ingested>,
    /// Why it stopped before its end, if it did.
    pub(crate) stopped: anyhow::Result<()>,
}

/// Ingests files, and those below directories, with an agent of its own; on a thread of its own, for it waits for the disk
/// at every step.
pub(crate) async fn take_in(store: &Store, named: Vec<PathBuf>, options: IngestOptions) -> anyhow::Result<TakenIn> {
    let runtime = Handle::current();
    store.ask(move |store| Ok(runtime.block_on(take_in_here(store, &named, &options)))).await?
}

async fn take_in_here(store: &Store, named: &[PathBuf], options: &IngestOptions) -> anyhow::Result<TakenIn> {
    let DeliveredFiles { files, wrong: mut stars, passed_over } = DeliveredFiles::of(named);
    passed_over.iter().for_each(|file| {
        note(&format!("passed over, for it is no HDF5 file, or a link to a directory: {}", file.display()));
    });
    let scratch = store.own_scratch("ingest")?;
    // What the agent cannot be told of, it need not read: ingestion says what is wrong with it.
    let readable = files.iter().filter_map(|file| file.canonicalize().ok().filter(|file| file.to_str().is_some()));
    let readable = readable.collect();
    let mut agent = Agent::new(AgentOptions { readable, ..AgentOptions::new(store.root(), scratch.path()) });
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
    Ok(TakenIn { stars, stopped })
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
