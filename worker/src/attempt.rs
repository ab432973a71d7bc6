//! One attempt: resolve what it comes to, and unless the result is there, execute it, then commit. Each verb is a file.
//!
//! It knows no queue and no state: it is given a granted claim, and says how the attempt ended. What the module did wrong
//! is a `Failed`; whatever the platform could not do is an `Errored`, never blamed on the module.

mod blame;
mod commit;
mod committed;
mod desk;
mod ending;
mod execute;
mod identity;
mod judge;
mod kept;
mod layout;
mod look;
mod manifests;
mod nothing;
mod on_record;
mod place;
mod prefetch;
mod prepare;
mod provenance;
mod resolve;
mod seal;
mod serve;
mod spec;
mod stage;
mod tolerate;
mod twice;

pub(crate) use commit::commit;
use committed::is_damaged;
pub(crate) use desk::{Bounds, Desk, Order};
use domain::id::{ImageName, Key};
use domain::outcome::{Outcome, Success, UsedResources};
use ending::Ending;
use execute::execute;
pub(crate) use kept::KeptFolders;
pub(crate) use manifests::Manifests;
pub(crate) use nothing::refusal;
pub(crate) use prefetch::prefetch;
use prepare::{Prepared, prepare};
use resolve::{Plan, Resolved, resolve, success_of};
pub(crate) use seal::SealedResult;
use tokio_util::sync::CancellationToken;

use crate::progress::AttemptStep;
use crate::runner::Effect;

/// How an attempt ended, or is about to.
pub(crate) struct Finish {
    pub(crate) end: End,
    /// Its key, where it got so far.
    pub(crate) key: Option<Key>,
    /// The image that it ran, or was about to run.
    pub(crate) image: Option<ImageName>,
    /// The program's log; empty where nothing ran.
    pub(crate) log: String,
    /// What the program used, as far as that was measured.
    pub(crate) used: UsedResources,
    /// Whether the store has it on record already that it failed.
    pub(crate) is_on_record: bool,
}

/// What an attempt came to.
pub(crate) enum End {
    /// It is over.
    Outcome(Outcome),
    /// It was told to stop.
    Cancelled,
    /// It has a result, which is to be committed; the desk is free for the next.
    Sealed(SealedResult),
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        ending.outcome().map_or(Self::Cancelled, Self::Outcome)
    }
}

/// Performs an attempt as far as it needs the desk. `cancel` stops it; nothing of it is left then.
pub(crate) async fn perform(desk: &mut Desk, order: &Order, cancel: &CancellationToken) -> Finish {
    let mut finish = Finish {
        end: End::Cancelled,
        key: None,
        image: None,
        log: String::new(),
        used: UsedResources::default(),
        is_on_record: false,
    };
    if desk.runner.effect() == Effect::Nothing {
        finish.end = nothing::end(desk, order).await.map_or_else(End::from, End::Outcome);
        return finish;
    }
    let ended = verbs(desk, order, &mut finish, cancel).await;
    let end = match ended {
        Ok(End::Sealed(sealed)) => {
            // Its directory goes once it is reported.
            finish.end = End::Sealed(sealed);
            return finish;
        }
        Ok(end) => end,
        Err(Ending::Damaged(input)) => committed::make_room(&desk.store, *input).await.into(),
        Err(ending @ (Ending::Outcome(_) | Ending::Cancelled)) => ending.into(),
    };
    layout::clean_up(&desk.store, desk.folder_of(order)).await;
    finish.end = end;
    finish
}

async fn verbs(desk: &mut Desk, order: &Order, finish: &mut Finish, cancel: &CancellationToken) -> Result<End, Ending> {
    order.progress.begins(AttemptStep::Resolve);
    loop {
        let plan = match resolve(desk, order, cancel).await? {
            Resolved::Planned(plan) => plan,
            Resolved::Unidentified(program) => {
                drop(identity::fix(&desk.store, &desk.runner, &order.run, &program).await?);
                continue;
            }
        };
        match prepare(desk, order, &plan, cancel).await? {
            Prepared::There { file, inode } => match twice::manifest(desk, &file).await? {
                Ok(manifest) => {
                    let success = Success { reused: true, ..success_of(order, plan.key, &manifest) };
                    return Ok(End::Outcome(Outcome::Succeeded(success)));
                }
                Err(error) if is_damaged(&error) => drop(committed::set_aside(&desk.store, &file, inode).await?),
                Err(error) => return Err(Ending::unreadable(&file, &error)),
            },
            Prepared::Failed(known) => {
                finish.meant(&plan);
                (finish.is_on_record, finish.log) = (true, known.log);
                return Err(known.outcome.into());
            }
            Prepared::Made(made) => {
                finish.meant(&plan);
                return execute(desk, order, &plan, made, finish, cancel).await.map(End::Sealed);
            }
        }
    }
}

impl Finish {
    /// It was to be made as a plan says.
    fn meant(&mut self, plan: &Plan) {
        self.key = Some(plan.key);
        self.image = Some(plan.program.image.clone());
    }
}
