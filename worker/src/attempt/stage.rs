//! Stage: a private directory with the input as the contract promises it. Large products are hard links to committed
//! files, so staging costs the same for 1 MB and 250 MB.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use domain::contract::{InputRole, Staging};
use domain::error::chain;
use domain::outcome::PlatformErrorKind;
use domain::product::{Origin, Source};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use serde_json::json;
use store::StoreError;
use store::agent::{AgentError, Stage, StageItem};
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Order};
use super::ending::Ending;
use super::look::{Seen, whole};
use super::place::InputPlace;
use super::resolve::Plan;
use crate::removal;
use crate::runner::{INPUT, OUTPUT, PARAMETERS};

/// Where the links to files are that the input leads to, in its directory.
const FILES: &str = "files";

/// The directories of an attempt.
pub(super) struct Made {
    /// The attempt's own directory.
    pub(super) folder: PathBuf,
    /// What the module reads.
    pub(super) input: PathBuf,
    /// What it writes.
    pub(super) output: PathBuf,
    /// The links to files that it reads, in `input`.
    links: Vec<PathBuf>,
}

/// What is to be made in these directories before anything is staged.
pub(super) struct Layout {
    folders: [PathBuf; 4],
    /// Committed files, each with its link.
    links: Vec<(PathBuf, PathBuf)>,
    /// Where the parameters are to be, and they.
    parameters: (PathBuf, Vec<u8>),
}

/// Where an attempt reads and writes, and what is to be there.
pub(super) fn layout(desk: &Desk, order: &Order, plan: &Plan) -> (Made, Layout) {
    let folder = desk.folder_of(order);
    let (input, output) = (folder.join("in"), folder.join("out"));
    let files = files(&plan.staging, &plan.seen);
    let links: Vec<(PathBuf, PathBuf)> = files.iter().map(|(file, name)| ((*file).clone(), input.join(name))).collect();
    let parameters = serde_json::to_vec(&order.module().parameters).expect("parameters are JSON");
    let layout = Layout {
        folders: [folder.clone(), input.clone(), input.join(FILES), output.clone()],
        parameters: (input.join(PARAMETERS), parameters),
        links: links.clone(),
    };
    let links = links.into_iter().map(|(_, link)| link).collect();
    (Made { folder, input, output, links }, layout)
}

/// Builds the input in the directories that were made.
pub(super) async fn stage(
    desk: &mut Desk,
    order: &Order,
    plan: &Plan,
    made: &Made,
    cancel: &CancellationToken,
) -> Result<(), Ending> {
    let Plan { staging, seen, .. } = plan;
    for place in staging.staged.iter().filter_map(|staged| seen.places.get(&staged.source)) {
        whole(desk, order, place, cancel).await?;
    }
    let request = Stage {
        input: made.input.join(INPUT),
        attributes: BTreeMap::new(),
        star: order.star,
        quarter: order.run.course.record.quarter,
        observed: seen.observed,
        items: items(staging, seen, &files(staging, seen)),
        staged: announce(staging),
    };
    desk.agent.stage(request).await.map_err(|error| could_not_stage(&error))
}

fn could_not_stage(error: &AgentError) -> Ending {
    Ending::errored(PlatformErrorKind::Store, format!("failed to stage the input: {}", chain(error)))
}

/// The committed files behind what is staged, each with its name below the input directory.
fn files<'a>(staging: &Staging, seen: &'a Seen) -> BTreeMap<&'a PathBuf, String> {
    let mut files = BTreeMap::new();
    for place in staging.staged.iter().filter_map(|staged| seen.places.get(&staged.source)) {
        let next = files.len();
        files.entry(&place.file).or_insert_with(|| format!("{FILES}/{next}.h5"));
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

impl Layout {
    /// The committed files that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.links.iter().map(|(file, _)| file)
    }

    /// Makes it all. Never what is above: where the slot's own directory is gone, so is the store.
    pub(super) fn make(&self) -> Result<(), StoreError> {
        for folder in &self.folders {
            DirBuilder::new().mode(0o755).create(folder).map_err(failed("make directory", folder))?;
            reachable(folder, 0o755)?;
        }
        for (from, to) in &self.links {
            link(from, to).map_err(failed("link", to))?;
        }
        let (path, parameters) = &self.parameters;
        let created = OpenOptions::new().write(true).create_new(true).mode(0o444).open(path);
        created.and_then(|mut file| file.write_all(parameters)).map_err(failed("write", path))?;
        reachable(path, 0o444)
    }
}

/// Lets the module's user, who may be another, reach what was made with this mode, where this process' umask kept it from that.
fn reachable(path: &Path, mode: u32) -> Result<(), StoreError> {
    static IS_STRICT: LazyLock<bool> = LazyLock::new(umask_is_strict);
    match *IS_STRICT {
        true => fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("protect", path)),
        false => Ok(()),
    }
}

/// Whether this process' umask takes more than the right to write from others; what is not known is taken for that.
fn umask_is_strict() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok());
    umask.is_none_or(|umask| umask & !0o022 != 0)
}

impl Made {
    /// Removes it with all that is in it; what cannot be removed is left for the sweep.
    pub(super) fn remove(&self) {
        if self.remove_known().is_err() {
            remove(&self.folder);
        }
    }

    /// Removes what is there as a rule; fails where there is more.
    fn remove_known(&self) -> io::Result<()> {
        let output = openat(CWD, &self.output, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::PATH, Mode::empty())?;
        match unlinkat(&output, OUTPUT, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        for file in self.links.iter().chain(&[self.input.join(INPUT), self.input.join(PARAMETERS)]) {
            fs::remove_file(file)?;
        }
        let folders = [&self.output, &self.input.join(FILES), &self.input, &self.folder];
        folders.into_iter().try_for_each(fs::remove_dir)
    }
}

/// A hard link, or a copy where there can be none: on another file system, of another user's file, of one with too many.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        Err(_) => fs::copy(from, to).map(drop),
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { doing, path, source }
}

/// Removes an attempt's directory, whatever is in it; what cannot be removed is left for the sweep.
pub(super) async fn clean_up(folder: PathBuf) {
    let _ = tokio::task::spawn_blocking(move || remove(&folder)).await;
}

fn remove(folder: &Path) {
    if let Err(error) = removal::remove(folder) {
        tracing::warn!(folder = %folder.display(), %error, "an attempt's directory stays behind");
    }
}
