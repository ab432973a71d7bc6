//! What a product was made from, down to what ingestion delivered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::error::chain;
use domain::id::{Digest, Generation, ImageIdentity, ImageName, Key, ModuleName, ProductName, Quarter, RunId, StarId};
use domain::outcome::StandsFor;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::agent::{InputRecord, InputSource, Manifest, ProductEntry, Provenance};
use store::paths;

use super::made::HowMade;
use super::products::missing;
use super::without::without_previous;
use super::{FoundQuarter, OneGeneration};
use crate::operate::{Context, OperateError};

/// How many results are looked at.
pub(super) const MOST: usize = 300;

/// A product to trace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskLineage {
    /// In which generation.
    pub which: OneGeneration,
    /// The product.
    pub product: ProductName,
}

/// Where a product came from.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Lineage {
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// The generation.
    pub generation: Generation,
    /// The product.
    pub product: LineageNode,
    /// How many results were not looked at, for there are too many.
    pub left_out: usize,
}

/// A product, and where it came from.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LineageNode {
    /// The product.
    pub product: ProductName,
    /// Its quarter, where it was read as `@previous`; else it is of the quarter of what was made from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarter: Option<Quarter>,
    /// The digest of its value; none where it was absent.
    pub digest: Option<Digest>,
    /// Why it has no values, where its module says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_produced: Option<String>,
    /// The file that it lies in, relative to the star's folder, or `shared/…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What it stands for: it was made again, and differs by no more than was tolerated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stands_for: Option<StandsFor>,
    /// The digest of what the module made for the star, where that stands for this, which was read in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<Digest>,
    /// Where it came from.
    #[serde(flatten)]
    pub origin: LineageOrigin,
}

/// Where a product came from.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "origin", rename_all = "snake_case")]
pub enum LineageOrigin {
    /// A module made it.
    Made {
        /// The module.
        module: ModuleName,
        /// The image as the pipeline names it.
        image: ImageName,
        /// What the name stood for.
        image_identity: ImageIdentity,
        /// The key of the result.
        key: Key,
        /// The run that it was made in.
        run: RunId,
        /// When the module ended.
        made: Timestamp,
        /// How else it was made.
        how: Box<HowMade>,
        /// What the module read, and what was absent of it.
        inputs: Vec<LineageNode>,
    },
    /// A module made it in a result that stands in this tree before.
    Above {
        /// The module.
        module: ModuleName,
        /// The key of the result.
        key: Key,
    },
    /// Ingestion delivered it.
    Delivered {
        /// The dataset, slashes as dots.
        dataset: String,
        /// The version of the dataset.
        sequence: u64,
    },
    /// It was not there.
    Absent {
        /// Why not.
        why: String,
    },
    /// Nobody can tell, or this was not looked at.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// Where a product of a generation came from.
pub async fn lineage(context: &Context, asked: AskLineage) -> Result<Lineage, OperateError> {
    let AskLineage { which, product } = asked;
    let found = FoundQuarter::find(context, which.place()).await?;
    let mut agent = context.readers.lend().await?;
    let (generation, manifest) = found.read(context, &mut agent, which.generation).await?;
    let entry = find_product(&found, generation, &manifest, &product)?;
    let mut results = ResultsOnRecord::default();
    let mut files: VecDeque<String> = entry.file.clone().into_iter().collect();
    while let Some(name) = files.pop_front() {
        if !is_result(&name) || !results.seen.insert(name.clone()) {
            continue;
        }
        if results.known.len() >= MOST {
            results.left_out += 1;
            continue;
        }
        let known = match paths::of_star(found.star, &name) {
            Some(path) => match agent.manifest(&context.store.at(path)).await {
                Ok(manifest) => manifest.provenance.ok_or_else(|| "it says nothing of how it was made".to_owned()),
                Err(error) => Err(chain(&error)),
            },
            None => Err(format!("{name:?} is not the name of a file of the star")),
        };
        if let Ok(provenance) = &known {
            let without = without_previous(context, provenance).await;
            results.without.extend(without.map(|why| (name.clone(), why)));
            files.extend(provenance.inputs.iter().filter_map(|input| input.file.clone()));
        }
        results.known.insert(name, known);
    }
    let mut shown = BTreeSet::new();
    let input = (product, Some(entry.digest), entry.file.clone());
    let product = results.node(input, &mut shown);
    Ok(Lineage {
        star: found.star,
        quarter: found.quarter,
        generation,
        product: LineageNode {
            not_produced: entry.not_produced.clone(),
            stands_for: entry.stands_for.clone(),
            ..product
        },
        left_out: results.left_out,
    })
}

/// A product or external of a generation; where there is none, the reason.
pub(super) fn find_product<'a>(
    found: &FoundQuarter,
    generation: Generation,
    manifest: &'a Manifest,
    product: &ProductName,
) -> Result<&'a ProductEntry, OperateError> {
    manifest.products.get(product).or_else(|| manifest.externals.get(product)).ok_or_else(|| {
        let why = missing(manifest).into_iter().find(|none| none.product.as_ref() == Some(product));
        let why = why.map_or_else(
            || "no module of its pipeline makes it, and nobody delivered it".to_owned(),
            |none| format!("{} {}", none.module, none.reason),
        );
        let has = "`sas star products` lists what it has";
        OperateError::not_found(format!("generation {generation} of {} has no {product}: {why}; {has}", found.star))
    })
}

