//! The ledger: what became of every star that an event named, in every pipeline that the event started (E1). The sums must
//! balance: each star that was named is in exactly one line of a run.

mod weighed;

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::id::{DatasetName, EventId, Fingerprint, PipelineName, Quarter, RunId, Sequence, StarId, StarIndex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::events::{DisposedEvent, Disposition};
use store::refusals::RefusedEvent;
use store::runs::{RunRecord, SettledRow, StarEnd};
use store::{Store, StoreError};

use weighed::{TriggerAsked, weighed};

use super::unknown;
use crate::operate::look_up::record;
use crate::operate::view::{StarsOutside, waits_for};
use crate::operate::{Context, OperateError};

/// What became of a star that an event named.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StarDisposition {
    /// It is a star of the run: its tasks ran, or will.
    Expanded,
    /// It waited, and entered a run together with what came for it later.
    Joined,
    /// It is a star of the run, and everything that determines its results was what it had been before.
    NoChange,
    /// A newer run took it over.
    SupersededBy,
    /// What the pipeline's trigger asks for is not there yet, its quarter before keeps it from entering its run, or no coordinator
    /// has finished accepting the event.
    WaitingFor,
    /// No run came of it.
    Rejected,
}

/// The ledger of an event: a line for each of its runs, or one where it has none.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct EventLedger {
    /// The event, by its computed id.
    pub event: EventId,
    /// Its number; none where it was refused.
    pub sequence: Option<Sequence>,
    /// Who published it.
    pub source: String,
    /// The publisher's own id of it.
    pub id: String,
    /// The dataset.
    pub dataset: DatasetName,
    /// The quarter.
    pub quarter: Quarter,
    /// How many stars it names, each once; none where its list cannot be read.
    pub stars: Option<u64>,
    /// What became of them.
    pub lines: Vec<LedgerLine>,
    /// Whether every line has every star once.
    pub balances: bool,
}

/// What became of an event's stars in one pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LedgerLine {
    /// The run; none came of it where it was rejected, waits, or nobody finished accepting it. Stars that entered several runs have
    /// each their own.
    pub run: Option<RunId>,
    /// Its pipeline.
    pub pipeline: Option<PipelineName>,
    /// Stars by what became of them; `null` is how many, where their list cannot be read and nobody knows.
    pub stars: BTreeMap<StarDisposition, Option<u64>>,
    /// Why there is no run, or what stars wait for.
    pub reason: Option<String>,
}

/// What became of one star.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DisposedStar {
    /// The star.
    pub star: StarId,
    /// The run of the event; none came of it.
    pub run: Option<RunId>,
    /// What became of it.
    pub disposition: StarDisposition,
    /// The run that took it over.
    pub by: Option<RunId>,
    /// Why, where it was rejected or waits.
    pub reason: Option<String>,
}

/// Some of the stars of an event.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DisposedStars {
    /// In the order of their ids, run by run.
    pub stars: Vec<DisposedStar>,
    /// Why the event was refused, where its stars cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}

/// The ledger of an event.
pub async fn ledger(context: &Context, event: EventId) -> Result<EventLedger, OperateError> {
    let look = move |store: &Store| match disposed(store, event)? {
        KnownEvent::Accepted(disposed) => of(store, &disposed),
        KnownEvent::Refused(refused) => Ok(of_refused(event, *refused)),
    };
    context.ask(look).await
}

/// The ledgers of so many of the newest events, newest first.
pub async fn ledgers(context: &Context, newest: usize) -> Result<Vec<EventLedger>, OperateError> {
    let look = move |store: &Store| {
        let found = store.events_before(newest, None)?;
        found.events.iter().map(|event| of(store, event)).collect()
    };
    context.ask(look).await
}

/// The stars of an event with what became of each, `skip` of them left out.
pub async fn receipt(
    context: &Context,
    event: EventId,
    skip: usize,
    most: usize,
) -> Result<DisposedStars, OperateError> {
    let look = move |store: &Store| {
        let accepted = match disposed(store, event)? {
            KnownEvent::Accepted(disposed) => disposed,
            KnownEvent::Refused(refused) => {
                return Ok(DisposedStars { stars: Vec::new(), refused: Some(refused.reason), has_more: false });
            }
        };
        let stars: Vec<DisposedStar> = lines(store, &accepted)?.1.into_iter().flat_map(|(_, stars)| stars).collect();
        let has_more = stars.len() > skip.saturating_add(most);
        let stars = stars.into_iter().skip(skip).take(most).collect();
        Ok::<_, OperateError>(DisposedStars { stars, refused: None, has_more })
    };
    context.ask(look).await
}

