//! Two definitions of a pipeline side by side: which products are others, and which modules that breaks. Pure.
//!
//! A module that reads what is other breaks, unless its own image or definition is another one, too: then whoever changed it
//! is taken to have known. Inputs are read whole, in conditions the columns that they name. What no definition says, as the meaning of a number, nobody can compare.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::change::definition_change;
use super::needs;
use crate::id::{GroupName, ModuleName, ProductName};
use crate::pipeline::{Module, Pipeline};
use crate::product::{Column, ColumnKind, Source};

/// What of a product is other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum ProductChange {
    /// It is new.
    Appears,
    /// Nobody makes or delivers it any more.
    Vanishes,
    /// It comes from elsewhere; none stands for ingestion.
    ComesFrom {
        /// Who made it.
        was: Option<ModuleName>,
        /// Who makes it.
        now: Option<ModuleName>,
    },
    /// It was in every success of its module, and may be missing.
    MayBeMissing,
    /// It could be missing, and is in every success of its module.
    IsAlwaysMade,
    /// The data model knows its columns, and did not.
    Described,
    /// The data model does not know its columns any more.
    NotDescribed,
    /// A column is new.
    ColumnAppears {
        /// Its name.
        column: String,
    },
    /// A column is gone.
    ColumnVanishes {
        /// Its name.
        column: String,
    },
    /// A column may be missing.
    ColumnMayBeMissing {
        /// Its name.
        column: String,
    },
    /// A column has values of another kind.
    ColumnKind {
        /// Its name.
        column: String,
        /// The kind it had.
        was: ColumnKind,
        /// The kind it has.
        now: ColumnKind,
    },
    /// A column has another number of dimensions.
    ColumnShape {
        /// Its name.
        column: String,
        /// The dimensions it had.
        was: u32,
        /// The dimensions it has.
        now: u32,
    },
    /// A column has another unit; none: any will do.
    ColumnUnit {
        /// Its name.
        column: String,
        /// The unit it had.
        was: Option<String>,
        /// The unit it has.
        now: Option<String>,
    },
}

/// A product of which something is other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChangedProduct {
    /// The product.
    pub product: ProductName,
    /// The module that makes it, or made it; none: ingestion delivers it.
    pub module: Option<ModuleName>,
    /// What is other.
    #[serde(flatten)]
    pub change: ProductChange,
}

/// A module that reads a product of which something is other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ConcernedModule {
    /// The module.
    pub module: ModuleName,
    /// Its group.
    pub group: Option<GroupName>,
    /// What it reads.
    pub reads: ChangedProduct,
}

/// Two definitions side by side.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct PipelineDifference {
    /// Products of which something is other.
    pub products: Vec<ChangedProduct>,
    /// Modules that break.
    pub breaks: Vec<ConcernedModule>,
    /// Modules that would, and are others themselves.
    pub adapted: Vec<ConcernedModule>,
    /// Modules that are new, or have another image, command, contract or condition.
    pub modules: Vec<ModuleName>,
    /// Modules that are gone, or switched off.
    pub gone: Vec<ModuleName>,
}

/// Lays two definitions side by side.
pub fn compare(old: &Pipeline, new: &Pipeline) -> PipelineDifference {
    let mut difference =
        PipelineDifference { products: products(old, new), gone: gone(old, new), ..PipelineDifference::default() };
    for module in new.modules.iter().filter(|module| module.enabled) {
        let was = old.modules.iter().find(|was| was.name == module.name);
        let same = was.filter(|was| was.image == module.image && definition_change(old, (new, module)).is_none());
        let is_new = same.is_none();
        if is_new {
            difference.modules.push(module.name.clone());
        }
        for changed in &difference.products {
            // What a condition reads follows from the data model, too: it reads what it read before.
            if changed.module.as_ref() == Some(&module.name) || !breaks(same.unwrap_or(module), changed) {
                continue;
            }
            let (name, group) = (module.name.clone(), module.group.clone());
            let concerned = ConcernedModule { module: name, group, reads: changed.clone() };
            if is_new { &mut difference.adapted } else { &mut difference.breaks }.push(concerned);
        }
    }
    difference
}

/// Modules that ran, and do not any more.
fn gone(old: &Pipeline, new: &Pipeline) -> Vec<ModuleName> {
    let runs = |was: &&Module| new.modules.iter().any(|module| module.name == was.name && module.enabled);
    old.modules.iter().filter(|was| was.enabled && !runs(was)).map(|was| was.name.clone()).collect()
}

/// Whether a module cannot do as it did when this is other.
fn breaks(module: &Module, changed: &ChangedProduct) -> bool {
    let is_it = |source: &Source| source.product == changed.product;
    let inputs = &module.inputs;
    match &changed.change {
        ProductChange::Appears
        | ProductChange::IsAlwaysMade
        | ProductChange::Described
        | ProductChange::NotDescribed
        | ProductChange::ColumnAppears { .. } => false,
        // Integers are as good where floats are expected.
        ProductChange::ColumnKind { was: ColumnKind::Float, now: ColumnKind::Int, .. } => false,
        ProductChange::MayBeMissing => {
            inputs.mandatory.iter().any(is_it) || inputs.conditional.iter().any(|input| is_it(&input.source))
        }
        // What ingestion delivers is staged in another group than what modules make.
        ProductChange::ComesFrom { was, now } => was.is_none() != now.is_none() && inputs.all().any(is_it),
        ProductChange::Vanishes => module.sources().any(is_it),
        ProductChange::ColumnVanishes { column }
        | ProductChange::ColumnMayBeMissing { column }
        | ProductChange::ColumnKind { column, .. }
        | ProductChange::ColumnShape { column, .. }
        | ProductChange::ColumnUnit { column, .. } => {
            inputs.all().any(is_it) || is_in_condition(module, changed, column)
        }
    }
}

