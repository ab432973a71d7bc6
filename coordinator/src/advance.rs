//! Brings what happened to stars into the state: read rows, fold, write with compare-and-set, again where others were
//! faster.
//!
//! What is to be published after it is collected, not published here.

pub(crate) mod dispatch;
pub(crate) mod fold;
pub(crate) mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::id::{Attempt, ModuleIndex, StarIndex, Task};
use domain::run::{Event, Star};
use jiff::Timestamp;
use services::state::{Admission, Change, ClaimedTask, StateError, Written};
use store::course::Course;
use store::crash::CrashPoint;
use store::failures::FailureRecord;
use store::runs::SettledStar;
use store::{Store, paths};

use crate::running::Coordinator;
use crate::trouble::Trouble;
use fold::{Step, fold};

/// Most stars in one write, since nobody else is served meanwhile.
pub(crate) const AT_ONCE: usize = 256;

/// How often a lost race is run again before it is trouble.
const RACES: u32 = 30;

/// What happened to stars of one run, and what came of it so far. What is done is taken out, so that after trouble the
/// rest can be tried again.
pub(crate) struct News {
    pub(crate) course: Arc<Course>,
    pub(crate) steps: BTreeMap<StarIndex, Vec<Step>>,
    /// Attempts that entered the outbox.
    pub(crate) ready: Vec<(Task, Attempt)>,
    /// Stars whose last task was settled.
    pub(crate) closing: u32,
    /// Stars that changed.
    pub(crate) changed: u32,
    /// Failures that no worker wrote down, to be recorded once the state has them.
    pub(crate) failures: Vec<(StarIndex, FailureRecord)>,
}

/// What to do when somebody else changed a star first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Race {
    /// Read and decide again.
    Again,
    /// Leave it: a timer names it again.
    Leave,
}

impl News {
    pub(crate) fn of(course: &Arc<Course>) -> Self {
        Self {
            course: course.clone(),
            steps: BTreeMap::new(),
            ready: Vec::new(),
            closing: 0,
            changed: 0,
            failures: Vec::new(),
        }
    }

    /// Adds something that happened to a star.
    pub(crate) fn add(&mut self, star: StarIndex, step: impl Into<Step>) {
        self.steps.entry(star).or_default().push(step.into());
    }

    /// Brings everything into the state. A run that is over takes nothing in, which is no trouble.
    pub(crate) async fn bring_in(&mut self, running: &Coordinator, race: Race) -> Result<(), Trouble> {
        for round in 0..RACES {
            match self.round(running, race).await {
                Ok(()) => {}
                Err(Trouble::State(StateError::NoRun(run))) => {
                    tracing::debug!(%run, stars = self.steps.len(), "the run is over");
                    self.steps.clear();
                }
                Err(Trouble::State(StateError::Epoch { .. })) => running.mend_epoch().await?,
                Err(trouble) => return Err(trouble),
            }
            if self.steps.is_empty() {
                return Ok(());
            }
            pause(round).await;
        }
        Err(Trouble::Contended { run: self.course.record.run, stars: self.steps.len() })
    }

    /// Tries every star once.
    async fn round(&mut self, running: &Coordinator, race: Race) -> Result<(), Trouble> {
        let stars: Vec<StarIndex> = self.steps.keys().copied().collect();
        for stars in stars.chunks(AT_ONCE) {
            let changes = self.decide(running, stars).await?;
            if changes.is_empty() {
                continue;
            }
            let run = self.course.record.run;
            let written = running.services.state.write(run, running.epoch(), None, &changes).await?;
            CrashPoint::RowsWritten.reached();
            for (change, written) in changes.into_iter().zip(written) {
                if written != Written::Done {
                    running.rows.forget(run, change.star);
                }
                match (written, race) {
                    (Written::Done, _) => self.done(running, change),
                    (Written::Lost, Race::Again) => {}
                    (Written::Lost, Race::Leave) => drop(self.steps.remove(&change.star)),
                    (Written::Unclaimed { module, is_held }, _) => self.disbelieve(running, &change, module, is_held),
                }
            }
        }
        Ok(())
    }

    /// Somebody said how a task ended who did not claim it. Where another holds it, that one will say; where nobody does, it is
    /// handed out once more.
    fn disbelieve(&mut self, running: &Coordinator, change: &Change, module: ModuleIndex, is_held: bool) {
        let star = change.star;
        let Some(steps) = self.steps.get_mut(&star) else { return };
        let course = &self.course;
        running.counters.unclaimed.inc();
        tracing::warn!(
            run = %course.record.run,
            star = %course.star_in_logs(star),
            module = course.module_in_logs(module),
            "somebody says how it ended who did not claim it: not believed"
        );
        // What others say of the same task is for the next round.
        let refused = change.claimed.iter().find(|claim| claim.module == module).copied();
        steps.retain_mut(|step| {
            if step.claim.is_none() || step.claim != refused {
                return true;
            }
            if let (Event::Ended { attempt, .. }, Some(claim), false) = (step.event, step.claim, is_held) {
                // By then somebody may have claimed it.
                let claim = Some(ClaimedTask { may_be_gone: true, ..claim });
                *step = Step { event: Event::GivenBack { module, attempt }, detail: None, claim };
                return true;
            }
            false
        });
        if steps.is_empty() {
            self.steps.remove(&star);
        }
    }

