//! Two stores side by side: whether the same deliveries and the same programs made the same; where not, by which module, product
//! and column.
//!
//! Results under the same key were made from the same by the same: where they differ, their module is not deterministic. Where keys
//! differ and what was read does not, image, parameters or definition do. Everything else only follows, and is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use domain::id::{Key, ModuleName, ProductName, Quarter, StarId};
use domain::outcome::Outcome;
use schemars::JsonSchema;
use serde::Serialize;
use store::agent::{Agent, AgentOptions, At, Manifest, ModuleEntry, ProductEntry, Provenance};
use store::{Store, paths};

use super::star::{ColumnDifference, column_difference};
use super::{Context, OperateError};

/// Which star files are compared.
#[derive(Debug, Clone, Default)]
pub struct CompareStores {
    /// Root of the other store.
    pub other: PathBuf,
    /// Of these stars; of all unless given.
    pub stars: BTreeSet<StarId>,
    /// Of this quarter; of all unless given.
    pub quarter: Option<Quarter>,
}

/// Two stores side by side.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct StoresCompared {
    /// Star files that both have.
    pub compared: u64,
    /// Those of them that hold the same.
    pub same: u64,
    /// Star files that only this store has.
    pub only_here: u64,
    /// Star files that only the other store has.
    pub only_there: u64,
    /// What modules made otherwise from the same: they are not deterministic.
    pub differing: Vec<DifferingColumn>,
    /// Modules that were others, or ended otherwise, while what they read was the same.
    pub otherwise: Vec<MadeOtherwise>,
    /// Results that differ, for what they were made from does.
    pub follow: u64,
    /// Externals that were delivered otherwise, with the number of star files.
    pub externals: BTreeMap<ProductName, u64>,
}

/// A column that differs though everything is the same that it was made from.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DifferingColumn {
    /// The module.
    pub module: ModuleName,
    /// The product.
    pub product: ProductName,
    /// The column; none where the product is there in one store alone, or only its attributes differ.
    pub column: Option<String>,
    /// In how many star files.
    pub stars: u64,
    /// By how much at most, of numbers.
    pub largest: Option<f64>,
    /// The first star.
    pub first: StarId,
    /// The first star's quarter.
    pub quarter: Quarter,
}

/// A module that was another one, or ended otherwise.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MadeOtherwise {
    /// The module.
    pub module: ModuleName,
    /// In which way, here and there.
    pub what: String,
    /// In how many star files.
    pub stars: u64,
    /// The first star.
    pub first: StarId,
    /// The first star's quarter.
    pub quarter: Quarter,
}

/// One thing in which two results differ.
#[derive(Debug, Clone)]
pub struct ResultDifference {
    /// The product.
    pub product: ProductName,
    /// The column; none where the product itself is another.
    pub column: Option<ColumnDifference>,
    /// What the product is in both, where not by columns.
    pub ends: Option<[String; 2]>,
}

impl StoresCompared {
    /// Whether nothing differs, and neither store has a star file that the other has not.
    pub fn is_same(&self) -> bool {
        self.compared == self.same && self.only_here + self.only_there == 0
    }
}

/// Compares what the star files of two stores show.
pub async fn compare_stores(context: &Context, asked: CompareStores) -> Result<StoresCompared, OperateError> {
    let other = Store::open(&asked.other)?;
    let stores = [context.store.clone(), other];
    let (mut agent, _scratch) = two_store_reader(&stores)?;
    let mut comparison = StoreComparison { roots: [0, 1].map(|at| stores[at].root().to_owned()), ..Default::default() };
    for (quarter, star) in places(&stores, &asked)? {
        comparison.star(&mut agent, star, quarter).await?;
    }
    let StoreComparison { mut answer, differing, otherwise, .. } = comparison;
    answer.differing = differing.into_values().collect();
    answer.otherwise = otherwise.into_values().collect();
    Ok(answer)
}

/// An agent that may read two stores, with its directory in the first.
pub fn two_store_reader(stores: &[Store; 2]) -> Result<(Agent, store::scratch::Scratch), OperateError> {
    let scratch = stores[0].own_scratch("compare")?;
    let readable = vec![stores[1].root().to_owned()];
    let options = AgentOptions { readable, ..AgentOptions::new(stores[0].root(), scratch.path()) };
    Ok((Agent::new(options), scratch))
}