/// An event as the store knows it.
enum KnownEvent {
    Accepted(Box<DisposedEvent>),
    Refused(Box<RefusedEvent>),
}

fn disposed(store: &Store, event: EventId) -> Result<KnownEvent, OperateError> {
    // First, for one that is accepted in between is on record then.
    let refused = store.refused_event(event)?;
    match (store.event(event)?, refused) {
        (Some(record), _) => {
            let dispositions = store.dispositions(event)?;
            Ok(KnownEvent::Accepted(Box::new(DisposedEvent { record, dispositions })))
        }
        (None, Some(refused)) => Ok(KnownEvent::Refused(Box::new(refused))),
        (None, None) => Err(unknown(event)),
    }
}

/// The ledger of an event whose stars cannot be read: all of them are rejected, however many they are.
fn of_refused(event: EventId, RefusedEvent { reason, event: said, .. }: RefusedEvent) -> EventLedger {
    let stars = BTreeMap::from([(StarDisposition::Rejected, None)]);
    EventLedger {
        event,
        sequence: None,
        source: said.source,
        id: said.id,
        dataset: said.data.dataset,
        quarter: said.data.quarter,
        stars: None,
        lines: vec![LedgerLine { run: None, pipeline: None, stars, reason: Some(reason) }],
        balances: true,
    }
}

fn of(store: &Store, event: &DisposedEvent) -> Result<EventLedger, OperateError> {
    let (named, found) = lines(store, event)?;
    let mut balances = true;
    let mut counted = Vec::new();
    for (mut line, disposed) in found {
        for star in &disposed {
            *line.stars.entry(star.disposition).or_default().get_or_insert(0) += 1;
        }
        balances &= named.as_ref().is_none_or(|named| named.iter().eq(disposed.iter().map(|star| &star.star)));
        counted.push(line);
    }
    let (record, data) = (&event.record, &event.record.event.data);
    Ok(EventLedger {
        event: record.id,
        sequence: Some(record.sequence),
        source: record.event.source.clone(),
        id: record.event.id.clone(),
        dataset: data.dataset.clone(),
        quarter: data.quarter,
        stars: named.map(|stars| stars.len() as u64),
        lines: counted,
        balances,
    })
}

type FoundLine = (LedgerLine, Vec<DisposedStar>);

/// The stars that an event names, where its list can be read, and what became of each in every pipeline.
fn lines(store: &Store, event: &DisposedEvent) -> Result<(Option<Vec<StarId>>, Vec<FoundLine>), OperateError> {
    let named = store.stars_of(&event.record.event.data.stars)?;
    let mut found = Vec::new();
    let mut without = |disposition, reason: String| {
        let star = |star: &StarId| DisposedStar {
            star: *star,
            run: None,
            disposition,
            by: None,
            reason: Some(reason.clone()),
        };
        let stars = named.as_ref().map_or_else(|_| Vec::new(), |stars| stars.iter().map(star).collect());
        let (reason, uncounted) = (Some(reason), named.is_err().then_some((disposition, None)));
        found.push((LedgerLine { run: None, pipeline: None, stars: uncounted.into_iter().collect(), reason }, stars));
    };
    let Some(dispositions) = &event.dispositions else {
        without(StarDisposition::WaitingFor, "a coordinator that finishes accepting the event".to_owned());
        return Ok((named.ok(), found));
    };
    let (mut runs, mut triggers) = (Vec::new(), Vec::new());
    for disposition in dispositions {
        match disposition {
            Disposition::Run { run } => runs.push(*run),
            Disposition::Waits { pipeline, on, only_if, .. } => triggers.push(TriggerAsked { pipeline, on, only_if }),
            Disposition::NoPipeline => {
                let dataset = &event.record.event.data.dataset;
                without(StarDisposition::Rejected, format!("no pipeline is started by {dataset}"));
            }
            Disposition::Rejected { reason } => without(StarDisposition::Rejected, reason.clone()),
        }
    }
    for run in runs {
        found.push(of_run(store, &record(store, run)?)?);
    }
    let named = named.ok();
    for asked in &triggers {
        found.push(weighed(store, &event.record, named.as_deref().unwrap_or_default(), asked)?);
    }
    Ok((named, found))
}

