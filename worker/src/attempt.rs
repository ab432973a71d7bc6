//! One attempt: look → decide → key → reuse, or stage → run → check → commit. Each verb is one function.
//!
//! It knows no queue and no state: it is given a granted claim, and says how the attempt ended. What the module did wrong
//! is a `Failed`; whatever the platform could not do is an `Errored`, never blamed on the module.

mod commit;
mod committed;
mod ending;
mod judge;
mod look;
mod prefetch;
mod stage;
mod twice;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::contract::{self, Staging, Verdict};
use domain::id::{Key, Nonce, StarId, Task};
use domain::outcome::{Outcome, PlatformErrorKind, Success};
use domain::pipeline::Module;
use ending::{Ending, blocking};
pub(crate) use look::Manifests;
pub(crate) use prefetch::prefetch;
use services::state::Grant;
use store::agent::Agent;
use store::runs::{Amendment, Amendments};
use store::{Store, durable, paths};
use tokio_util::sync::CancellationToken;

use crate::run::Run;
use crate::runner::{Ended, Labels, Limits, Program, SharedRunner, Spec};

/// How often a decision is looked for that this host does not see yet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What an attempt works with; it belongs to one slot.
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) runner: SharedRunner,
    pub(crate) agent: Agent,
    pub(crate) manifests: Manifests,
    /// The slot's own directory, on the store's file system; the agent can write there and nowhere else.
    pub(crate) folder: PathBuf,
    pub(crate) bounds: Bounds,
    pub(crate) worker: String,
    pub(crate) host: String,
}

/// Bounds of an attempt that the worker sets, not the pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Processes and threads.
    pub(crate) processes: u32,
    /// Bytes that a module may write.
    pub(crate) output: u64,
    /// Bytes that must stay free in the store while it does.
    pub(crate) free: u64,
    /// Bytes in `/tmp`.
    pub(crate) tmp: u64,
    /// How long a committed input that is not there is awaited: caches of network file systems show new files late.
    pub(crate) input_patience: Duration,
}

/// A granted claim.
pub(crate) struct Order {
    pub(crate) run: Arc<Run>,
    pub(crate) star: StarId,
    pub(crate) task: Task,
    pub(crate) attempt: u32,
    pub(crate) nonce: Nonce,
    pub(crate) grant: Grant,
    /// When it was claimed.
    pub(crate) started: jiff::Timestamp,
}

impl Order {
    pub(crate) fn module(&self) -> &Module {
        self.run.pipeline.module(self.task.module)
    }
}

/// How an attempt ended.
pub(crate) struct Finish {
    /// `None`: it was cancelled.
    pub(crate) outcome: Option<Outcome>,
    /// Its key, where it got so far.
    pub(crate) key: Option<Key>,
    /// The program's log; empty where nothing ran.
    pub(crate) log: String,
}

/// Performs an attempt. `cancel` stops it; nothing of it is left then.
pub(crate) async fn perform(desk: &mut Desk, order: &Order, cancel: &CancellationToken) -> Finish {
    let mut progress = Progress { key: None, log: String::new() };
    let folder = desk.folder.join(order.nonce.to_string());
    let ended = verbs(desk, order, &folder, &mut progress, cancel).await;
    stage::clean_up(folder).await;
    let outcome = match ended {
        Ok(success) => Some(Outcome::Succeeded(success)),
        Err(Ending::Outcome(outcome)) => Some(*outcome),
        Err(Ending::Cancelled) => None,
    };
    Finish { outcome, key: progress.key, log: progress.log }
}

/// What is known of an attempt on its way.
struct Progress {
    key: Option<Key>,
    log: String,
}

async fn verbs(
    desk: &mut Desk,
    order: &Order,
    folder: &Path,
    progress: &mut Progress,
    cancel: &CancellationToken,
) -> Result<Success, Ending> {
    let seen = look::look(desk, order, cancel).await?;
    let staging = decide(order, &seen.view)?;
    let (program, identity) = identify(desk, order, cancel).await?;
    let key = contract::key(order.module(), &identity, &staging);
    progress.key = Some(key);
    if let Some(success) = reuse(desk, order, &key).await? {
        return Ok(success);
    }
    let made = stage::stage(desk, order, &staging, &seen, folder, cancel).await?;
    let spec = spec(desk, order, &program, &identity, &key, &made);
    let ended = run(desk, &spec, cancel).await?;
    progress.log.clone_from(&ended.log);
    judge::end(order, &spec, &ended)?;
    let checked = judge::check(desk, order, &made.output, &ended).await?;
    let provenance =
        commit::provenance(desk, order, &staging, &seen, (&program, &identity), key, checked.warnings.clone());
    commit::commit(desk, order, &made, checked, provenance, ended.log).await
}

fn decide(order: &Order, view: &contract::View) -> Result<Staging, Ending> {
    match contract::decide(order.module(), view) {
        Verdict::Run(staging) => Ok(staging),
        Verdict::Skip(skip) => Err(Outcome::Skipped(skip).into()),
        Verdict::UpstreamFailed { lost } => Err(Outcome::UpstreamFailed { lost }.into()),
        Verdict::Failed(failure) => Err(Outcome::Failed(failure).into()),
    }
}

