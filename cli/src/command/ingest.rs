//! `sas ingest`: delivered files into the store, and the event that says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use common::id::{DatasetName, Quarter, StarId};
use common::message::{DatasetEvent, DatasetUpdate, StarSelection};
use common::pipeline::load_file;
use common::store::Store;
use common::store::agent::{Agent, AgentOptions};
use common::store::ingest::{IngestOptions, IngestResult, Ingested, Scope, ingest};
use serde::Serialize;

use crate::command::event;
use crate::connect::Config;
use crate::exit::Stop;
use crate::output::{Format, table};

/// Take star files into the store.
#[derive(Debug, Args)]
pub(crate) struct Ingest {
    /// Files in the layout of the prototype (`/EXTERNALS/…`), several per star if need be.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Root of the store; made when it is not there.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// The dataset that the files are a version of.
    #[arg(long, default_value = "l1/lightcurve")]
    dataset: DatasetName,
    /// The quarter of stars whose files name none, as the simulator's do not.
    #[arg(long, default_value = "0", conflicts_with_all = ["per_star", "shared"])]
    quarter: Quarter,
    /// The files belong to their star and to no quarter in particular.
    #[arg(long, conflicts_with = "shared")]
    per_star: bool,
    /// The files are the same for all stars (model grids).
    #[arg(long, conflicts_with = "publish")]
    shared: bool,
    /// Know the other spellings of products that this pipeline lists as aliases.
    #[arg(long, value_name = "FILE")]
    pipeline: Option<PathBuf>,
    /// Publish a dataset event for the stars that have new data.
    #[arg(long)]
    publish: bool,
}

#[derive(Debug, Serialize)]
struct Answer {
    stars: Vec<Ingested>,
    events: Vec<DatasetEvent>,
}

impl Ingest {
    pub(crate) async fn run(self, config: Option<&Path>, format: Format) -> anyhow::Result<()> {
        let config = Config::load(config)?;
        let store = config.store_or_new(self.store.as_deref())?;
        let scope = match (self.per_star, self.shared) {
            (true, _) => Scope::Star,
            (false, true) => Scope::Shared,
            (false, false) => Scope::AsWritten { default: Some(self.quarter) },
        };
        let aliases = match &self.pipeline {
            Some(file) => load_file(file)?.aliases,
            None => BTreeMap::new(),
        };
        let options = IngestOptions { dataset: self.dataset.clone(), scope, aliases };
        let stars = take_in(&store, &self.files, &options).await?;
        let mut answer = Answer { stars, events: Vec::new() };
        if self.publish {
            answer.events = events_of(&self.dataset, &answer.stars);
            let queue = config.queue().await?;
            for event in &answer.events {
                event::publish(&queue, event).await?;
            }
        }
        format.print(&answer, |answer| {
            let line = |event: &DatasetEvent| format!("published event {} of {}\n", event.id, event.data.quarter);
            describe(&answer.stars) + &answer.events.iter().map(line).collect::<String>()
        });
        refuse_wrong(&answer.stars)
    }
}

/// Ingests files with an agent of its own.
pub(crate) async fn take_in(
    store: &Store,
    files: &[PathBuf],
    options: &IngestOptions,
) -> anyhow::Result<Vec<Ingested>> {
    let scratch = store.scratch(&format!("ingest-{}", std::process::id()))?;
    let readable = files.iter().map(|file| file.canonicalize().unwrap_or_else(|_| file.clone())).collect();
    let mut agent = Agent::new(AgentOptions { readable, ..AgentOptions::new(store.root(), &scratch) });
    let result = ingest(store, &mut agent, files, options).await;
    drop(agent);
    std::fs::remove_dir_all(&scratch).ok();
    Ok(result?)
}

/// An error when a file was wrong; the others are in the store all the same.
pub(crate) fn refuse_wrong(stars: &[Ingested]) -> anyhow::Result<()> {
    let wrong = stars.iter().filter(|star| matches!(star.result, IngestResult::Wrong { .. })).count();
    if wrong > 0 {
        return Err(Stop::Incomplete(format!("{wrong} of {} deliveries could not be taken in", stars.len())).into());
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
                wrong += &format!("wrong: {}: {reason}\n", files.join(", "));
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

/// One event per quarter, with the stars that have new data.
fn events_of(dataset: &DatasetName, stars: &[Ingested]) -> Vec<DatasetEvent> {
    let mut quarters: BTreeMap<Quarter, Vec<StarId>> = BTreeMap::new();
    for ingested in stars {
        if let (Some(star), Some(quarter), IngestResult::Added { .. }) =
            (ingested.star, ingested.quarter, &ingested.result)
        {
            quarters.entry(quarter).or_default().push(star);
        }
    }
    let update = |(quarter, stars)| DatasetUpdate {
        dataset: dataset.clone(),
        quarter,
        stars: StarSelection::Inline(stars),
        start: None,
    };
    quarters.into_iter().map(update).map(event::new).collect()
}
