//! Pointing a star file at another generation: a decision on record, then the star file.

use domain::id::{Generation, Quarter, StarId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::agent::Agent;
use store::audit::{Target, Verb};
use store::generations::Rollback;
use store::{Store, paths};

use super::{FoundQuarter, OneQuarter};
use crate::operate::audit::Deed;
use crate::operate::{Context, OperateError};

/// What a star file is to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollBack {
    /// The star.
    pub star: StarId,
    /// The quarter; the newest in which it has a generation unless given.
    #[serde(default)]
    pub quarter: Option<Quarter>,
    /// The generation.
    pub to: Generation,
}

/// What was decided about a star file.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RolledBack {
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// The star file, relative to the store's root.
    pub file: String,
    /// The decision's number; none when it was so already.
    pub number: Option<u64>,
    /// The line of the audit that says so.
    pub audit: Option<u64>,
    /// The decision.
    pub decision: Option<Rollback>,
    /// What comes of it, in words.
    pub effect: String,
}

/// Makes the star file show this generation, older or newer, until a later complete one settles or something else is decided.
pub async fn roll_back(context: &Context, asked: RollBack) -> Result<RolledBack, OperateError> {
    let RollBack { star, quarter, to } = asked;
    let found = FoundQuarter::find(context, OneQuarter { star, quarter }).await?;
    let mut agent = context.readers.lend().await?;
    let aim = Aim { to, only_from: None, is_audited: true };
    let Pointed { from, newest, decided } = point(context, &mut agent, &found, aim).await?;
    let effect = match decided {
        Some(_) => effect(aim.to, from, newest),
        None => format!("nothing was decided: the star file shows generation {to} already"),
    };
    let (number, audit, decision) = match decided {
        Some(PointedDecision { number, audit, decision }) => (Some(number), audit, Some(decision)),
        None => (None, None, None),
    };
    let file = paths::star_file(star, found.quarter).display().to_string();
    Ok(RolledBack { star, quarter: found.quarter, file, number, audit, decision, effect })
}

/// Which generation a star file is to show.
#[derive(Debug, Clone, Copy)]
pub(in crate::operate) struct Aim {
    /// The generation.
    pub(in crate::operate) to: Generation,
    /// Nothing is done where it shows another one than this.
    pub(in crate::operate) only_from: Option<Generation>,
    /// Whether the audit gets a line of its own about the star.
    pub(in crate::operate) is_audited: bool,
}

/// What a star file showed when it was pointed elsewhere.
pub(in crate::operate) struct Pointed {
    pub(in crate::operate) from: Generation,
    newest: Generation,
    /// None where nothing was to be decided.
    pub(in crate::operate) decided: Option<PointedDecision>,
}

/// What was decided about one star file.
pub(in crate::operate) struct PointedDecision {
    number: u64,
    audit: Option<u64>,
    decision: Rollback,
}

/// Decides which generation a star file shows, and makes it so.
pub(in crate::operate) async fn point(
    context: &Context,
    agent: &mut Agent,
    found: &FoundQuarter,
    aim: Aim,
) -> Result<Pointed, OperateError> {
    let Aim { to, only_from, is_audited } = aim;
    // What cannot be read cannot be shown.
    found.read(context, agent, Some(to)).await?;
    let place = found.place(context);
    let view = place.look(agent).await?;
    let choice = view.map(|view| view.choice).ok_or_else(|| OperateError::not_found("its generations are gone"))?;
    let (star, quarter, from, newest) = (found.star, found.quarter, choice.open, choice.newest);
    if only_from.is_some_and(|only| only != from) {
        return Ok(Pointed { from, newest, decided: None });
    }
    let decided = if from == to {
        None
    } else {
        let by = context.doer()?;
        let write = move |store: &Store| {
            let decision = Rollback { at: Timestamp::now(), by: by.who.clone(), from, to, newest };
            let number = store.decide_rollback(star, quarter, &decision)?;
            let (verb, target) = (Verb::Rollback, Target::Star { star, quarter });
            let effect = effect(to, from, newest);
            let deed = Deed { verb, target, count: None, decision: Some(number), effect: &effect };
            let audit = is_audited.then(|| by.record(store, deed)).transpose()?;
            Ok::<_, OperateError>(PointedDecision { number, audit, decision })
        };
        Some(context.ask(write).await?)
    };
    // Also where nothing was decided: whoever decided it may have died before the star file followed.
    let scratch = agent.options().writable.clone();
    place.show(agent, &scratch, None).await?;
    Ok(Pointed { from, newest, decided })
}

fn effect(to: Generation, from: Generation, newest: Generation) -> String {
    format!(
        "the star file shows generation {to}, and no longer {from}, until a run after generation {newest} settles the star \
         completely, or something else is decided"
    )
}
