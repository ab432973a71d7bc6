//! What questions about the past cost: a store with one small run beside one with 500 ended runs and a run of 300,000
//! settled stars of 34 modules. `make bench`, or `cargo bench -p sas-tests --bench store`.
//!
//! Times are of this machine at this moment; compare the columns. Needs half a gigabyte below the temporary directory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use coordinator::CoordinatorParts;
use coordinator::config::{CoordinatorConfig, HttpConfig};
use coordinator::operate::failures::{self, ListFailures};
use coordinator::operate::selection::TaskSelection;
use coordinator::operate::view::{self, OneStar};
use coordinator::operate::{self, Connected};
use domain::id::{Attempt, EventId, Fingerprint, Generation, Key, ModuleIndex, RunId, Sequence, StarId, StarIndex};
use domain::outcome::{Failure, FailureKind, FailureWords, Outcome};
use domain::run::TaskState;
use harness::{free_address, wait_until};
use jiff::Timestamp;
use services::queue::memory::MemoryQueue;
use services::state::memory::MemoryState;
use services::traces::Traces;
use store::Store;
use store::runs::{Alike, FailedTasks, RunEnd, RunRecord, SettledStar, StarEnd};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const MODULES: u8 = 34;
const ENDED: u64 = 500;
const STARS: u32 = 300_000;
/// As batches are where stars settle fast.
const BATCH: u32 = 512;
/// How often a question is asked; the median is shown.
const TIMES: usize = 15;

struct BenchStore {
    _dir: TempDir,
    store: Store,
    run: RunId,
    star: StarId,
}

#[tokio::main]
async fn main() -> Result<()> {
    let small = site(0, 10)?;
    let started = Instant::now();
    let large = site(ENDED, STARS)?;
    println!(
        "a store of {ENDED} ended runs and one of {STARS} stars x {MODULES} modules, made in {:.1?}\n",
        started.elapsed()
    );
    println!("{:<52}{:>12}{:>12}", "median of 15", "one run", "all");
    print(&small, &large).await?;
    let started = Instant::now();
    large.store.compact_settled(large.run)?;
    println!("\nits batches made one file in {:.1?}\n", started.elapsed());
    print(&small, &large).await
}

async fn print(small: &BenchStore, large: &BenchStore) -> Result<()> {
    let [small, large] = [figures(small).await?, figures(large).await?];
    for ((what, one), (_, all)) in small.into_iter().zip(large) {
        println!("{what:<52}{:>12}{:>12}", format!("{one:.2?}"), format!("{all:.2?}"));
    }
    Ok(())
}

async fn figures(site: &BenchStore) -> Result<Vec<(&'static str, Duration)>> {
    let connected =
        Connected { queue: Arc::new(MemoryQueue::new()), state: Arc::new(MemoryState::new()), pipelines: [].into() };
    let store = &site.store;
    let operator = operate::Context::new(store.clone(), Arc::new(connected), "bench");
    let index = store.stars(site.run)?.position(site.star)?.context("its star")?;
    let mut figures = vec![
        ("sas run list, the newest 50", median(async || view::newest_runs(&operator, 50).await.map(drop)).await?),
        ("sas run list --all", median(async || view::runs(&operator).await.map(drop)).await?),
        ("sas run show", median(async || view::known_run(&operator, site.run).await.map(drop)).await?),
    ];
    let selection = TaskSelection { run: Some(site.run), ..TaskSelection::default() };
    let few = || ListFailures { selection: selection.clone(), groups: 20, stars: 3 };
    let listed = median(async || failures::list(&operator, few()).await.map(drop)).await?;
    figures.push(("sas run failures (one star in ten failed)", listed));
    let asked = OneStar { star: site.star, run: None };
    let shown = median(async || view::star(&operator, asked).await.map(drop)).await?;
    figures.push(("sas star show (the newest run that has it)", shown));
    figures
        .push(("  of that, its row and keys", median(async || store.settled_star(site.run, index).map(drop)).await?));
    figures.push(("a pass of the coordinator's comparison", comparison(store).await?));
    let started = Instant::now();
    let mut ends = 0_u32;
    store.each_settled_row(site.run, |row| ends += u32::from(row.end.is_some()))?;
    figures.push(("rows of all its stars, as its end and restore do", started.elapsed()));
    anyhow::ensure!(ends == store.stars(site.run)?.len(), "{ends} stars have an end");
    Ok(figures)
}

