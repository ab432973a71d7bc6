//! Removes what nobody refers to any more: old generations beyond those that are to be kept, and results that no generation has.
//!
//! What stays, whatever is asked: deliveries; the newest generation of a star and quarter, the one that the star file shows, the
//! last complete one, and those that a later quarter read; every result that led to what stays; and everything of stars that a run
//! goes on with. A star of which something cannot be read is left alone altogether.

mod retain;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use domain::error::chain;
use domain::id::{Generation, Quarter, RunId, StarId};
use domain::outcome::Outcome;
use schemars::JsonSchema;
use serde::Serialize;
use store::agent::{Agent, AgentError, Manifest};
use store::audit::{Target, Verb};
use store::runs::StarList;
use store::scrub::CommittedKind;
use store::{Store, StoreError, paths};

pub use retain::KeptBecause;
use retain::{Standings, kept};

use super::audit::Deed;
use super::star::{FoundQuarter, OneQuarter};
use super::{Context, ErrorKind, OperateError};
use crate::standing;

/// How many files and generations are named.
const NAMED: usize = 100;

/// What is to stay.
#[derive(Debug, Clone)]
pub struct GcRequest {
    /// So many of the newest generations of every star and quarter, at least one.
    pub keep: usize,
    /// What is younger than this stays.
    pub grace: Duration,
    /// Only these stars; all of the store unless given.
    pub stars: Option<Vec<StarId>>,
    /// Only says what would go.
    pub dry_run: bool,
}

/// What went, or would go, and what stays.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct GcReport {
    /// Whether nothing was removed.
    pub dry_run: bool,
    /// Stars that were looked at.
    pub stars: u64,
    /// Generations that go.
    pub generations: RemovedFiles,
    /// Results that go.
    pub results: RemovedFiles,
    /// The first of these files, from the store's root.
    pub going: Vec<PathBuf>,
    /// Generations that stay, by why.
    pub kept: BTreeMap<KeptBecause, u64>,
    /// The first of those that stay although there are enough newer ones.
    pub referred_to: Vec<ReferredGeneration>,
    /// Results that stay.
    pub results_kept: u64,
    /// Stars that were left alone, by why; of each the first.
    pub left_alone: BTreeMap<String, LeftAlone>,
}

/// Files of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RemovedFiles {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// An old generation that something refers to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReferredGeneration {
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// Its number.
    pub generation: Generation,
    /// Why it stays.
    pub because: KeptBecause,
    /// The generation of the quarter after that read it.
    pub by: Option<Generation>,
}

/// Stars that were left alone.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LeftAlone {
    /// How many.
    pub stars: u64,
    /// The first.
    pub first: StarId,
}