/// In which products and columns two results differ.
pub async fn compare_results(agent: &mut Agent, files: [&Path; 2]) -> Result<Vec<ResultDifference>, OperateError> {
    let [before, after] = [agent.manifest(files[0]).await?, agent.manifest(files[1]).await?];
    let mut found = Vec::new();
    let names: BTreeSet<&ProductName> = before.products.keys().chain(after.products.keys()).collect();
    for name in names {
        let entries = [before.products.get(name), after.products.get(name)];
        if is_alike(entries) {
            continue;
        }
        let ends = |ends| ResultDifference { product: name.clone(), column: None, ends: Some(ends) };
        if entries.iter().any(|entry| entry.is_none_or(|entry| entry.not_produced.is_some())) {
            found.push(ends(entries.map(words)));
            continue;
        }
        let at = |file: &Path| At { file: file.to_owned(), path: format!("/PRODUCTS/{name}") };
        let columns = agent.compare(vec![files.map(at)]).await?.pop().unwrap_or_default();
        if columns.is_empty() {
            found.push(ends(["", "other attributes"].map(str::to_owned)));
        }
        found.extend(columns.into_iter().map(|(column, change)| {
            let column = Some(column_difference(column, change));
            ResultDifference { product: name.clone(), column, ends: None }
        }));
    }
    Ok(found)
}

fn is_alike([one, other]: [Option<&ProductEntry>; 2]) -> bool {
    let value = |entry: Option<&ProductEntry>| entry.map(|entry| (entry.digest, entry.not_produced.clone()));
    value(one) == value(other)
}

fn words(entry: Option<&ProductEntry>) -> String {
    match entry.map(|entry| &entry.not_produced) {
        Some(None) => "there".to_owned(),
        Some(Some(why)) => format!("not produced: {why}"),
        None => "not there".to_owned(),
    }
}

/// The stars and quarters of both stores that are asked for.
fn places(stores: &[Store; 2], asked: &CompareStores) -> Result<BTreeSet<(Quarter, StarId)>, OperateError> {
    let mut places = BTreeSet::new();
    for store in stores {
        for (quarter, stars) in store.known_stars()? {
            let is_meant = |star: &StarId| asked.stars.is_empty() || asked.stars.contains(star);
            if asked.quarter.is_none_or(|wanted| wanted == quarter) {
                places.extend(stars.into_iter().filter(is_meant).map(|star| (quarter, star)));
            }
        }
    }
    Ok(places)
}

/// What was found so far.
#[derive(Default)]
struct StoreComparison {
    roots: [PathBuf; 2],
    answer: StoresCompared,
    differing: BTreeMap<(ModuleName, ProductName, Option<String>), DifferingColumn>,
    otherwise: BTreeMap<(ModuleName, String), MadeOtherwise>,
}

impl StoreComparison {
    async fn star(&mut self, agent: &mut Agent, star: StarId, quarter: Quarter) -> Result<(), OperateError> {
        let file = paths::star_file(star, quarter);
        let files = [0, 1].map(|at| self.roots[at].join(&file));
        let [here, there] = match [files[0].is_file(), files[1].is_file()] {
            [true, true] => [agent.manifest(&files[0]).await?, agent.manifest(&files[1]).await?],
            [here, there] => {
                self.answer.only_here += u64::from(here);
                self.answer.only_there += u64::from(there);
                return Ok(());
            }
        };
        let mut is_same = true;
        for name in here.externals.keys().chain(there.externals.keys()).collect::<BTreeSet<_>>() {
            if !is_alike([here.externals.get(name), there.externals.get(name)]) {
                *self.answer.externals.entry(name.clone()).or_default() += 1;
                is_same = false;
            }
        }
        let mut modules: BTreeMap<&ModuleName, [Option<&ModuleEntry>; 2]> = BTreeMap::new();
        for (at, manifest) in [&here, &there].into_iter().enumerate() {
            for entry in &manifest.modules {
                modules.entry(&entry.module).or_default()[at] = Some(entry);
            }
        }
        for (module, entries) in modules {
            let place = ComparedModule { module, star, quarter, holds: [&here, &there] };
            is_same &= self.module(agent, &place, entries).await?;
        }
        self.answer.compared += 1;
        self.answer.same += u64::from(is_same);
        Ok(())
    }