    /// What to write for these stars; those that nothing happens to are done.
    async fn decide(&mut self, running: &Coordinator, stars: &[StarIndex]) -> Result<Vec<Change>, Trouble> {
        let course = self.course.clone();
        let run = course.record.run;
        let (mut changes, mut unknown) = (Vec::new(), Vec::new());
        for &star in stars {
            match self.decided_on_kept(running, star) {
                Some(change) => changes.push(change),
                None => unknown.push(star),
            }
        }
        if unknown.is_empty() {
            return Ok(changes);
        }
        let current = running.services.state.load(run, &unknown).await?;
        let mut settled = Vec::new();
        for (&star, current) in unknown.iter().zip(&current) {
            let folded = fold(&course.pipeline, &course.graph, star, current, &self.steps[&star]);
            for reason in &folded.ignored {
                tracing::debug!(%run, star = %course.star_in_logs(star), %reason, "ignored");
            }
            match folded.change {
                None => drop(self.steps.remove(&star)),
                Some(_) if current.is_settled() => settled.push((star, current)),
                Some(change) => changes.push(change),
            }
        }
        if !settled.is_empty() {
            changes.extend(withdraw(running, &course, &settled).await?);
        }
        Ok(changes)
    }

    /// What to write for a star whose row is kept. `None` where it is not, or where it makes anything of what happened stale: the
    /// star may have moved on elsewhere, and then it is not.
    fn decided_on_kept(&self, running: &Coordinator, star: StarIndex) -> Option<Change> {
        let kept = running.rows.of(self.course.record.run, star)?;
        let folded = fold(&self.course.pipeline, &self.course.graph, star, &kept, &self.steps[&star]);
        folded.change.filter(|_| folded.ignored.is_empty())
    }

    /// Notes what came of a change that is in.
    pub(crate) fn done(&mut self, running: &Coordinator, change: Change) {
        let star = change.star;
        running.hooks.changed(&self.course, star, &change.expected.row, &change.after.row);
        running.rows.keep(self.course.record.run, star, change.after);
        self.steps.remove(&star);
        let task = |(module, attempt)| (Task { star, module }, attempt);
        self.ready.extend(change.queue.into_iter().map(task));
        self.closing += u32::from(change.close);
        self.changed += 1;
    }
}

/// Settled stars that must go on. What was known of their tasks may be gone with their closing, so that they are admitted
/// again, when there is need for them: keys make what is done free. Their lines in the settled batches are taken back first.
async fn withdraw(
    running: &Coordinator,
    course: &Arc<Course>,
    stars: &[(StarIndex, &Star)],
) -> Result<Vec<Change>, Trouble> {
    let line = |star| SettledStar {
        star,
        row: Vec::new(),
        keys: BTreeMap::new(),
        generation: None,
        end: None,
        reason: None,
        fingerprint: None,
    };
    let lines: Vec<SettledStar> = stars.iter().map(|(star, _)| line(*star)).collect();
    let run = course.record.run;
    running.services.store.ask(move |store| store.append_settled(run, &lines)).await?;
    running.wakes.admission.notify_one();
    let change = |(star, current): &(StarIndex, &Star)| {
        fold(&course.pipeline, &course.graph, *star, current, &[Event::Withdraw.into()]).change
    };
    Ok(stars.iter().filter_map(change).collect())
}

/// What is fixed of stars that enter, from file names alone: their externals at the horizon, the generation of the quarter
/// before that scientists see.
pub(crate) async fn admissions(
    store: &Store,
    course: &Arc<Course>,
    stars: &[StarIndex],
) -> Result<Vec<Admission>, Trouble> {
    let (course, stars) = (course.clone(), stars.to_vec());
    let admissions = store.ask(move |store| {
        let (record, at) = (&course.record, Some(Timestamp::now()));
        let admission = |star| {
            let previous = match record.quarter.previous() {
                Some(quarter) => store.open_generation(star, quarter)?,
                None => None,
            };
            let mut externals = store.externals(star, record.quarter, record.horizon)?;
            // What the pipeline made before is nothing that it was given.
            if let Some(publishes) = &course.pipeline.publishes {
                externals.retain(|name| !paths::is_version_of(name, &publishes.dataset));
            }
            Ok(Admission { externals, previous, at })
        };
        course.names(&stars)?.into_iter().map(admission).collect()
    });
    Ok(admissions.await?)
}

/// Lets the others finish, a little longer every time, by a time that differs between processes.
async fn pause(round: u32) {
    let jitter = uuid::Uuid::new_v4().as_bytes()[0];
    let most = Duration::from_millis(1) * (round + 1).min(10);
    tokio::time::sleep(most.mul_f64(f64::from(jitter) / 255.0)).await;
}
