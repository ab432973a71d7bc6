//! Closing stars: build the star file, write the line of the settled batch, forget the star in the state. Off the path of
//! completions.
//!
//! Every step may be repeated by anyone: until the last one is done the closing timer names the star again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::id::{Key, ModuleIndex, RunId, StarId, StarIndex};
use common::outcome::{Outcome, Skip};
use common::run::{Event, Row, TaskState};
use common::state::{Admission, StarView, StateError, Written};
use common::store::agent::{Agent, AgentError, Assemble, GenerationInfo, ModuleEntry};
use common::store::runs::{SettledStar, StarEnd};
use common::store::{Commit, paths};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::advance::{News, Race};
use crate::catalog::Course;
use crate::dispatch::publish;
use crate::finish::end_if_done;
use crate::ports::Ports;
use crate::trouble::{Outage, Trouble, blocking};

/// Stars that wait to be closed; what does not fit is named again by its timer.
const WAITING: usize = 4096;

/// Most stars in one settled batch.
const BATCH: usize = 512;

/// How long a batch is filled.
const FILL: Duration = Duration::from_millis(50);

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

/// Where stars to be closed are put.
#[derive(Clone)]
pub(crate) struct Closings {
    jobs: mpsc::Sender<(RunId, StarIndex)>,
    at_work: Arc<Mutex<BTreeSet<(RunId, StarIndex)>>>,
}

impl Closings {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<(RunId, StarIndex)>) {
        let (jobs, receiver) = mpsc::channel(WAITING);
        (Self { jobs, at_work: Arc::default() }, receiver)
    }

    /// Puts a star among those to be closed, unless it is there.
    pub(crate) fn offer(&self, run: RunId, star: StarIndex) {
        if self.at_work().insert((run, star)) && self.jobs.try_send((run, star)).is_err() {
            self.done(run, star);
        }
    }

    fn done(&self, run: RunId, star: StarIndex) {
        self.at_work().remove(&(run, star));
    }

    fn at_work(&self) -> std::sync::MutexGuard<'_, BTreeSet<(RunId, StarIndex)>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A star whose file is built.
pub(crate) struct Settled {
    course: Arc<Course>,
    row: Row,
    line: SettledStar,
}

