//! Packing: checked products, copied into a fresh file of ours.

use std::collections::BTreeMap;

use super::{AgentResult, damaged, open, refuse, set_root, unwritable};
use crate::agent::record::*;
use crate::agent::wire::*;
use crate::h5::{File, Group, H5Error};

/// Writes the file; returns its manifest.
pub(super) fn pack(pack: &Pack) -> AgentResult<Manifest> {
    let failed = unwritable(&pack.dest);
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        kind: FileKind::Result,
        star: Some(pack.provenance.star),
        quarter: Some(pack.provenance.quarter),
        observed: None,
        products: pack.products.clone(),
        externals: BTreeMap::new(),
        provenance: None,
        generation: None,
        modules: Vec::new(),
    };
    let file = File::create(&pack.dest).map_err(&failed)?;
    let root = file.root().map_err(&failed)?;
    set_root(&root, manifest.star, manifest.quarter, None).map_err(&failed)?;
    let products = root.create_group("PRODUCTS").map_err(&failed)?;
    if !pack.products.is_empty() {
        copy(pack, &products)?;
    }
    describe(&root, &manifest, pack).map_err(&failed)?;
    drop((root, products));
    file.close().map_err(&failed)?;
    Ok(Manifest { provenance: Some(pack.provenance.clone()), ..manifest })
}

fn copy(pack: &Pack, to: &Group) -> AgentResult<()> {
    let source = open(&pack.output)?.into_root(&pack.output)?;
    let copied = source.group.subgroup("PRODUCTS").and_then(|from| {
        let Some(from) = from else { return Ok(false) };
        for name in pack.products.keys() {
            to.copy_values_from(&from, pack.spelled.get(name).unwrap_or(name).as_str(), name.as_str())?;
        }
        Ok(true)
    });
    match copied {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(refuse(RefusalKind::Missing, format!("`{}` has no /PRODUCTS any more", pack.output.display())))
        }
        Err(error) if error.is_of_the_system() => Err(unwritable(&pack.dest)(error)),
        // The values could be read, and yet the library cannot copy what describes them.
        Err(error) => Err(damaged(&pack.output)(error)),
    }
}

fn describe(root: &Group, manifest: &Manifest, pack: &Pack) -> Result<(), H5Error> {
    root.create_text("MANIFEST", &json(manifest))?;
    root.create_text("PROVENANCE", &json(&pack.provenance))?;
    root.create_text("LOG", &pack.log)
}

/// The JSON of a record.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("records have string keys")
}
