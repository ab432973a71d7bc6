//! What was made from a product: in the same generation, and in those that the star files of later quarters show.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{Digest, Generation, Key, ModuleName, ProductName, Quarter, RunId, StarId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use store::agent::{Agent, Manifest, Provenance};
use store::paths;

use super::lineage::{AskLineage, MOST, find_product, is_result};
use super::{FoundQuarter, OneQuarter};
use crate::operate::{Context, ErrorKind, OperateError};

/// What was made from a product.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Descent {
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// The generation.
    pub generation: Generation,
    /// The product.
    pub product: ProductName,
    /// The digest of its value.
    pub digest: Digest,
    /// The results whose modules read it.
    pub made: Vec<Descendant>,
    /// How many results could not be looked at: there are too many, or they cannot be read.
    pub left_out: usize,
}

/// A result that something was made into, and what was made from that.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Descendant {
    /// The quarter.
    pub quarter: Quarter,
    /// The module.
    pub module: ModuleName,
    /// The key of the result.
    pub key: Key,
    /// The run that it was made in.
    pub run: RunId,
    /// When the module ended.
    pub ended: Timestamp,
    /// What it made, each with its digest.
    pub products: BTreeMap<ProductName, Digest>,
    /// Whether what was made from it stands in this tree before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub as_above: bool,
    /// The results whose modules read any of that.
    pub made: Vec<Descendant>,
}

/// What was made from a product of a generation.
pub async fn descent(context: &Context, asked: AskLineage) -> Result<Descent, OperateError> {
    let AskLineage { which, product } = asked;
    let found = FoundQuarter::find(context, which.place()).await?;
    let mut agent = context.readers.lend().await?;
    let (generation, manifest) = found.read(context, &mut agent, which.generation).await?;
    let entry = find_product(&found, generation, &manifest, &product)?;
    let (digest, file) = (entry.digest, entry.file.clone().unwrap_or_default());
    let (star, quarter) = (found.star, found.quarter);
    let mut results = ResultsBelow::default();
    results.add(context, &mut agent, (star, quarter), &manifest).await;
    for later in context.ask(move |store| store.quarters(star)).await?.into_iter().filter(|later| *later > quarter) {
        match FoundQuarter::find(context, OneQuarter { star, quarter: Some(later) }).await {
            Ok(found) => {
                let (_, manifest) = found.read(context, &mut agent, None).await?;
                results.add(context, &mut agent, (star, later), &manifest).await;
            }
            // What is after a quarter without results cannot have read those before it.
            Err(error) if error.kind == ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    let made = results.below(&file, &product, &mut BTreeSet::new());
    Ok(Descent { star, quarter, generation, product, digest, made, left_out: results.left_out })
}

/// A result, with what of it is in its generation.
struct ResultBelow {
    quarter: Quarter,
    file: String,
    provenance: Box<Provenance>,
    products: BTreeMap<ProductName, Digest>,
}

/// The results of several generations.
#[derive(Default)]
struct ResultsBelow {
    results: Vec<ResultBelow>,
    /// The file of what a product in a file stands for, which others read in its place.
    stands_for: BTreeMap<(String, ProductName), String>,
    left_out: usize,
}

impl ResultsBelow {
    /// Takes those of a generation.
    async fn add(&mut self, context: &Context, agent: &mut Agent, place: (StarId, Quarter), manifest: &Manifest) {
        let mut files: BTreeMap<&str, BTreeMap<ProductName, Digest>> = BTreeMap::new();
        for (product, entry) in &manifest.products {
            if let Some(file) = entry.file.as_deref().filter(|file| is_result(file)) {
                files.entry(file).or_default().insert(product.clone(), entry.digest);
                if let Some(before) = &entry.stands_for {
                    self.stands_for.insert((file.to_owned(), product.clone()), before.file.clone());
                }
            }
        }
        for (file, products) in files {
            let path = paths::of_star(place.0, file).filter(|_| self.results.len() < MOST);
            let read = match path {
                Some(path) => agent.manifest(&context.store.at(path)).await.ok(),
                None => None,
            };
            match read.and_then(|manifest| manifest.provenance) {
                Some(provenance) => {
                    let (quarter, file) = (place.1, file.to_owned());
                    self.results.push(ResultBelow { quarter, file, provenance, products });
                }
                None => self.left_out += 1,
            }
        }
    }

    /// What read a product that lies in a file; `shown` are the results below which everything stands already.
    fn below(&self, file: &str, product: &ProductName, shown: &mut BTreeSet<String>) -> Vec<Descendant> {
        let before = self.stands_for.get(&(file.to_owned(), product.clone()));
        let reads = |provenance: &Provenance| {
            let is_it = |name: &ProductName, of: Option<&str>| {
                name == product && of.is_some() && (of == Some(file) || of == before.map(String::as_str))
            };
            provenance.inputs.iter().any(|input| input.digest.is_some() && is_it(&input.product, input.file.as_deref()))
        };
        let mut made = Vec::new();
        for result in self.results.iter().filter(|result| reads(&result.provenance)) {
            let ResultBelow { quarter, file: name, provenance, products } = result;
            let as_above = !shown.insert(name.clone());
            let mut below: Vec<Descendant> = Vec::new();
            for product in products.keys().filter(|_| !as_above) {
                // What read two of its products is named once.
                let known: BTreeSet<Key> = below.iter().map(|one| one.key).collect();
                below.extend(self.below(name, product, shown).into_iter().filter(|one| !known.contains(&one.key)));
            }
            made.push(Descendant {
                quarter: *quarter,
                module: provenance.module.clone(),
                key: provenance.key,
                run: provenance.run,
                ended: provenance.ended,
                products: products.clone(),
                as_above,
                made: below,
            });
        }
        made
    }
}
