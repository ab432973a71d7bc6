//! Conditions of a pipeline: CEL over products, compiled once at load.
//!
//! Pure. A condition is a tree of `&&`, `||` and `!` over terms. `cel` parses it and evaluates the terms; the tree is ours,
//! since products that were not made or were lost have meanings of their own: a term that names a product that was not
//! made is false, one that names a product lost to a failure is an error, which `&&` and `||` may absorb from either side.

mod compile;
mod evaluate;
mod scalar;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use evaluate::{EvaluationError, Known};
pub use scalar::Scalar;

use crate::id::{ModuleIndex, ProductName};
use crate::product::{ColumnKind, DataModel, Origin, Source};
use crate::run::Formula;

/// A compiled condition.
#[derive(Debug, Clone)]
pub struct Expression {
    text: String,
    tree: Tree,
    reads: Vec<Read>,
    /// The kind of each read's value, where the data model knows it.
    kinds: Vec<Option<ColumnKind>>,
    params: BTreeMap<String, serde_json::Value>,
}

/// What a condition looks at in a product. The names come from the syntax tree: nothing else can be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Read {
    /// The product and where it comes from.
    pub source: Source,
    /// What is looked at.
    pub what: What,
}

/// What is looked at in a product.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// A scalar column; nested groups are joined by slashes.
    Column(String),
    /// `made("X")`: whether it is there.
    Made,
    /// `valid("X")`: whether its column `value` is finite and not -1.
    Valid,
    /// `any("X")`: whether one of these boolean columns is true.
    Any(Flags),
    /// `all("X")`: whether all of these boolean columns are true.
    All(Flags),
}

impl What {
    /// The columns that are looked at; `None`: all.
    fn columns(&self) -> Option<BTreeSet<String>> {
        match self {
            Self::Column(column) => Some(BTreeSet::from([column.clone()])),
            Self::Made => Some(BTreeSet::new()),
            Self::Valid => Some(BTreeSet::from(["value".to_owned()])),
            Self::Any(flags) | Self::All(flags) => flags.clone(),
        }
    }
}

/// The boolean columns that the data model knows of a product; `None` where it does not know the product: all that are
/// there.
pub type Flags = Option<BTreeSet<String>>;

/// What the names in a condition may mean.
pub struct Scope<'a> {
    /// Products and externals of this quarter.
    pub products: &'a dyn Fn(&ProductName) -> Option<Origin>,
    /// Whether the product exists in the quarter before.
    pub previous: &'a dyn Fn(&ProductName) -> bool,
    /// The pipeline's parameters.
    pub params: &'a BTreeMap<String, serde_json::Value>,
    /// Types of columns.
    pub model: &'a DataModel,
    /// Other spellings of products, each with the name that counts.
    pub aliases: &'a BTreeMap<ProductName, ProductName>,
    /// What a product is that `products` does not know, as in "product `X` is not an output of this module".
    pub unknown: &'a str,
}

/// Why a text is not a condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidExpression(String);

#[derive(Debug, Clone)]
enum Tree {
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    Term(Term),
}

/// A part without logical operators: its reads, by position in `Expression::reads`, stand in `syntax` as identifiers.
#[derive(Debug, Clone)]
struct Term {
    reads: Vec<usize>,
    syntax: cel::IdedExpr,
}

impl Expression {
    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Everything that it looks at.
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// The columns that it looks at in a product; `None`: all.
    pub fn columns_of(&self, source: &Source) -> Option<BTreeSet<String>> {
        let reads = self.reads.iter().filter(|read| read.source == *source);
        reads.map(|read| read.what.columns()).try_fold(BTreeSet::new(), |mut all, columns| {
            all.extend(columns?);
            Some(all)
        })
    }

    /// The parameters that it names, with their values.
    pub fn params(&self) -> &BTreeMap<String, serde_json::Value> {
        &self.params
    }

    /// Its shape as far as task states can decide it.
    pub fn formula(&self) -> Formula {
        self.formula_of(&self.tree)
    }

    fn formula_of(&self, tree: &Tree) -> Formula {
        match tree {
            Tree::And(a, b) => Formula::And(Box::new(self.formula_of(a)), Box::new(self.formula_of(b))),
            Tree::Or(a, b) => Formula::Or(Box::new(self.formula_of(a)), Box::new(self.formula_of(b))),
            Tree::Not(a) => Formula::Not(Box::new(self.formula_of(a))),
            Tree::Term(term) if term.reads.is_empty() => {
                // It evaluates: that was tried when it was compiled.
                self.constant(term).map_or(Formula::Term(Vec::new()), Formula::Constant)
            }
            Tree::Term(term) => {
                let producers = term.reads.iter().filter_map(|&read| self.reads[read].source.producer());
                Formula::Term(producers.collect::<BTreeSet<ModuleIndex>>().into_iter().collect())
            }
        }
    }
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.source;
        match &self.what {
            What::Column(column) => write!(f, "{source}.{column}"),
            What::Made => write!(f, "made({source})"),
            What::Valid => write!(f, "valid({source})"),
            What::Any(_) => write!(f, "any({source})"),
            What::All(_) => write!(f, "all({source})"),
        }
    }
}

#[cfg(test)]
mod tests;
