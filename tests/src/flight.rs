//! A run of 300,000 stars of 34 modules in full flight, in real Redis, RabbitMQ and store, without anything that was computed:
//! for what questions and pages cost where there is much to ask about.
//!
//! Two thirds of the stars are settled, one in ten of them failed; 10,000 are in flight, as many as a coordinator lets in, of
//! which 200 run a task and one in fifty waits for its next try.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::id::{
    Attempt, Epoch, EventId, Generation, ImageName, Key, ModuleIndex, ModuleName, Nonce, RunId, Sequence, StarId,
    StarIndex, Task, WorkerName,
};
use domain::outcome::{Failure, FailureKind, FailureWords, Outcome};
use domain::run::{Cell, Row, Star, TaskState};
use jiff::Timestamp;
use services::address::Address;
use services::state::redis::{RedisConfig, RedisState};
use services::state::{
    Admission, Change, Claim, ClaimRequest, ClaimWish, CursorMove, Phase, RunInfo, State, WorkerInfo,
};
use store::Store;
use store::runs::{Alike, FailedTasks, RunRecord, SettledStar, StarEnd};

use crate::cluster::{Cluster, Running};
use crate::{ask_bytes, free_address, wait_until};

/// Modules of the pipeline.
pub const MODULES: u8 = 34;
/// Stars of the run.
pub const STARS: u32 = 300_000;
const SETTLED: u32 = 200_000;
const IN_FLIGHT: u32 = 10_000;
const RUNNING: u32 = 200;
const EPOCH: Epoch = Epoch(1);
/// As batches are where stars settle fast.
const BATCH: u32 = 512;

/// The run, and a cluster that has it; none of its programs is started.
pub struct Flight {
    /// The cluster.
    pub cluster: Cluster,
    /// The run.
    pub run: RunId,
    /// A star whose tasks are under way.
    pub flying: StarId,
    /// A star that is settled.
    pub settled: StarId,
}

impl Flight {
    /// Makes it in `directory`.
    pub async fn prepare(directory: &Path) -> Result<Self> {
        let pipeline = directory.join("bench.toml");
        fs::write(&pipeline, definition())?;
        let cluster = Cluster::start(directory, &[&pipeline])?;
        let store = Store::open(&cluster.store)?;
        let mut stars: Vec<StarId> = (0..u64::from(STARS)).map(StarId::of_simulator).collect();
        stars.sort_unstable();
        let record = run(&store, &stars)?;
        settle(&store, record.run)?;
        store.begin_epoch(EPOCH)?;
        let state = RedisState::connect(&RedisConfig { url: Address::new(cluster.state_url()) }).await?;
        fill(&state, &record).await?;
        Ok(Self { cluster, run: record.run, flying: stars[SETTLED as usize + 7], settled: stars[77] })
    }

    /// Starts a coordinator that has it; returns where it answers.
    pub async fn coordinator(&self) -> Result<(Running, String)> {
        let address = free_address()?;
        let coordinator = self.cluster.coordinator_with("coordinator", &[("SAS_HTTP_LISTEN", &address)])?;
        let is_up = async || ask_bytes(&address, "/readyz").await.is_ok();
        let up = wait_until(Duration::from_secs(60), "the coordinator answers", is_up).await;
        up.with_context(|| coordinator.log())?;
        Ok((coordinator, address))
    }

    /// Every page, and what of the API is about all stars.
    pub fn paths(&self) -> Vec<String> {
        let Self { run, flying, settled, .. } = self;
        let of_run =
            ["", "/tasks", "/tasks?state=running", "/tasks?state=failed&module=MSAP03", "/failures", "/matrix"];
        let pages = ["/", "/runs", "/failures", "/queues", "/workers", "/events", "/audit"];
        let asked = ["", "/modules", "/failures", "/tasks", "/matrix/head", "/matrix?count=16384", "/stars?count=100"];
        let counts = "/matrix/counts?count=300032&stars_per_line=1024";
        let mut paths: Vec<String> = pages.map(str::to_owned).into();
        paths.extend(of_run.map(|path| format!("/runs/{run}{path}")));
        paths.extend([flying, settled].map(|star| format!("/stars/{star}?run={run}")));
        paths.extend(["status", "runs", "queues"].map(|path| format!("/api/v1/{path}")));
        paths.extend(asked.into_iter().chain([counts]).map(|path| format!("/api/v1/runs/{run}{path}")));
        paths.extend([format!("/api/v1/stars/{flying}?run={run}"), "/metrics".to_owned(), "/readyz".to_owned()]);
        paths
    }
}

fn run(store: &Store, stars: &[StarId]) -> Result<RunRecord> {
    let event = EventId::of("bench", "1");
    let record = RunRecord {
        run: RunId::of(event, "BENCH", "1"),
        event,
        publisher: None,
        pipeline: "BENCH".parse()?,
        version: "1".to_owned(),
        quarter: 3.try_into()?,
        horizon: Sequence(1),
        accepted: Timestamp::now(),
        stars: stars.len() as u32,
        only_group: None,
        replay: None,
        definition: definition(),
        data_model: String::new(),
    };
    store.create_run(&record, stars)?;
    Ok(record)
}

fn definition() -> String {
    let module = |at| format!("[modules.{}]\nimage = 'i'\noutputs.mandatory = ['P{at}']\n", name(at));
    let modules: String = (0..MODULES).map(module).collect();
    format!("name = 'BENCH'\nversion = '1'\ntrigger = 'l1/lc'\n{modules}")
}