/// The module's program in this run, and its identity: as operators amended it before this attempt was claimed, else as
/// the first worker that needs it fixes it for all.
async fn identify(desk: &Desk, order: &Order, cancel: &CancellationToken) -> Result<(Program, String), Ending> {
    let module = order.module();
    let amendments = amendments(desk, order, cancel).await?;
    if let Some(Amendment { image, identity, .. }) = amendments.images.get(&module.name) {
        let program = Program { image: image.clone(), command: module.command.clone() };
        return Ok((program, identity.clone()));
    }
    let program = program(module);
    let identity = fixed_identity(&desk.store, &desk.runner, &order.run, &program).await?;
    Ok((program, identity))
}

/// The module's program as the pipeline has it.
fn program(module: &Module) -> Program {
    Program { image: module.image.clone(), command: module.command.clone() }
}

/// What operators amended; waits for a decision that this host does not see yet.
async fn amendments(desk: &Desk, order: &Order, cancel: &CancellationToken) -> Result<Arc<Amendments>, Ending> {
    let number = order.grant.amended;
    let until = tokio::time::Instant::now() + desk.bounds.input_patience;
    loop {
        if let Some(amendments) = order.run.amendments(&desk.store, number).await? {
            return Ok(amendments);
        }
        if tokio::time::Instant::now() >= until {
            let message =
                format!("operators' decision {number} about run {} is not in the store", order.run.record.run);
            return Err(Ending::errored(PlatformErrorKind::Store, message));
        }
        tokio::select! {
            () = cancel.cancelled() => return Err(Ending::Cancelled),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// The identity of a program in this run: the first worker that needs it fixes it for all.
async fn fixed_identity(store: &Store, runner: &SharedRunner, run: &Run, program: &Program) -> Result<String, Ending> {
    let subject = runner.subject(program);
    if let Some(identity) = run.identity(&subject) {
        return Ok(identity);
    }
    let (at, id, name) = (store.clone(), run.record.run, subject.clone());
    let known = blocking(move || at.image_identity(id, &name)).await?;
    let identity = match known {
        Some(identity) => identity,
        None => {
            let here = runner.identify(program).await?;
            let (at, name) = (store.clone(), subject.clone());
            blocking(move || at.fix_image_identity(id, &name, &here)).await?
        }
    };
    run.remember(&subject, &identity);
    Ok(identity)
}

/// A key that exists is a result that exists; unless it is damaged, then it is computed anew.
async fn reuse(desk: &mut Desk, order: &Order, key: &Key) -> Result<Option<Success>, Ending> {
    let path = desk.store.at(product_path(order, key));
    let looked = path.clone();
    let Some(seen) = blocking(move || durable::inode(&looked)).await? else { return Ok(None) };
    match twice::manifest(desk, &path).await? {
        Ok(manifest) => Ok(Some(commit::success(*key, &manifest, true))),
        Err(error) if committed::is_damaged(&error) => committed::set_aside(&path, seen).await.map(|_| None),
        Err(error) => Err(Ending::unreadable(&path, &error)),
    }
}

fn product_path(order: &Order, key: &Key) -> PathBuf {
    paths::product(order.star, order.run.record.quarter, &order.module().name, key)
}

fn spec(desk: &Desk, order: &Order, program: &Program, identity: &str, key: &Key, made: &stage::Made) -> Spec {
    let module = order.module();
    let cpus = order.run.pipeline.classes.get(&module.class).map_or(1.0, |class| class.cpus);
    let limits = Limits {
        cpus,
        memory: order.run.pipeline.memory(module, order.attempt),
        processes: desk.bounds.processes,
        time: module.time_limit,
        output: desk.bounds.output,
        free: desk.bounds.free,
        tmp: desk.bounds.tmp,
    };
    Spec {
        program: program.clone(),
        identity: identity.to_owned(),
        environment: environment(order, key, &limits),
        input: made.input.clone(),
        output: made.output.clone(),
        limits,
        labels: Labels {
            run: order.run.record.run.to_string(),
            star: order.star.to_string(),
            module: module.name.to_string(),
            attempt: order.attempt,
            nonce: order.nonce.to_string(),
        },
    }
}

/// What every module finds in its environment; what the pipeline sets cannot change it.
fn environment(order: &Order, key: &Key, limits: &Limits) -> BTreeMap<String, String> {
    let record = &order.run.record;
    let mut environment = order.module().environment.clone();
    let trace = (hexadecimal(record.run.to_string()), hexadecimal(order.nonce.to_string()));
    let given = [
        ("SAS_STAR", order.star.to_string()),
        ("SAS_QUARTER", u32::from(record.quarter).to_string()),
        ("SAS_RUN", record.run.to_string()),
        ("SAS_MODULE", order.module().name.to_string()),
        ("SAS_ATTEMPT", order.attempt.to_string()),
        ("SAS_SEED", contract::seed(key).to_string()),
        ("SAS_CPUS", limits.cpus.to_string()),
        ("SAS_MEMORY_BYTES", limits.memory.to_string()),
        // W3C trace context: the run is the trace, the attempt a span of it.
        ("TRACEPARENT", format!("00-{}-{}-01", trace.0, &trace.1[..16])),
        ("HOME", "/tmp".to_owned()),
        ("HDF5_USE_FILE_LOCKING", "FALSE".to_owned()),
    ];
    environment.extend(given.map(|(name, value)| (name.to_owned(), value)));
    environment
}

/// A UUID without its hyphens.
fn hexadecimal(uuid: String) -> String {
    uuid.replace('-', "")
}

async fn run(desk: &Desk, spec: &Spec, cancel: &CancellationToken) -> Result<Ended, Ending> {
    if cancel.is_cancelled() {
        return Err(Ending::Cancelled);
    }
    Ok(desk.runner.run(spec, cancel).await?)
}
