//! What operators' questions cost beside a run of 300,000 stars of 34 modules that is in full flight: real Redis, RabbitMQ
//! and store, each question a `sas` of its own, as people type them. `cargo bench --package sas-tests --bench questions`.
//!
//! Two thirds of the stars are settled, one in ten of them failed; 10,000 are in flight, as many as a coordinator lets in.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::id::{
    Attempt, Epoch, EventId, Generation, ImageName, Key, ModuleIndex, ModuleName, Nonce, RunId, Sequence, StarId,
    StarIndex, Task,
};
use domain::outcome::{Failure, FailureKind, FailureWords, Outcome};
use domain::run::{Cell, Row, Star, TaskState};
use harness::cluster::Cluster;
use jiff::Timestamp;
use services::address::Address;
use services::state::redis::{RedisConfig, RedisState};
use services::state::{Admission, Change, Claim, ClaimRequest, CursorMove, Phase, RunInfo, State, WorkerInfo};
use store::Store;
use store::runs::{Alike, FailedTasks, RunRecord, SettledStar, StarEnd};

const MODULES: u8 = 34;
const STARS: u32 = 300_000;
const SETTLED: u32 = 200_000;
const IN_FLIGHT: u32 = 10_000;
const RUNNING: u32 = 200;
const EPOCH: Epoch = Epoch(1);
/// As batches are where stars settle fast.
const BATCH: u32 = 512;

#[tokio::main]
async fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let cluster = Cluster::start(directory.path(), &[])?;
    let store = Store::open(&cluster.store)?;
    let began = Instant::now();
    let mut stars: Vec<StarId> = (0..u64::from(STARS)).map(StarId::of_simulator).collect();
    stars.sort_unstable();
    let record = run(&store, &stars)?;
    settle(&store, record.run)?;
    let state = RedisState::connect(&RedisConfig { url: Address::new(cluster.state_url()) }).await?;
    fill(&state, &record).await?;
    println!("{STARS} stars x {MODULES} modules in Redis and store, made in {:.0?}\n", began.elapsed());
    println!("{:<58}{:>10}{:>10}", "question", "ms", "MB");
    let (flying, settled) = (stars[SETTLED as usize + 7].to_string(), stars[77].to_string());
    for question in [
        "status",
        "run list",
        "run show",
        "run failures",
        "run failures --reason exit --host host-3",
        "task list",
        "task list --state running --older 1s",
        "task list --state queued",
        "task list --state waiting",
        "task list --state failed --module MSAP03",
        "task retry --state failed --dry-run",
        "task retry --reason out_of_memory --dry-run",
        "task cancel --module MSAP02 --dry-run",
        "worker list",
        "queue list",
        "module list",
        &format!("star show {flying}"),
        &format!("star explain {flying}"),
        &format!("star show {settled}"),
        &format!("star cancel {flying} --dry-run"),
    ] {
        let arguments: Vec<&str> = question.split_whitespace().collect();
        let mut costs = Vec::new();
        for _ in 0..5 {
            costs.push(cluster.cost(&arguments)?);
        }
        costs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let memory = costs.iter().map(|cost| cost.kilobytes).max().unwrap_or(0);
        println!("{question:<58}{:>10.0}{:>10.0}", costs[2].seconds * 1e3, memory as f64 / 1024.0);
    }
    Ok(())
}

fn run(store: &Store, stars: &[StarId]) -> Result<RunRecord> {
    let event = EventId::of("bench", "1");
    let modules: String = (0..MODULES)
        .map(|at| format!("[modules.{}]\nimage = 'i'\noutputs.mandatory = ['P{at}']\n", name(at)))
        .collect();
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
        definition: format!("name = 'BENCH'\nversion = '1'\ntrigger = 'l1/lc'\n{modules}"),
        data_model: String::new(),
    };
    store.create_run(&record, stars)?;
    Ok(record)
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
    state.open_run(&info).await?;
    for from in (0..SETTLED + IN_FLIGHT).step_by(500) {
        let to = from + 500;
        let changes = (from..to).map(change).collect::<Result<Vec<_>>>()?;
        state.write(record.run, EPOCH, Some(CursorMove { from, to }), &changes).await?;
    }
    let worker = "host-3-0123abcd".parse::<domain::id::WorkerName>()?;
    for star in SETTLED..SETTLED + RUNNING {
        let request = ClaimRequest {
            run: record.run,
            epoch: EPOCH,
            task: Task { star: StarIndex(star), module: ModuleIndex(1) },
            attempt: Attempt(1),
            nonce: Nonce::random(),
            worker: worker.clone(),
            lease: Duration::from_secs(3600),
            upstream: Vec::new(),
        };
        ensure!(matches!(state.claim(&request).await?, Claim::Granted(_)), "a claim is refused");
    }
    let slots = [("default".parse()?, RUNNING)].into();
    state.show_worker(&WorkerInfo::new(worker, slots, Timestamp::now()), Duration::from_secs(3600)).await?;
    Ok(())
}

fn change(star: u32) -> Result<Change> {
    let fresh = Row::fresh(MODULES.into());
    let admission = Some(Admission::default());
    if star < SETTLED {
        let after = Star { row: Row::from_bytes(row(star))?, ..Star::default() };
        return Ok(Change { star: StarIndex(star), expected: fresh, after, admission, ..Change::default() });
    }
    let mut row = fresh.clone();
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
