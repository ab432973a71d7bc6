//! The matrix of a run: the state of every task, stars down and modules across, as bytes.
//!
//! Answers are bounded by what is asked for, and whoever says up to when he knows everything gets only what changed since.

use domain::id::{GroupName, ModuleName, RunId, StarId, StarIndex};
use domain::run::TaskState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::VariantArray;

use super::matrices::{BLOCK, MatrixRows, SharedView, StarPlaces};
pub use super::matrices::{FEWEST_COUNTED, Matrices, StarOrder};
use super::{Context, ErrorKind, OperateError};

/// How many stars' rows are sent at once.
pub const MOST_ROWS: u32 = 16_384;

/// How many lines of counts are sent at once.
pub const MOST_LINES: u32 = 2048;

/// How many stars are named at once.
pub const MOST_NAMES: u32 = 4096;

/// What a matrix is about.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MatrixHead {
    /// The run.
    pub run: RunId,
    /// How many stars it has.
    pub stars: u32,
    /// Its modules in the order of the bytes of a row.
    pub modules: Vec<MatrixModule>,
    /// What the high four bits of a byte mean, by their number; the low four are the attempt modulo 16.
    pub states: Vec<TaskState>,
    /// How stars may be ordered.
    pub orders: &'static [StarOrder],
    /// Most stars in an answer with rows.
    pub most_rows: u32,
    /// Most lines in an answer with counts.
    pub most_lines: u32,
    /// Stars of a line of counts at least.
    pub fewest_counted: u32,
}

/// A module of a matrix.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MatrixModule {
    /// The module.
    pub module: ModuleName,
    /// Its group, if it is of one.
    pub group: Option<GroupName>,
    /// What it does, in a few words.
    pub doc: String,
}

/// Stars of a matrix that stand below each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatrixRange {
    /// Place of the first in the order, from 0.
    #[serde(default)]
    pub from: u32,
    /// How many.
    pub count: u32,
    /// In this order.
    #[serde(default)]
    pub order: StarOrder,
    /// Only what changed since this tick, which an answer before had; everything when 0.
    #[serde(default)]
    pub since: i64,
}

/// Part of a matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MatrixAnswer {
    /// The moment up to which the asker knows everything that he asked for, in milliseconds.
    pub tick: i64,
    /// That the state could not be asked, with the reason: only what is settled is there.
    pub stored_only: Option<String>,
    /// What changed, in order; nothing where nothing did.
    pub parts: Vec<MatrixPart>,
}

/// Lines of a matrix that follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MatrixPart {
    /// Place of the first star in the order.
    pub from: u32,
    /// How many lines follow: rows of a star, or counts of several.
    pub lines: u32,
    /// Rows: a byte a module. Counts: for each module and each state a number of tasks, two bytes, little-endian.
    pub bytes: Vec<u8>,
}

/// A star by its place in an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlacedStar {
    /// Its place in the order.
    pub place: u32,
    /// Its position in the run's list.
    pub index: u32,
    /// The star.
    pub star: StarId,
}

/// What the matrix of a run is about.
pub async fn head(context: &Context, run: RunId) -> Result<MatrixHead, OperateError> {
    let course = context.course(run).await?;
    let module = |module: &domain::pipeline::Module| MatrixModule {
        module: module.name.clone(),
        group: module.group.clone(),
        doc: module.doc.clone(),
    };
    Ok(MatrixHead {
        run,
        stars: course.record.stars,
        modules: course.pipeline.modules.iter().map(module).collect(),
        states: TaskState::VARIANTS.to_vec(),
        orders: StarOrder::VARIANTS,
        most_rows: MOST_ROWS,
        most_lines: MOST_LINES,
        fewest_counted: FEWEST_COUNTED,
    })
}

/// Rows of stars: a byte for each task.
pub async fn rows(context: &Context, run: RunId, asked: MatrixRange) -> Result<MatrixAnswer, OperateError> {
    let (rows, view) = find(context, run, asked.order).await?;
    let end = end_of(&rows, asked, 1, MOST_ROWS)?;
    let (answer, places) = {
        let mut view = view.lock().await;
        view.refresh(&rows).await?;
        (view.changed(asked.from..end, asked.since), view.places())
    };
    let mut parts = Vec::new();
    for range in &answer.ranges {
        let bytes = match &places {
            None => rows.range(range.clone()).await?,
            Some(places) => rows.of(&places.stars[range.start as usize..range.end as usize]).await?,
        };
        parts.push(MatrixPart { from: range.start, lines: range.end - range.start, bytes });
    }
    Ok(MatrixAnswer { tick: answer.tick, stored_only: rows.stored_only(), parts })
}

