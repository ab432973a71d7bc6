//! `sas event`: says that stars have new data.

use anyhow::Context;
use clap::{Args, Subcommand};
use domain::id::{DatasetName, Quarter, StarId};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection, to_json};
use services::queue::{Outgoing, QueueName, SharedQueue};
use store::Store;
use uuid::Uuid;

use crate::connect::{Config, Site};
use crate::output::Format;

/// What publishers without a name of their own are called.
const SOURCE: &str = "sas";

/// Stars that travel in the event itself; of more a list is laid into the store.
const INLINE: usize = 1000;

/// Dataset events.
#[derive(Debug, Subcommand)]
pub(crate) enum Event {
    /// Publish that stars have new data in a dataset.
    Publish(Publish),
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The dataset.
    #[arg(long, default_value = "l1/lightcurve")]
    dataset: DatasetName,
    /// The quarter of the data.
    #[arg(long)]
    quarter: Quarter,
    /// The stars.
    #[arg(required_unless_present = "stars_file", conflicts_with = "stars_file", value_name = "STAR")]
    stars: Vec<StarId>,
    /// A text file below the store's root, one star a line, instead of naming stars: for many.
    #[arg(long, value_name = "PATH")]
    stars_file: Option<String>,
    /// Who publishes; with the id it names the event, so that the same one twice is one event.
    #[arg(long, default_value = SOURCE)]
    source: String,
    /// The event's id; a new one unless given.
    #[arg(long)]
    id: Option<String>,
}

impl Event {
    pub(crate) async fn run(self, site: &Site, format: Format) -> anyhow::Result<()> {
        let Self::Publish(asked) = self;
        let stars = match asked.stars_file {
            Some(file) => StarSelection::File(file),
            None => StarSelection::Inline(asked.stars),
        };
        let mut event = new(DatasetUpdate { dataset: asked.dataset, quarter: asked.quarter, stars, start: None });
        event.source = asked.source;
        event.id = asked.id.unwrap_or(event.id);
        let event = DatasetEvent::from_json(&to_json(&event))?;
        publish(&Config::load(site)?.queue().await?, &event).await?;
        format.print(&event, published);
        Ok(())
    }
}

/// What to do after an event was published.
pub(crate) fn published(event: &DatasetEvent) -> String {
    let id = event.event_id();
    format!("published event {id} of {}; `sas run watch --event {id}` follows what it starts", event.data.quarter)
}

/// A new event with an id of its own.
pub(crate) fn new(data: DatasetUpdate) -> DatasetEvent {
    DatasetEvent::new(SOURCE, &Uuid::new_v4().to_string(), jiff::Timestamp::now().to_string(), data)
}

/// How an event names its stars; many are laid into the store beside it, by the event's id.
pub(crate) fn select(store: &Store, id: &str, stars: Vec<StarId>) -> anyhow::Result<StarSelection> {
    if stars.len() <= INLINE {
        return Ok(StarSelection::Inline(stars));
    }
    Ok(StarSelection::File(store.keep_star_list(id, &stars)?))
}

/// Publishes an event and waits until the broker has it.
pub(crate) async fn publish(queue: &SharedQueue, event: &DatasetEvent) -> anyhow::Result<()> {
    queue.declare(&[]).await?;
    let message = Outgoing { queue: QueueName::Events, body: to_json(event) };
    let confirmed = queue.publish(vec![message]).await.pop().context("the broker gave no answer")?;
    confirmed.with_context(|| format!("failed to publish event {}", event.id))
}
