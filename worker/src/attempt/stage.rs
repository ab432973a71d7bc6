//! Stage: a private directory with the input as the contract promises it. Large products are hard links to committed
//! files, so staging costs the same for 1 MB and 250 MB.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use domain::contract::{InputRole, Staging};
use domain::error::chain;
use domain::outcome::PlatformErrorKind;
use domain::product::{Origin, Source};
use serde_json::json;
use store::agent::{AgentError, Stage, StageItem};
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::committed::await_file;
use super::desk::{Desk, Order};
use super::ending::Ending;
use super::look::{Seen, whole};
use super::place::InputPlace;
use super::resolve::Plan;
use crate::removal;
use crate::runner::{INPUT, PARAMETERS};

/// The directories of an attempt.
pub(super) struct Made {
    /// The attempt's own directory.
    pub(super) folder: PathBuf,
    /// What the module reads.
    pub(super) input: PathBuf,
    /// What it writes.
    pub(super) output: PathBuf,
}

/// Makes the directories and everything that the module reads.
pub(super) async fn stage(
    desk: &mut Desk,
    order: &Order,
    plan: &Plan,
    cancel: &CancellationToken,
) -> Result<Made, Ending> {
    let (folder, Plan { staging, seen, .. }) = (desk.folder_of(order), plan);
    let made = Made { input: folder.join("in"), output: folder.join("out"), folder };
    for place in staging.staged.iter().filter_map(|staged| seen.places.get(&staged.source)) {
        await_file(desk, &place.file, cancel).await?;
        whole(desk, order, place, cancel).await?;
    }
    let files = files(staging, seen);
    let parameters = serde_json::to_vec(&order.module().parameters).expect("parameters are JSON");
    let (input, output) = (made.input.clone(), made.output.clone());
    let links: Vec<(PathBuf, PathBuf)> =
        files.iter().map(|(file, name)| ((*file).clone(), made.input.join(name))).collect();
    desk.store.ask(move |_| lay_out(&input, &output, &links, &parameters)).await?;

    let request = Stage {
        input: made.input.join(INPUT),
        attributes: BTreeMap::new(),
        star: order.star,
        quarter: order.run.course.record.quarter,
        observed: seen.observed,
        items: items(staging, seen, &files),
        staged: announce(staging),
    };
    desk.agent.stage(request).await.map_err(|error| could_not_stage(&error))?;
    let input = made.input.join(INPUT);
    desk.store.ask(move |_| readable(&input)).await?;
    Ok(made)
}

fn could_not_stage(error: &AgentError) -> Ending {
    Ending::errored(PlatformErrorKind::Store, format!("failed to stage the input: {}", chain(error)))
}

/// The committed files behind what is staged, each with its name below the input directory.
fn files<'a>(staging: &Staging, seen: &'a Seen) -> BTreeMap<&'a PathBuf, String> {
    let mut files = BTreeMap::new();
    for place in staging.staged.iter().filter_map(|staged| seen.places.get(&staged.source)) {
        let next = files.len();
        files.entry(&place.file).or_insert_with(|| format!("files/{next}.h5"));
    }
    files
}

fn items(staging: &Staging, seen: &Seen, files: &BTreeMap<&PathBuf, String>) -> Vec<StageItem> {
    let item = |source: &Source, place: &InputPlace| StageItem {
        at: inside(source),
        file: files[&place.file].clone(),
        path: place.path.clone(),
    };
    let sources = sources(staging).into_iter();
    sources.filter_map(|source| Some(item(source, seen.places.get(source)?))).collect()
}

/// What is staged, each once: two clauses of a contract may choose the same product.
fn sources(staging: &Staging) -> Vec<&Source> {
    let mut sources: Vec<&Source> = Vec::new();
    for staged in &staging.staged {
        if !sources.contains(&&staged.source) {
            sources.push(&staged.source);
        }
    }
    sources
}

/// Where a module finds a product in its input.
fn inside(source: &Source) -> String {
    match source.origin {
        Origin::StarExternal | Origin::SharedExternal => format!("/EXTERNALS/{}", source.product),
        Origin::Module(_) => format!("/PRODUCTS/{}", source.product),
        Origin::Previous => format!("/PREVIOUS/PRODUCTS/{}", source.product),
    }
}

/// The root attribute `STAGED`. What is absent is not told with its reason: under one key that may be another.
fn announce(staging: &Staging) -> String {
    let mut alternatives: Vec<(u32, String)> = Vec::new();
    for staged in &staging.staged {
        match staged.role {
            InputRole::OneOf(list) => alternatives.push((list, inside(&staged.source))),
            InputRole::Mandatory | InputRole::Conditional | InputRole::Optional => {}
        }
    }
    alternatives.sort();
    json!({
        "staged": sources(staging).into_iter().map(inside).collect::<Vec<_>>(),
        "one_of": alternatives.into_iter().map(|(_, path)| path).collect::<Vec<_>>(),
    })
    .to_string()
}

fn lay_out(input: &Path, output: &Path, links: &[(PathBuf, PathBuf)], parameters: &[u8]) -> Result<(), StoreError> {
    let (folder, files) = (input.parent().unwrap_or(input), input.join("files"));
    for folder in [folder, input, &files, output] {
        // Never those above: where the slot's own directory is gone, so is the store.
        fs::create_dir(folder).map_err(failed("make directory", folder))?;
        fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(failed("protect", folder))?;
    }
    for (from, to) in links {
        link(from, to).map_err(failed("link", to))?;
    }
    let path = input.join(PARAMETERS);
    fs::write(&path, parameters).map_err(failed("write", &path))?;
    readable(&path)
}

/// A hard link, or a copy where there can be none: on another file system, of another user's file, of one with too many.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        Err(_) => fs::copy(from, to).map(drop),
    }
}

/// Lets the module's user read a file that is not its own.
fn readable(path: &Path) -> Result<(), StoreError> {
    fs::set_permissions(path, Permissions::from_mode(0o444)).map_err(failed("protect", path))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { doing, path, source }
}

/// Removes an attempt's directory; what cannot be removed is left for the sweep.
pub(super) async fn clean_up(store: &Store, folder: PathBuf) {
    let removed = store.ask(move |_| {
        if let Err(error) = removal::remove(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "an attempt's directory stays behind");
        }
        Ok(())
    });
    let _ = removed.await;
}
