//! Which columns a table has, and which stars are for it: names of the data model, or a word on what there is. Pure.

use std::collections::BTreeMap;

use domain::expression::{Expression, Scope};
use domain::id::{ModuleName, ProductName};
use domain::pipeline::Pipeline;
use domain::product::{Column, ColumnKind, Origin};

use crate::operate::{ErrorKind, OperateError};

/// Names that a message lists at most.
const LISTED: usize = 12;

/// The columns of one product that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProductColumns {
    pub(super) product: ProductName,
    /// The module that makes it; none where it is delivered.
    pub(super) maker: Option<ModuleName>,
    pub(super) columns: Vec<ChosenColumn>,
}

/// A column that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChosenColumn {
    pub(super) name: String,
    pub(super) kind: ColumnKind,
    /// The unit of the data model; `None`: any.
    pub(super) unit: Option<String>,
    pub(super) doc: String,
}

/// The columns that are asked for, by product, as they are named; all of them in the order of the pipeline: deliveries, then
/// modules as they run.
pub(super) fn choose(
    pipeline: &Pipeline,
    products: &[ProductName],
    columns: &[String],
) -> Result<Vec<ProductColumns>, OperateError> {
    let all = all(pipeline);
    if products.is_empty() && columns.is_empty() {
        return Ok(all);
    }
    let mut wanted: Vec<ProductColumns> = Vec::new();
    for product in products {
        let product = pipeline.aliases.get(product).unwrap_or(product);
        let known = all.iter().find(|known| known.product == *product);
        let known = known.ok_or_else(|| unknown_product(pipeline, product))?;
        known.columns.iter().for_each(|column| add(&mut wanted, known, column));
    }
    for asked in columns {
        let (known, column) = find(&all, asked)?;
        add(&mut wanted, known, column);
    }
    Ok(wanted)
}

/// Adds a column to those of its product, unless it is there.
fn add(wanted: &mut Vec<ProductColumns>, known: &ProductColumns, column: &ChosenColumn) {
    let at = wanted.iter().position(|of| of.product == known.product).unwrap_or_else(|| {
        wanted.push(ProductColumns { columns: Vec::new(), ..known.clone() });
        wanted.len() - 1
    });
    if !wanted[at].columns.contains(column) {
        wanted[at].columns.push(column.clone());
    }
}

/// Compiles a condition over the products of a pipeline.
pub(super) fn condition(pipeline: &Pipeline, text: &str) -> Result<Expression, OperateError> {
    let origins = origins(pipeline);
    let scope = Scope {
        products: &|name| origins.get(name).copied(),
        previous: &|_| false,
        params: &pipeline.params,
        model: &pipeline.model,
        aliases: &pipeline.aliases,
        unknown: "neither made nor delivered in this pipeline",
    };
    Expression::compile(text, &scope).map_err(|mistakes| {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        invalid(format!("the condition `{text}` {}", mistakes.join("; ")))
    })
}

/// Where each product of a pipeline comes from.
fn origins(pipeline: &Pipeline) -> BTreeMap<&ProductName, Origin> {
    let star = pipeline.star_externals.iter().map(|name| (name, Origin::StarExternal));
    let shared = pipeline.shared_externals.iter().map(|name| (name, Origin::SharedExternal));
    let made = pipeline
        .indexed()
        .flat_map(|(index, module)| module.outputs.products().map(move |name| (name, Origin::Module(index))));
    star.chain(shared).chain(made).collect()
}

/// All products with scalar columns.
fn all(pipeline: &Pipeline) -> Vec<ProductColumns> {
    let delivered = pipeline.star_externals.iter().map(|product| (product, None));
    let made = pipeline
        .modules
        .iter()
        .flat_map(|module| module.outputs.products().map(move |product| (product, Some(module))));
    let of = |(product, maker): (&ProductName, Option<&domain::pipeline::Module>)| {
        let model = pipeline.model.products.get(product)?;
        let scalars = model.columns.iter().filter(|(_, column)| column.ndim == 0);
        let by = maker.map_or_else(|| "delivered".to_owned(), |module| format!("made by {}", module.name));
        let columns: Vec<ChosenColumn> = scalars.map(|(name, column)| chosen(product, name, column, &by)).collect();
        let maker = maker.map(|module| module.name.clone());
        (!columns.is_empty()).then(|| ProductColumns { product: product.clone(), maker, columns })
    };
    delivered.chain(made).filter_map(of).collect()
}

fn chosen(product: &ProductName, name: &str, column: &Column, by: &str) -> ChosenColumn {
    let doc = match &column.doc {
        Some(doc) => format!("{doc} ({by})"),
        None => format!("{name} of {product} ({by})"),
    };
    ChosenColumn { name: name.to_owned(), kind: column.kind, unit: column.unit.clone(), doc }
}

/// The column that `PRODUCT.column` names; both may have dots in them.
fn find<'a>(all: &'a [ProductColumns], asked: &str) -> Result<(&'a ProductColumns, &'a ChosenColumn), OperateError> {
    let of = |known: &'a ProductColumns| Some((known, asked.strip_prefix(known.product.as_str())?.strip_prefix('.')?));
    let candidates: Vec<(&ProductColumns, &str)> = all.iter().filter_map(of).collect();
    for (known, rest) in &candidates {
        if let Some(column) = known.columns.iter().find(|column| column.name == *rest) {
            return Ok((*known, column));
        }
    }
    let Some((known, rest)) = candidates.first() else {
        return Err(invalid(format!(
            "column {asked:?}: expected PRODUCT.column of a product with scalar columns, as {}",
            example(all)
        )));
    };
    let names = listed(known.columns.iter().map(|column| column.name.as_str()));
    Err(invalid(format!("product {} has no scalar column {rest:?} in the data model, only {names}", known.product)))
}

fn unknown_product(pipeline: &Pipeline, product: &ProductName) -> OperateError {
    if origins(pipeline).contains_key(product) {
        return invalid(format!(
            "product {product} has no scalar columns in the data model of {}: a table has a number, flag or text per star",
            pipeline.name
        ));
    }
    invalid(format!("product {product} is neither made nor delivered in {} {}", pipeline.name, pipeline.version))
}

fn example(all: &[ProductColumns]) -> String {
    let first = all.iter().find_map(|known| Some(format!("{}.{}", known.product, known.columns.first()?.name)));
    first.unwrap_or_else(|| "this pipeline, which has no data model, cannot name any".to_owned())
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn invalid(message: String) -> OperateError {
    OperateError::new(ErrorKind::Invalid, message)
}