fn name(module: u8) -> String {
    format!("MSAP{module:02}")
}

/// Whether a star failed, in which module.
fn failed_module(star: u32) -> Option<ModuleIndex> {
    star.is_multiple_of(10).then_some(ModuleIndex((star / 10 % 5) as u8))
}

/// The row of a star that is settled.
fn row(star: u32) -> Vec<u8> {
    let cell = |state: TaskState| (state as u8) << 4 | 1;
    let mut row = vec![cell(TaskState::Succeeded); MODULES.into()];
    if let Some(failed) = failed_module(star) {
        row[failed.at()] = cell(TaskState::Failed);
    }
    row
}

fn settle(store: &Store, run: RunId) -> Result<()> {
    let image: ImageName = "i".parse()?;
    for from in (0..SETTLED).step_by(BATCH as usize) {
        let stars = from..(from + BATCH).min(SETTLED);
        let mut failed = FailedTasks::default();
        for star in stars.clone() {
            let Some(module) = failed_module(star) else { continue };
            let kind = if star.is_multiple_of(20) { FailureKind::Exit } else { FailureKind::OutOfMemory };
            let message = format!("no flux at {star}");
            let outcome = Outcome::Failed(Failure { kind, message, exit_code: Some(1), log_tail: String::new() });
            let FailureWords { reason, words, fingerprint } = FailureWords::of(&outcome).context("it failed")?;
            let host = Some(format!("host-{}", star / 50 % 10));
            let alike = Alike { module, reason, image: image.clone(), host, fingerprint };
            failed.add(&alike, &words, (StarIndex(star), Attempt(1), Timestamp::now()));
        }
        let line = |star: u32| SettledStar {
            star: StarIndex(star),
            row: row(star),
            keys: (0..MODULES).map(|module| (ModuleIndex(module), Key::from_bytes([module; 32]))).collect(),
            generation: Some(Generation(1)),
            end: Some(if failed_module(star).is_some() { StarEnd::Failed } else { StarEnd::Complete }),
            reason: None,
            fingerprint: None,
        };
        store.append_settled_with(run, &stars.map(line).collect::<Vec<_>>(), &failed)?;
    }
    Ok(())
}

/// Rows of settled stars; stars in flight, of which some run, and some wait.
async fn fill(state: &RedisState, record: &RunRecord) -> Result<()> {
    state.begin_epoch(EPOCH).await?;
    let modules = (0..MODULES).map(|at| Ok::<(ModuleName, _), anyhow::Error>((name(at).parse()?, "default".parse()?)));
    let info = RunInfo {
        run: record.run,
        pipeline: record.pipeline.clone(),
        version: record.version.clone(),
        quarter: record.quarter,
        stars: record.stars,
        modules: modules.collect::<Result<_>>()?,
        horizon: record.horizon,
        accepted: record.accepted,
        phase: Phase::Active,
        weight: 1,
        cursor: 0,
        held: Vec::new(),
        amended: 0,
    };
    state.open_run(&info, Duration::ZERO).await?;
    for from in (0..SETTLED + IN_FLIGHT).step_by(500) {
        let to = from + 500;
        let changes = (from..to).map(change).collect::<Result<Vec<_>>>()?;
        state.write(record.run, EPOCH, Some(CursorMove { from, to }), &changes).await?;
    }
    let worker = "host-3-0123abcd".parse::<WorkerName>()?;
    for star in SETTLED..SETTLED + RUNNING {
        let wish = ClaimWish {
            task: Task { star: StarIndex(star), module: ModuleIndex(1) },
            attempt: Attempt(1),
            nonce: Nonce::random(),
            reads: Vec::new(),
        };
        let request = ClaimRequest {
            run: record.run,
            epoch: EPOCH,
            worker: worker.clone(),
            lease: Duration::from_secs(3600),
            wishes: vec![wish],
        };
        ensure!(matches!(state.claim(&request).await?[..], [Claim::Granted(_)]), "a claim is refused");
    }
    let slots = [("default".parse()?, RUNNING)].into();
    state.show_worker(&WorkerInfo::new(worker, slots, Timestamp::now()), Duration::from_secs(3600)).await?;
    Ok(())
}

fn change(star: u32) -> Result<Change> {
    let fresh = Star { row: Row::fresh(MODULES.into()), ..Star::default() };
    let admission = Some(Admission::default());
    if star < SETTLED {
        let after = Star { row: Row::from_bytes(row(star))?, ..Star::default() };
        return Ok(Change { star: StarIndex(star), expected: fresh, after, admission, ..Change::default() });
    }
    let mut row = fresh.row.clone();
    row.set(ModuleIndex(0), Cell { state: TaskState::Succeeded, tag: 1 });
    row.set(ModuleIndex(1), Cell::queued(Attempt(1)));
    let mut change = Change {
        star: StarIndex(star),
        expected: fresh,
        admission,
        queue: vec![(ModuleIndex(1), Attempt(1))],
        ..Change::default()
    };
    if star.is_multiple_of(50) {
        row.set(ModuleIndex(2), Cell { state: TaskState::Waiting, tag: 1 });
        change.wait = vec![(ModuleIndex(2), Duration::from_secs(600))];
    }
    change.after = Star { row, ..Star::default() };
    Ok(change)
}
