//! The generations of a star, and which of them its star file shows.

use std::collections::BTreeSet;
use std::path::Path;

use domain::error::chain;
use domain::id::{Generation, ModuleName, PipelineName, ProductName, Quarter, RunId, StarId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use store::agent::{Agent, GenerationStatus, Manifest};
use store::generations::Rollback;
use store::paths;

use super::{FoundQuarter, OneQuarter};
use crate::operate::{Context, OperateError};

/// How many generations are listed.
const MOST: usize = 20;

/// A star's generations in a quarter.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StarGenerations {
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// The star file, relative to the store's root.
    pub file: String,
    /// The generation that it shows.
    pub open: Generation,
    /// The newest one.
    pub newest: Generation,
    /// The last complete one.
    pub last_complete: Option<Generation>,
    /// The decision that the star file follows.
    pub rollback: Option<Rollback>,
    /// Newest first.
    pub generations: Vec<GenerationSummary>,
    /// How many older ones are not listed.
    pub left_out: usize,
}

/// One generation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct GenerationSummary {
    /// Its number.
    pub generation: Generation,
    /// Whether the star file shows it.
    pub is_open: bool,
    /// When it was made.
    pub made: Option<Timestamp>,
    /// The run that made it.
    pub run: Option<RunId>,
    /// The run's pipeline.
    pub pipeline: Option<PipelineName>,
    /// The pipeline's version.
    pub version: Option<String>,
    /// How whole it is.
    pub status: Option<GenerationStatus>,
    /// How many products it has.
    pub products: usize,
    /// Modules whose tasks were lost, or that missed an external.
    pub lost_modules: Vec<ModuleName>,
    /// Products that the star file had when this was made, and this has not.
    pub lost_products: BTreeSet<ProductName>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

/// The newest generations of a star.
pub async fn generations(context: &Context, asked: OneQuarter) -> Result<StarGenerations, OperateError> {
    list_generations(context, asked, MOST).await
}

/// So many of the newest generations of a star.
pub async fn list_generations(
    context: &Context,
    asked: OneQuarter,
    most: usize,
) -> Result<StarGenerations, OperateError> {
    let found = FoundQuarter::find(context, asked).await?;
    let FoundQuarter { star, quarter, .. } = found;
    let mut agent = context.readers.lend().await?;
    let view = found.place(context).look(&mut **agent).await?;
    let choice = view.map(|view| view.choice).ok_or_else(|| OperateError::not_found("its generations are gone"))?;
    let mut generations = Vec::new();
    for number in found.numbers.iter().rev().take(most) {
        let file = context.store.at(paths::generation(star, quarter, *number));
        let summary = summary(&mut agent, *number, &file).await;
        generations.push(GenerationSummary { is_open: *number == choice.open, ..summary });
    }
    Ok(StarGenerations {
        star,
        quarter,
        file: paths::star_file(star, quarter).display().to_string(),
        open: choice.open,
        newest: choice.newest,
        last_complete: choice.last_complete,
        rollback: choice.rollback,
        left_out: found.numbers.len() - generations.len(),
        generations,
    })
}

async fn summary(agent: &mut Agent, generation: Generation, file: &Path) -> GenerationSummary {
    let made = tokio::fs::metadata(file).await.and_then(|facts| facts.modified()).ok();
    let nothing = GenerationSummary {
        generation,
        is_open: false,
        made: made.and_then(|made| Timestamp::try_from(made).ok()),
        run: None,
        pipeline: None,
        version: None,
        status: None,
        products: 0,
        lost_modules: Vec::new(),
        lost_products: BTreeSet::new(),
        damage: None,
    };
    match agent.manifest(file).await {
        Ok(manifest) => of_manifest(manifest, nothing),
        Err(error) => GenerationSummary { damage: Some(chain(&error)), ..nothing },
    }
}

fn of_manifest(manifest: Manifest, nothing: GenerationSummary) -> GenerationSummary {
    let status = manifest.status();
    let Manifest { products, modules, generation, .. } = manifest;
    let lost = modules.into_iter().filter(|entry| entry.is_lost()).map(|entry| entry.module);
    let (products, lost_modules) = (products.len(), lost.collect());
    match generation.map(|info| *info) {
        Some(info) => GenerationSummary {
            run: Some(info.run),
            pipeline: Some(info.pipeline),
            version: Some(info.version),
            lost_products: info.lost,
            status,
            products,
            lost_modules,
            ..nothing
        },
        None => nothing,
    }
}