/// How many tasks are in each state, for each module and so many stars that stand below each other.
pub async fn counts(
    context: &Context,
    run: RunId,
    asked: MatrixRange,
    stars_per_line: u32,
) -> Result<MatrixAnswer, OperateError> {
    if stars_per_line == 0 || !stars_per_line.is_multiple_of(FEWEST_COUNTED) || stars_per_line > BLOCK {
        let reason = format!(
            "{stars_per_line} stars in a line cannot be counted: expected a multiple of {FEWEST_COUNTED}, {BLOCK} at most"
        );
        return Err(OperateError::new(ErrorKind::Invalid, reason));
    }
    if !asked.from.is_multiple_of(stars_per_line) {
        let reason =
            format!("counts begin at a multiple of the {stars_per_line} stars of a line, not at {}", asked.from);
        return Err(OperateError::new(ErrorKind::Invalid, reason));
    }
    let (rows, view) = find(context, run, asked.order).await?;
    let end = end_of(&rows, asked, stars_per_line, MOST_LINES)?;
    let mut view = view.lock().await;
    view.refresh(&rows).await?;
    let changed = view.changed_lines(asked.from..end, asked.since, stars_per_line);
    let part = |range: &std::ops::Range<u32>| MatrixPart {
        from: range.start,
        lines: (range.end - range.start).div_ceil(stars_per_line),
        bytes: view.counts(range.clone(), stars_per_line),
    };
    Ok(MatrixAnswer {
        tick: changed.tick,
        stored_only: rows.stored_only(),
        parts: changed.ranges.iter().map(part).collect(),
    })
}

/// The stars in a range.
pub async fn stars(context: &Context, run: RunId, asked: MatrixRange) -> Result<Vec<PlacedStar>, OperateError> {
    let (rows, view) = find(context, run, asked.order).await?;
    let end = end_of(&rows, asked, 1, MOST_NAMES)?;
    let places = match asked.order {
        StarOrder::Arrival => None,
        StarOrder::State | StarOrder::Progress => {
            let mut view = view.lock().await;
            view.refresh(&rows).await?;
            view.places()
        }
    };
    let course = rows.course.clone();
    let look = move |_: &store::Store| {
        let index =
            |place: u32| places.as_ref().map_or(place, |places: &std::sync::Arc<StarPlaces>| places.star(place));
        let indexes: Vec<StarIndex> = (asked.from..end).map(|place| StarIndex(index(place))).collect();
        let names = match asked.order {
            StarOrder::Arrival => course.stars.range(StarIndex(asked.from), end - asked.from)?,
            StarOrder::State | StarOrder::Progress => course.names(&indexes)?,
        };
        let placed = (asked.from..end).zip(indexes).zip(names);
        Ok::<_, OperateError>(placed.map(|((place, index), star)| PlacedStar { place, index: index.0, star }).collect())
    };
    context.ask(look).await
}

/// Where rows come from now, and the view that all who look in this order share.
async fn find(context: &Context, run: RunId, order: StarOrder) -> Result<(MatrixRows, SharedView), OperateError> {
    let course = context.course(run).await?;
    let state = context.installation.state().await.map_err(|error| error.message);
    let rows = MatrixRows::find(&context.store, course, state).await?;
    let view = context.matrices.find(&rows, order);
    Ok((rows, view))
}

/// Where a range ends: with the run's last star at the latest.
fn end_of(rows: &MatrixRows, asked: MatrixRange, stars_per_line: u32, most: u32) -> Result<u32, OperateError> {
    let MatrixRange { from, count, .. } = asked;
    let stars = rows.stars();
    let reason = if from >= stars {
        format!("the run has {stars} stars, counted from 0: there is none at {from}")
    } else if count == 0 || count.div_ceil(stars_per_line) > most {
        format!("{count} stars cannot be asked for at once: expected 1 to {}", most * stars_per_line)
    } else {
        return Ok(from.saturating_add(count).min(stars));
    };
    Err(OperateError::new(ErrorKind::Invalid, reason))
}
