//! The products of a generation: what they hold, and why there are no others.

use std::collections::BTreeMap;

use domain::id::{Generation, ModuleName, PipelineName, ProductName, Quarter, RunId, StarId};
use domain::outcome::Outcome;
use domain::run::TaskState;
use schemars::JsonSchema;
use serde::Serialize;
use store::agent::{At, ColumnFacts, GenerationStatus, Manifest, ModuleEntry};
use store::paths;

use super::{FoundQuarter, OneGeneration};
use crate::operate::{Context, OperateError};

/// What a generation of a star holds.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StarProducts {
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// The generation.
    pub generation: Generation,
    /// How whole it is.
    pub status: Option<GenerationStatus>,
    /// The run that made it.
    pub run: Option<RunId>,
    /// The run's pipeline.
    pub pipeline: Option<PipelineName>,
    /// Its products, by name.
    pub products: Vec<ProductSummary>,
    /// Products that modules of the pipeline could have made and did not.
    pub missing: Vec<NoProduct>,
}

/// A product of a star.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ProductSummary {
    /// The product.
    pub product: ProductName,
    /// The module that made it.
    pub module: Option<ModuleName>,
    /// Bytes of its values.
    pub bytes: u64,
    /// Why it has no values, where its module says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_produced: Option<String>,
    /// Its columns; those of groups in it have slashes in their names.
    pub columns: BTreeMap<String, ColumnFacts>,
}

/// A product that there is not.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct NoProduct {
    /// The product; none in files of older versions, which do not say what a module makes.
    pub product: Option<ProductName>,
    /// The module that would have made it.
    pub module: ModuleName,
    /// How the module ended.
    pub state: TaskState,
    /// Why.
    pub reason: String,
}

/// What a generation of a star holds.
pub async fn products(context: &Context, asked: OneGeneration) -> Result<StarProducts, OperateError> {
    let found = FoundQuarter::find(context, asked.place()).await?;
    let mut agent = context.readers.lend().await?;
    let (generation, manifest) = found.read(context, &mut agent, asked.generation).await?;
    let file = context.store.at(paths::generation(found.star, found.quarter, generation));
    let made = manifest.products.iter().filter(|(_, entry)| entry.not_produced.is_none());
    let wants = made.clone().map(|(name, _)| At { file: file.clone(), path: format!("/PRODUCTS/{name}") }).collect();
    let names: Vec<ProductName> = made.map(|(name, _)| name.clone()).collect();
    let mut columns: BTreeMap<ProductName, BTreeMap<String, ColumnFacts>> =
        names.into_iter().zip(agent.columns(wants).await?).collect();
    let run = manifest.generation.as_ref().map(|info| info.run);
    let missing = missing(&manifest);
    let status = manifest.status();
    let products = manifest.products.into_iter().map(|(product, entry)| ProductSummary {
        columns: columns.remove(&product).unwrap_or_default(),
        module: entry.module,
        bytes: entry.bytes,
        not_produced: entry.not_produced,
        product,
    });
    Ok(StarProducts {
        star: found.star,
        quarter: found.quarter,
        generation,
        status,
        run,
        products: products.collect(),
        missing,
        pipeline: manifest.generation.map(|info| info.pipeline),
    })
}

/// Products that modules of the pipeline could have made and did not, and why.
pub(super) fn missing(manifest: &Manifest) -> Vec<NoProduct> {
    let mut missing = Vec::new();
    for entry in &manifest.modules {
        let none =
            |product| NoProduct { product, module: entry.module.clone(), state: entry.state, reason: reason(entry) };
        let absent = entry.declares.iter().filter(|product| !manifest.products.contains_key(*product));
        missing.extend(absent.map(|product| none(Some(product.clone()))));
        // Files of older versions do not say what a module makes.
        if entry.declares.is_empty() && entry.state != TaskState::Succeeded {
            missing.push(none(None));
        }
    }
    missing
}

fn reason(entry: &ModuleEntry) -> String {
    match &entry.outcome {
        Some(Outcome::Succeeded(_)) => "its module succeeded without it, as it may".to_owned(),
        Some(outcome) => outcome.to_string(),
        None => entry.state.to_string().replace('_', " "),
    }
}