    /// Whether a module ended alike in both.
    async fn module(
        &mut self,
        agent: &mut Agent,
        place: &ComparedModule<'_>,
        entries: [Option<&ModuleEntry>; 2],
    ) -> Result<bool, OperateError> {
        let outcomes = entries.map(|entry| entry.and_then(|entry| entry.outcome.as_ref()));
        match outcomes {
            [Some(Outcome::Succeeded(_)), Some(Outcome::Succeeded(_))] if place.is_alike() => Ok(true),
            [Some(Outcome::Succeeded(here)), Some(Outcome::Succeeded(there))] if here.key == there.key => {
                self.columns(agent, place, here.key).await?;
                Ok(false)
            }
            [Some(Outcome::Succeeded(here)), Some(Outcome::Succeeded(there))] => {
                self.made(agent, place, [here.key, there.key]).await?;
                Ok(false)
            }
            outcomes => {
                let ends = outcomes.map(|outcome| outcome.map_or_else(|| "not there".to_owned(), end));
                if ends[0] == ends[1] {
                    return Ok(true);
                }
                let follows = |outcome: &Option<&Outcome>| {
                    matches!(outcome, Some(Outcome::Skipped(_) | Outcome::UpstreamFailed { .. }))
                };
                match outcomes.iter().any(follows) {
                    true => self.answer.follow += 1,
                    false => self.note(place, format!("{} here, {} there", ends[0], ends[1])),
                }
                Ok(false)
            }
        }
    }

    /// Results under one key that differ.
    async fn columns(&mut self, agent: &mut Agent, place: &ComparedModule<'_>, key: Key) -> Result<(), OperateError> {
        let files = place.results(&self.roots, [key, key]);
        for ResultDifference { product, column, .. } in compare_results(agent, [&files[0], &files[1]]).await? {
            let by = column.as_ref().and_then(|column| column.largest.or(column.difference)).map(f64::abs);
            let column = column.map(|column| column.column);
            let known = self.differing.entry((place.module.clone(), product.clone(), column.clone()));
            let known = known.or_insert_with(|| DifferingColumn {
                module: place.module.clone(),
                product,
                column,
                stars: 0,
                largest: None,
                first: place.star,
                quarter: place.quarter,
            });
            known.stars += 1;
            known.largest = [known.largest, by].into_iter().flatten().reduce(f64::max);
        }
        Ok(())
    }

    /// Results that differ under different keys: what of it is other.
    async fn made(
        &mut self,
        agent: &mut Agent,
        place: &ComparedModule<'_>,
        keys: [Key; 2],
    ) -> Result<(), OperateError> {
        let files = place.results(&self.roots, keys);
        let mut made = Vec::new();
        for file in &files {
            made.extend(agent.manifest(file).await?.provenance);
        }
        match &made[..] {
            [here, there] if read_alike(here, there) => self.note(place, other(here, there)),
            _ => self.answer.follow += 1,
        }
        Ok(())
    }

    fn note(&mut self, place: &ComparedModule<'_>, what: String) {
        let known = self.otherwise.entry((place.module.clone(), what.clone()));
        let (module, first, quarter) = (place.module.clone(), place.star, place.quarter);
        known.or_insert(MadeOtherwise { module, what, stars: 0, first, quarter }).stars += 1;
    }
}

/// A module of a star in both stores.
struct ComparedModule<'a> {
    module: &'a ModuleName,
    star: StarId,
    quarter: Quarter,
    holds: [&'a Manifest; 2],
}

impl ComparedModule<'_> {
    /// Whether its products are the same in both.
    fn is_alike(&self) -> bool {
        let of = |manifest: &Manifest| -> BTreeMap<ProductName, _> {
            let made = manifest.products.iter().filter(|(_, entry)| entry.module.as_ref() == Some(self.module));
            made.map(|(name, entry)| (name.clone(), (entry.digest, entry.not_produced.clone()))).collect()
        };
        of(self.holds[0]) == of(self.holds[1])
    }

    fn results(&self, roots: &[PathBuf; 2], keys: [Key; 2]) -> [PathBuf; 2] {
        [0, 1].map(|at| roots[at].join(paths::product(self.star, self.quarter, self.module, &keys[at])))
    }
}

/// How a module ended, without what is only of its attempt.
fn end(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded(_) => "succeeded".to_owned(),
        Outcome::Failed(_) | Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Errored(_) => {
            outcome.to_string()
        }
    }
}

/// Whether both read the same.
fn read_alike(here: &Provenance, there: &Provenance) -> bool {
    let inputs = |made: &Provenance| -> Vec<_> {
        made.inputs.iter().map(|input| (input.product.clone(), input.digest)).collect()
    };
    inputs(here) == inputs(there) && here.expressions == there.expressions
}

/// What of the module itself is other.
fn other(here: &Provenance, there: &Provenance) -> String {
    let is_other = [
        ("image", here.image_identity != there.image_identity),
        ("command", here.command != there.command),
        ("environment", here.environment != there.environment),
        ("parameters", here.parameters != there.parameters),
        ("contract", here.contract != there.contract),
    ];
    let names: Vec<&str> = is_other.iter().filter(|(_, is_other)| *is_other).map(|(name, _)| *name).collect();
    match names.is_empty() {
        true => "other version of the platform".to_owned(),
        false => format!("other {}", names.join(", ")),
    }
}
