//! What star files say of themselves in root attributes: which generation they show, how whole it is, and what is newer.

use std::collections::BTreeMap;
use std::fs::File as PlainFile;

use super::read::manifest;
use super::{AgentResult, refuse, unwritable};
use crate::agent::record::*;
use crate::agent::wire::*;
use crate::generations::Rollback;
use crate::h5::{File, Group, H5Error};
use domain::id::{Generation, ModuleName, ProductName};
use domain::outcome::Outcome;

/// Writes the copy.
pub(super) fn show(show: &Show) -> AgentResult<()> {
    let Show { open, newest, last_complete, rollback, dest } = show;
    let (shown, newest) = (manifest(open)?, manifest(newest)?);
    copy(show)?;
    let failed = unwritable(dest);
    let file = File::open_to_change(dest).map_err(&failed)?;
    let root = file.root().map_err(&failed)?;
    say_standing(&root, &shown, &newest, *last_complete, rollback.as_ref()).map_err(&failed)?;
    drop(root);
    file.close().map_err(&failed)
}

/// Copies the bytes: committed files are read-only, and this one is to be changed.
fn copy(show: &Show) -> AgentResult<()> {
    let doing = |kind, file: &std::path::Path| {
        let name = file.display().to_string();
        move |error: std::io::Error| refuse(kind, format!("`{name}`: {error}"))
    };
    let mut from = PlainFile::open(&show.open).map_err(doing(RefusalKind::Missing, &show.open))?;
    let mut to = PlainFile::create_new(&show.dest).map_err(doing(RefusalKind::Write, &show.dest))?;
    std::io::copy(&mut from, &mut to).map_err(doing(RefusalKind::Write, &show.dest)).map(drop)
}

/// Writes the attributes of a file that shows a generation while another one is the newest, in place of those that it has.
pub(super) fn say_standing(
    root: &Group,
    shown: &Manifest,
    newest: &Manifest,
    last_complete: Option<Generation>,
    rollback: Option<&Rollback>,
) -> Result<(), H5Error> {
    if let Some(info) = &shown.generation {
        set_text(root, "STATUS", &said(shown))?;
        set_int(root, "GENERATION", info.number)?;
        set_text(root, "RUN", &info.run.to_string())?;
        set_text(root, "PIPELINE", info.pipeline.as_str())?;
        set_text(root, "PIPELINE_VERSION", &info.version)?;
        set_texts(root, "LOST_MODULES", &lost_modules(shown))?;
        set_texts(root, "LOST_PRODUCTS", &lost_products(info))?;
    }
    set_int(root, "LAST_COMPLETE", last_complete.unwrap_or_default())?;
    if let Some(info) = &newest.generation {
        set_int(root, "NEWEST_GENERATION", info.number)?;
        set_text(root, "NEWEST_STATUS", &said(newest))?;
        set_text(root, "NEWEST_RUN", &info.run.to_string())?;
        set_texts(root, "NEWEST_LOST_MODULES", &lost_modules(newest))?;
        set_texts(root, "NEWEST_LOST_PRODUCTS", &lost_products(info))?;
    }
    say_superseded(root, shown, newest)?;
    if let Some(Rollback { at, by, .. }) = rollback {
        set_text(root, "CHOSEN_BY", by)?;
        set_text(root, "CHOSEN_AT", &at.to_string())?;
    }
    Ok(())
}

/// Marks what a branch left behind that the newest generation of the same pipeline did not take: without failure, and without
/// these products. So it is not taken for valid, though it is all that there is.
fn say_superseded(root: &Group, shown: &Manifest, newest: &Manifest) -> Result<(), H5Error> {
    let (Some(info), Some(newer)) = (&shown.generation, &newest.generation) else { return Ok(()) };
    let mut superseded: BTreeMap<&ModuleName, (Vec<&str>, String)> = BTreeMap::new();
    for product in newer.lost.iter().filter(|_| info.number < newer.number && info.pipeline == newer.pipeline) {
        let maker = shown.products.get(product).and_then(|entry| entry.module.as_ref());
        let (Some(maker), Some(reason)) = (maker, reason_without_failure(newest, product)) else { continue };
        superseded.entry(maker).or_insert_with(|| (Vec::new(), reason)).0.push(product.as_str());
    }
    let all: Vec<&str> = superseded.values().flat_map(|(products, _)| products.iter().copied()).collect();
    set_texts(root, "SUPERSEDED", &all)?;
    for (module, (products, reason)) in &superseded {
        let Some(group) = root.subgroup(&format!("{}-{module}_{}", info.pipeline, info.number))? else { continue };
        set_texts(&group, "superseded", products)?;
        set_int(&group, "superseded_by", newer.number)?;
        set_text(&group, "superseded_because", reason)?;
    }
    Ok(())
}

/// Why a generation has no such product, where nothing failed: its module was skipped, or made none.
fn reason_without_failure(newest: &Manifest, product: &ProductName) -> Option<String> {
    let entry = newest.modules.iter().find(|entry| entry.declares.contains(product))?;
    match &entry.outcome {
        Some(outcome @ Outcome::Skipped(_)) => Some(outcome.to_string()),
        Some(Outcome::Succeeded(_)) => Some(format!("{} made none", entry.module)),
        Some(Outcome::UpstreamFailed { .. } | Outcome::Failed(_) | Outcome::Errored(_)) | None => None,
    }
}

fn said(manifest: &Manifest) -> String {
    manifest.status().map(|status| status.to_string()).unwrap_or_default()
}

fn lost_modules(manifest: &Manifest) -> Vec<&str> {
    manifest.modules.iter().filter(|entry| entry.is_lost()).map(|entry| entry.module.as_str()).collect()
}

fn lost_products(info: &GenerationInfo) -> Vec<&str> {
    info.lost.iter().map(ProductName::as_str).collect()
}

fn set_text(root: &Group, name: &str, text: &str) -> Result<(), H5Error> {
    root.forget(name)?;
    root.set_text(name, text)
}

fn set_texts(root: &Group, name: &str, texts: &[&str]) -> Result<(), H5Error> {
    root.forget(name)?;
    root.set_texts(name, texts)
}

fn set_int(root: &Group, name: &str, value: Generation) -> Result<(), H5Error> {
    root.forget(name)?;
    root.set_int(name, value.0.into())
}
