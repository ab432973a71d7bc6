//! Pointing a star file at another generation: a decision on record, then the star file.

use domain::id::{Generation, Quarter, StarId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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
    // What cannot be read cannot be shown.
    found.read(context, &mut agent, Some(to)).await?;
    let place = found.place(context);
    let view = place.look(&mut **agent).await?;
    let choice = view.map(|view| view.choice).ok_or_else(|| OperateError::not_found("its generations are gone"))?;
    let (quarter, from, newest) = (found.quarter, choice.open, choice.newest);
    let effect = format!(
        "the star file shows generation {to}, and no longer {from}, until a run after generation {newest} settles the star \
         completely, or something else is decided"
    );
    let decided = if from == to {
        None
    } else {
        let (by, effect) = (context.doer()?, effect.clone());
        let write = move |store: &Store| {
            let decision = Rollback { at: Timestamp::now(), by: by.who.clone(), from, to, newest };
            let number = store.decide_rollback(star, quarter, &decision)?;
            let (verb, target) = (Verb::Rollback, Target::Star { star, quarter });
            let deed = Deed { verb, target, count: None, decision: Some(number), effect: &effect };
            Ok::<_, OperateError>((number, (by.record(store, deed)?, decision)))
        };
        Some(context.ask(write).await?)
    };
    // Also where nothing was decided: whoever decided it may have died before the star file followed.
    let scratch = agent.options().writable.clone();
    place.show(&mut **agent, &scratch, None).await?;
    let (number, rest) = decided.unzip();
    let (audit, decision) = rest.unzip();
    let effect = match decision {
        Some(_) => effect,
        None => format!("nothing was decided: the star file shows generation {to} already"),
    };
    let file = paths::star_file(star, quarter).display().to_string();
    Ok(RolledBack { star, quarter, file, number, audit, decision, effect })
}
