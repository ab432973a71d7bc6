//! Closing stars: build the star file, write the line of the settled batch, forget the star in the state. Off the path of
//! completions.
//!
//! Every step may be repeated by anyone: until the last one is done the closing timer names the star again.

mod end;
mod failed;
mod fingerprints;
mod lines;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use domain::error::chain;
use domain::id::{Generation, ModuleIndex, RunId, StarIndex};
use domain::run::{Cell, Event, TaskState};
use end::{assemble, keys, star_end};
pub(crate) use failed::failed;
use fingerprints::Fingerprints;
use lines::Settled;
pub(crate) use lines::write_lines;
use services::state::{Admission, StarView};
use store::agent::{Agent, AgentError, Assemble, GenerationInfo, RefusalKind};
use store::course::Course;
use store::runs::{FailedTasks, SettledStar, StarEnd};
use store::scratch::Scratch;
use store::{Commit, Store, paths};
use tokio::sync::mpsc;

use crate::advance::dispatch::publish;
use crate::advance::{News, Race};
use crate::running::Coordinator;
use crate::trouble::{Outage, Trouble};

/// How often a star's file is refused before its tasks are done again: workers look at every result, and mend what is
/// damaged.
const LOOK_AGAIN: u32 = 2;

/// How often a star's file may be refused before the star ends without it.
const MOST_REFUSALS: u32 = 5;

/// Builds star files and reads them back.
#[async_trait]
pub trait StarFiles: Send {
    /// Builds a star file at `assemble.dest`.
    async fn build(&mut self, assemble: Assemble) -> Result<(), AgentError>;
    /// What a generation says of how it came to be.
    async fn generation(&mut self, file: &Path) -> Result<Option<GenerationInfo>, AgentError>;
}

#[async_trait]
impl StarFiles for Agent {
    async fn build(&mut self, assemble: Assemble) -> Result<(), AgentError> {
        self.assemble(assemble).await.map(drop)
    }

    async fn generation(&mut self, file: &Path) -> Result<Option<GenerationInfo>, AgentError> {
        Ok(self.manifest(file).await?.generation.map(|info| *info))
    }
}

/// One builder of star files, with a directory of its own.
pub(crate) struct Settler {
    pub(crate) running: Coordinator,
    pub(crate) files: Box<dyn StarFiles>,
    /// Where files are built.
    pub(crate) scratch: Scratch,
    pub(crate) fingerprints: Fingerprints,
}

impl Settler {
    /// Builds the files of stars as they come.
    pub(crate) async fn work(
        mut self,
        jobs: Arc<tokio::sync::Mutex<mpsc::Receiver<(RunId, StarIndex)>>>,
        settled: mpsc::Sender<Settled>,
    ) {
        let mut outage = Outage::of("star files");
        loop {
            let job = jobs.lock().await.recv().await;
            let Some((run, star)) = job else { return };
            let done = self.settle(run, star).await;
            match self.running.of_run(run, done).await.map(Option::flatten) {
                Ok(Some(done)) => {
                    outage.over();
                    if settled.send(done).await.is_err() {
                        return;
                    }
                }
                Ok(None) => self.running.closings.put_off(run, star),
                // One star's trouble is not that of others.
                Err(trouble @ Trouble::Agent(_)) => {
                    tracing::warn!(%run, position = star.0, error = chain(&trouble), "no star file yet");
                    self.running.closings.put_off(run, star);
                }
                Err(trouble) => {
                    self.running.closings.put_off(run, star);
                    outage.wait(&trouble).await;
                }
            }
        }
    }

