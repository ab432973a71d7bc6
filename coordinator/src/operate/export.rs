//! A table of stars: a row per star, columns by product with unit and description, and why something is missing.
//!
//! Rows are read by several agents at once and written as they come, in the order of the stars: how many there are costs
//! time, never memory.

mod choice;
mod fields;
mod row;
mod write;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use domain::expression::{EvaluationError, Expression};
use domain::id::{ProductName, RunId, StarId, StarIndex};
use fields::Fields;
use futures::{StreamExt, stream};
use row::{Origins, StarRow};
use serde::{Deserialize, Serialize};
use store::course::Course;
pub use write::TableFormat;

use super::view::newest_run;
use super::{Context, ErrorKind, OperateError};

/// Stars whose names are in memory at once.
const BLOCK: u32 = 4096;

/// Most agents that read at once.
const MOST_READERS: usize = 8;

/// Which table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TableRequest {
    /// What the stars ended with in this run. Unless given: the file that scientists open, of the stars of the newest run.
    pub run: Option<RunId>,
    /// These stars, in this order; unless given all of the run.
    pub stars: Option<Vec<StarId>>,
    /// All scalar columns of these products.
    pub products: Vec<ProductName>,
    /// These columns, each as `PRODUCT.column`. Without products and columns: all scalar columns of the data model.
    pub columns: Vec<String>,
    /// Only stars for which this condition holds, in the language of pipeline files.
    #[serde(rename = "where")]
    pub condition: Option<String>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrittenTable {
    /// The run that the stars and columns are of.
    pub run: RunId,
    /// Rows, one per star.
    pub rows: u64,
    /// Stars for which the condition does not hold.
    pub left_out: u64,
    /// Stars for which the condition could not be decided; they are left out, too.
    pub undecided: u64,
    /// Why, for the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undecided_for: Option<String>,
    /// Columns, those about the star and the reasons included.
    pub columns: usize,
    /// In how many rows something of a product is missing; the column `PRODUCT.why` says why.
    pub missing: BTreeMap<ProductName, u64>,
}

/// Writes the table; `progress` is told how many stars are done, and of how many.
pub async fn table(
    context: &Context,
    request: TableRequest,
    format: TableFormat,
    out: &mut (dyn Write + Send),
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<WrittenTable, OperateError> {
    let run = match request.run {
        Some(run) => run,
        None => newest_run(context).await?,
    };
    let course = context.course(run).await?;
    let fields = Fields::new(choice::choose(&course.pipeline, &request.products, &request.columns)?);
    let condition = request.condition.as_deref().map(|text| choice::condition(&course.pipeline, text)).transpose()?;
    let origins = Origins::new(&course, &fields.products, condition.as_ref(), request.run.is_some());
    let about = format!("{} {} of run {run}", course.record.pipeline, course.record.version);
    let mut writer = write::start(format, &fields.all, &about, out).map_err(unwritable)?;
    let mut written = WrittenTable {
        run,
        rows: 0,
        left_out: 0,
        undecided: 0,
        undecided_for: None,
        columns: fields.all.len(),
        missing: BTreeMap::new(),
    };
    let readers = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_READERS);
    let at_once = context.readers.another(readers);
    let total = request.stars.as_ref().map_or(course.stars.len(), |stars| stars.len() as u32);
    let mut done = 0;
    for from in (0..total).step_by(BLOCK as usize) {
        let stars = names(context, &course, request.stars.as_deref(), from, BLOCK.min(total - from)).await?;
        let mut rows = stream::iter(stars).map(|star| row::read(context, &at_once, &origins, star)).buffered(readers);
        while let Some(row) = rows.next().await {
            let row = row?;
            if written.takes(&row, condition.as_ref()) {
                let cells = fields.cells(&row, &mut written.missing);
                writer.row(&cells).map_err(unwritable)?;
            }
            done += 1;
            progress(done, total.into());
        }
    }
    writer.finish().map_err(unwritable)?;
    Ok(written)
}

/// Names of so many of the stars.
async fn names(
    context: &Context,
    course: &Arc<Course>,
    listed: Option<&[StarId]>,
    from: u32,
    count: u32,
) -> Result<Vec<StarId>, OperateError> {
    if let Some(listed) = listed {
        return Ok(listed[from as usize..(from + count) as usize].to_vec());
    }
    let course = course.clone();
    context.ask(move |_| course.stars.range(StarIndex(from), count)).await
}

impl WrittenTable {
    /// Whether a star's row is for the table; counts it either way.
    fn takes(&mut self, row: &StarRow, condition: Option<&Expression>) -> bool {
        match condition.map_or(Ok(true), |condition| condition.evaluate(&|source| row.known(source))) {
            Ok(true) => {
                self.rows += 1;
                return true;
            }
            Ok(false) | Err(EvaluationError::Lost(_)) => self.left_out += 1,
            Err(EvaluationError::Broken(why)) => {
                self.undecided += 1;
                self.undecided_for.get_or_insert_with(|| format!("{}: {why}", row.star));
            }
        }
        false
    }
}

fn unwritable(error: std::io::Error) -> OperateError {
    OperateError::new(ErrorKind::Failed, format!("failed to write the table: {error}"))
}
