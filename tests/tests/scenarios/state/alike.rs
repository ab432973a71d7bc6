//! Random commands on both adapters at once: what one answers the other answers, and after every step both hold the same.
//!
//! Times are left out of the comparison, and leases and waits either run out at once or not at all.

use std::collections::BTreeSet;

use domain::run::Row;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use services::state::{Admission, OpenPlace, OpenTask, StarView};

use super::*;

/// Steps of a sequence.
const STEPS: usize = 400;

/// A wait, or a lease, that nobody sees the end of.
const LONG: Duration = Duration::from_secs(3600);

/// Both adapters, and what the commands so far made known.
struct BothStates {
    memory: StateFixture,
    redis: StateFixture,
    rng: StdRng,
    nonces: Vec<(Task, Attempt, Nonce)>,
    seed: u64,
    step: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn random_commands_have_the_same_answers_on_both_adapters() -> Result<()> {
    for seed in 0..4 {
        let (memory, redis) = (StateFixture::memory().await?, StateFixture::redis().await?);
        let rng = StdRng::seed_from_u64(seed);
        let mut pair = BothStates { memory, redis, rng, nonces: Vec::new(), seed, step: 0 };
        for step in 0..STEPS {
            pair.step = step;
            pair.command().await?;
            pair.look().await?;
        }
    }
    Ok(())
}

/// The same question to both, and whether the answers are equal.
macro_rules! both {
    ($pair:ident, $what:expr, |$state:ident| $ask:expr) => {{
        let [one, other] = [&$pair.memory.state, &$pair.redis.state].map(|$state| $ask);
        let (one, other) = (one.await, other.await);
        let (one, other) = (told(one), told(other));
        ensure!(
            one == other,
            "seed {}, step {}: {:?}\nmemory {one:?}\nRedis  {other:?}",
            $pair.seed,
            $pair.step,
            $what
        );
        one
    }};
}

/// An answer, or an error in its words.
fn told<T>(answer: Result<T, StateError>) -> Result<T, String> {
    answer.map_err(|error| error.to_string())
}

impl BothStates {
    async fn command(&mut self) -> Result<()> {
        let run = self.memory.run;
        match self.rng.random_range(0..100) {
            0..45 => self.write().await?,
            45..70 => self.claim().await?,
            70..74 => {
                let leases = self.leases();
                both!(self, &leases, |state| state.renew(&leases, LONG)).ok();
            }
            74..76 => self.announce().await?,
            76..80 => {
                let ready = told(self.memory.state.outbox(run, Duration::ZERO, 100).await).unwrap_or_default();
                let some: Vec<Ready> = ready.into_iter().filter(|_| self.rng.random_bool(0.7)).collect();
                both!(self, &some, |state| state.published(run, &some)).ok();
            }
            80..84 => {
                let class = class([DEFAULT, HEAVY].choose(&mut self.rng).copied().unwrap_or(DEFAULT));
                both!(self, &class, |state| state.republish(run, &class, Duration::ZERO, 100)).ok();
            }
            84..88 => {
                let phases = [Phase::Active, Phase::Active, Phase::Paused, Phase::Cancelling];
                let phase = phases.choose(&mut self.rng).copied().unwrap_or(Phase::Active);
                let weight = self.rng.random_range(1..4);
                both!(self, phase, |state| state.set_phase(run, phase, weight)).ok();
            }
            88..92 => {
                let held: Vec<ModuleIndex> =
                    (0..MODULES as u8).map(ModuleIndex).filter(|_| self.rng.random_bool(0.2)).collect();
                both!(self, &held, |state| state.hold(run, &held)).ok();
            }
            92..95 => {
                let star = self.star();
                let mut row = self.memory.star(star.0).await?.row;
                if self.rng.random_bool(0.2) {
                    row = Row::fresh(MODULES);
                }
                let closed = [(star, &row)];
                both!(self, &row, |state| state.closed(run, &closed)).ok();
            }
            95..97 => {
                let number = self.rng.random_range(0..9);
                both!(self, number, |state| state.amend(run, number)).ok();
            }
            97 => {
                let info = self.memory.info.clone();
                both!(self, "open", |state| state.open_run(&info, LONG)).ok();
            }
            _ => {
                both!(self, "close", |state| state.close_run(run)).ok();
                let info = self.memory.info.clone();
                let reserve = if self.rng.random_bool(0.5) { Duration::ZERO } else { LONG };
                both!(self, "open", |state| state.open_run(&info, reserve)).ok();
            }
        }
        Ok(())
    }

