//! Packing: checked products, copied into a fresh file of ours.

use std::collections::BTreeMap;

use super::{AgentResult, damaged, set_root, unwritable};
use crate::agent::record::*;
use crate::agent::wire::*;
use crate::h5::{File, Group, H5Error};

/// Results with so many bytes of values at most are built in memory.
const SMALL: u64 = 256 << 10;

/// Writes the file: products of the output that was checked.
pub(super) fn pack(seal: Seal, checked: &Checked, output: Option<&File>) -> AgentResult<()> {
    let failed = unwritable(&seal.dest);
    let mut provenance = seal.provenance;
    provenance.warnings.extend_from_slice(&checked.warnings);
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        kind: FileKind::Result,
        star: Some(provenance.star),
        quarter: Some(provenance.quarter),
        observed: None,
        products: checked.products.clone(),
        externals: BTreeMap::new(),
        provenance: None,
        generation: None,
        modules: Vec::new(),
    };
    let bytes: u64 = checked.products.values().map(|entry| entry.bytes).sum();
    let create = if bytes <= SMALL { File::create_small } else { File::create };
    let file = create(&seal.dest).map_err(&failed)?;
    let root = file.root().map_err(&failed)?;
    set_root(&root, manifest.star, manifest.quarter, None).map_err(&failed)?;
    let products = root.create_group("PRODUCTS").map_err(&failed)?;
    if let Some(output) = output.filter(|_| !checked.products.is_empty()) {
        copy(output, checked, &products).map_err(|error| match error.is_of_the_system() {
            true => failed(error),
            // The values could be read, and yet the library cannot copy what describes them.
            false => damaged(&seal.check.output)(error),
        })?;
    }
    describe(&root, &manifest, &provenance, &seal.log).map_err(&failed)?;
    drop((root, products));
    file.close().map_err(&failed)
}

fn copy(output: &File, checked: &Checked, to: &Group) -> Result<(), H5Error> {
    // It was there when the products in it were checked.
    let Some(from) = output.root()?.subgroup("PRODUCTS")? else { return Ok(()) };
    for name in checked.products.keys() {
        to.copy_values_from(&from, checked.spelled.get(name).unwrap_or(name).as_str(), name.as_str())?;
    }
    Ok(())
}

fn describe(root: &Group, manifest: &Manifest, provenance: &Provenance, log: &str) -> Result<(), H5Error> {
    root.create_text("MANIFEST", &json(manifest))?;
    root.create_text("PROVENANCE", &json(provenance))?;
    root.create_text("LOG", log)
}

/// The JSON of a record.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("records have string keys")
}
