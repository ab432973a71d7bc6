//! Taking back what a run did to star files: each shows what it showed before the run, and nothing is removed.

use domain::error::chain;
use domain::id::{Generation, Quarter, RunId, StarId};
use schemars::JsonSchema;
use serde::Serialize;
use store::Store;
use store::agent::Agent;
use store::audit::{Target, Verb};
use store::paths;
use store::runs::Decided;

use crate::operate::audit::Deed;
use crate::operate::look_up::{end_of, record};
use crate::operate::star::{Aim, FoundQuarter, OneQuarter, point};
use crate::operate::{Context, OperateError};

/// How many of the stars are named that are left as they are.
const NAMED: usize = 20;

/// Which run is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollBackRun {
    /// The run.
    pub run: RunId,
    /// Only counts.
    pub dry_run: bool,
}

/// What became of the star files of a run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunRolledBack {
    /// The run.
    pub run: RunId,
    /// Whether it was only counted.
    pub dry_run: bool,
    /// Stars that settled in it with a generation.
    pub stars: u64,
    /// Star files that show again what they showed before it; of a dry run those that would.
    pub back: u64,
    /// Star files that showed another generation than the run's: they are left as they are.
    pub elsewhere: u64,
    /// Stars that cannot go back: they are left as they are.
    pub left: u64,
    /// The first of these.
    pub first_left: Vec<LeftStar>,
    /// The line of the audit that says so; none where nothing was done.
    pub audit: Option<u64>,
    /// What comes of it, in words.
    pub effect: String,
}

/// A star that is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LeftStar {
    /// The star.
    pub star: StarId,
    /// Why.
    pub reason: String,
}

/// What names alone tell of the star files of a run.
struct RunGenerations {
    quarter: Quarter,
    /// Stars whose star file shows what the run made: that, and what it showed before.
    shown: Vec<(StarId, Generation, Option<Generation>)>,
    elsewhere: u64,
    /// Whether stars may have settled in it more than once.
    is_retried: bool,
    is_over: bool,
}

/// Makes the star file of every star that settled in a run show what it showed before, where it shows what the run made. A star that
/// settles completely in a later run shows that. `progress` is told how many stars are done, of how many; who stops it in between may
/// say it again.
pub async fn roll_back(
    context: &Context,
    asked: RollBackRun,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<RunRolledBack, OperateError> {
    let RollBackRun { run, dry_run } = asked;
    let RunGenerations { quarter, mut shown, elsewhere, is_retried, is_over } =
        context.ask(move |store| look(store, run)).await?;
    // One of its own: others have questions while this goes on.
    let readers = context.readers.another(1);
    let mut agent = readers.lend().await?;
    if is_retried || !dry_run {
        for (star, _, before) in &mut shown {
            *before = before_run(context, &mut agent, (*star, quarter, run), *before).await?;
        }
    }
    let able = shown.iter().filter(|(.., before)| before.is_some()).count() as u64;
    let goes_on = if is_over { "" } else { "; the run goes on, and stars that settle in it later show what it makes" };
    let mut done = RunRolledBack {
        run,
        dry_run,
        stars: shown.len() as u64 + elsewhere,
        back: 0,
        elsewhere,
        left: 0,
        first_left: Vec::new(),
        audit: None,
        effect: format!("{able} star files are to show again what they showed before the run{goes_on}"),
    };
    if !dry_run && able > 0 {
        let (by, effect) = (context.doer()?, done.effect.clone());
        let write = move |store: &Store| {
            let (verb, target) = (Verb::Rollback, Target::Run { run });
            by.record(store, Deed { verb, target, count: Some(able), decision: None, effect: &effect })
        };
        done.audit = Some(context.ask(write).await?);
    }
    let all = shown.len() as u64;
    for (at, (star, from, before)) in (0..).zip(shown) {
        progress(at, all);
        match before {
            None => done.leave(star, "it has no generation from before the run".to_owned()),
            Some(_) if dry_run => done.back += 1,
            Some(to) => {
                let aim = Aim { to, only_from: Some(from), is_audited: false };
                match back(context, &mut agent, OneQuarter { star, quarter: Some(quarter) }, aim).await {
                    Ok(true) => done.back += 1,
                    Ok(false) => done.elsewhere += 1,
                    Err(error) => done.leave(star, chain(&error)),
                }
            }
        }
    }
    progress(all, all);
    if !dry_run {
        done.effect = format!("{} star files show again what they showed before the run{goes_on}", done.back);
    }
    Ok(done)
}

impl RunRolledBack {
    fn leave(&mut self, star: StarId, reason: String) {
        self.left += 1;
        if self.first_left.len() < NAMED {
            self.first_left.push(LeftStar { star, reason });
        }
    }
}

/// Points one star file back; false where it shows something else by now.
async fn back(context: &Context, agent: &mut Agent, of: OneQuarter, aim: Aim) -> Result<bool, OperateError> {
    let found = FoundQuarter::find(context, of).await?;
    Ok(point(context, agent, &found, aim).await?.decided.is_some())
}

/// Blocks on the disk.
fn look(store: &Store, run: RunId) -> Result<RunGenerations, OperateError> {
    let quarter = record(store, run)?.quarter;
    let mut made = Vec::new();
    store.each_settled_row(run, |row| {
        if let (Some(generation), Some(_)) = (row.generation, row.end) {
            made.push((row.star, generation));
        }
    })?;
    made.sort_unstable();
    let stars = store.stars(run)?;
    let (mut shown, mut elsewhere) = (Vec::new(), 0);
    for (star, generation) in made {
        let star = stars.star(star)?;
        if store.open_generation(star, quarter)? == Some(generation) {
            shown.push((star, generation, store.shown_before(star, quarter, generation)?));
        } else {
            elsewhere += 1;
        }
    }
    let is_retried = store.decisions(run)?.iter().any(|(_, decision)| matches!(decision.what, Decided::Retry { .. }));
    Ok(RunGenerations { quarter, shown, elsewhere, is_retried, is_over: end_of(store, run)?.is_some() })
}

/// The same, further back while it is of the run itself: a star that is run again settles in it once more.
async fn before_run(
    context: &Context,
    agent: &mut Agent,
    (star, quarter, run): (StarId, Quarter, RunId),
    mut before: Option<Generation>,
) -> Result<Option<Generation>, OperateError> {
    while let Some(number) = before {
        let file = context.store.at(paths::generation(star, quarter, number));
        let is_of_run = match agent.manifest(&file).await {
            Ok(manifest) => manifest.generation.is_some_and(|info| info.run == run),
            // Why it cannot be shown is said where it is to be.
            Err(_) => false,
        };
        if !is_of_run {
            break;
        }
        before = context.ask(move |store| store.shown_before(star, quarter, number)).await?;
    }
    Ok(before)
}