    /// Claims that may be forgotten, of this attempt or of a newer one than any.
    async fn announce(&mut self) -> Result<()> {
        let mut leases = self.leases();
        for lease in &mut leases {
            lease.attempt.0 += self.rng.random_range(0..3);
        }
        let lease = if self.rng.random_bool(0.2) { Duration::ZERO } else { LONG };
        both!(self, &leases, |state| state.announce(&leases, lease)).ok();
        Ok(())
    }

    fn star(&mut self) -> StarIndex {
        // One beyond the list, too.
        StarIndex(self.rng.random_range(0..=STARS))
    }

    fn leases(&mut self) -> Vec<Lease> {
        let run = self.memory.run;
        let some: Vec<_> = self.nonces.iter().copied().filter(|_| self.rng.random_bool(0.3)).collect();
        let lease = |(task, attempt, nonce)| Lease { run, task, attempt, nonce };
        some.into_iter().map(lease).collect()
    }

    /// A change of one star or two, mostly of what is there.
    async fn write(&mut self) -> Result<()> {
        let run = self.memory.run;
        let mut changes = Vec::new();
        let mut stars = BTreeSet::new();
        for _ in 0..self.rng.random_range(1..3) {
            let star = self.star();
            if stars.insert(star) {
                changes.push(self.change(star).await?);
            }
        }
        let epoch = if self.rng.random_bool(0.03) { EPOCH.next() } else { EPOCH };
        let from = told(self.memory.state.run(run).await).ok().flatten().map_or(0, |view| view.info.cursor);
        let cursor = self.rng.random_bool(0.3).then(|| {
            let from = if self.rng.random_bool(0.2) { from + 1 } else { from };
            CursorMove { from, to: (from + 1).min(STARS) }
        });
        both!(self, (&cursor, &changes), |state| state.write(run, epoch, cursor, &changes)).ok();
        Ok(())
    }

    async fn change(&mut self, star: StarIndex) -> Result<Change> {
        let expected = match star.0 < STARS && self.rng.random_bool(0.95) {
            true => self.memory.star(star.0).await?,
            false => Star { row: Row::fresh(MODULES), ..Star::default() },
        };
        let mut after = expected.clone();
        let (mut queue, mut wait, mut details) = (Vec::new(), Vec::new(), Vec::new());
        let is_fresh = expected.row.is_fresh();
        for module in (0..MODULES as u8).map(ModuleIndex) {
            if !self.rng.random_bool(0.5) {
                continue;
            }
            let attempt = if is_fresh { Attempt(1) } else { expected.attempt(module).next() };
            let state = match self.rng.random_range(0..10) {
                0..4 => TaskState::Queued,
                4 => TaskState::Waiting,
                5..8 => TaskState::Succeeded,
                8 => TaskState::Failed,
                _ => TaskState::Blocked,
            };
            let tag = if state == TaskState::Blocked { 0 } else { Cell::queued(attempt).tag };
            after.row.set(module, Cell { state, tag });
            match state {
                TaskState::Queued => queue.push((module, attempt)),
                TaskState::Waiting => {
                    wait.push((module, if self.rng.random_bool(0.5) { Duration::ZERO } else { LONG }));
                }
                TaskState::Succeeded => details.push((module, detail("worker 1"))),
                TaskState::Blocked
                | TaskState::Failed
                | TaskState::Errored
                | TaskState::Skipped
                | TaskState::UpstreamFailed
                | TaskState::Cancelled
                | TaskState::Superseded => {}
            }
            match attempt.0 > 1 && state != TaskState::Blocked {
                true => after.tries.insert(module, Tries { attempt, science: 0, platform: attempt.0 - 1 }),
                false => after.tries.remove(&module),
            };
        }
        let close = after.is_settled() && self.rng.random_bool(0.8);
        let mut claimed: Vec<ClaimedTask> = Vec::new();
        if self.rng.random_bool(0.3)
            && let Some((task, _, nonce)) = self.nonces.choose(&mut self.rng).copied()
        {
            claimed.push(ClaimedTask { module: task.module, nonce, may_be_gone: self.rng.random_bool(0.5) });
        }
        let lease_lost = self.rng.random_bool(0.1).then(|| ModuleIndex(self.rng.random_range(0..MODULES as u8)));
        let admission: Option<Admission> = is_fresh.then(admission);
        Ok(Change { star, expected, after, queue, wait, details, admission, close, lease_lost, claimed })
    }

