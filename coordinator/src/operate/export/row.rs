//! What a star's file says of the products of a table, and why some are not there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use domain::error::chain;
use domain::expression::{Expression, Known, Scalar};
use domain::id::{Generation, ModuleName, ProductName, Quarter, RunId, StarId};
use domain::outcome::{Outcome, Skip};
use domain::product::{Origin, Source};
use domain::run::Row;
use store::agent::{Agent, AgentError, At, ColumnFacts, Manifest, ProductEntry, RefusalKind};
use store::course::Course;
use store::paths;
use store::runs::StarEnd;

use super::choice::ProductColumns;
use crate::operate::look_up::settled_line;
use crate::operate::{Context, OperateError, Readers};

/// Which files are read, and which products in them.
pub(super) struct Origins {
    course: Arc<Course>,
    /// Of this run, and not what scientists open.
    of_run: bool,
    /// The products with the module that makes each, if one does.
    products: BTreeMap<ProductName, Option<ModuleName>>,
}

/// What is known of a star.
pub(super) struct StarRow {
    pub(super) star: StarId,
    pub(super) quarter: Quarter,
    /// The run that its file is of.
    pub(super) run: Option<RunId>,
    pub(super) generation: Option<Generation>,
    pub(super) end: Option<String>,
    pub(super) products: BTreeMap<ProductName, ProductRow>,
    /// The scalars of the products that are there, as conditions read them.
    scalars: BTreeMap<ProductName, BTreeMap<String, Scalar>>,
    /// Why nothing is known of products that are not among them.
    pub(super) nothing: String,
}

/// What is known of a product of a star.
pub(super) enum ProductRow {
    /// It is there, with these scalar columns.
    There(BTreeMap<String, ColumnFacts>),
    /// It is not, and why.
    Missing(String),
}

impl Origins {
    pub(super) fn new(
        course: &Arc<Course>,
        columns: &[ProductColumns],
        condition: Option<&Expression>,
        of_run: bool,
    ) -> Self {
        let asked = columns.iter().map(|of| (of.product.clone(), of.maker.clone()));
        let read = condition.into_iter().flat_map(Expression::reads).map(|read| {
            let maker = read.source.producer().map(|index| course.pipeline.module(index).name.clone());
            (read.source.product.clone(), maker)
        });
        Self { course: course.clone(), of_run, products: asked.chain(read).collect() }
    }
}

impl StarRow {
    /// As conditions see a product.
    pub(super) fn known(&self, source: &Source) -> Known<'_> {
        match source.origin {
            Origin::Previous => Known::Absent,
            Origin::StarExternal | Origin::SharedExternal | Origin::Module(_) => {
                self.scalars.get(&source.product).map_or(Known::Absent, Known::Made)
            }
        }
    }
}

/// Reads a star's row. What cannot be read of one star is a reason in its row, not the end of the table.
pub(super) async fn read(
    context: &Context,
    readers: &Readers,
    origins: &Origins,
    star: StarId,
) -> Result<StarRow, OperateError> {
    let quarter = origins.course.record.quarter;
    let mut row = StarRow {
        star,
        quarter,
        run: None,
        generation: None,
        end: None,
        products: BTreeMap::new(),
        scalars: BTreeMap::new(),
        nothing: String::new(),
    };
    let file = match file(context, origins, star).await? {
        Ok(file) => context.store.at(file),
        Err(why) => return Ok(StarRow { nothing: why, ..row }),
    };
    let mut agent = readers.lend().await?;
    if let Err(error) = fill(&mut agent, context, origins, file, &mut row).await {
        row.nothing = match error {
            AgentError::Start { .. } => return Err(error.into()),
            AgentError::Refused(refusal) if refusal.kind == RefusalKind::Missing => "no star file".to_owned(),
            AgentError::Refused(_)
            | AgentError::Died { .. }
            | AgentError::Hung { .. }
            | AgentError::Overspent { .. } => {
                format!("the star file cannot be read: {}", chain(&error))
            }
        };
        row.products.clear();
    }
    Ok(row)
}

