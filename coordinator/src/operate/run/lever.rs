//! Pause, resume, cancel, priority.

use std::num::NonZeroU32;

use domain::id::RunId;
use serde::Deserialize;
use services::state::Phase;
use store::Store;
use store::runs::{Decided, QuarterVerdict};

use super::{RunDecided, require_sense, standing, write};
use crate::operate::audit::Doer;
use crate::operate::{Context, OperateError};
use crate::standing::{Sense, Standing};

/// What can be pulled at a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "lever", rename_all = "snake_case")]
pub enum Lever {
    /// Let no star enter and no task be claimed; what runs goes on to its end.
    Pause,
    /// Let a paused run go on where it was.
    Resume,
    /// End it: what has not ended ends as cancelled.
    Cancel,
    /// Set its weight in the choice of the next star.
    Priority {
        /// Runs begin with 1.
        weight: NonZeroU32,
    },
}

/// A lever of a run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PullLever {
    /// The run.
    pub run: RunId,
    /// The lever.
    #[serde(flatten)]
    pub lever: Lever,
}

/// Pulls a lever of a run, unless that makes no sense, and says what will happen.
pub async fn pull(context: &Context, asked: PullLever) -> Result<RunDecided, OperateError> {
    let by = context.doer()?;
    context.ask(move |store| decide(store, asked, &by)).await
}

fn decide(store: &Store, asked: PullLever, by: &Doer) -> Result<RunDecided, OperateError> {
    let PullLever { run, lever } = asked;
    let standing = standing(store, run)?;
    let what = Decided::from(lever);
    // Stars may be held while the run itself goes on.
    let held = if what == Decided::Resume { held_stars(store, run)? } else { 0 };
    match require_sense(store, run, &standing, &what)? {
        Sense::Already if held == 0 => {
            let effect = "nothing was decided: it is so already".to_owned();
            Ok(RunDecided { run, number: None, audit: None, decision: None, effect })
        }
        Sense::Already | Sense::Changes | Sense::Ended | Sense::Cancelling => {
            let decided = write(store, run, by, what)?;
            let (count, effect) = match held {
                0 => (None, effect(&standing, lever)),
                held => {
                    let stars = match held {
                        1 => "star that is held enters, whatever became of its quarter before",
                        _ => "stars that are held enter, whatever became of their quarter before",
                    };
                    (Some(held), format!("{}; {held} {stars}", effect(&standing, lever)))
                }
            };
            RunDecided::on_record(store, run, by, decided, (count, effect))
        }
    }
}

impl From<Lever> for Decided {
    fn from(lever: Lever) -> Self {
        match lever {
            Lever::Pause => Self::Pause,
            Lever::Resume => Self::Resume,
            Lever::Cancel => Self::Cancel,
            Lever::Priority { weight } => Self::Priority { weight: weight.get() },
        }
    }
}

/// Stars that are held since their quarter before did not end well.
fn held_stars(store: &Store, run: RunId) -> Result<u64, OperateError> {
    let outside = store.stars_outside(run)?;
    Ok(outside.values().filter(|verdict| matches!(verdict, QuarterVerdict::Held { .. })).count() as u64)
}

fn effect(standing: &Standing, lever: Lever) -> String {
    match lever {
        Lever::Pause => {
            "no star enters it and no task of it is claimed any more; what runs now goes on to its end".to_owned()
        }
        Lever::Resume => "stars enter it and tasks of it are claimed again".to_owned(),
        Lever::Cancel => "what has not ended ends as cancelled, what runs now is stopped; committed results and \
                          star files stay"
            .to_owned(),
        Lever::Priority { weight } => {
            let paused = if standing.phase == Phase::Paused { ", once it goes on" } else { "" };
            format!(
                "its weight was {}, now {weight}: the next star comes from the run with the fewest in flight per weight{paused}",
                standing.weight
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_lever_and_a_weight_is_one_or_more() {
        let run = "00000000-0000-5000-8000-000000000000";
        let read = |text: &str| serde_json::from_str::<PullLever>(&text.replace("RUN", run)).map(|asked| asked.lever);
        assert_eq!(read(r#"{"run": "RUN", "lever": "pause"}"#).unwrap(), Lever::Pause);
        let weighed = read(r#"{"run": "RUN", "lever": "priority", "weight": 7}"#).unwrap();
        assert_eq!(Decided::from(weighed), Decided::Priority { weight: 7 });
        assert!(read(r#"{"run": "RUN", "lever": "priority", "weight": 0}"#).is_err());
        assert!(read(r#"{"run": "RUN", "lever": "stop"}"#).is_err());
    }
}
