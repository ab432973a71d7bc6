//! A watched directory as a door: each directory in it is a delivery, taken as a whole or refused as a whole.
//!
//! A delivery is looked at when its manifest is there and nothing of it changed for a while. What was taken goes to `done/`, what
//! was refused to `refused/`, each with a report beside it. A delivery that was cut short by a crash is taken again: what the store
//! has already makes no new version, and what was announced is not announced again.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use coordinator::operate::Context;
use coordinator::operate::announce::announce;
use domain::message::DatasetEvent;
use domain::text::shown;
use jiff::Timestamp;
use serde::Serialize;
use services::service;
use store::ingest::{IngestOptions, IngestResult, Ingested};
use tokio::task::spawn_blocking;
use walkdir::WalkDir;

use super::delivery::PassedOver;
use super::manifest::{BadFile, MANIFEST, verify};
use super::{TakenIn, Whole, take_in};
use crate::exit::Incomplete;
use crate::output::{Format, json_line, note};

/// Where deliveries go that were taken, and that were refused.
const DONE: &str = "done";
const REFUSED: &str = "refused";

/// How a directory is watched.
pub(super) struct Watch {
    pub(super) folder: PathBuf,
    /// How often it is looked at; once, where nothing is said.
    pub(super) every: Option<Duration>,
    /// How long nothing of a delivery must have changed.
    pub(super) settle: Duration,
    pub(super) options: IngestOptions,
    pub(super) publish: bool,
}

/// What became of a delivery: the receipt beside it.
#[derive(Debug, Serialize)]
struct DeliveryReport {
    /// Its name.
    delivery: String,
    /// When it was looked at.
    at: Timestamp,
    /// Whether it was taken.
    taken: bool,
    /// For what it was refused.
    bad: Vec<BadFile>,
    /// Of each star and quarter what became of it.
    stars: Vec<Ingested>,
    /// The events that say so.
    events: Vec<DatasetEvent>,
    /// Files that are of no use here, and why.
    passed_over: Vec<PassedOver>,
}

impl Watch {
    /// Takes deliveries until the process is told to end, or all that are there.
    pub(super) async fn run(self, context: &Context, format: Format) -> anyhow::Result<()> {
        let ended = service::ended_by_signal().context("failed to listen for signals")?;
        anyhow::ensure!(self.folder.is_dir(), "`{}` is no directory", self.folder.display());
        let (mut refused, mut named) = (0, Vec::new());
        loop {
            match self.look(context, format, &mut named).await {
                Ok(count) => refused += count,
                // Whoever watches waits for services and disks as others do.
                Err(error) if self.every.is_some() => note(&format!("{error:#}; it is tried again")),
                Err(error) => return Err(error),
            }
            let Some(every) = self.every else { break };
            if tokio::time::timeout(every, ended.cancelled()).await.is_ok() {
                break;
            }
        }
        if refused > 0 && self.every.is_none() {
            return Err(Incomplete(format!("{refused} deliveries were refused")).into());
        }
        Ok(())
    }

    /// Takes what is ready, and says what is left; how many deliveries were refused. What was named once is not named again.
    async fn look(&self, context: &Context, format: Format, named: &mut Vec<LeftEntry>) -> anyhow::Result<usize> {
        let (folder, settle) = (self.folder.clone(), self.settle);
        let mut refused = 0;
        let WatchedFolder { deliveries, mut left } = spawn_blocking(move || look_into(&folder, settle)).await??;
        // Whoever watches takes in a moment what changes now.
        left.retain(|entry| self.every.is_none() || entry.why != STILL_CHANGES);
        for LeftEntry { name, why } in left.iter().filter(|entry| !named.contains(entry)) {
            note(&format!("left: {}: {why}", shown(name)));
        }
        *named = left;
        for delivery in deliveries {
            let report = self.take(context, &delivery).await?;
            refused += usize::from(!report.taken);
            let (folder, name) = (self.folder.clone(), delivery.clone());
            let body = serde_json::to_vec_pretty(&report)?;
            let to = if report.taken { DONE } else { REFUSED };
            let moved = spawn_blocking(move || put_away(&folder.join(to), &name, &body)).await??;
            match format {
                Format::Json => json_line(&report),
                Format::Table | Format::Csv => note(&said(&report, moved.as_deref())),
            }
        }
        Ok(refused)
    }