/// The file that is asked for, or why there is none.
async fn file(context: &Context, origins: &Origins, star: StarId) -> Result<Result<PathBuf, String>, OperateError> {
    let quarter = origins.course.record.quarter;
    if !origins.of_run {
        return Ok(Ok(paths::star_file(star, quarter)));
    }
    let course = origins.course.clone();
    context
        .ask(move |store| {
            let run = course.record.run;
            let Some(index) = course.stars.position(star)? else {
                return Ok::<_, OperateError>(Err(format!("not a star of run {run}")));
            };
            Ok(match settled_line(store, run, index)? {
                None => Err(format!("in flight in run {run}")),
                Some(line) => match (line.generation, line.end) {
                    (Some(generation), _) => Ok(paths::generation(star, quarter, generation)),
                    (None, Some(end)) => Err(format!("{end} in run {run}, which made no star file")),
                    (None, None) => Err(format!("run {run} made no star file")),
                },
            })
        })
        .await
}

async fn fill(
    agent: &mut Agent,
    context: &Context,
    origins: &Origins,
    file: PathBuf,
    row: &mut StarRow,
) -> Result<(), AgentError> {
    let manifest = agent.manifest(&file).await?;
    row.take_generation(&manifest);
    let (mut names, mut wants) = (Vec::new(), Vec::new());
    for (name, maker) in &origins.products {
        let found = manifest.products.get(name).map(|entry| ("PRODUCTS", entry));
        let found = found.or_else(|| manifest.externals.get(name).map(|entry| ("EXTERNALS", entry)));
        match found.filter(|(_, entry)| entry.not_produced.is_none()) {
            Some((below, entry)) => {
                let file = place(context, row.star, entry).unwrap_or_else(|| file.clone());
                names.push(name);
                wants.push(At { file, path: format!("/{below}/{name}") });
            }
            None => {
                let why = missing(&manifest, name, maker.as_ref());
                row.products.insert(name.clone(), ProductRow::Missing(why));
            }
        }
    }
    for (name, columns) in names.into_iter().zip(agent.columns(wants).await?) {
        let scalars =
            columns.iter().filter_map(|(column, facts)| Some((column.clone(), facts.value.clone()?))).collect();
        row.scalars.insert(name.clone(), scalars);
        row.products.insert(name.clone(), ProductRow::There(columns));
    }
    Ok(())
}

/// The file that a star file links to for a large product.
fn place(context: &Context, star: StarId, entry: &ProductEntry) -> Option<PathBuf> {
    let name = entry.file.as_ref().filter(|_| entry.is_linked())?;
    Some(context.store.at(paths::of_star(star, name)?))
}

/// Why a star file does not have a product.
fn missing(manifest: &Manifest, name: &ProductName, maker: Option<&ModuleName>) -> String {
    let Some(maker) = maker else { return "not delivered".to_owned() };
    if let Some(reason) = manifest.products.get(name).and_then(|entry| entry.not_produced.as_ref()) {
        return format!("{maker} made none: {reason}");
    }
    let Some(entry) = manifest.modules.iter().find(|entry| entry.module == *maker) else {
        return format!("the star file is of a run without {maker}");
    };
    match &entry.outcome {
        Some(Outcome::Succeeded(_)) => format!("{maker} made none"),
        Some(outcome) => format!("{maker} {outcome}"),
        None => format!("{maker} {}", entry.state.to_string().replace('_', " ")),
    }
}

impl StarRow {
    fn take_generation(&mut self, manifest: &Manifest) {
        let Some(info) = &manifest.generation else { return };
        (self.run, self.generation) = (Some(info.run), Some(info.number));
        let is_missing =
            |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Skipped(Skip::MissingExternal { .. })));
        let missing = manifest.modules.iter().any(|entry| is_missing(&entry.outcome));
        self.end = Row::from_bytes(info.row.clone()).ok().map(|row| StarEnd::of_row(&row, missing).to_string());
    }
}
