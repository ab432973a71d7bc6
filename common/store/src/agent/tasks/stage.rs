//! Staging: an `input.h5` of links, so that it costs the same for 1 MB and 250 MB.

use rustix::fs::Mode;
use rustix::process::umask;

use super::{AgentResult, set_root, unwritable};
use crate::agent::wire::Stage;
use crate::h5::{File, H5Error};

/// Writes the file.
pub(super) fn stage(stage: &Stage) -> AgentResult<()> {
    let failed = unwritable(&stage.input);
    // The module's user may read it, and nobody writes it.
    let before = umask(Mode::from_raw_mode(0o222));
    let created = File::create_small(&stage.input);
    umask(before);
    let file = created.map_err(&failed)?;
    fill(stage, &file).map_err(&failed)?;
    file.close().map_err(&failed)
}

fn fill(stage: &Stage, file: &File) -> Result<(), H5Error> {
    let root = file.root()?;
    set_root(&root, Some(stage.star), Some(stage.quarter), stage.observed)?;
    for (name, text) in &stage.attributes {
        root.set_text(name, text)?;
    }
    root.set_text("STAGED", &stage.staged)?;
    for top in ["EXTERNALS", "PRODUCTS"] {
        root.create_group(top)?;
    }
    root.create_group("PREVIOUS")?.create_group("PRODUCTS")?;
    for item in &stage.items {
        let mut names: Vec<&str> = item.at.split('/').filter(|name| !name.is_empty()).collect();
        let Some(last) = names.pop() else { continue };
        let mut group = file.root()?;
        for name in names {
            group = group.require_group(name)?;
        }
        group.link_external(last, &item.file, &item.path)?;
    }
    Ok(())
}
