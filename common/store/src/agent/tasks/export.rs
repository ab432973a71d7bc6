//! One file of a generation and of everything that it links to.

use super::read::{Rooted, manifest};
use super::show::say_standing;
use super::{AgentResult, damaged, open, refuse, set_root, unwritable};
use crate::agent::record::*;
use crate::agent::wire::*;
use crate::h5::{File, Group, LinkKind};
use crate::paths;
use domain::id::ProductName;

/// How many names the root may have.
const WIDEST: u64 = 100_000;

/// Writes the file.
pub(super) fn export(export: &Export) -> AgentResult<()> {
    let (failed, broken) = (unwritable(&export.dest), damaged(&export.generation));
    let (manifest, newest) = (manifest(&export.generation)?, manifest(&export.newest)?);
    let source = open(&export.generation)?.into_root(&export.generation)?;
    let file = File::create(&export.dest).map_err(&failed)?;
    let root = file.root().map_err(&failed)?;
    for (name, _) in source.group.links(WIDEST).map_err(&broken)? {
        match name.as_str() {
            "EXTERNALS" => copy_all(export, &source, &root, &name, manifest.externals.iter())?,
            "PRODUCTS" => copy_all(export, &source, &root, &name, manifest.products.iter())?,
            other => root.copy_from(&source.group, other, other).map_err(&broken)?,
        }
    }
    set_root(&root, manifest.star, manifest.quarter, manifest.observed).map_err(&failed)?;
    say_standing(&root, &manifest, &newest, export.last_complete, None).map_err(&failed)?;
    for (name, text) in &export.attributes {
        root.set_text(name, text).map_err(&failed)?;
    }
    drop(root);
    file.close().map_err(&failed)
}

/// Copies the products below `top`, those that are linked from where they are.
fn copy_all<'a>(
    export: &Export,
    source: &Rooted,
    root: &Group,
    top: &str,
    products: impl Iterator<Item = (&'a ProductName, &'a ProductEntry)>,
) -> AgentResult<()> {
    let to = root.create_group(top).map_err(unwritable(&export.dest))?;
    let nothing = || refuse(RefusalKind::Damaged, format!("`{}` has no /{top}", export.generation.display()));
    let from = source.group.subgroup(top).map_err(damaged(&export.generation))?.ok_or_else(nothing)?;
    let links = from.links(WIDEST).map_err(damaged(&export.generation))?;
    for (product, entry) in products {
        let name = product.as_str();
        let is_here = links.iter().any(|(link, kind)| link == name && *kind == LinkKind::Hard);
        if is_here {
            to.copy_from(&from, name, name).map_err(damaged(&export.generation))?;
        } else {
            copy_linked(export, &to, top, name, entry)?;
        }
    }
    Ok(())
}

/// Copies a product from the committed file that holds it.
fn copy_linked(export: &Export, to: &Group, top: &str, product: &str, entry: &ProductEntry) -> AgentResult<()> {
    let name = entry.file.as_deref().unwrap_or_default();
    let Some(file) = paths::of_star(export.star, name).map(|relative| export.store.join(relative)) else {
        return Err(refuse(RefusalKind::Damaged, format!("{name:?} is not the name of a file of {}", export.star)));
    };
    let source = open(&file)?.into_root(&file)?;
    match source.group.subgroup(top).map_err(damaged(&file))? {
        Some(from) => to.copy_from(&from, product, product).map_err(damaged(&file)),
        None => Err(refuse(RefusalKind::Damaged, format!("`{}` has no /{top}", file.display()))),
    }
}