/// One builder of star files, with a directory of its own.
pub(crate) struct Settler {
    pub(crate) ports: Ports,
    pub(crate) files: Box<dyn StarFiles>,
    /// Where files are built.
    pub(crate) scratch: PathBuf,
    pub(crate) closings: Closings,
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
            match self.settle(run, star).await {
                Ok(Some(done)) => {
                    outage.over();
                    if settled.send(done).await.is_err() {
                        return;
                    }
                }
                Ok(None) => self.closings.done(run, star),
                Err(trouble) => {
                    self.closings.done(run, star);
                    outage.wait(&trouble).await;
                }
            }
        }
    }

    /// Builds the file of a star; `None` when it is not, or no longer, to be closed.
    async fn settle(&mut self, run: RunId, star: StarIndex) -> Result<Option<Settled>, Trouble> {
        let Some(course) = self.ports.catalog.course(run).await? else { return Ok(None) };
        let view = match self.ports.state.star(run, star).await {
            Err(StateError::NoRun(_)) => return Ok(None),
            view => view?,
        };
        if view.star.row.is_fresh() || !view.star.is_settled() {
            return Ok(None);
        }
        let mut end = star_end(&view);
        let generation = match (end, &view.admission) {
            // The star file stays as the last whole run left it: half a run would hide products.
            (StarEnd::Cancelled | StarEnd::Superseded, _) => None,
            // Closed by somebody else meanwhile, or restored by somebody who died over it: its line is on record, and nothing is
            // known of its tasks here any more.
            (_, None) => {
                return match self.ports.state.closed(run, star, &view.star.row).await {
                    Ok(_) | Err(StateError::NoRun(_)) => Ok(None),
                    Err(error) => Err(error.into()),
                };
            }
            // So it does after a run that was limited to a group.
            (_, Some(_)) if course.record.only_group.is_some() => None,
            (_, Some(admission)) => match self.build(&course, star, &view, admission).await {
                Ok(Some(generation)) => Some(generation),
                Ok(None) => {
                    end = StarEnd::Superseded;
                    None
                }
                Err(Trouble::Agent(error @ AgentError::Refused(_))) => {
                    return make_again(&self.ports, &course, star, &view, error).await;
                }
                Err(trouble) => return Err(trouble),
            },
        };
        let row = view.star.row.as_bytes().to_vec();
        let line = SettledStar { star, row, keys: keys(&view), generation, end: Some(end) };
        Ok(Some(Settled { course, row: view.star.row, line }))
    }

    /// Makes the star's next generation; the number of the one that holds this end. `None` when the newest one is of newer
    /// data already, as after a retry of an older run: the star file does not go back.
    async fn build(
        &mut self,
        course: &Arc<Course>,
        star: StarIndex,
        view: &StarView,
        admission: &Admission,
    ) -> Result<Option<u32>, Trouble> {
        let record = &course.record;
        let (quarter, run) = (course.record.quarter, course.record.run);
        let (names, store) = (course.clone(), self.ports.store.clone());
        let (name, mut newest) = blocking(move || {
            let name = names.stars.star(star)?;
            Ok((name, store.latest_generation(name, quarter)?))
        })
        .await?;
        loop {
            if let Some(number) = newest {
                let file = self.ports.store.at(paths::generation(name, quarter, number));
                // One that cannot be read is not this end; the next one does not need it.
                let info = self.files.generation(&file).await.ok().flatten();
                if info.as_ref().is_some_and(|info| info.run == run && info.row == view.star.row.as_bytes()) {
                    let store = self.ports.store.clone();
                    blocking(move || store.refresh_star_file(name, quarter)).await?;
                    return Ok(Some(number));
                }
                if info.is_some_and(|info| info.pipeline == record.pipeline && info.horizon > record.horizon) {
                    return Ok(None);
                }
            }
            let number = newest.unwrap_or(0) + 1;
            let dest = self.scratch.join(format!("{}.h5", uuid::Uuid::new_v4()));
            let mut order = assemble(course, name, view, admission, number);
            order.store = self.ports.store.root().to_owned();
            order.dest.clone_from(&dest);
            let built = self.files.build(order).await;
            let (store, file) = (self.ports.store.clone(), dest.clone());
            let commit = match built {
                Ok(()) => blocking(move || store.commit_generation(name, quarter, number, &file)).await,
                Err(error) => Err(error.into()),
            };
            // Its content has its final name by now, or is of no use.
            let _ = tokio::fs::remove_file(&dest).await;
            match commit? {
                Commit::Created => return Ok(Some(number)),
                Commit::Exists => {
                    let store = self.ports.store.clone();
                    newest = blocking(move || store.latest_generation(name, quarter)).await?;
                }
            }
        }
    }
}

/// A committed result that is not there any more is made again; for anything else the timer tries again.
async fn make_again(
    ports: &Ports,
    course: &Arc<Course>,
    star: StarIndex,
    view: &StarView,
    refused: AgentError,
) -> Result<Option<Settled>, Trouble> {
    let gone = gone(ports, course, star, view, course.graph.modules().collect()).await?;
    if gone.is_empty() {
        return Err(refused.into());
    }
    let mut news = News::of(course);
    for module in gone {
        tracing::warn!(run = %course.record.run, star = star.0, module = module.0, "its result is gone: made again");
        news.add(star, Event::Reopen { module });
    }
    news.bring_in(ports, Race::Again).await?;
    publish(ports, course, &news.ready).await?;
    Ok(None)
}

/// Of these modules those whose task succeeded, and whose committed result is not in the store any more.
pub(crate) async fn gone(
    ports: &Ports,
    course: &Arc<Course>,
    star: StarIndex,
    view: &StarView,
    mut modules: Vec<ModuleIndex>,
) -> Result<Vec<ModuleIndex>, Trouble> {
    let keys = keys(view);
    let (store, course) = (ports.store.clone(), course.clone());
    blocking(move || {
        let name = course.stars.star(star)?;
        modules.retain(|module| {
            let Some(key) = keys.get(module) else { return false };
            let made_by = &course.pipeline.module(*module).name;
            let file = store.at(paths::product(name, course.record.quarter, made_by, key));
            file.try_exists().is_ok_and(|exists| !exists)
        });
        Ok(modules)
    })
    .await
}

/// Writes the lines of settled stars in batches, then forgets the stars.
pub(crate) async fn write_lines(ports: Ports, closings: Closings, mut settled: mpsc::Receiver<Settled>) {
    let mut outage = Outage::of("settled batches");
    while let Some(first) = settled.recv().await {
        let mut batch = vec![first];
        let until = Instant::now() + FILL;
        while batch.len() < BATCH
            && let Ok(Some(next)) = timeout_at(until, settled.recv()).await
        {
            batch.push(next);
        }
        let mut by_run: BTreeMap<RunId, Vec<Settled>> = BTreeMap::new();
        for done in batch {
            by_run.entry(done.course.record.run).or_default().push(done);
        }
        for (run, batch) in by_run {
            // Lines that are written twice say the same.
            while let Err(trouble) = close(&ports, &batch).await {
                outage.wait(&trouble).await;
            }
            outage.over();
            for done in &batch {
                closings.done(run, done.line.star);
            }
        }
        ports.wakes.admission.notify_one();
    }
}