    /// Takes one delivery, or finds what is bad about it; nothing of a bad one is taken.
    async fn take(&self, context: &Context, delivery: &Path) -> anyhow::Result<DeliveryReport> {
        let name = delivery.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut report = DeliveryReport {
            delivery: name,
            at: Timestamp::now(),
            taken: false,
            bad: Vec::new(),
            stars: Vec::new(),
            events: Vec::new(),
            passed_over: Vec::new(),
        };
        let folder = delivery.to_owned();
        if let Err(bad) = spawn_blocking(move || verify(&folder)).await? {
            report.bad = bad;
            return Ok(report);
        }
        let taken = take_in(&context.store, vec![delivery.to_owned()], self.options.clone(), Whole::Delivery).await?;
        let TakenIn { stars, stopped, passed_over } = taken;
        stopped?;
        let manifest = delivery.join(MANIFEST).display().to_string();
        report.passed_over = passed_over.into_iter().filter(|passed| passed.file != manifest).collect();
        let wrong = |ingested: &Ingested| match &ingested.result {
            IngestResult::Wrong { reason } => Some((ingested.files.clone(), reason.clone())),
            IngestResult::Added { .. } | IngestResult::Unchanged { .. } => None,
        };
        for (files, reason) in stars.iter().filter_map(wrong) {
            let file = |file: PathBuf| file.strip_prefix(delivery).unwrap_or(&file).display().to_string();
            report.bad.extend(files.into_iter().map(|path| BadFile { file: file(path), reason: reason.clone() }));
        }
        if !report.bad.is_empty() {
            return Ok(report);
        }
        if self.publish {
            let announced = announce(context, &self.options.dataset, stars.clone()).await;
            announced.stopped.context("a delivery is in the store, and not announced yet")?;
            report.events = announced.events;
        }
        (report.stars, report.taken) = (stars, true);
        Ok(report)
    }
}

/// What is in a watched directory: deliveries that are whole, as far as can be seen, and what is left for now.
struct WatchedFolder {
    deliveries: Vec<PathBuf>,
    left: Vec<LeftEntry>,
}

/// Something in a watched directory that is not taken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LeftEntry {
    name: String,
    why: &'static str,
}

/// Why a whole delivery is not taken yet.
const STILL_CHANGES: &str = "something of it changed of late";

fn look_into(folder: &Path, settle: Duration) -> anyhow::Result<WatchedFolder> {
    let failed = || format!("failed to look into `{}`", folder.display());
    let mut looked = WatchedFolder { deliveries: Vec::new(), left: Vec::new() };
    for entry in fs::read_dir(folder).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let name = entry.file_name();
        if name == DONE || name == REFUSED {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().with_context(failed)?;
        let why = if name.as_encoded_bytes().starts_with(b".") {
            "its name begins with a dot"
        } else if kind.is_symlink() {
            "it is a link, which is not followed"
        } else if !kind.is_dir() {
            "it is no directory"
        } else if !path.join(MANIFEST).exists() {
            "no manifest.json yet"
        } else if !is_quiet(&path, settle) {
            STILL_CHANGES
        } else {
            looked.deliveries.push(path);
            continue;
        };
        looked.left.push(LeftEntry { name: name.to_string_lossy().into_owned(), why });
    }
    looked.deliveries.sort();
    looked.left.sort();
    Ok(looked)
}

/// Whether nothing of a delivery changed for so long. What cannot be looked at does not change.
fn is_quiet(delivery: &Path, settle: Duration) -> bool {
    let newest =
        WalkDir::new(delivery).into_iter().filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok()).max();
    let age = newest.map(|newest| SystemTime::now().duration_since(newest).unwrap_or_default());
    age.is_none_or(|age| age >= settle)
}

/// Moves a delivery away, with its report beside it; where it is then, `None` when somebody else moved it.
fn put_away(to: &Path, delivery: &Path, report: &[u8]) -> anyhow::Result<Option<PathBuf>> {
    fs::create_dir_all(to).with_context(|| format!("failed to make `{}`", to.display()))?;
    let name = delivery.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // The same name may be delivered again.
    let (mut free, mut number) = (name.clone(), 1);
    while to.join(&free).exists() || to.join(format!("{free}.report.json")).exists() {
        number += 1;
        free = format!("{name}-{number}");
    }
    let (place, file) = (to.join(&free), to.join(format!("{free}.report.json")));
    match fs::rename(delivery, &place) {
        Ok(()) => {
            fs::write(&file, report).with_context(|| format!("failed to write `{}`", file.display()))?;
            Ok(Some(place))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(error).with_context(|| format!("failed to move `{}` to `{}`", delivery.display(), place.display()))
        }
    }
}

fn said(report: &DeliveryReport, moved: Option<&Path>) -> String {
    let delivery = shown(&report.delivery);
    let mut lines = Vec::new();
    if report.taken {
        let events: Vec<String> = report.events.iter().map(|event| event.event_id().to_string()).collect();
        let events = if events.is_empty() { "no event".to_owned() } else { format!("event {}", events.join(", ")) };
        lines.push(format!("taken: {delivery}: {} stars and quarters, {events}", report.stars.len()));
    } else {
        lines.push(format!("refused: {delivery}: nothing of it was taken"));
    }
    lines.extend(report.bad.iter().map(|bad| format!("  {}: {}", shown(&bad.file), shown(&bad.reason))));
    lines.extend(report.passed_over.iter().map(|file| format!("  passed over {file}")));
    lines.extend(moved.map(|place| format!("  it is in {}", place.display())));
    lines.join("\n")
}