    /// Claims of one task or two, mostly of what is queued.
    async fn claim(&mut self) -> Result<()> {
        let mut wishes = Vec::new();
        let mut tasks = BTreeSet::new();
        for _ in 0..self.rng.random_range(1..3) {
            let task = Task { star: self.star(), module: ModuleIndex(self.rng.random_range(0..MODULES as u8)) };
            if !tasks.insert(task) {
                continue;
            }
            let now = if task.star.0 < STARS { Some(self.memory.star(task.star.0).await?) } else { None };
            let attempt =
                now.filter(|_| self.rng.random_bool(0.9)).map_or(Attempt(1), |star| star.attempt(task.module));
            let known = self.nonces.iter().rev().find(|(known, ..)| *known == task).map(|(.., nonce)| *nonce);
            let nonce = known.filter(|_| self.rng.random_bool(0.3)).unwrap_or_else(Nonce::random);
            self.nonces.push((task, attempt, nonce));
            let reads = (0..task.module.0).map(ModuleIndex).collect();
            wishes.push(services::state::ClaimWish { task, attempt, nonce, reads });
        }
        let lease = if self.rng.random_bool(0.2) { Duration::ZERO } else { LONG };
        let request = ClaimRequest { lease, wishes, ..self.memory.request(task(0, 0), 1, Nonce::random()) };
        let answer = |claims: Vec<Claim>| -> Vec<Claim> { claims.into_iter().map(without_time).collect() };
        let [one, other] = [&self.memory.state, &self.redis.state].map(|state| state.claim(&request));
        let (one, other) = (told(one.await).map(answer), told(other.await).map(answer));
        ensure!(one == other, "seed {}, step {}: {request:?}\nmemory {one:?}\nRedis  {other:?}", self.seed, self.step);
        Ok(())
    }

    /// Both hold the same.
    async fn look(&mut self) -> Result<()> {
        let run = self.memory.run;
        let stars: Vec<StarIndex> = (0..=STARS).map(StarIndex).collect();
        let [one, other] = [&self.memory.state, &self.redis.state].map(|state| held(state, run, &stars));
        let (one, other) = (one.await?, other.await?);
        ensure!(one == other, "seed {}, step {}\nmemory {one:#?}\nRedis  {other:#?}", self.seed, self.step);
        self.memory.counts_equal_rows().await
    }
}

/// Everything that a state holds of a run, without times.
async fn held(state: &SharedState, run: domain::id::RunId, stars: &[StarIndex]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let view = state.run(run).await?.map(|view| services::state::RunView { moved: None, ..view });
    all.push(format!("{view:?}"));
    for (star, loaded) in stars.iter().zip(state.load(run, stars).await?) {
        let StarView { details, admission, running, due, .. } = state.star(run, *star).await?;
        let running: Vec<_> = running.into_iter().map(|(module, held)| (module, held.attempt, held.worker)).collect();
        let due: Vec<ModuleIndex> = due.into_keys().collect();
        all.push(format!("{star:?} {loaded:?} {details:?} {admission:?} {running:?} {due:?}"));
    }
    for place in [OpenPlace::Running, OpenPlace::Queued, OpenPlace::OnHold, OpenPlace::Waiting] {
        let mut open = state.open_tasks(run, place, 1000).await?;
        open.sort_by_key(|open| open.task);
        let open: Vec<OpenTask> = open.into_iter().map(|open| OpenTask { since: None, due: None, ..open }).collect();
        all.push(format!("{open:?}"));
    }
    let mut ready = state.outbox(run, Duration::ZERO, 1000).await?;
    ready.sort_by_key(|ready| ready.task);
    all.push(format!("{ready:?}"));
    // A star to be closed is named again after half a minute: not at the same moment by both.
    let Due { mut leases, mut waits, .. } = state.due(run, 1000, 1000, SILENCE).await?;
    leases.sort_by_key(|(task, _)| *task);
    waits.sort();
    let leases: Vec<_> = leases.into_iter().map(|(task, held)| (task, held.attempt, held.worker)).collect();
    all.push(format!("{leases:?} {waits:?}"));
    all.push(format!("{:?}", state.in_flight(run, 1000).await?));
    all.push(format!("{:?}", state.rows(run, 0).await?));
    Ok(all)
}

/// A claim without how long its task waited.
fn without_time(claim: Claim) -> Claim {
    match claim {
        Claim::Granted(mut grant) => {
            grant.waited = None;
            grant.reserve = if grant.reserve.is_zero() { Duration::ZERO } else { LONG };
            Claim::Granted(grant)
        }
        refused @ Claim::Refused(_) => refused,
    }
}
