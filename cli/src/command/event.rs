//! `sas event`: says that stars have new data.

use clap::{Args, Subcommand};
use coordinator::operate::event::{self, PublishEvent, SOURCE};
use domain::id::{DatasetName, Quarter, StarId};
use domain::message::{DatasetEvent, StarSelection};

use crate::connect::SiteArgs;
use crate::installation::Configured;
use crate::output::Format;

/// Dataset events.
#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
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

impl EventCommand {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let Self::Publish(Publish { dataset, quarter, stars, stars_file, source, id }) = self;
        let stars = stars_file.map_or(StarSelection::Inline(stars), StarSelection::File);
        let asked = PublishEvent { dataset, quarter, stars, source: Some(source), id };
        let event = event::publish(&Configured::load(site)?.context()?, asked).await?;
        format.print(&event, published);
        Ok(())
    }
}

/// What to do after an event was published.
pub(crate) fn published(event: &DatasetEvent) -> String {
    let id = event.event_id();
    format!("published event {id} of {}; `sas run watch --event {id}` follows what it starts", event.data.quarter)
}