/// What became of the stars of a run.
fn of_run(store: &Store, record: &RunRecord) -> Result<FoundLine, OperateError> {
    let run = record.run;
    let list = store.stars(run)?;
    let mut settled: HashMap<u32, (Option<StarEnd>, Option<Fingerprint>)> = HashMap::new();
    store.each_settled_row(run, |row| _ = settled.insert(row.star.0, (row.end, row.fingerprint)))?;
    let outside = store.stars_outside(run)?;
    // Of others nobody can tell whether they changed.
    let is_printed = |at: u32| settled.get(&at).is_some_and(|(_, print)| print.is_some());
    let printed = (0..).zip(list.iter()).filter(|(at, _)| is_printed(*at));
    let names: HashSet<StarId> = printed.map(|(_, star)| star).collect::<Result<_, _>>()?;
    let before = before(store, record, &names)?;
    let newer = newer(store, record, settled.values().any(|(end, _)| *end == Some(StarEnd::Superseded)))?;
    let mut stars = Vec::with_capacity(list.len() as usize);
    for (at, star) in (0..).zip(list.iter()) {
        let star = star?;
        let (mut by, mut reason) = (None, None);
        let disposition = match settled.get(&at) {
            Some((Some(StarEnd::Superseded), _)) => {
                by = newest_with(store, &newer, star)?;
                StarDisposition::SupersededBy
            }
            Some((_, print @ Some(_))) if before.get(&star) == Some(print) => StarDisposition::NoChange,
            Some(_) | None => match outside.get(&StarIndex(at)) {
                Some(verdict) => {
                    reason = Some(waits_for(*verdict, 1));
                    StarDisposition::WaitingFor
                }
                None => StarDisposition::Expanded,
            },
        };
        stars.push(DisposedStar { star, run: Some(run), disposition, by, reason });
    }
    let pipeline = Some(record.pipeline.clone());
    let waiting: Vec<String> = StarsOutside::count(outside.into_values()).iter().map(StarsOutside::words).collect();
    let reason = Some(waiting.join("; ")).filter(|reason| !reason.is_empty());
    Ok((LedgerLine { run: Some(run), pipeline, stars: BTreeMap::new(), reason }, stars))
}

/// Whole runs of the same pipeline and quarter that are not this one, newest first.
fn others(store: &Store, of: &RunRecord) -> Result<Vec<RunRecord>, StoreError> {
    let mut runs = store.runs()?;
    runs.retain(|run| {
        run.run != of.run && run.pipeline == of.pipeline && run.quarter == of.quarter && run.only_group.is_none()
    });
    Ok(runs)
}

/// What these stars had ended with before a run. No more runs are read than it takes to know it of all.
fn before(
    store: &Store,
    of: &RunRecord,
    stars: &HashSet<StarId>,
) -> Result<HashMap<StarId, Option<Fingerprint>>, StoreError> {
    let mut known = HashMap::new();
    if stars.is_empty() {
        return Ok(known);
    }
    let older = others(store, of)?.into_iter().filter(|run| run.horizon < of.horizon);
    for run in older {
        if known.len() == stars.len() {
            break;
        }
        let list = store.stars(run.run)?;
        let mut trouble = None;
        store.each_settled_row(run.run, |SettledRow { star, end, fingerprint, .. }| {
            let ended = end.is_some_and(|end| !matches!(end, StarEnd::Superseded | StarEnd::Cancelled));
            match list.star(star) {
                Ok(star) if ended && stars.contains(&star) => _ = known.entry(star).or_insert(fingerprint),
                Ok(_) => {}
                Err(error) => trouble = Some(error),
            }
        })?;
        if let Some(error) = trouble {
            return Err(error);
        }
    }
    Ok(known)
}

/// Runs that may have taken stars over, oldest first.
fn newer(store: &Store, of: &RunRecord, is_asked: bool) -> Result<Vec<RunRecord>, StoreError> {
    let mut newer = if is_asked { others(store, of)? } else { Vec::new() };
    newer.retain(|run| run.horizon > of.horizon);
    newer.reverse();
    Ok(newer)
}

fn newest_with(store: &Store, runs: &[RunRecord], star: StarId) -> Result<Option<RunId>, StoreError> {
    for run in runs {
        if store.stars(run.run)?.position(star)?.is_some() {
            return Ok(Some(run.run));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