/// Writes the lines of stars of one run, forgets the stars, and ends the run after the last one.
async fn close(ports: &Ports, batch: &[Settled]) -> Result<(), Trouble> {
    let Some(first) = batch.first() else { return Ok(()) };
    let run = first.course.record.run;
    let lines: Vec<SettledStar> = batch.iter().map(|done| done.line.clone()).collect();
    let store = ports.store.clone();
    blocking(move || store.append_settled(run, &lines)).await?;
    for done in batch {
        match ports.state.closed(run, done.line.star, &done.row).await {
            // Reopened since, or the run is over: neither is this star's matter any more.
            Ok(Written::Done) => {
                ports.counters.closed.inc();
                ports.hooks.star_ended(&done.course, done.line.star, done.line.end);
            }
            Ok(Written::Lost) => {}
            Err(StateError::NoRun(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    end_if_done(ports, &first.course).await
}

/// How a star ended, the worst of its tasks deciding.
fn star_end(view: &StarView) -> StarEnd {
    let missing = view.details.iter().any(|(module, detail)| {
        view.star.row.cell(*module).state == TaskState::Skipped
            && matches!(detail.outcome, Outcome::Skipped(Skip::MissingExternal { .. }))
    });
    end_of_row(&view.star.row, missing)
}

/// How a star with this row ended; `missing` says whether a task was skipped since an external was not delivered.
pub(crate) fn end_of_row(row: &Row, missing: bool) -> StarEnd {
    let any = |wanted: &[TaskState]| row.cells().any(|cell| wanted.contains(&cell.state));
    if any(&[TaskState::Superseded]) {
        StarEnd::Superseded
    } else if any(&[TaskState::Cancelled]) {
        StarEnd::Cancelled
    } else if any(&[TaskState::Failed, TaskState::Errored, TaskState::UpstreamFailed]) {
        StarEnd::Failed
    } else if missing {
        StarEnd::Incomplete
    } else {
        StarEnd::Complete
    }
}

/// Keys of the tasks that succeeded.
fn keys(view: &StarView) -> BTreeMap<ModuleIndex, Key> {
    let key = |(module, detail): (&ModuleIndex, &common::state::Detail)| match &detail.outcome {
        Outcome::Succeeded(success) if view.star.row.cell(*module).state == TaskState::Succeeded => {
            Some((*module, success.key))
        }
        Outcome::Succeeded(_)
        | Outcome::Skipped(_)
        | Outcome::UpstreamFailed { .. }
        | Outcome::Failed(_)
        | Outcome::Errored(_) => None,
    };
    view.details.iter().filter_map(key).collect()
}

/// What a star file holds; the caller says where it is built.
fn assemble(course: &Course, star: StarId, view: &StarView, admission: &Admission, number: u32) -> Assemble {
    let record = &course.record;
    Assemble {
        dest: PathBuf::new(),
        store: PathBuf::new(),
        star,
        quarter: record.quarter,
        externals: admission.externals.clone(),
        modules: course.pipeline.indexed().map(|(index, module)| entry(view, index, module)).collect(),
        generation: GenerationInfo {
            number,
            run: record.run,
            pipeline: record.pipeline.clone(),
            version: record.version.clone(),
            horizon: record.horizon,
            previous: admission.previous,
            row: view.star.row.as_bytes().to_vec(),
        },
    }
}

/// What is on record of a module.
fn entry(view: &StarView, index: ModuleIndex, module: &common::pipeline::Module) -> ModuleEntry {
    let state = view.star.row.cell(index).state.to_string();
    // What is known may be of a try before the one that counts.
    let detail = view.details.get(&index).filter(|detail| detail.outcome.word() == state);
    ModuleEntry {
        module: module.name.clone(),
        group: module.group.clone(),
        state,
        outcome: detail.map(|detail| detail.outcome.clone()),
        attempt: view.star.attempt(index),
        worker: detail.and_then(|detail| detail.worker.clone()),
        started: detail.and_then(|detail| detail.started),
        millis: detail.map_or(0, |detail| detail.millis),
        image: module.image.clone(),
    }
}
