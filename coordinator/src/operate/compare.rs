//! Two stores side by side: whether the same deliveries and the same programs made the same; where not, by which module, product
//! and column.
//!
//! Results under the same key were made from the same by the same: where they differ, their module is not deterministic. Where keys
//! differ and what was read does not, image, parameters or definition do. A product that is the same may stand for another one in
//! one of them, which is then read in its place. Everything else only follows, and is counted.

mod answer;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use domain::error::chain;
use domain::id::{Key, ModuleName, ProductName, Quarter, StarId};
use domain::outcome::Outcome;
use store::agent::{Agent, AgentError, AgentOptions, At, Manifest, ModuleEntry, ProductEntry, Provenance};
use store::{Store, paths};

pub use answer::{DifferingColumn, MadeOtherwise, StoresCompared};

use super::called::{CalledStar, star_among};
use super::star::{ColumnDifference, column_difference};
use super::{Context, OperateError};

/// Which star files are compared.
#[derive(Debug, Clone, Default)]
pub struct CompareStores {
    /// Root of the other store.
    pub other: PathBuf,
    /// Of these stars; of all unless given.
    pub stars: Vec<CalledStar>,
    /// Of this quarter; of all unless given.
    pub quarter: Option<Quarter>,
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

/// Compares what the star files of two stores show.
pub async fn compare_stores(context: &Context, asked: CompareStores) -> Result<StoresCompared, OperateError> {
    let other = Store::open(&asked.other)?;
    let stores = [context.store.clone(), other];
    let (mut agent, _scratch) = two_store_reader(&stores)?;
    let mut comparison = StoreComparison { roots: [0, 1].map(|at| stores[at].root().to_owned()), ..Default::default() };
    for (quarter, star) in places(&stores, &asked)? {
        match comparison.star(&mut agent, star, quarter).await {
            Ok(()) => {}
            Err(start @ AgentError::Start { .. }) => return Err(start.into()),
            // The others are compared nevertheless.
            Err(error) => comparison.answer.unreadable.push(format!("{star} {quarter}: {}", chain(&error))),
        }
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
pub async fn compare_results(agent: &mut Agent, files: [&Path; 2]) -> Result<Vec<ResultDifference>, AgentError> {
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

/// The stars and quarters of both stores that are asked for; whoever names a star or a quarter means one that there is.
fn places(stores: &[Store; 2], asked: &CompareStores) -> Result<BTreeSet<(Quarter, StarId)>, OperateError> {
    let mut places = BTreeSet::new();
    for store in stores {
        let of_quarter =
            store.known_stars()?.into_iter().filter(|(quarter, _)| asked.quarter.is_none_or(|is| is == *quarter));
        places.extend(of_quarter.flat_map(|(quarter, stars)| stars.into_iter().map(move |star| (quarter, star))));
    }
    let of = asked.quarter.map(|quarter| format!(" of {quarter}")).unwrap_or_default();
    if places.is_empty() {
        return Err(OperateError::not_found(format!("neither store has data of any star{of}")));
    }
    let known: BTreeSet<StarId> = places.iter().map(|(_, star)| *star).collect();
    let meant = asked.stars.iter().map(|called| star_among(&known, called)).collect::<Result<BTreeSet<StarId>, _>>()?;
    if let Some(star) = meant.difference(&known).next() {
        return Err(OperateError::not_found(format!("neither store has data{of} of {star}")));
    }
    places.retain(|(_, star)| meant.is_empty() || meant.contains(star));
    Ok(places)
}

/// What was found so far.
#[derive(Default)]
struct StoreComparison {
    roots: [PathBuf; 2],
    answer: StoresCompared,
    differing: BTreeMap<(ModuleName, ProductName, Option<String>), DifferingColumn>,
    otherwise: BTreeMap<(ModuleName, Option<ProductName>, String), MadeOtherwise>,
}

impl StoreComparison {
    async fn star(&mut self, agent: &mut Agent, star: StarId, quarter: Quarter) -> Result<(), AgentError> {
        let file = paths::star_file(star, quarter);
        let files = [0, 1].map(|at| self.roots[at].join(&file));
        let [here, there] = match [files[0].is_file(), files[1].is_file()] {
            [true, true] => [agent.manifest(&files[0]).await?, agent.manifest(&files[1]).await?],
            [here, there] => {
                self.answer.lone((star, quarter), here, there);
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
    ) -> Result<bool, AgentError> {
        let outcomes = entries.map(|entry| entry.and_then(|entry| entry.outcome.as_ref()));
        match outcomes {
            [Some(Outcome::Succeeded(_)), Some(Outcome::Succeeded(_))] if place.is_alike() => {
                let standing = place.standing_otherwise();
                let is_same = standing.is_empty();
                for (product, what) in standing {
                    self.note(place, Some(product), what.to_owned());
                }
                Ok(is_same)
            }
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
                    false => self.note(place, None, format!("{} here, {} there", ends[0], ends[1])),
                }
                Ok(false)
            }
        }
    }

    /// Results under one key that differ.
    async fn columns(&mut self, agent: &mut Agent, place: &ComparedModule<'_>, key: Key) -> Result<(), AgentError> {
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
    async fn made(&mut self, agent: &mut Agent, place: &ComparedModule<'_>, keys: [Key; 2]) -> Result<(), AgentError> {
        let files = place.results(&self.roots, keys);
        let mut made = Vec::new();
        for file in &files {
            made.extend(agent.manifest(file).await?.provenance);
        }
        match &made[..] {
            [here, there] if read_alike(here, there) => self.note(place, None, other(here, there)),
            _ => self.answer.follow += 1,
        }
        Ok(())
    }

    fn note(&mut self, place: &ComparedModule<'_>, product: Option<ProductName>, what: String) {
        let known = self.otherwise.entry((place.module.clone(), product.clone(), what.clone()));
        let (module, first, quarter) = (place.module.clone(), place.star, place.quarter);
        known.or_insert(MadeOtherwise { module, product, what, stars: 0, first, quarter }).stars += 1;
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

    /// Products that are the same in both, of which what is downstream is given others.
    fn standing_otherwise(&self) -> Vec<(ProductName, &'static str)> {
        let stands_for = |manifest: &Manifest, product: &ProductName| {
            manifest.products.get(product)?.stands_for.as_ref().map(|before| before.digest)
        };
        let own = self.holds[0].products.iter().filter(|(_, entry)| entry.module.as_ref() == Some(self.module));
        let otherwise = |product: &ProductName| match self.holds.map(|manifest| stands_for(manifest, product)) {
            [here, there] if here == there => None,
            [Some(_), None] => Some("stands for an earlier one here, for itself there"),
            [None, Some(_)] => Some("stands for itself here, for an earlier one there"),
            [_, _] => Some("stands for another one here than there"),
        };
        own.filter_map(|(product, _)| Some((product.clone(), otherwise(product)?))).collect()
    }

    fn results(&self, roots: &[PathBuf; 2], keys: [Key; 2]) -> [PathBuf; 2] {
        [0, 1].map(|at| roots[at].join(paths::product(self.star, self.quarter, self.module, &keys[at])))
    }
}

/// How a module ended, without what is only of its attempt: two failures of one kind may have other words on each host.
fn end(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded(_) => "succeeded".to_owned(),
        Outcome::Failed(failure) => format!("failed ({})", failure.kind),
        Outcome::Errored(error) => format!("errored ({})", error.kind),
        Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } => outcome.to_string(),
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