    /// Builds the file of a star; `None` when it is not, or no longer, to be closed.
    async fn settle(&mut self, run: RunId, star: StarIndex) -> Result<Option<Settled>, Trouble> {
        let Some(course) = self.running.course(run).await? else { return Ok(None) };
        let view = self.running.services.state.star(run, star).await?;
        if view.star.row.is_fresh() || !view.star.is_settled() {
            return Ok(None);
        }
        let (mut end, mut reason) = (star_end(&view), None);
        let generation = match (end, &view.admission) {
            // The star file stays as the last whole run left it: half a run would hide products.
            (StarEnd::Cancelled | StarEnd::Superseded, _) => None,
            // Closed by somebody else meanwhile, or restored by somebody who died over it: its line is on record, and nothing is
            // known of its tasks here any more.
            (_, None) => {
                self.running.services.state.closed(run, star, &view.star.row).await?;
                return Ok(None);
            }
            // So it does after a run that was limited to a group.
            (_, Some(_)) if course.record.only_group.is_some() => None,
            (_, Some(admission)) => match self.build(&course, star, &view, admission).await {
                Ok(Some(generation)) => Some(generation),
                Ok(None) => {
                    end = StarEnd::Superseded;
                    None
                }
                Err(Trouble::Agent(error)) => {
                    if make_again(&self.running, &course, star, &view).await? {
                        return Ok(None);
                    }
                    self.running.services.store.ask(|store| store.probe()).await?;
                    let refusals = self.running.closings.refused(run, star);
                    if refusals == LOOK_AGAIN && !is_newer(&error) {
                        return do_again(&self.running, &course, star).await.map(|()| None);
                    }
                    if refusals < MOST_REFUSALS {
                        return Err(error.into());
                    }
                    tracing::error!(%run, star = %course.star_in_logs(star), error = chain(&error), "the star ends without a star file");
                    reason = Some(format!("its star file cannot be built: {}", chain(&error)));
                    end = StarEnd::Failed;
                    None
                }
                Err(trouble) => return Err(trouble),
            },
        };
        let fingerprint = match &view.admission {
            Some(admission) => self.fingerprints.of(&self.running, &course, star, &view.star.row, admission).await?,
            None => None,
        };
        let failed = what_failed(&self.running, &course, star, &view).await?;
        let row = view.star.row.as_bytes().to_vec();
        let line = SettledStar { star, row, keys: keys(&view), generation, end: Some(end), reason, fingerprint };
        Ok(Some(Settled { course, row: view.star.row, line, failed }))
    }

    /// Makes the star's next generation; the number of the one that holds this end. `None` when the newest one is of newer
    /// data already, as after a retry of an older run: the star file does not go back.
    async fn build(
        &mut self,
        course: &Arc<Course>,
        star: StarIndex,
        view: &StarView,
        admission: &Admission,
    ) -> Result<Option<Generation>, Trouble> {
        let record = &course.record;
        let (quarter, run) = (course.record.quarter, course.record.run);
        let (names, store) = (course.clone(), self.running.services.store.clone());
        let newest = store.ask(move |store| {
            let name = names.stars.star(star)?;
            Ok((name, store.latest_generation(name, quarter)?))
        });
        let (name, mut newest) = newest.await?;
        let mut order = assemble(course, name, view, admission);
        order.store = store.root().to_owned();
        loop {
            if let Some(number) = newest {
                let file = store.at(paths::generation(name, quarter, number));
                // One that cannot be read is not this end; the next one does not need it.
                let info = match self.files.generation(&file).await {
                    Ok(info) => info,
                    // The star file does not go back to what an older version made.
                    Err(error) if is_newer(&error) => return Err(error.into()),
                    Err(AgentError::Refused(_)) => None,
                    Err(error) => return Err(error.into()),
                };
                let is_this = |info: &GenerationInfo| {
                    info.run == run && info.row == order.generation.row && info.ends == order.generation.ends
                };
                if info.as_ref().is_some_and(is_this) {
                    store.ask(move |store| store.refresh_star_file(name, quarter)).await?;
                    return Ok(Some(number));
                }
                if info.is_some_and(|info| info.pipeline == record.pipeline && info.horizon > record.horizon) {
                    return Ok(None);
                }
            }
            let number = newest.unwrap_or_default().next();
            let dest = self.scratch.path().join(format!("{}.h5", uuid::Uuid::new_v4()));
            order.dest.clone_from(&dest);
            order.generation.number = number;
            let built = self.files.build(order.clone()).await;
            let file = dest.clone();
            let commit = match built {
                Ok(()) => {
                    let committed = store.ask(move |store| store.commit_generation(name, quarter, number, &file));
                    committed.await.map_err(Trouble::from)
                }
                Err(error) => Err(error.into()),
            };
            // Its content has its final name by now, or is of no use.
            let _ = tokio::fs::remove_file(&dest).await;
            match commit? {
                Commit::Created => return Ok(Some(number)),
                Commit::Exists => {
                    newest = store.ask(move |store| store.latest_generation(name, quarter)).await?;
                }
            }
        }
    }
}

