//! Provenance for other systems: what is on record of a star's generation, as W3C PROV-JSON or as events of OpenLineage.
//!
//! The two forms are pure; this file reads what they are made of, and `receiver` brings documents to whoever takes them.

mod open_lineage;
mod prov_json;
mod receiver;

use std::collections::BTreeMap;

use domain::error::chain;
use domain::id::{ProductName, Quarter, RunId, StarId, StarIndex};
use domain::outcome::Outcome;
use serde_json::Value;
use store::agent::{GenerationInfo, Manifest, ProductEntry, Provenance};
use store::paths;

pub use receiver::Receiver;

use super::star::{FoundQuarter, OneGeneration};
use super::{Context, ErrorKind, OperateError};

/// A form in which provenance is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvenanceForm {
    /// A document of PROV-JSON (W3C member submission of 2013-04-24).
    ProvJson,
    /// Run events of OpenLineage 2: a START, and a COMPLETE or FAIL, for each module that ran.
    OpenLineage,
}

/// What is on record of a generation of a star.
struct StarRecord {
    star: StarId,
    quarter: Quarter,
    info: GenerationInfo,
    manifest: Manifest,
    /// By file, relative to the star's folder.
    results: BTreeMap<String, ResultRecord>,
}

/// A result, and what of it is in the generation.
struct ResultRecord {
    provenance: Box<Provenance>,
    products: BTreeMap<ProductName, ProductEntry>,
}

/// What is on record of a star's generation, as documents of this form; `namespace` is what its jobs and data are known under.
pub async fn star_provenance(
    context: &Context,
    asked: OneGeneration,
    form: ProvenanceForm,
    namespace: &str,
) -> Result<Vec<Value>, OperateError> {
    let record = read(context, asked).await?;
    Ok(match form {
        ProvenanceForm::ProvJson => vec![prov_json::document(&record)],
        ProvenanceForm::OpenLineage => open_lineage::events(&record, namespace),
    })
}

/// The quarter of a run and its stars.
pub async fn stars_of(context: &Context, run: RunId) -> Result<(Quarter, Vec<StarId>), OperateError> {
    let course = context.course(run).await?;
    let quarter = course.record.quarter;
    let stars = context.ask(move |_| course.stars.range(StarIndex(0), course.stars.len())).await?;
    Ok((quarter, stars))
}

async fn read(context: &Context, asked: OneGeneration) -> Result<StarRecord, OperateError> {
    let found = FoundQuarter::find(context, asked.place()).await?;
    let (star, quarter) = (found.star, found.quarter);
    let mut agent = context.readers.lend().await?;
    let (number, manifest) = found.read(context, &mut agent, asked.generation).await?;
    let Some(info) = manifest.generation.clone() else {
        return Err(OperateError::new(ErrorKind::Failed, format!("generation {number} of {star} names no run")));
    };
    let mut files: BTreeMap<String, BTreeMap<ProductName, ProductEntry>> = BTreeMap::new();
    for (product, entry) in &manifest.products {
        if let Some(file) = &entry.file {
            files.entry(file.clone()).or_default().insert(product.clone(), entry.clone());
        }
    }
    // Also results without products, which are as much work.
    for entry in &manifest.modules {
        if let Some(Outcome::Succeeded(success)) = &entry.outcome {
            files.entry(format!("{quarter}/products/{}-{}.h5", entry.module, success.key)).or_default();
        }
    }
    let mut results = BTreeMap::new();
    for (file, products) in files {
        let damaged = |why: &str| {
            let reason = format!("what is on record of `{file}` of {star} cannot be read: {why}");
            OperateError::new(ErrorKind::Failed, reason)
        };
        let path = paths::of_star(star, &file).ok_or_else(|| damaged("no file of a star is called so"))?;
        let held = agent.manifest(&context.store.at(path)).await.map_err(|error| damaged(&chain(&error)))?;
        let provenance = held.provenance.ok_or_else(|| damaged("it does not say how it was made"))?;
        results.insert(file, ResultRecord { provenance, products });
    }
    Ok(StarRecord { star, quarter, info: *info, manifest, results })
}
