//! A state with one small run, and the writes that checks have in common.
//!
//! The pipeline is a chain of three modules: `FIRST` and `SECOND` of class `default`, `THIRD` of class `heavy`.

use std::sync::Arc;

use super::*;
use domain::id::{Attempt, ClassName, Digest, Epoch, EventId, Generation, Key, RunId, Sequence};
use domain::outcome::{Outcome, Success};
use domain::run::Row;
use services::state::memory::MemoryState;
use services::state::redis::RedisState;
use services::state::{Admission, ClaimRequest, ClaimWish, Counts, Detail, RunView};

pub(crate) const STARS: u32 = 5;
pub(crate) const MODULES: usize = 3;
pub(crate) const EPOCH: Epoch = Epoch(3);
/// Longer than any pause in these tests.
pub(crate) const SILENCE: Duration = Duration::from_secs(600);
pub(crate) const LEASE: Duration = Duration::from_secs(60);
pub(crate) const DEFAULT: &str = "default";
pub(crate) const HEAVY: &str = "heavy";

pub(crate) struct StateFixture {
    pub(crate) state: SharedState,
    pub(crate) run: RunId,
    pub(crate) info: RunInfo,
}

pub(crate) fn class(name: &str) -> ClassName {
    name.parse().expect("a valid class")
}

pub(crate) fn task(star: u32, module: u8) -> Task {
    Task { star: StarIndex(star), module: ModuleIndex(module) }
}

pub(crate) fn other_run() -> RunId {
    RunId::of(EventId::of("tests", "other"), "SAS-PIP", "1")
}

pub(crate) fn run_info() -> RunInfo {
    let module = |name: &str, of: &str| (name.parse().expect("a valid module"), class(of));
    RunInfo {
        run: RunId::of(EventId::of("tests", "one"), "SAS-PIP", "1"),
        pipeline: "SAS-PIP".parse().expect("a valid pipeline"),
        version: "1".to_owned(),
        quarter: 3_u32.try_into().expect("a valid quarter"),
        stars: STARS,
        modules: vec![module("FIRST", DEFAULT), module("SECOND", DEFAULT), module("THIRD", HEAVY)],
        horizon: Sequence(17),
        accepted: "2026-02-03T04:05:06.789Z".parse().expect("a valid time"),
        phase: Phase::Active,
        weight: 1,
        cursor: 0,
        held: Vec::new(),
        amended: 0,
    }
}

pub(crate) fn admission() -> Admission {
    Admission {
        externals: vec!["externals/l1.lightcurve@17.h5".to_owned()],
        previous: Some(Generation(2)),
        at: Some(jiff::Timestamp::UNIX_EPOCH),
    }
}

pub(crate) fn detail(worker: &str) -> Detail {
    let products = [("IDP_SAS_[FE_H]_SAPP".parse().expect("a valid product"), Digest::from_bytes([7; 32]))];
    let success = Success::new(Key::from_bytes([9; 32]), products.into()).with_warnings(&["odd".to_owned()]);
    Detail {
        outcome: Outcome::Succeeded(success),
        attempt: Attempt(1),
        worker: Some(worker.parse().expect("a worker name")),
        started: Some("2026-02-03T04:05:06Z".parse().expect("a valid time")),
        millis: 1234,
    }
}

impl StateFixture {
    pub(crate) async fn memory() -> Result<Self> {
        Self::with(Arc::new(MemoryState::new())).await
    }

    pub(crate) async fn redis() -> Result<Self> {
        let config = harness::Redis::shared()?.database()?;
        Self::with(Arc::new(RedisState::connect(&config).await?)).await
    }

    pub(crate) async fn with(state: SharedState) -> Result<Self> {
        state.check().await?;
        assert_eq!((state.spread_epoch().await?, state.epoch().await?), (Epoch(0), Epoch(0)), "none begins by itself");
        assert_eq!(state.begin_epoch(EPOCH).await?, EPOCH);
        let info = run_info();
        state.open_run(&info, Duration::ZERO).await?;
        Ok(Self { state, run: info.run, info })
    }

    pub(crate) fn fresh(&self) -> Row {
        Row::fresh(MODULES)
    }

    pub(crate) fn fresh_star(&self) -> Star {
        Star { row: self.fresh(), ..Star::default() }
    }

    pub(crate) async fn view(&self) -> Result<RunView> {
        Ok(self.state.run(self.run).await?.expect("the run is in the state"))
    }

    pub(crate) async fn star(&self, star: u32) -> Result<Star> {
        Ok(self.state.load(self.run, &[StarIndex(star)]).await?.remove(0))
    }

    pub(crate) async fn row(&self, star: u32) -> Result<Row> {
        Ok(self.star(star).await?.row)
    }

    pub(crate) async fn write(&self, changes: &[Change]) -> Result<Vec<Written>, StateError> {
        self.state.write(self.run, EPOCH, None, changes).await
    }

    /// The star with one cell changed.
    pub(crate) fn with_cell(star: &Star, module: u8, cell: Cell) -> Star {
        let mut after = star.clone();
        after.row.set(ModuleIndex(module), cell);
        after
    }

    /// The change that admits a star: its first task is queued.
    pub(crate) fn admission_of(&self, star: u32) -> Change {
        Change {
            star: StarIndex(star),
            expected: self.fresh_star(),
            after: Self::with_cell(&self.fresh_star(), 0, Cell::queued(Attempt(1))),
            queue: vec![(ModuleIndex(0), Attempt(1))],
            admission: Some(admission()),
            ..Change::default()
        }
    }

