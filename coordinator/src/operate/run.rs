//! The levers of a run, and starting one: decisions that are written to the store, where coordinators find and follow them
//! within a second.
//!
//! The state need not answer: what is decided is on record before anything follows it, and outlives whatever is down now.

mod amend;
mod flips;
mod lever;
mod retry;
mod rollback;
mod start;

use domain::id::{ModuleName, RunId};
use domain::text::moment;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use store::Store;
use store::audit::{Target, Verb};
use store::runs::{Amendment, Decided, Decision};

pub use amend::{AmendImages, amend};
pub use flips::{Flip, FlipCount, FlipDirection, RunFlips, flips};
pub use lever::{Lever, PullLever, pull};
pub(super) use retry::count_at_end;
pub use retry::{RetryTasks, open_words, retry, words};
pub use rollback::{LeftStar, RollBackRun, RunRolledBack, roll_back};
pub(super) use start::{StarsToStart, stars_to_start, start_stars};
pub use start::{StartRun, StartedRun, of_event, start, start_defined};

use super::OperateError;
use super::audit::{Deed, Doer};
use super::look_up::{end_of, record};
use crate::standing::{self, Sense, Standing};

/// What was decided about a run, and what comes of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunDecided {
    /// The run.
    pub run: RunId,
    /// The decision's number; none when everything was so already.
    pub number: Option<u64>,
    /// The line of the audit that says so.
    pub audit: Option<u64>,
    /// The decision.
    #[serde(flatten)]
    #[schemars(with = "DecisionFields")]
    pub decision: Option<Decision>,
    /// What comes of it, in words.
    pub effect: String,
}

/// What was decided, in a few words.
pub fn decided_words(what: &Decided) -> String {
    match what {
        Decided::Pause => "pause".to_owned(),
        Decided::Resume => "resume".to_owned(),
        Decided::Cancel => "cancel".to_owned(),
        Decided::Priority { weight } => format!("weight {weight}"),
        Decided::Retry { selection } => format!("retry {}", words(selection)),
        Decided::CancelTasks { selection } => format!("cancel {}", open_words(selection)),
        Decided::Amend { images } => {
            let image = |(module, amendment): (&ModuleName, &Amendment)| format!("{module} runs {}", amendment.image);
            images.iter().map(image).collect::<Vec<_>>().join(", ")
        }
    }
}

/// The fields of a decision, which are not there where nothing was decided: what each kind has besides is its own.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is read as a schema")]
struct DecisionFields {
    /// When.
    at: Option<Timestamp>,
    /// Who.
    by: Option<String>,
    /// What, in a word.
    decision: Option<String>,
}

/// How an existing run stands by its decisions. Blocks on the disk.
pub(super) fn standing(store: &Store, run: RunId) -> Result<Standing, OperateError> {
    record(store, run)?;
    Ok(standing::read(store, run)?)
}

/// Refuses what cannot have any effect. Blocks on the disk.
pub(super) fn require_sense(
    store: &Store,
    run: RunId,
    standing: &Standing,
    what: &Decided,
) -> Result<Sense, OperateError> {
    let sense = standing.sense(what);
    match sense {
        Sense::Changes | Sense::Already => Ok(sense),
        Sense::Ended => {
            let ended = end_of(store, run)?.map(|end| moment(end.ended));
            Err(OperateError::refused(format!(
                "run {run} ended at {}: there is nothing left to decide; `sas run retry {run}` opens it again",
                ended.unwrap_or_default()
            )))
        }
        Sense::Cancelling => Err(OperateError::refused(format!(
            "run {run} is being cancelled: only when it has ended can tasks of it be tried again (`sas run retry {run}`)"
        ))),
    }
}

/// Writes a decision down; coordinators find it by themselves, and at once where the run has ended. Blocks on the disk.
pub(super) fn write(store: &Store, run: RunId, by: &Doer, what: Decided) -> Result<(u64, Decision), OperateError> {
    let decision = Decision { at: Timestamp::now(), by: by.who.clone(), what };
    let number = store.decide(run, &decision)?;
    store.nudge(run)?;
    Ok((number, decision))
}

impl RunDecided {
    /// What was decided, with its line in the audit. Blocks on the disk.
    pub(super) fn on_record(
        store: &Store,
        run: RunId,
        by: &Doer,
        (number, decision): (u64, Decision),
        (count, effect): (Option<u64>, String),
    ) -> Result<Self, OperateError> {
        let (verb, target) = (verb(&decision.what), Target::Run { run });
        let audit = by.record(store, Deed { verb, target, count, decision: Some(number), effect: &effect })?;
        Ok(Self { run, number: Some(number), audit: Some(audit), decision: Some(decision), effect })
    }
}

fn verb(what: &Decided) -> Verb {
    match what {
        Decided::Pause => Verb::Pause,
        Decided::Resume => Verb::Resume,
        Decided::Cancel | Decided::CancelTasks { .. } => Verb::Cancel,
        Decided::Priority { .. } => Verb::Priority,
        Decided::Retry { .. } => Verb::Retry,
        Decided::Amend { .. } => Verb::Amend,
    }
}