/// Removes what nobody refers to; `progress` is told how many stars were looked at.
pub async fn collect(
    context: &Context,
    request: GcRequest,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<GcReport, OperateError> {
    let stars = match request.stars.clone() {
        Some(stars) => stars,
        None => context.ask(all_stars).await?,
    };
    let mut report = GcReport { dry_run: request.dry_run, ..GcReport::default() };
    let mut agent = context.readers.lend().await?;
    let mut open = OpenRuns::default();
    for star in stars {
        report.stars += 1;
        progress(report.stars);
        let looked = match open.run_with(context, star).await? {
            Some(_) => Err("a run goes on with them".to_owned()),
            None => look(context, &mut agent, &request, star).await?,
        };
        match looked {
            Ok(found) => take(context, &mut open, &request, (star, found), &mut report).await?,
            Err(why) => leave_alone(&mut report, why, star),
        }
    }
    let RemovedFiles { files, bytes } = report.generations;
    if !request.dry_run && files + report.results.files > 0 {
        let by = context.doer()?;
        let effect = format!(
            "{files} generations and {} results that nothing refers to were removed, {} bytes",
            report.results.files,
            bytes + report.results.bytes
        );
        let count = Some(files + report.results.files);
        let record = move |store: &Store| {
            by.record(
                store,
                Deed { verb: Verb::Collect, target: Target::Store, count, decision: None, effect: &effect },
            )
        };
        context.ask(record).await?;
    }
    Ok(report)
}

fn all_stars(store: &Store) -> Result<Vec<StarId>, StoreError> {
    let mut stars = Vec::new();
    for part in store.scrub_pass(true)?.to_come {
        stars.extend(store.stars_of_part(&part)?);
    }
    Ok(stars)
}

fn leave_alone(report: &mut GcReport, why: String, star: StarId) {
    report.left_alone.entry(why).or_insert(LeftAlone { stars: 0, first: star }).stars += 1;
}

/// What was found of a star.
#[derive(Default)]
struct FoundOfStar {
    generations: Vec<PathBuf>,
    results: Vec<PathBuf>,
    kept: Vec<ReferredGeneration>,
    /// Those of them that would have gone otherwise.
    referred_to: Vec<ReferredGeneration>,
    results_kept: u64,
}

/// Looks at a star; or why it is to be left alone.
async fn look(
    context: &Context,
    agent: &mut Agent,
    request: &GcRequest,
    star: StarId,
) -> Result<Result<FoundOfStar, String>, OperateError> {
    let mut found = FoundOfStar::default();
    let mut needed: BTreeSet<PathBuf> = BTreeSet::new();
    let mut going: BTreeSet<PathBuf> = BTreeSet::new();
    // Which generations of the quarter before the kept ones of this quarter read.
    let mut read: BTreeMap<Quarter, BTreeMap<Generation, Generation>> = BTreeMap::new();
    let quarters = context.ask(move |store| store.quarters(star)).await?;
    for quarter in quarters.into_iter().rev() {
        let of_quarter = match FoundQuarter::find(context, OneQuarter { star, quarter: Some(quarter) }).await {
            Ok(found) => found,
            Err(error) if error.kind == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let Some(view) = of_quarter.place(context).look(agent).await? else { continue };
        let standings = Standings {
            numbers: &of_quarter.numbers,
            keep: request.keep,
            shown: view.choice.open,
            last_complete: view.choice.last_complete,
            read: &read.remove(&quarter).unwrap_or_default(),
        };
        let staying = kept(&standings);
        for number in &of_quarter.numbers {
            let path = paths::generation(star, quarter, *number);
            let Some(because) = staying.get(number) else {
                going.insert(path);
                continue;
            };
            let manifest = match agent.manifest(&context.store.at(&path)).await {
                Ok(manifest) => manifest,
                Err(error) => return Ok(Err(unreadable(&error))),
            };
            needed.extend(files_of(star, quarter, &manifest));
            let previous = manifest.generation.as_ref().and_then(|info| info.previous);
            if let Some((before, previous)) = quarter.previous().zip(previous) {
                read.entry(before).or_default().insert(previous, *number);
            }
            let by = standings.read.get(number).copied().filter(|_| *because == KeptBecause::ReadByLaterQuarter);
            let kept = ReferredGeneration { star, quarter, generation: *number, because: *because, by };
            if *because != KeptBecause::Newest {
                found.referred_to.push(kept.clone());
            }
            found.kept.push(kept);
        }
    }
    if let Err(why) = with_all_that_led_there(context, agent, star, &mut needed).await {
        return Ok(Err(why));
    }
    let grace = request.grace;
    let files = context.ask(move |store| old_files(store, star, grace)).await?;
    for (path, what) in files {
        match what {
            CommittedKind::Generation { .. } if going.contains(&path) => found.generations.push(path),
            CommittedKind::Result { .. } if needed.contains(&path) => found.results_kept += 1,
            CommittedKind::Result { .. } => found.results.push(path),
            CommittedKind::Generation { .. } | CommittedKind::External => {}
        }
    }
    Ok(Ok(found))
}

/// Every committed file of a star that is older than this.
fn old_files(store: &Store, star: StarId, grace: Duration) -> Result<Vec<(PathBuf, CommittedKind)>, StoreError> {
    let now = SystemTime::now();
    let is_old = |path: &Path| {
        let made = path.metadata().and_then(|facts| facts.modified()).ok();
        made.is_some_and(|made| now.duration_since(made).is_ok_and(|age| age >= grace))
    };
    let files = store.files_of_star(star)?.into_iter();
    Ok(files.filter(|file| is_old(&store.at(&file.path))).map(|file| (file.path, file.what)).collect())
}

/// The results that a generation has.
fn files_of(star: StarId, quarter: Quarter, manifest: &Manifest) -> BTreeSet<PathBuf> {
    let linked = manifest.products.values().filter_map(|entry| paths::of_star(star, entry.file.as_deref()?));
    let made = manifest.modules.iter().filter_map(|entry| match &entry.outcome {
        Some(Outcome::Succeeded(success)) => Some(paths::product(star, quarter, &entry.module, &success.key)),
        Some(Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Failed(_) | Outcome::Errored(_))
        | None => None,
    });
    linked.chain(made).collect()
}

/// Adds every result that these were made from, however far back.
async fn with_all_that_led_there(
    context: &Context,
    agent: &mut Agent,
    star: StarId,
    needed: &mut BTreeSet<PathBuf>,
) -> Result<(), String> {
    let mut to_follow: Vec<PathBuf> = needed.iter().cloned().collect();
    while let Some(path) = to_follow.pop() {
        let manifest = match agent.manifest(&context.store.at(&path)).await {
            Ok(manifest) => manifest,
            Err(error) => return Err(unreadable(&error)),
        };
        let inputs = manifest.provenance.iter().flat_map(|provenance| &provenance.inputs);
        // What comes next is compared with what they stand for.
        let before = manifest.products.values().filter_map(|entry| Some(entry.stands_for.as_ref()?.file.as_str()));
        for named in inputs.filter_map(|input| input.file.as_deref()).chain(before) {
            let named = Some(named).filter(|file| file.contains("/products/"));
            if let Some(path) = named.and_then(|file| paths::of_star(star, file))
                && needed.insert(path.clone())
            {
                to_follow.push(path);
            }
        }
    }
    Ok(())
}

/// One file tells which; the reason is the same for all stars with such a file.
fn unreadable(error: &AgentError) -> String {
    tracing::debug!(error = chain(error), "a star is left alone");
    "something that is to stay cannot be read: `sas store scrub` finds and mends it".to_owned()
}

/// Takes a star into the report, and removes what goes.
async fn take(
    context: &Context,
    open: &mut OpenRuns,
    request: &GcRequest,
    (star, found): (StarId, FoundOfStar),
    report: &mut GcReport,
) -> Result<(), OperateError> {
    // Who enters a run meanwhile may use what was about to go.
    if !request.dry_run && open.run_with(context, star).await?.is_some() {
        leave_alone(report, "a run goes on with them".to_owned(), star);
        return Ok(());
    }
    for kept in found.kept {
        *report.kept.entry(kept.because).or_default() += 1;
    }
    report.results_kept += found.results_kept;
    let room = NAMED.saturating_sub(report.referred_to.len());
    report.referred_to.extend(found.referred_to.into_iter().take(room));
    // Generations first: one without its results would be missed.
    let dry_run = request.dry_run;
    for (paths, sum) in [(found.generations, &mut report.generations), (found.results, &mut report.results)] {
        let named: Vec<PathBuf> = paths.iter().take(NAMED.saturating_sub(report.going.len())).cloned().collect();
        let removed = context.ask(move |store| remove(store, &paths, dry_run)).await?;
        report.going.extend(named);
        sum.files += removed.files;
        sum.bytes += removed.bytes;
    }
    Ok(())
}

/// Removes files; what they had.
fn remove(store: &Store, files: &[PathBuf], dry_run: bool) -> Result<RemovedFiles, StoreError> {
    let mut removed = RemovedFiles::default();
    for file in files {
        let path = store.at(file);
        let Ok(facts) = path.metadata() else { continue };
        if !dry_run {
            std::fs::remove_file(&path).map_err(|source| StoreError::Io { doing: "remove", path, source })?;
        }
        removed.files += 1;
        removed.bytes += facts.len();
    }
    Ok(removed)
}

/// Runs that go on, with their stars.
#[derive(Default)]
struct OpenRuns(BTreeMap<RunId, Arc<StarList>>);

impl OpenRuns {
    /// A run that goes on with a star.
    async fn run_with(&mut self, context: &Context, star: StarId) -> Result<Option<RunId>, OperateError> {
        let known = std::mem::take(&mut self.0);
        let (lists, run) = context
            .ask(move |store| {
                let mut lists = BTreeMap::new();
                let mut with = None;
                for run in store.open_runs()? {
                    if standing::read(store, run)?.is_over {
                        continue;
                    }
                    let list = match known.get(&run) {
                        Some(list) => list.clone(),
                        // One that is about to be has no list yet.
                        None => match store.stars(run) {
                            Ok(list) => list.into(),
                            Err(StoreError::Io { source, .. }) if source.kind() == NotFound => continue,
                            Err(error) => return Err(error),
                        },
                    };
                    if list.position(star)?.is_some() {
                        with = Some(run);
                    }
                    lists.insert(run, list);
                }
                Ok((lists, with))
            })
            .await?;
        self.0 = lists;
        Ok(run)
    }
}