    pub(crate) async fn admit(&self, star: u32) -> Result<()> {
        assert_eq!(self.write(&[self.admission_of(star)]).await?, [Written::Done]);
        Ok(())
    }

    /// The change that queues a task's next attempt, lost to the platform.
    pub(crate) async fn next_attempt(&self, star: u32, module: u8) -> Result<Change> {
        let now = self.star(star).await?;
        let attempt = now.attempt(ModuleIndex(module)).next();
        let mut after = Self::with_cell(&now, module, Cell::queued(attempt));
        after.tries.insert(ModuleIndex(module), Tries { attempt, science: 0, platform: attempt.0 - 1 });
        Ok(Change {
            star: StarIndex(star),
            expected: now,
            after,
            queue: vec![(ModuleIndex(module), attempt)],
            ..Change::default()
        })
    }

    /// Writes the end of a task.
    pub(crate) async fn end(&self, star: u32, module: u8, state: TaskState) -> Result<()> {
        let now = self.star(star).await?;
        let tag = now.row.cell(ModuleIndex(module)).tag;
        let after = Self::with_cell(&now, module, Cell { state, tag });
        let change = Change { star: StarIndex(star), expected: now, after, ..Change::default() };
        assert_eq!(self.write(&[change]).await?, [Written::Done]);
        Ok(())
    }

    /// The first task of a star waits for its next try.
    pub(crate) async fn wait_for(&self, star: u32, time: Duration) -> Result<()> {
        let waits = Change {
            wait: vec![(ModuleIndex(0), time)],
            queue: Vec::new(),
            after: Self::with_cell(&self.star(star).await?, 0, Cell { state: TaskState::Waiting, tag: 1 }),
            ..self.next_attempt(star, 0).await?
        };
        anyhow::ensure!(self.write(&[waits]).await? == [Written::Done]);
        Ok(())
    }

    /// Writes the end of all tasks of a star.
    pub(crate) async fn settle(&self, star: u32) -> Result<()> {
        let now = self.star(star).await?;
        let mut after = now.clone();
        for module in 0..MODULES as u8 {
            after = Self::with_cell(&after, module, Cell { state: TaskState::Succeeded, tag: 1 });
        }
        let change = Change {
            star: StarIndex(star),
            expected: now,
            after,
            details: vec![(ModuleIndex(0), detail("worker"))],
            close: true,
            ..Change::default()
        };
        assert_eq!(self.write(&[change]).await?, [Written::Done]);
        Ok(())
    }

    pub(crate) fn request(&self, task: Task, attempt: u32, nonce: Nonce) -> ClaimRequest {
        ClaimRequest {
            run: self.run,
            epoch: EPOCH,
            worker: "worker 1 of host".parse().expect("a worker name"),
            lease: LEASE,
            wishes: vec![self.wish(task, attempt, nonce)],
        }
    }

    pub(crate) fn wish(&self, task: Task, attempt: u32, nonce: Nonce) -> ClaimWish {
        ClaimWish { task, attempt: Attempt(attempt), nonce, reads: Vec::new() }
    }

    pub(crate) async fn claim(&self, task: Task, attempt: u32, nonce: Nonce) -> Result<Claim> {
        Ok(self.state.claim(&self.request(task, attempt, nonce)).await?.remove(0))
    }

    /// A claim that is granted; returns its nonce.
    pub(crate) async fn granted(&self, task: Task, attempt: u32) -> Result<Nonce> {
        let nonce = Nonce::random();
        self.granted_as(task, attempt, nonce).await?;
        Ok(nonce)
    }

    /// A claim with this nonce that is granted.
    pub(crate) async fn granted_as(&self, task: Task, attempt: u32, nonce: Nonce) -> Result<()> {
        let claim = self.claim(task, attempt, nonce).await?;
        ensure!(matches!(claim, Claim::Granted(_)), "{claim:?}");
        Ok(())
    }

    /// A claim that is granted with a lease of no length to speak of.
    pub(crate) async fn claim_briefly(&self, task: Task, attempt: u32, nonce: Nonce) -> Result<()> {
        let request = ClaimRequest { lease: Duration::from_millis(30), ..self.request(task, attempt, nonce) };
        let claim = self.state.claim(&request).await?;
        ensure!(matches!(claim[..], [Claim::Granted(_)]), "{claim:?}");
        Ok(())
    }

    pub(crate) async fn wait_until(&self, what: &str, condition: impl Fn(Due) -> bool) -> Result<()> {
        harness::wait_until(Duration::from_secs(10), what, async || {
            self.state.due(self.run, 10, 10, SILENCE).await.is_ok_and(&condition)
        })
        .await
    }

    pub(crate) async fn wait_for_due_lease(&self) -> Result<()> {
        self.wait_until("a lease runs out", |due| !due.leases.is_empty()).await
    }

    /// Leases that ran out.
    pub(crate) async fn lost(&self) -> Result<Vec<(Task, Attempt)>> {
        let due = self.state.due(self.run, 10, 10, SILENCE).await?;
        Ok(due.leases.into_iter().map(|(task, held)| (task, held.attempt)).collect())
    }

    /// P1.
    pub(crate) async fn counts_equal_rows(&self) -> Result<()> {
        let stars: Vec<StarIndex> = (0..STARS).map(StarIndex).collect();
        let mut counts = Counts::new();
        for star in self.state.load(self.run, &stars).await? {
            for (module, cell) in (0..).map(ModuleIndex).zip(star.row.cells()) {
                *counts.entry(module).or_default().entry(cell.state).or_default() += 1;
            }
        }
        let told = self.view().await?.counts;
        ensure!(told == counts, "P1: the state counts {told:?}, its rows say {counts:?}");
        Ok(())
    }
}
