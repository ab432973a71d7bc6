//! Importing: externals of one star, or of all stars, copied from delivered files, or from results of ours that others are
//! given, into a fresh file.
//!
//! Of a delivery only what lies below `/EXTERNALS` is taken: the truth that simulators write beside it stays out.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use super::pack::json;
use super::read::{Rooted, manifest};
use super::said::{NamedStar, observed, quarter_of, star_of};
use super::{AgentResult, damaged, delivered, entry, open, problem, product_name, refuse, set_root, unwritable};
use crate::agent::record::*;
use crate::agent::wire::*;
use crate::digest::Walk;
use crate::h5::{File, Group, H5Error, LinkKind};
use domain::id::ProductName;

/// A product that was copied.
struct ImportedProduct {
    entry: ProductEntry,
    source: PathBuf,
}

/// Writes the file; returns its manifest.
pub(super) fn import(import: &Import) -> AgentResult<Manifest> {
    let failed = unwritable(&import.dest);
    let file = File::create(&import.dest).map_err(&failed)?;
    let root = file.root().map_err(&failed)?;
    let to = root.create_group("EXTERNALS").map_err(&failed)?;
    let mut taken = BTreeMap::new();
    let mut times = None;
    for source in &import.sources {
        let from = open(source)?.into_root(source)?;
        expect(import, &from, source)?;
        times = times.or(observed(&from.group).map_err(damaged(source))?);
        match import.results.is_empty() {
            true => take(import, &from, source, &to, &mut taken)?,
            false => take_results(import, &from, source, &to, &mut taken)?,
        }
    }
    for base in &import.bases {
        let from = open(base)?.into_root(base)?;
        times = times.or(observed(&from.group).map_err(damaged(base))?);
        keep(import, &from, base, &to, &mut taken)?;
    }
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        kind: FileKind::External,
        star: import.star,
        quarter: import.quarter,
        observed: times,
        products: BTreeMap::new(),
        externals: taken.into_iter().map(|(name, taken)| (name, taken.entry)).collect(),
        provenance: None,
        generation: None,
        modules: Vec::new(),
    };
    set_root(&root, manifest.star, manifest.quarter, manifest.observed).map_err(&failed)?;
    root.set_text("DATASET", import.dataset.as_str()).map_err(&failed)?;
    root.create_text("MANIFEST", &json(&manifest)).map_err(&failed)?;
    drop((root, to));
    file.close().map_err(&failed)?;
    Ok(manifest)
}

/// Refuses a source that says that it is of another star or quarter.
fn expect(import: &Import, from: &Rooted, source: &Path) -> AgentResult<()> {
    let conflict = |what: String| refuse(RefusalKind::Conflict, format!("`{}` {what}", source.display()));
    if let Some(expected) = import.star {
        match star_of(&from.group).map_err(damaged(source))? {
            NamedStar::Star(star, _) if star == expected => {}
            NamedStar::Star(star, _) => return Err(conflict(format!("is of {star}, expected {expected}"))),
            NamedStar::Nothing => return Err(conflict("names no star".to_owned())),
            NamedStar::Wrong(what) => return Err(conflict(what)),
        }
    }
    match (quarter_of(&from.group).map_err(damaged(source))?, import.quarter) {
        (Ok(Some(quarter)), Some(expected)) if quarter != expected => {
            Err(conflict(format!("is of {quarter}, expected {expected}")))
        }
        (Ok(_), _) => Ok(()),
        (Err(what), _) => Err(conflict(what)),
    }
}

/// Copies the externals of one source that no source before had.
fn take(
    import: &Import,
    from: &Rooted,
    source: &Path,
    to: &Group,
    taken: &mut BTreeMap<ProductName, ImportedProduct>,
) -> AgentResult<()> {
    let broken = damaged(source);
    let Some(externals) = from.group.subgroup("EXTERNALS").map_err(&broken)? else {
        return Err(refuse(RefusalKind::Damaged, format!("`{}` has no group /EXTERNALS", source.display())));
    };
    let mut walk = Walk::new(delivered());
    let wrong = |what: String| refuse(RefusalKind::Damaged, format!("`{}`: {what}", source.display()));
    for (written, kind) in externals.links(delivered().objects).map_err(&broken)? {
        if kind != LinkKind::Hard {
            return Err(wrong(format!("/EXTERNALS/{written} is a soft or external link, expected the product itself")));
        }
        let name = product_name(&written).map_err(wrong)?;
        let name = import.aliases.get(&name).cloned().unwrap_or(name);
        let walked = walk.product(&externals, &written, &format!("/EXTERNALS/{written}")).map_err(problem(source))?;
        let entry = entry(&walked);
        match taken.get(&name) {
            Some(before) if before.entry.digest == entry.digest => {}
            Some(other) => {
                let (one, two) = (other.source.display(), source.display());
                return Err(refuse(RefusalKind::Conflict, format!("`{one}` and `{two}` have different {name}")));
            }
            None => {
                to.copy_values_from(&externals, &written, name.as_str()).map_err(uncopied(import, source))?;
                taken.insert(name, ImportedProduct { entry, source: source.to_owned() });
            }
        }
    }
    Ok(())
}

/// Copies what is wanted of a result of ours; an answer that there is none is no product.
fn take_results(
    import: &Import,
    from: &Rooted,
    source: &Path,
    to: &Group,
    taken: &mut BTreeMap<ProductName, ImportedProduct>,
) -> AgentResult<()> {
    let Some(products) = from.group.subgroup("PRODUCTS").map_err(damaged(source))? else { return Ok(()) };
    for (name, entry) in manifest(source)?.products {
        if !import.results.contains(&name) || entry.not_produced.is_some() {
            continue;
        }
        if let Entry::Vacant(free) = taken.entry(name) {
            let name = free.key().as_str();
            to.copy_values_from(&products, name, name).map_err(uncopied(import, source))?;
            free.insert(ImportedProduct { entry, source: source.to_owned() });
        }
    }
    Ok(())
}

/// Copies what an older version has and nobody delivered again.
fn keep(
    import: &Import,
    from: &Rooted,
    base: &Path,
    to: &Group,
    taken: &mut BTreeMap<ProductName, ImportedProduct>,
) -> AgentResult<()> {
    let Some(externals) = from.group.subgroup("EXTERNALS").map_err(damaged(base))? else { return Ok(()) };
    for (name, entry) in manifest(base)?.externals {
        if let Entry::Vacant(free) = taken.entry(name) {
            let name = free.key().as_str();
            to.copy_from(&externals, name, name).map_err(uncopied(import, base))?;
            free.insert(ImportedProduct { entry, source: base.to_owned() });
        }
    }
    Ok(())
}

/// A copy fails for want of room, or because the library cannot copy what describes the values.
fn uncopied<'a>(import: &'a Import, source: &'a Path) -> impl Fn(H5Error) -> Refusal + 'a {
    move |error| if error.is_refused_write() { unwritable(&import.dest)(error) } else { damaged(source)(error) }
}
