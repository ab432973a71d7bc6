//! Stars of a run by the stage that they are at: to come, in flight, ended in one way or another; a page at a time.
//!
//! The sets are those that the numbers of a run count, so that every number has its list.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use domain::id::{RunId, StarId, StarIndex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::Store;
use store::course::Course;
use store::runs::StarEnd;

use super::look_up::end_of;
use super::{Context, OperateError};

/// How far a star of a run is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StarStage {
    /// It was not let in yet.
    ToCome,
    /// It was let in, and is not settled.
    InFlight,
    /// It ended, in whatever way.
    Settled,
    /// Every task succeeded or had nothing to do.
    Complete,
    /// A task was skipped since an external was not delivered.
    Incomplete,
    /// A task failed, or the platform could not run it.
    Failed,
    /// An operator cancelled the run, the star or a task of it before the star was done.
    Cancelled,
    /// A newer run took the star over.
    Superseded,
}

impl From<StarEnd> for StarStage {
    fn from(end: StarEnd) -> Self {
        match end {
            StarEnd::Complete => Self::Complete,
            StarEnd::Incomplete => Self::Incomplete,
            StarEnd::Failed => Self::Failed,
            StarEnd::Cancelled => Self::Cancelled,
            StarEnd::Superseded => Self::Superseded,
        }
    }
}

/// Which stars are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListStars {
    /// Of this run.
    pub run: RunId,
    /// Those at this stage.
    pub stage: StarStage,
    /// Only what comes after this one in the run's list.
    pub after: Option<u32>,
    /// At most so many.
    pub limit: usize,
}

/// Stars of a run that are at one stage.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ListedStars {
    /// The run.
    pub run: RunId,
    /// In the order of the run's list.
    pub stars: Vec<ListedStar>,
    /// How many there are in all.
    pub all: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<u32>,
    /// That the state could not be asked, with the reason: what is not settled counts as to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_only: Option<String>,
}

/// A star in a list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ListedStar {
    /// The star.
    pub star: StarId,
    /// How it ended; `None` while it has not, and until that is written down.
    pub end: Option<StarEnd>,
}

/// Lists stars of a run that are at one stage.
pub async fn list(context: &Context, asked: ListStars) -> Result<ListedStars, OperateError> {
    let course = context.course(asked.run).await?;
    let open = OpenStars::find(context, &course).await?;
    context.ask(move |store| found(store, &course, &open, asked)).await
}

/// The stars that have not ended.
enum OpenStars {
    /// As the state has them; in a run with a policy for the quarter before, stars enter also behind one that is to come.
    Known { in_flight: BTreeSet<StarIndex>, to_come: Range<u32>, has_policy: bool },
    /// All that the store does not have as settled, for the state does not tell.
    Unknown(String),
}

impl OpenStars {
    async fn find(context: &Context, course: &Course) -> Result<Self, OperateError> {
        let (run, stars) = (course.record.run, course.record.stars);
        if context.ask(move |store| end_of(store, run)).await?.is_some() {
            return Ok(Self::Known { in_flight: BTreeSet::new(), to_come: stars..stars, has_policy: false });
        }
        let asked = async {
            let state = context.installation.state().await?;
            let Some(view) = state.run(run).await? else { return Ok(None) };
            Ok::<_, OperateError>(Some((view.info.cursor, state.in_flight(run, stars).await?)))
        };
        Ok(match asked.await {
            Ok(Some((cursor, in_flight))) => Self::Known {
                in_flight: in_flight.into_iter().collect(),
                to_come: cursor..stars,
                has_policy: course.pipeline.previous.is_some(),
            },
            Ok(None) => Self::Unknown("the state does not have the run".to_owned()),
            Err(error) => Self::Unknown(error.message),
        })
    }

    /// The stage of a star that the store has with this end.
    fn stage(&self, star: u32, end: Option<StarEnd>) -> StarStage {
        match self {
            Self::Known { in_flight, .. } if in_flight.contains(&StarIndex(star)) => StarStage::InFlight,
            Self::Known { has_policy: true, .. } if end.is_some() => StarStage::Settled,
            Self::Known { to_come, .. } if to_come.contains(&star) => StarStage::ToCome,
            Self::Unknown(_) if end.is_none() => StarStage::ToCome,
            Self::Known { .. } | Self::Unknown(_) => StarStage::Settled,
        }
    }
}

/// Blocks on the disk.
fn found(store: &Store, course: &Arc<Course>, open: &OpenStars, asked: ListStars) -> Result<ListedStars, OperateError> {
    let ListStars { run, stage, after, limit } = asked;
    let mut ends: Vec<Option<StarEnd>> = vec![None; course.record.stars as usize];
    store.each_settled_row(run, |settled| {
        if let Some(end) = ends.get_mut(settled.star.0 as usize) {
            *end = settled.end;
        }
    })?;
    let is_meant = |(star, end): &(u32, Option<StarEnd>)| {
        let at = open.stage(*star, *end);
        at == stage || at == StarStage::Settled && end.is_some_and(|end| StarStage::from(end) == stage)
    };
    let meant: Vec<(u32, Option<StarEnd>)> = (0..).zip(ends).filter(is_meant).collect();
    let rest = meant.iter().skip_while(|(star, _)| after.is_some_and(|after| *star <= after));
    let page: Vec<&(u32, Option<StarEnd>)> = rest.take(limit.max(1)).collect();
    let next = page.last().map(|(star, _)| *star).filter(|last| meant.last().is_some_and(|(star, _)| star > last));
    let one = |(star, end): &&(u32, Option<StarEnd>)| {
        let end = end.filter(|_| open.stage(*star, *end) == StarStage::Settled);
        Ok(ListedStar { star: course.stars.star(StarIndex(*star))?, end })
    };
    Ok(ListedStars {
        run,
        stars: page.iter().map(one).collect::<Result<_, OperateError>>()?,
        all: meant.len() as u64,
        next,
        stored_only: match open {
            OpenStars::Known { .. } => None,
            OpenStars::Unknown(reason) => Some(reason.clone()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_where_the_state_has_it_whatever_the_store_had_before() {
        let known = OpenStars::Known { in_flight: BTreeSet::from([StarIndex(1)]), to_come: 3..5, has_policy: false };
        let ended = Some(StarEnd::Failed);
        let stages =
            [(0, ended), (1, ended), (2, None), (3, None), (4, ended)].map(|(star, end)| known.stage(star, end));
        let [settled, to_come] = [StarStage::Settled, StarStage::ToCome];
        assert_eq!(stages, [settled, StarStage::InFlight, settled, to_come, to_come]);
        let unknown = OpenStars::Unknown(String::new());
        assert_eq!([unknown.stage(0, ended), unknown.stage(1, None)], [settled, to_come]);
    }
}
