//! Looks at every committed file of the store, slowly; what is damaged is moved aside and made again by the run that last used it.
//!
//! Nobody's place in a run is taken: a decision to do these tasks again is written down, and coordinators follow it. It is written
//! after the file was moved aside, for a coordinator that followed it before would find the file in its place. A crash in between
//! leaves a name that is gone: that of a result is found when the generation that refers to it is looked at, that of a generation
//! beside what was moved aside.

mod mend;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::id::{ModuleName, ProductName, RunId, Sequence, StarId};
use domain::text::moment;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use store::agent::{Agent, Manifest};
use store::externals::DamagedDelivery;
use store::scrub::{CommittedFile, CommittedKind, PartLookedAt, SHARED};
use store::{durable, paths};
use tokio::time::{Instant, sleep_until};

use self::mend::{Damage, last_maker, mend};
use super::task::{carry_out, make_again};
use super::verify::{DifferenceFound, Linked, verify_file_of_store};
use super::{Context, OperateError};

/// How the store is looked through.
#[derive(Debug, Clone, Copy)]
pub struct ScrubRequest {
    /// Bytes of files that are read in a second at most; `None` is as fast as it goes.
    pub rate: Option<u64>,
    /// Only looks: nothing is moved, decided or written down.
    pub dry_run: bool,
    /// From the beginning, also where a pass is under way.
    pub again: bool,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    /// Parts that are done, of all.
    pub parts: (usize, usize),
    /// Files that were looked at.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How many of them are damaged.
    pub damaged: usize,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ScrubReport {
    /// The number of the pass, counted from 1.
    pub pass: u64,
    /// Parts that were looked at now.
    pub parts: usize,
    /// Parts that had been looked at in this pass before.
    pub before: usize,
    /// Files that were looked at.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What is damaged or gone.
    pub damaged: Vec<DamagedFile>,
    /// What was decided about it, by run.
    pub decided: BTreeMap<RunId, String>,
}

/// A file that is damaged or gone.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DamagedFile {
    /// The file, from the store's root.
    pub file: PathBuf,
    /// In which way.
    pub differences: Vec<DifferenceFound>,
    /// Where it was moved.
    pub aside: Option<PathBuf>,
    /// What comes of it.
    pub comes: String,
}

/// What comes of a damaged delivery.
const DELIVER: &str = "nobody here can make it again: tasks that read it end as errored until it is delivered again";

/// Tasks whose results are to be made again, by run.
type TasksToRepeat = BTreeMap<RunId, Vec<(StarId, ModuleName)>>;

/// Looks at every committed file, part by part; `progress` is told after each.
pub async fn scrub(
    context: &Context,
    request: ScrubRequest,
    progress: &mut (dyn FnMut(ScrubProgress) + Send),
) -> Result<ScrubReport, OperateError> {
    let again = request.again || request.dry_run;
    let pass = context.ask(move |store| store.scrub_pass(again)).await?;
    let mut agent = context.readers.lend().await?;
    let before = pass.parts - pass.to_come.len();
    let mut scrubber = Scrubber {
        context,
        request,
        began: Instant::now(),
        progress: ScrubProgress { parts: (before, pass.parts), ..ScrubProgress::default() },
        tell: progress,
        damaged: Vec::new(),
        again: TasksToRepeat::new(),
    };
    let mut decided = BTreeMap::new();
    for part in &pass.to_come {
        let (files, bytes, damaged) = (scrubber.progress.files, scrubber.progress.bytes, scrubber.damaged.len());
        scrubber.part(&mut agent, part).await?;
        for (run, tasks) in std::mem::take(&mut scrubber.again) {
            let told = carry_out(context, make_again(run, tasks.into_iter())).await;
            decided.insert(run, told.map_or_else(|error| format!("not decided: {error}"), |done| done.effect));
        }
        scrubber.progress.parts.0 += 1;
        if !request.dry_run {
            let looked = PartLookedAt {
                at: Timestamp::now(),
                files: scrubber.progress.files - files,
                bytes: scrubber.progress.bytes - bytes,
                damaged: (scrubber.damaged.len() - damaged) as u64,
            };
            let (number, part) = (pass.number, part.clone());
            context.ask(move |store| store.mark_scrubbed(number, &part, &looked)).await?;
        }
    }
    let ScrubProgress { files, bytes, .. } = scrubber.progress;
    let parts = pass.to_come.len();
    Ok(ScrubReport { pass: pass.number, parts, before, files, bytes, damaged: scrubber.damaged, decided })
}