/// Whether a condition of a module looks at a column of a product.
fn is_in_condition(module: &Module, changed: &ChangedProduct, column: &str) -> bool {
    let read = needs(module).read;
    let of_it = read.iter().filter(|(source, _)| source.product == changed.product);
    of_it.map(|(_, columns)| columns).any(|columns| columns.as_ref().is_none_or(|columns| columns.contains(column)))
}

/// Who makes a product, and whether it is in every success.
type Maker = (Option<ModuleName>, bool);

fn makers(pipeline: &Pipeline) -> BTreeMap<&ProductName, Maker> {
    let externals = pipeline.star_externals.iter().chain(&pipeline.shared_externals);
    let mut makers: BTreeMap<&ProductName, Maker> = externals.map(|product| (product, (None, false))).collect();
    for module in pipeline.modules.iter().filter(|module| module.enabled) {
        for product in module.outputs.products() {
            let is_always = module.outputs.mandatory.contains(product);
            makers.insert(product, (Some(module.name.clone()), is_always));
        }
    }
    makers
}

fn products(old: &Pipeline, new: &Pipeline) -> Vec<ChangedProduct> {
    let (before, now) = (makers(old), makers(new));
    let names: BTreeSet<&ProductName> = before.keys().chain(now.keys()).copied().collect();
    let mut changed = Vec::new();
    for product in names {
        let mut say = |module: &Option<ModuleName>, change| {
            changed.push(ChangedProduct { product: product.clone(), module: module.clone(), change });
        };
        match (before.get(product), now.get(product)) {
            (None, Some((module, _))) => say(module, ProductChange::Appears),
            (Some((module, _)), None) => say(module, ProductChange::Vanishes),
            (Some((was, always)), Some((module, is_always))) => {
                if was != module {
                    say(module, ProductChange::ComesFrom { was: was.clone(), now: module.clone() });
                }
                if was.is_some() == module.is_some() {
                    match (*always, *is_always) {
                        (true, false) => say(module, ProductChange::MayBeMissing),
                        (false, true) => say(module, ProductChange::IsAlwaysMade),
                        (true, true) | (false, false) => {}
                    }
                }
                let columns = |pipeline: &Pipeline| {
                    pipeline.model.products.get(product).map(|model| model.columns.clone()).unwrap_or_default()
                };
                changes_of(&columns(old), &columns(new)).into_iter().for_each(|change| say(module, change));
            }
            (None, None) => {}
        }
    }
    changed
}

/// What is other of the columns that the data models know.
fn changes_of(old: &BTreeMap<String, Column>, new: &BTreeMap<String, Column>) -> Vec<ProductChange> {
    match (old.is_empty(), new.is_empty()) {
        (true, true) => return Vec::new(),
        (true, false) => return vec![ProductChange::Described],
        (false, true) => return vec![ProductChange::NotDescribed],
        (false, false) => {}
    }
    let mut changes = Vec::new();
    for (name, was) in old {
        let column = name.clone();
        let Some(now) = new.get(name) else {
            changes.push(ProductChange::ColumnVanishes { column });
            continue;
        };
        if was.kind != now.kind {
            changes.push(ProductChange::ColumnKind { column: column.clone(), was: was.kind, now: now.kind });
        }
        if was.ndim != now.ndim {
            changes.push(ProductChange::ColumnShape { column: column.clone(), was: was.ndim, now: now.ndim });
        }
        if was.unit != now.unit {
            let (was, now) = (was.unit.clone(), now.unit.clone());
            changes.push(ProductChange::ColumnUnit { column: column.clone(), was, now });
        }
        if !was.optional && now.optional {
            changes.push(ProductChange::ColumnMayBeMissing { column });
        }
    }
    let appear = new.keys().filter(|name| !old.contains_key(*name));
    changes.extend(appear.map(|name| ProductChange::ColumnAppears { column: name.clone() }));
    changes
}

impl ProductChange {
    /// In words.
    pub fn words(&self) -> String {
        let from = |module: &Option<ModuleName>| module.as_ref().map_or("ingestion".to_owned(), ToString::to_string);
        let unit = |unit: &Option<String>| match unit.as_deref() {
            None => "any unit".to_owned(),
            Some("") => "no unit".to_owned(),
            Some(unit) => unit.to_owned(),
        };
        match self {
            Self::Appears => "is new".to_owned(),
            Self::Vanishes => "is gone".to_owned(),
            Self::ComesFrom { was, now } => format!("comes from {}, not {}", from(now), from(was)),
            Self::MayBeMissing => "may be missing; it was in every success".to_owned(),
            Self::IsAlwaysMade => "is in every success; it could be missing".to_owned(),
            Self::Described => "has columns in the data model; it had none there".to_owned(),
            Self::NotDescribed => "has no columns in the data model any more: it is not looked into".to_owned(),
            Self::ColumnAppears { column } => format!("has a new column {column}"),
            Self::ColumnVanishes { column } => format!("has no column {column} any more"),
            Self::ColumnMayBeMissing { column } => format!("may miss its column {column}; it had it always"),
            Self::ColumnKind { column, was, now } => format!("column {column} is {now}, not {was}"),
            Self::ColumnShape { column, was, now } => format!("column {column} has {now} dimensions, not {was}"),
            Self::ColumnUnit { column, was, now } => format!("column {column} is in {}, not {}", unit(now), unit(was)),
        }
    }
}
