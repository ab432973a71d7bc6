//! What star files say of themselves in root attributes: which generation they show, how whole it is, and what is newer.

use std::fs::File as PlainFile;

use super::read::manifest;
use super::{AgentResult, refuse, unwritable};
use crate::agent::record::*;
use crate::agent::wire::*;
use crate::generations::Rollback;
use crate::h5::{File, Group, H5Error};
use domain::id::{Generation, ProductName};

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
    if let Some(Rollback { at, by, .. }) = rollback {
        set_text(root, "CHOSEN_BY", by)?;
        set_text(root, "CHOSEN_AT", &at.to_string())?;
    }
    Ok(())
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