/// Of each dataset in each place the newest version.
fn newest_deliveries(files: &[CommittedFile]) -> BTreeSet<PathBuf> {
    let mut newest: BTreeMap<(&Path, &str), (Sequence, &PathBuf)> = BTreeMap::new();
    for (place, sequence, path) in files.iter().filter_map(version_of) {
        let known = newest.entry(place).or_insert((sequence, path));
        if sequence > known.0 {
            *known = (sequence, path);
        }
    }
    newest.into_values().map(|(_, path)| path.clone()).collect()
}

/// Which version of what a delivery is: folder and dataset, number, path.
fn version_of(file: &CommittedFile) -> Option<((&Path, &str), Sequence, &PathBuf)> {
    let name = file.path.file_name()?.to_str()?;
    let (dataset, sequence) = paths::parse_external_name(name).filter(|_| file.what == CommittedKind::External)?;
    Some(((file.path.parent()?, dataset), sequence, &file.path))
}

/// The versions before a delivery, newest first.
fn versions_before<'a>(files: &'a [CommittedFile], delivery: &CommittedFile) -> Vec<&'a Path> {
    let Some((place, number, _)) = version_of(delivery) else { return Vec::new() };
    let is_before = |version: &((&Path, &str), Sequence, &PathBuf)| version.0 == place && version.1 < number;
    let mut before: Vec<_> = files.iter().filter_map(version_of).filter(is_before).collect();
    before.sort_by_key(|(_, sequence, _)| std::cmp::Reverse(*sequence));
    before.into_iter().map(|(_, _, path)| path.as_path()).collect()
}

/// Somebody who looks through the store.
struct Scrubber<'a> {
    context: &'a Context,
    request: ScrubRequest,
    began: Instant,
    progress: ScrubProgress,
    tell: &'a mut (dyn FnMut(ScrubProgress) + Send),
    damaged: Vec<DamagedFile>,
    again: TasksToRepeat,
}