/// Whether a file of a star is a module's result.
pub(super) fn is_result(file: &str) -> bool {
    file.contains("/products/")
}

/// What is on record of the results that led to a product, by file.
#[derive(Default)]
struct ResultsOnRecord {
    known: BTreeMap<String, Result<Box<Provenance>, String>>,
    /// Of those that a policy made without the quarter before: which it is, and why.
    without: BTreeMap<String, String>,
    seen: BTreeSet<String>,
    left_out: usize,
}

impl ResultsOnRecord {
    /// A product with everything below it; `shown` are the results whose inputs stand in the tree already.
    fn node(
        &self,
        (product, digest, file): (ProductName, Option<Digest>, Option<String>),
        shown: &mut BTreeSet<String>,
    ) -> LineageNode {
        let origin = match &file {
            None => LineageOrigin::Unknown { why: "it is not on record where it lay".to_owned() },
            Some(name) if is_result(name) => self.result(name, shown),
            Some(name) => delivered(name),
        };
        LineageNode {
            product,
            quarter: None,
            digest,
            not_produced: None,
            file,
            stands_for: None,
            instead_of: None,
            origin,
        }
    }

    fn result(&self, name: &str, shown: &mut BTreeSet<String>) -> LineageOrigin {
        let provenance: &Provenance = match self.known.get(name) {
            Some(Ok(provenance)) => provenance,
            Some(Err(why)) => return LineageOrigin::Unknown { why: why.clone() },
            None => return LineageOrigin::Unknown { why: format!("more than {MOST} results lead to it") },
        };
        let (module, key) = (provenance.module.clone(), provenance.key);
        if !shown.insert(name.to_owned()) {
            return LineageOrigin::Above { module, key };
        }
        LineageOrigin::Made {
            module,
            key,
            image: provenance.image.clone(),
            image_identity: provenance.image_identity.clone(),
            run: provenance.run,
            made: provenance.ended,
            how: Box::new(HowMade::of(provenance, name)),
            inputs: provenance.inputs.iter().map(|input| self.input((name, provenance), input, shown)).collect(),
        }
    }

    /// What the result in the file `name` was given.
    fn input(
        &self,
        (name, made): (&str, &Provenance),
        input: &InputRecord,
        shown: &mut BTreeSet<String>,
    ) -> LineageNode {
        let product = input.product.clone();
        let quarter = made.quarter.previous().filter(|_| input.source == InputSource::Previous);
        match &input.absent {
            Some(why) => {
                let without = self.without.get(name).filter(|_| quarter.is_some());
                let origin = LineageOrigin::Absent { why: without.unwrap_or(why).clone() };
                LineageNode { quarter, origin, ..self.node((product, None, None), shown) }
            }
            None => LineageNode {
                quarter,
                instead_of: input.instead_of,
                ..self.node((product, input.digest, input.file.clone()), shown)
            },
        }
    }
}

/// What a file of ingestion is called says what it is.
fn delivered(file: &str) -> LineageOrigin {
    let name = file.rsplit('/').next().unwrap_or_default();
    match paths::parse_external_name(name) {
        Some((dataset, sequence)) => LineageOrigin::Delivered { dataset: dataset.to_owned(), sequence: sequence.0 },
        None => LineageOrigin::Unknown { why: "its file is neither a result nor a delivery".to_owned() },
    }
}
