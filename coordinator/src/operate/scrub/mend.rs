//! What is done about a damaged file: it is moved aside where it can be made again, and who makes it is told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use domain::id::{Generation, Key, ModuleName, ProductName, Quarter, RunId, StarId};
use domain::outcome::Outcome;
use store::agent::{Agent, ModuleEntry};
use store::runs::SettledStar;
use store::scrub::{CommittedFile, CommittedKind};
use store::{Store, durable, paths};

use super::{DELIVER, DamagedFile, TasksToRepeat};
use crate::operate::verify::DifferenceFound;
use crate::operate::{Context, OperateError, look_up};

/// A file that was found damaged.
pub(super) struct Damage<'a> {
    pub(super) file: &'a CommittedFile,
    /// Its number, by which another that took its place is told from it.
    pub(super) inode: u64,
    pub(super) differences: Vec<DifferenceFound>,
    /// Of a delivery: the products in it, as far as that can be read.
    pub(super) products: BTreeSet<ProductName>,
}

/// Moves it aside and notes who is to make it again, or says why not.
pub(super) async fn mend(
    context: &Context,
    agent: &mut Agent,
    damage: Damage<'_>,
    dry_run: bool,
    again: &mut TasksToRepeat,
) -> Result<DamagedFile, OperateError> {
    let Damage { file, inode, differences, products } = damage;
    let found = DamagedFile { file: file.path.clone(), differences, aside: None, comes: String::new() };
    let (star, tasks, run) = match &file.what {
        CommittedKind::External => {
            let path = context.store.at(&file.path);
            let aside = match dry_run {
                true => None,
                false => context.ask(move |store| store.set_delivery_aside(&path, inode, products)).await?,
            };
            let aside = aside.map(|aside| relative(context, aside));
            return Ok(DamagedFile { aside, comes: DELIVER.to_owned(), ..found });
        }
        CommittedKind::Result { star, quarter, module, key } => {
            (*star, vec![module.clone()], user_of(context, agent, (*star, *quarter), (module, key)).await?)
        }
        CommittedKind::Generation { star, quarter, number } => {
            let (star, quarter, number) = (*star, *quarter, *number);
            match context.ask(move |store| maker_of(store, star, quarter, number)).await? {
                Ok((run, modules)) => (star, modules, Some(run)),
                Err(why) => return Ok(DamagedFile { comes: format!("it stays: {why}"), ..found }),
            }
        }
    };
    let comes = match run {
        Some(run) if dry_run => format!("it would be moved aside, and run {run} would make it again"),
        None if dry_run => "it would be moved aside; no generation refers to it".to_owned(),
        Some(run) => format!("run {run} makes it again"),
        None => "no generation refers to it: it is made again when somebody needs it".to_owned(),
    };
    if dry_run {
        return Ok(DamagedFile { comes, ..found });
    }
    let path = context.store.at(&file.path);
    let aside = context.ask(move |_| durable::set_aside(&path, inode)).await?;
    let Some(aside) = aside else {
        return Ok(DamagedFile { comes: "somebody else has replaced it meanwhile".to_owned(), ..found });
    };
    if let CommittedKind::Generation { star, quarter, number } = &file.what {
        let (star, quarter, number) = (*star, *quarter, *number);
        context.ask(move |store| store.forget_choices(star, quarter, number)).await?;
    }
    if let Some(run) = run {
        again.entry(run).or_default().extend(tasks.into_iter().map(|module| (star, module)));
    }
    Ok(DamagedFile { aside: Some(relative(context, aside)), comes, ..found })
}

/// A path from the store's root.
fn relative(context: &Context, path: PathBuf) -> PathBuf {
    path.strip_prefix(context.store.root()).map(Path::to_owned).unwrap_or(path)
}

/// The run of the newest generation that has a result.
async fn user_of(
    context: &Context,
    agent: &mut Agent,
    (star, quarter): (StarId, Quarter),
    (module, key): (&ModuleName, &Key),
) -> Result<Option<RunId>, OperateError> {
    let is_it = |entry: &ModuleEntry| {
        entry.module == *module && matches!(&entry.outcome, Some(Outcome::Succeeded(success)) if success.key == *key)
    };
    for number in context.ask(move |store| store.generations(star, quarter)).await?.into_iter().rev() {
        let file = context.store.at(paths::generation(star, quarter, number));
        // One that is damaged itself is looked at in its turn.
        let Ok(manifest) = agent.manifest(&file).await else { continue };
        if let Some(info) = manifest.generation.filter(|_| manifest.modules.iter().any(is_it)) {
            return Ok(Some(info.run));
        }
    }
    Ok(None)
}

/// The run that made the newest generation of a star, and the modules whose results are in it; or why nobody can make it again.
/// Blocks on the disk.
fn maker_of(
    store: &Store,
    star: StarId,
    quarter: Quarter,
    number: Generation,
) -> Result<Result<(RunId, Vec<ModuleName>), String>, OperateError> {
    if store.latest_generation(star, quarter)? != Some(number) {
        return Ok(Err("it is not the newest generation, and no run makes an older one again".to_owned()));
    }
    last_maker(store, star, quarter, number)
}

/// The run that a star's last generation is of, and the modules whose results are in it, whether its file is there or not; or why
/// nobody can make it again. Blocks on the disk.
pub(super) fn last_maker(
    store: &Store,
    star: StarId,
    quarter: Quarter,
    number: Generation,
) -> Result<Result<(RunId, Vec<ModuleName>), String>, OperateError> {
    let other = || "the run that made it is not the star's newest; `sas run start` makes another generation".to_owned();
    let Some((run, index)) = look_up::newest_with(store, star)? else { return Ok(Err(other())) };
    let record = look_up::record(store, run)?;
    let line = look_up::settled_line(store, run, index)?;
    let is_it = |line: &SettledStar| line.generation == Some(number) && record.quarter == quarter;
    let Some(line) = line.filter(is_it) else { return Ok(Err(other())) };
    if line.keys.is_empty() {
        return Ok(Err(
            "no result is in it that could be made again; `sas run start` makes another generation".to_owned()
        ));
    }
    let pipeline = look_up::pipeline_of(store, &record)?;
    Ok(Ok((run, line.keys.keys().map(|module| pipeline.module(*module).name.clone()).collect())))
}
