//! Closing stars: build the star file, write the line of the settled batch, forget the star in the state. Off the path of
//! completions.
//!
//! Every step may be repeated by anyone: until the last one is done the closing timer names the star again.

mod choice;
mod end;
mod failed;
mod fingerprints;
mod generation;
mod lines;
mod span;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
pub(crate) use choice::StarQuarter;
use domain::error::chain;
use domain::id::{ModuleIndex, RunId, StarIndex};
use domain::run::{Cell, Event, TaskState};
use end::{keys, star_end};
pub(crate) use failed::failed;
use fingerprints::Fingerprints;
pub(crate) use fingerprints::identity;
use generation::NextGeneration;
use lines::Settled;
pub(crate) use lines::write_lines;
use services::state::StarView;
use span::star_span;
use store::agent::{Agent, AgentError, Assemble, Manifest, RefusalKind, Show};
use store::course::Course;
use store::runs::{FailedTasks, SettledStar, StarEnd};
use store::scratch::Scratch;
use store::{Store, paths};
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
    /// What a generation holds.
    async fn manifest(&mut self, file: &Path) -> Result<Manifest, AgentError>;
    /// Copies a generation for the star file's place.
    async fn show(&mut self, show: Show) -> Result<(), AgentError>;
}

#[async_trait]
impl StarFiles for Agent {
    async fn build(&mut self, assemble: Assemble) -> Result<(), AgentError> {
        self.assemble(assemble).await.map(drop)
    }

    async fn manifest(&mut self, file: &Path) -> Result<Manifest, AgentError> {
        Agent::manifest(self, file).await
    }

    async fn show(&mut self, show: Show) -> Result<(), AgentError> {
        Agent::show(self, show).await
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
            // The newer run makes the next generation. Who was cancelled before it entered has nothing to show.
            (StarEnd::Superseded, _) | (StarEnd::Cancelled, None) => None,
            // Closed by somebody else meanwhile, or restored by somebody who died over it: its line is on record, and nothing is
            // known of its tasks here any more.
            (_, None) => {
                self.running.services.state.closed(run, &[(star, &view.star.row)]).await?;
                return Ok(None);
            }
            // The star file stays as the last whole run left it: a group alone would hide the products of others.
            (_, Some(_)) if course.record.only_group.is_some() || !course.pipeline.star_file => None,
            (_, Some(admission)) => match self.build(&course, star, &view, admission).await {
                Ok(NextGeneration::Made(generation)) => Some(generation),
                Ok(NextGeneration::NotAsked) => return Ok(None),
                Ok(NextGeneration::Late) if end == StarEnd::Cancelled => None,
                Ok(NextGeneration::Late) => {
                    end = StarEnd::Superseded;
                    None
                }
                Err(Trouble::Agent(error)) => {
                    let is_over = end == StarEnd::Cancelled;
                    if !is_over && make_again(&self.running, &course, star, &view).await? {
                        return Ok(None);
                    }
                    self.running.services.store.ask(|store| store.probe()).await?;
                    let refusals = self.running.closings.refused(run, star);
                    if refusals == LOOK_AGAIN && !is_over && !is_newer(&error) {
                        return do_again(&self.running, &course, star).await.map(|()| None);
                    }
                    if refusals < MOST_REFUSALS {
                        return Err(error.into());
                    }
                    tracing::error!(%run, star = %course.star_in_logs(star), error = chain(&error), "the star ends without a star file");
                    reason = Some(format!("its star file cannot be built: {}", chain(&error)));
                    if !is_over {
                        end = StarEnd::Failed;
                    }
                    None
                }
                Err(trouble) => return Err(trouble),
            },
        };
        let fingerprint = match &view.admission {
            Some(admission) => self.fingerprints.of(&self.running, &course, star, &view.star.row, admission).await?,
            None => None,
        };
        let span = match view.admission.as_ref().and_then(|admission| admission.at) {
            Some(admitted) => star_span(&self.running, &course, star, admitted, end).await?,
            None => None,
        };
        let failed = what_failed(&self.running, &course, star, &view).await?;
        let row = view.star.row.as_bytes().to_vec();
        let line = SettledStar { star, row, keys: keys(&view), generation, end: Some(end), reason, fingerprint };
        Ok(Some(Settled { course, row: view.star.row, line, failed, span }))
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
    modules: Vec<ModuleIndex>,
) -> Result<Vec<ModuleIndex>, Trouble> {
    let keys = keys(view);
    let course = course.clone();
    let looked = store.ask(move |store| {
        let name = course.stars.star(star)?;
        let mut gone = Vec::new();
        for module in modules {
            let Some(key) = keys.get(&module) else { continue };
            let made_by = &course.pipeline.module(module).name;
            if !store::is_there(&store.at(paths::product(name, course.record.quarter, made_by, key)))? {
                gone.push(module);
            }
        }
        Ok(gone)
    });
    Ok(looked.await?)
}
