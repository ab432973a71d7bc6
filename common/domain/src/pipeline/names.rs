//! The names that a pipeline file uses: how they are parsed, and what modules may refer to. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::Class;
use crate::id::{ClassName, ModuleIndex, ModuleName, ProductName};
use crate::product::{DataModel, Origin};

/// Least memory of a container, in bytes: Docker takes no less.
pub(super) const LEAST_MEMORY: u64 = 6 << 20;

/// Where no module is: a pipeline has fewer. What vanished was made there.
pub(super) const NOBODY: ModuleIndex = ModuleIndex(u8::MAX);

/// What the modules of a pipeline may refer to.
pub(super) struct Names {
    /// Position of each module.
    pub(super) order: BTreeMap<ModuleName, ModuleIndex>,
    /// The module that makes each product.
    pub(super) producers: BTreeMap<ProductName, ModuleName>,
    pub(super) star: BTreeSet<ProductName>,
    pub(super) shared: BTreeSet<ProductName>,
    pub(super) disabled: BTreeSet<ModuleName>,
    pub(super) classes: BTreeMap<ClassName, Class>,
    pub(super) params: BTreeMap<String, serde_json::Value>,
    pub(super) model: DataModel,
    pub(super) aliases: BTreeMap<ProductName, ProductName>,
    /// Products of modules whose own names are wrong: who needs these makes no mistake.
    pub(super) orphans: BTreeSet<ProductName>,
    /// Products that nobody makes any more, and where they came from: who needs these makes no mistake where definitions are only
    /// compared.
    pub(super) vanished: BTreeMap<ProductName, Origin>,
}

impl Names {
    /// The name that counts for a product.
    pub(super) fn canonical(&self, product: ProductName) -> ProductName {
        self.aliases.get(&product).cloned().unwrap_or(product)
    }

    /// Whether a quarter before may have a product.
    pub(super) fn has_previous(&self, product: &ProductName) -> bool {
        self.producers.contains_key(product) || self.vanished.contains_key(product)
    }

    /// Where a product of this quarter comes from.
    pub(super) fn origin(&self, product: &ProductName) -> Option<Origin> {
        if let Some(module) = self.producers.get(product) {
            return self.order.get(module).copied().map(Origin::Module);
        }
        if self.star.contains(product) {
            return Some(Origin::StarExternal);
        }
        let shared = self.shared.contains(product).then_some(Origin::SharedExternal);
        shared.or_else(|| self.vanished.get(product).copied())
    }
}

/// Parses a name; what is wrong goes to the mistakes with the field that holds it.
pub(super) fn parse<T: FromStr<Err: fmt::Display>>(text: &str, field: &str, mistakes: &mut Vec<String>) -> Option<T> {
    text.parse().map_err(|error| mistakes.push(format!("{field}: {error}"))).ok()
}

/// Parses names of which each may be listed once.
pub(super) fn parse_all<T: FromStr<Err: fmt::Display> + Ord>(
    texts: &[String],
    field: &str,
    mistakes: &mut Vec<String>,
) -> BTreeSet<T> {
    let mut all = BTreeSet::new();
    for text in texts {
        if let Some(name) = parse(text, field, mistakes)
            && !all.insert(name)
        {
            mistakes.push(format!("{field}: `{text}` is listed twice"));
        }
    }
    all
}