impl Scrubber<'_> {
    async fn part(&mut self, agent: &mut Agent, part: &str) -> Result<(), OperateError> {
        if part == SHARED {
            let files = self.context.ask(|store| store.shared_files()).await?;
            return self.files(agent, files).await;
        }
        let named = part.to_owned();
        for star in self.context.ask(move |store| store.stars_of_part(&named)).await? {
            self.left_aside(star).await?;
            let files = self.context.ask(move |store| store.files_of_star(star)).await?;
            self.files(agent, files).await?;
        }
        Ok(())
    }

    /// Generations that were moved aside before: whoever did so may have died before he wrote down who makes them again. Where
    /// that is decided and goes on, it is decided once more; at worst one more generation comes of it.
    async fn left_aside(&mut self, star: StarId) -> Result<(), OperateError> {
        for (quarter, number, aside) in self.context.ask(move |store| store.generations_aside(star)).await? {
            let dry_run = self.request.dry_run;
            let made = self.context.ask(move |store| {
                let made = last_maker(store, star, quarter, number)?;
                if made.is_ok() && !dry_run {
                    store.forget_choices(star, quarter, number)?;
                }
                Ok::<_, OperateError>(made)
            });
            let comes = match made.await? {
                Ok((run, _)) if dry_run => format!("run {run} would make it again"),
                Ok((run, modules)) => {
                    self.again.entry(run).or_default().extend(modules.into_iter().map(|module| (star, module)));
                    format!("run {run} makes it again")
                }
                Err(why) => format!("it stays: {why}"),
            };
            let what = "it was found damaged before and moved aside, and no generation came since".to_owned();
            self.damaged.push(DamagedFile {
                file: paths::generation(star, quarter, number),
                differences: vec![DifferenceFound { product: None, what }],
                aside: Some(aside),
                comes,
            });
        }
        Ok(())
    }

    async fn files(&mut self, agent: &mut Agent, files: Vec<CommittedFile>) -> Result<(), OperateError> {
        let newest = newest_deliveries(&files);
        for file in &files {
            let path = self.context.store.at(&file.path);
            if file.what == CommittedKind::External && self.waits(&file.path, newest.contains(&file.path)).await? {
                continue;
            }
            // What went since it was listed is nobody's damage.
            let Some(inode) = self.context.ask(move |_| durable::inode(&path)).await? else { continue };
            let (verified, manifest) = verify_file_of_store(self.context, agent, &file.path, Linked::Skipped).await?;
            if !verified.differences.is_empty() {
                let products = match manifest {
                    Some(manifest) => manifest.externals.into_keys().collect(),
                    None => self.held_before(agent, &files, file).await,
                };
                let damage = Damage { file, inode, differences: verified.differences, products };
                let found = mend(self.context, agent, damage, self.request.dry_run, &mut self.again).await?;
                self.damaged.push(found);
            } else if let (CommittedKind::Generation { star, .. }, Some(manifest)) = (&file.what, &manifest) {
                self.gone(*star, &file.path, manifest).await?;
            }
            self.progress.files += 1;
            self.progress.bytes +=
                tokio::fs::metadata(self.context.store.at(&file.path)).await.map_or(0, |facts| facts.len());
            self.progress.damaged = self.damaged.len();
            (self.tell)(self.progress);
            self.wait().await;
        }
        Ok(())
    }

    /// The products of a delivery that cannot be read any more, as far as the version before it tells: each holds all that was
    /// delivered before it.
    async fn held_before(
        &self,
        agent: &mut Agent,
        files: &[CommittedFile],
        delivery: &CommittedFile,
    ) -> BTreeSet<ProductName> {
        for version in versions_before(files, delivery) {
            if let Ok(manifest) = agent.manifest(&self.context.store.at(version)).await {
                return manifest.externals.into_keys().collect();
            }
        }
        BTreeSet::new()
    }

    /// Whether a delivery was found damaged before; one that was not delivered again since is named again.
    async fn waits(&mut self, file: &Path, is_newest: bool) -> Result<bool, OperateError> {
        let path = self.context.store.at(file);
        let Some(damaged) = self.context.ask(move |_| DamagedDelivery::at(&path)).await? else { return Ok(false) };
        if is_newest {
            let what = format!("it was found damaged at {}, and not delivered again since", moment(damaged.found));
            self.damaged.push(DamagedFile {
                file: file.to_owned(),
                differences: vec![DifferenceFound { product: None, what }],
                aside: Some(file.with_file_name(damaged.aside)),
                comes: DELIVER.to_owned(),
            });
        }
        Ok(true)
    }

    /// Looks whether the results are there that a generation refers to.
    async fn gone(&mut self, star: StarId, generation: &Path, manifest: &Manifest) -> Result<(), OperateError> {
        let Some(info) = &manifest.generation else { return Ok(()) };
        let mut gone: BTreeMap<PathBuf, ModuleName> = BTreeMap::new();
        for entry in manifest.products.values() {
            let place = entry.file.as_deref().and_then(|file| paths::of_star(star, file)).zip(entry.module.clone());
            gone.extend(place);
        }
        let places: Vec<PathBuf> = gone.keys().cloned().collect();
        let missing = self.context.ask(move |store| {
            let is_gone = |place: &PathBuf| durable::inode(&store.at(place)).map(|inode| inode.is_none());
            places
                .into_iter()
                .filter_map(|place| is_gone(&place).map(|gone| gone.then_some(place)).transpose())
                .collect::<Result<Vec<_>, _>>()
        });
        for file in missing.await? {
            if self.damaged.iter().any(|known| known.file == file) {
                continue;
            }
            let Some(module) = gone.remove(&file) else { continue };
            let comes = match self.request.dry_run {
                true => format!("run {} would make it again", info.run),
                false => {
                    self.again.entry(info.run).or_default().push((star, module));
                    format!("run {} makes it again", info.run)
                }
            };
            let what = format!("it is not there, and `{}` refers to it", generation.display());
            let differences = vec![DifferenceFound { product: None, what }];
            self.damaged.push(DamagedFile { file, differences, aside: None, comes });
        }
        Ok(())
    }

    /// Waits until no more was read than may be in this time.
    async fn wait(&self) {
        if let Some(rate) = self.request.rate {
            let due = Duration::from_secs_f64(self.progress.bytes as f64 / rate.max(1) as f64);
            sleep_until(self.began + due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_before_a_delivery_are_of_its_place_and_dataset_newest_first() {
        let delivery = |folder: &str, dataset: &str, number| CommittedFile {
            path: Path::new(folder).join(paths::external_name(&dataset.parse().unwrap(), Sequence(number))),
            what: CommittedKind::External,
        };
        let here = |number| delivery("stars/00/x/Q003/externals", "l1/lightcurve", number);
        let files = [
            here(2),
            here(9),
            delivery("stars/00/x/Q004/externals", "l1/lightcurve", 3),
            here(5),
            delivery("stars/00/x/Q003/externals", "l1/other", 4),
            here(7),
        ];
        let before: Vec<&Path> = versions_before(&files, &files[5]);
        assert_eq!(before, [files[3].path.as_path(), files[0].path.as_path()]);
        assert_eq!(newest_deliveries(&files).len(), 3);
    }
}
