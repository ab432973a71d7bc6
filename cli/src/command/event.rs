//! `sas event`: says that stars have new data, and shows what became of them.

use std::num::NonZeroUsize;

use clap::{Args, Subcommand};
use coordinator::operate::event::{
    self, DisposedStar, EventLedger, EventSummary, LedgerLine, PublishEvent, SOURCE, StarDisposition,
};
use coordinator::operate::{ErrorKind, OperateError};
use domain::id::{DatasetName, EventId, Quarter, RunId, StarId};
use domain::message::{DatasetEvent, StarSelection};
use domain::text::{moment, shown};
use serde::Serialize;

use crate::connect::SiteArgs;
use crate::installation::Configured;
use crate::output::{Format, Table, note, table};

/// Stars that wait, as many as are shown of an event.
const SHOWN: usize = 20;

/// Dataset events.
#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// Publish that stars have new data in a dataset.
    Publish(Publish),
    /// The newest events that were accepted, newest first.
    List {
        /// How many.
        #[arg(long, value_name = "N", default_value = "20")]
        last: NonZeroUsize,
    },
    /// One event: what became of it, and which of its stars wait for what.
    Show {
        /// The event, by its computed id.
        event: EventId,
    },
    /// What became of the stars of an event, in sums that balance: each star is in exactly one of expanded, joined, no_change,
    /// superseded_by, waiting_for and rejected.
    Ledger {
        /// The event, by its computed id; the newest ones unless given.
        event: Option<EventId>,
        /// How many.
        #[arg(long, value_name = "N", default_value = "20", conflicts_with = "event")]
        last: NonZeroUsize,
        /// Every star with what became of it, as a receipt.
        #[arg(long, requires = "event")]
        stars: bool,
    },
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
        let Publish { dataset, quarter, stars, stars_file, source, id } = match self {
            Self::Publish(asked) => asked,
            Self::List { last } => return list(site, format, last.get()).await,
            Self::Show { event } => return show(site, format, event).await,
            Self::Ledger { event, last, stars } => return ledger(site, format, event, last.get(), stars).await,
        };
        let stars = stars_file.map_or(StarSelection::Inline(stars), StarSelection::File);
        let asked = PublishEvent { dataset, quarter, stars, source: Some(source), id };
        let event = event::publish(&Configured::load(site)?.context()?, asked).await?;
        format.print(&event, published);
        Ok(())
    }
}

async fn list(site: &SiteArgs, format: Format, last: usize) -> anyhow::Result<()> {
    let found = event::list(&Configured::load(site)?.context()?, last, None).await?;
    format.print_list(&found.events, |events| {
        let mut table = table(["EVENT", "ACCEPTED", "DATASET", "QUARTER", "STARS", "SOURCE", "ID"]);
        table.short_ids(0);
        for EventSummary { event, accepted, dataset, quarter, stars, stars_file, source, id, .. } in events {
            table.add_row([
                event.to_string(),
                moment(*accepted),
                dataset.to_string(),
                quarter.to_string(),
                stars.map(|stars| stars.to_string()).or_else(|| stars_file.clone()).unwrap_or_default(),
                shown(source).into_owned(),
                shown(id).into_owned(),
            ]);
        }
        table
    });
    found.damaged.iter().for_each(|damage| note(&format!("not listed: {damage}")));
    if found.older.is_some() {
        note(&format!("the newest {last}; `--last N` shows so many"));
    }
    Ok(())
}

/// An event, with what became of its stars.
#[derive(Debug, Serialize)]
struct ShownEvent {
    #[serde(flatten)]
    summary: EventSummary,
    lines: Vec<LedgerLine>,
    /// Stars that wait; the first of them where there are many.
    waiting: Vec<DisposedStar>,
}

async fn show(site: &SiteArgs, format: Format, event: EventId) -> anyhow::Result<()> {
    let context = Configured::load(site)?.context()?;
    let summary = event::show(&context, event).await?;
    let ledger = event::ledger(&context, event).await?;
    let mut waiting = event::receipt(&context, event, 0, usize::MAX).await?.stars;
    waiting.retain(|star| star.disposition == StarDisposition::WaitingFor);
    waiting.truncate(SHOWN);
    format.print(&ShownEvent { summary, lines: ledger.lines.clone(), waiting }, |shown| {
        let EventSummary { event, accepted, source, id, dataset, quarter, .. } = &shown.summary;
        let head = format!("event {event} of {dataset}, {quarter}: {id:?} of {source:?}, accepted {accepted}");
        let became = lines(std::slice::from_ref(&ledger)).to_string();
        let mut said = vec![head, became];
        if !shown.waiting.is_empty() {
            said.push(receipt(&shown.waiting).to_string());
        }
        said.join("\n")
    });
    Ok(())
}

async fn ledger(
    site: &SiteArgs,
    format: Format,
    event: Option<EventId>,
    last: usize,
    stars: bool,
) -> anyhow::Result<()> {
    let context = Configured::load(site)?.context()?;
    if let Some(event) = event.filter(|_| stars) {
        let found = event::receipt(&context, event, 0, usize::MAX).await?;
        format.print_list(&found.stars, |stars| receipt(stars));
        found.refused.iter().for_each(|reason| note(&format!("it was refused: {reason}")));
        return Ok(());
    }
    let ledgers = match event {
        Some(event) => vec![event::ledger(&context, event).await?],
        None => event::ledgers(&context, last).await?,
    };
    format.print_list(&ledgers, |ledgers| lines(ledgers));
    let odd: Vec<String> =
        ledgers.iter().filter(|ledger| !ledger.balances).map(|ledger| ledger.event.to_string()).collect();
    if odd.is_empty() {
        return Ok(());
    }
    let reason = format!("the sums do not balance: not every star of {} is in one line", odd.join(", "));
    Err(OperateError::new(ErrorKind::Failed, reason).into())
}

fn lines(ledgers: &[EventLedger]) -> Table {
    let mut table = table(["EVENT", "DATASET", "QUARTER", "STARS", "RUN", "PIPELINE", "BECAME", "WHY"]);
    table.short_ids(0).short_ids(4);
    for ledger in ledgers {
        for LedgerLine { run, pipeline, stars, reason } in &ledger.lines {
            let count = |(became, count): (&StarDisposition, &Option<u64>)| match count {
                Some(count) => format!("{count} {became}"),
                None => format!("{became}, nobody knows how many"),
            };
            let became: Vec<String> = stars.iter().map(count).collect();
            table.add_row([
                ledger.event.to_string(),
                ledger.dataset.to_string(),
                ledger.quarter.to_string(),
                ledger.stars.map_or_else(|| "?".to_owned(), |stars| stars.to_string()),
                run.map(|run| run.to_string()).unwrap_or_default(),
                pipeline.as_ref().map(ToString::to_string).unwrap_or_default(),
                became.join(", "),
                reason.clone().unwrap_or_default(),
            ]);
        }
    }
    table
}

fn receipt(stars: &[DisposedStar]) -> Table {
    let mut table = table(["STAR", "RUN", "BECAME", "BY", "WHY"]);
    for DisposedStar { star, run, disposition, by, reason } in stars {
        let id = |run: &Option<RunId>| run.map(|run| run.to_string()).unwrap_or_default();
        let why = reason.clone().unwrap_or_default();
        table.add_row([star.to_string(), id(run), disposition.to_string(), id(by), why]);
    }
    table
}

/// What to do after an event was published.
pub(crate) fn published(event: &DatasetEvent) -> String {
    let id = event.event_id();
    format!("published event {id} of {}; `sas run watch --event {id}` follows what it starts", event.data.quarter)
}