/// The median of what a coordinator of this store says that its comparisons took.
async fn comparison(store: &Store) -> Result<Duration> {
    let address = free_address()?;
    let every = Duration::from_millis(50);
    let parts = CoordinatorParts {
        store: store.clone(),
        queue: Arc::new(MemoryQueue::new()),
        state: Arc::new(MemoryState::new()),
        pipelines: Vec::new(),
        config: CoordinatorConfig { compare: every, ..CoordinatorConfig::default() },
        http: HttpConfig { listen: address.clone(), ..HttpConfig::default() },
        traces: Traces::default(),
        agent: None,
    };
    let shutdown = CancellationToken::new();
    let working = tokio::spawn(coordinator::run(parts, shutdown.clone()));
    let mut times = Vec::new();
    wait_until(Duration::from_secs(60), "the coordinator has compared often enough", async || {
        let metrics = harness::ask(&address, "/metrics").await.unwrap_or_default();
        let line = metrics.lines().find_map(|line| line.strip_prefix("sas_comparison_seconds "));
        let seconds = line.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs_f64);
        let is_new = seconds.is_some_and(|seconds| !seconds.is_zero() && times.last() != Some(&seconds));
        times.extend(seconds.filter(|_| is_new));
        times.len() == TIMES
    })
    .await?;
    shutdown.cancel();
    working.await??;
    times.sort();
    Ok(times[TIMES / 2])
}

async fn median<E>(question: impl AsyncFn() -> Result<(), E>) -> Result<Duration, E> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let started = Instant::now();
        question().await?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times[TIMES / 2])
}

/// A store with so many small runs that ended, and after them one of so many stars.
fn site(ended: u64, stars: u32) -> Result<BenchStore> {
    let dir = tempfile::tempdir()?;
    let store = Store::init(dir.path())?;
    for number in 1..=ended {
        end(&store, number, &[StarId::of_simulator(u64::MAX - number)])?;
    }
    let mut names: Vec<StarId> = (0..u64::from(stars)).map(StarId::of_simulator).collect();
    names.sort_unstable();
    let run = end(&store, ended + 1, &names)?;
    let mut from = 0;
    while from < stars {
        let to = stars.min(from + BATCH);
        let lines: Vec<SettledStar> = (from..to).map(settled).collect();
        store.append_settled_with(run, &lines, &failed(from..to)?)?;
        from = to;
    }
    let star = names[names.len() / 3];
    Ok(BenchStore { _dir: dir, store, run, star })
}

/// A run over these stars that ended.
fn end(store: &Store, number: u64, stars: &[StarId]) -> Result<RunId> {
    let event = EventId::of("bench", &number.to_string());
    let run = RunId::of(event, "BENCH", "1");
    let record = RunRecord {
        run,
        event,
        publisher: None,
        pipeline: "BENCH".parse()?,
        version: "1".to_owned(),
        quarter: 3.try_into()?,
        horizon: Sequence(number),
        accepted: Timestamp::UNIX_EPOCH,
        stars: stars.len() as u32,
        only_group: None,
        replay: None,
        definition: definition(),
        data_model: String::new(),
    };
    store.create_run(&record, stars)?;
    let count = stars.len() as u64;
    let states: BTreeMap<TaskState, u64> = [(TaskState::Succeeded, count)].into();
    let counts = (0..MODULES).map(|at| Ok((name(at).parse()?, states.clone()))).collect::<Result<_>>()?;
    let stars = [(StarEnd::Complete, count)].into();
    store.end_run(
        run,
        &RunEnd {
            ended: Timestamp::UNIX_EPOCH,
            decisions: 0,
            counts,
            stars,
            remarks: Default::default(),
            took: Default::default(),
        },
    )?;
    store.put_away(run)?;
    Ok(run)
}

fn settled(star: u32) -> SettledStar {
    let key = |module: u8| (ModuleIndex(module), Key::from_bytes([module ^ star as u8; 32]));
    SettledStar {
        star: StarIndex(star),
        row: vec![(TaskState::Succeeded as u8) << 4 | 1; MODULES.into()],
        keys: (0..MODULES).map(key).collect(),
        generation: Some(Generation(1)),
        end: Some(StarEnd::Complete),
        reason: None,
        fingerprint: Some(Fingerprint::from_bytes([star as u8; 32])),
    }
}

/// One star in ten failed, in one of a hundred ways.
fn failed(stars: Range<u32>) -> Result<FailedTasks> {
    let mut failed = FailedTasks::default();
    for star in stars.filter(|star| star % 10 == 0) {
        let kind = if star % 20 == 0 { FailureKind::Exit } else { FailureKind::OutOfMemory };
        let message = format!("no flux at {star}");
        let outcome = Outcome::Failed(Failure { kind, message, exit_code: Some(1), log_tail: String::new() });
        let FailureWords { reason, words, fingerprint } = FailureWords::of(&outcome).context("it failed")?;
        let (module, host) = (ModuleIndex((star / 10 % 5) as u8), Some(format!("host-{}", star / 50 % 10)));
        let alike = Alike { module, reason, image: "i".parse()?, host, fingerprint };
        failed.add(&alike, &words, (StarIndex(star), Attempt(1), Timestamp::UNIX_EPOCH));
    }
    Ok(failed)
}

fn name(module: u8) -> String {
    format!("MSAP{module:02}")
}

fn definition() -> String {
    let modules =
        (0..MODULES).map(|at| format!("[modules.{}]\nimage = 'i'\noutputs.mandatory = ['P{at}']\n", name(at)));
    format!("name = 'BENCH'\nversion = '1'\ntrigger = 'l1/lc'\n{}", modules.collect::<String>())
}