/// What failed of a star; decisions are read only where images of its run were amended.
async fn what_failed(
    running: &Coordinator,
    course: &Arc<Course>,
    star: StarIndex,
    view: &StarView,
) -> Result<FailedTasks, Trouble> {
    let is_failed = |cell: Cell| matches!(cell.state, TaskState::Failed | TaskState::Errored);
    if !view.star.row.cells().any(is_failed) {
        return Ok(FailedTasks::default());
    }
    let (run, remembered) = (course.record.run, running.remembered.clone());
    let look = move |store: &Store| {
        let is_amended = remembered.orders(store, run)?.amended > 0;
        if is_amended { store.decisions(run) } else { Ok(Vec::new()) }
    };
    Ok(failed(course, star, view, &running.services.store.ask(look).await?))
}

/// Whether a file of a later format is in the way.
fn is_newer(error: &AgentError) -> bool {
    matches!(error, AgentError::Refused(refusal) if refusal.kind == RefusalKind::Newer)
}

/// Has committed results that are not there any more made again; whether there are any.
async fn make_again(
    running: &Coordinator,
    course: &Arc<Course>,
    star: StarIndex,
    view: &StarView,
) -> Result<bool, Trouble> {
    let gone = gone(&running.services.store, course, star, view, course.graph.modules().collect()).await?;
    if gone.is_empty() {
        return Ok(false);
    }
    let mut news = News::of(course);
    for module in gone {
        tracing::warn!(run = %course.record.run, star = %course.star_in_logs(star), module = course.module_in_logs(module), "its result is gone: made again");
        news.add(star, Event::Reopen { module });
    }
    news.bring_in(running, Race::Again).await?;
    publish(running, course, &news.ready).await?;
    Ok(true)
}

/// Has a settled star admitted again: what is whole is there under its key.
async fn do_again(running: &Coordinator, course: &Arc<Course>, star: StarIndex) -> Result<(), Trouble> {
    tracing::warn!(run = %course.record.run, star = %course.star_in_logs(star), "no star file of its results: its tasks are done again");
    let mut news = News::of(course);
    course.roots().for_each(|module| news.add(star, Event::Reopen { module }));
    news.bring_in(running, Race::Again).await
}

/// Of these modules those whose task succeeded, and whose committed result is not in the store any more.
pub(crate) async fn gone(
    store: &Store,
    course: &Arc<Course>,
    star: StarIndex,
    view: &StarView,
    mut modules: Vec<ModuleIndex>,
) -> Result<Vec<ModuleIndex>, Trouble> {
    let keys = keys(view);
    let course = course.clone();
    let looked = store.ask(move |store| {
        // In the place of a store that went away everything is gone.
        Store::open(store.root())?;
        let name = course.stars.star(star)?;
        modules.retain(|module| {
            let Some(key) = keys.get(module) else { return false };
            let made_by = &course.pipeline.module(*module).name;
            let file = store.at(paths::product(name, course.record.quarter, made_by, key));
            file.try_exists().is_ok_and(|exists| !exists)
        });
        Ok(modules)
    });
    Ok(looked.await?)
}
