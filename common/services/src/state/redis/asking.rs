//! Asking Redis: commands and scripts, those of a run apart, and what is known of a run. What an error means is
//! [`super::failure`]'s.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use jiff::Timestamp;
use redis::{Cmd, FromRedisValue, ScriptInvocation};

use super::link::RedisRequest;
use super::{RedisState, classes, key, on, scripts, wire};
use crate::state::{AnnouncedTask, Lease, OpenPlace, OpenTask, RESERVE, RunInfo, StateError};
use domain::id::{Epoch, RunId, StarIndex};

/// Entries that are looked at in one step where many may have to move.
const MOVED: u32 = 2000;

impl RedisState {
    /// Tasks of a run in one place.
    pub(super) async fn find_open(
        &self,
        run: RunId,
        place: OpenPlace,
        limit: u32,
    ) -> Result<Vec<OpenTask>, StateError> {
        let known = self.known(run).await?;
        let mut call = on(run, &scripts::TASKS);
        call.arg(place.to_string()).arg(limit);
        for class in classes(&known) {
            call.arg(class.as_str());
        }
        let found: Vec<wire::look::OpenReply> = self.run_script(run, Epoch::default(), &call).await?;
        wire::look::open_tasks(place, found, limit).map_err(|odd| odd.of(run))
    }

    /// Stars of a run that are admitted and not closed.
    pub(super) async fn find_in_flight(&self, run: RunId, limit: u32) -> Result<Vec<StarIndex>, StateError> {
        self.known(run).await?;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut ask = redis::cmd("ZRANGE");
        ask.arg(key(run, "in_flight")).arg(0).arg(i64::from(limit) - 1);
        let stars: Vec<u32> = self.run_command(run, &ask).await?;
        Ok(stars.into_iter().map(StarIndex).collect())
    }

    /// What Redis' clock shows.
    pub(super) async fn time(&self) -> Result<Timestamp, StateError> {
        let (seconds, micros): (i64, i32) = self.command(&redis::cmd("TIME")).await?;
        // A clock beyond all calendars is as wrong as one can be.
        Ok(Timestamp::new(seconds, micros.saturating_mul(1_000)).unwrap_or(Timestamp::MAX))
    }

    pub(super) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StateError> {
        self.link.ask(RedisRequest::Command(command)).await.map_err(|error| self.link.failure(&error))
    }

    pub(super) async fn script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, StateError> {
        self.link.ask(RedisRequest::Script(script)).await.map_err(|error| self.link.failure(&error))
    }

    /// Runs a script of a run; `epoch` is the one that the script was told to expect.
    pub(super) async fn run_script<T: FromRedisValue>(
        &self,
        run: RunId,
        epoch: Epoch,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StateError> {
        let answer = self.link.ask(RedisRequest::Script(script)).await;
        answer.map_err(|error| match (error.code(), error.detail()) {
            (Some("NORUN"), _) => {
                self.forget(run);
                StateError::NoRun(run)
            }
            (Some("EPOCH"), Some(now)) => match now.parse() {
                Ok(now) => StateError::Epoch { expected: epoch, now },
                Err(_) => StateError::Damaged { run, reason: format!("epoch {now:?}") },
            },
            _ => self.link.failure_of(run, &error),
        })
    }

    /// A command on keys of a run.
    pub(super) async fn run_command<T: FromRedisValue>(&self, run: RunId, command: &Cmd) -> Result<T, StateError> {
        self.link.ask(RedisRequest::Command(command)).await.map_err(|error| self.link.failure_of(run, &error))
    }

    /// What never changes of a run. Its phase, weight and cursor are those of its beginning.
    pub(super) async fn known(&self, run: RunId) -> Result<Arc<RunInfo>, StateError> {
        if let Some(info) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&run) {
            return Ok(info.clone());
        }
        let found: Option<Vec<u8>> =
            self.run_command(run, redis::cmd("HGET").arg(key(run, "info")).arg("json")).await?;
        let info: RunInfo = wire::from_json("run", &found.ok_or(StateError::NoRun(run))?).map_err(|odd| odd.of(run))?;
        let info = Arc::new(info);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(run, info.clone());
        Ok(info)
    }

    /// Puts entries of a set where they belong since other modules are held; nobody else waits for long.
    pub(super) async fn move_entries(&self, run: RunId, set: &str) -> Result<(), StateError> {
        let mut at = "0".to_owned();
        loop {
            at = self.run_script(run, Epoch::default(), on(run, &scripts::MOVE).arg(set).arg(at).arg(MOVED)).await?;
            if at == "0" {
                return Ok(());
            }
        }
    }

    pub(super) fn forget(&self, run: RunId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }

    pub(super) async fn info(&self, run: RunId) -> Result<RunInfo, StateError> {
        let known = self.known(run).await?;
        let mut ask = redis::cmd("HMGET");
        ask.arg(key(run, "info")).arg(&["phase", "weight", "cursor", "held", "amended"]);
        type Found = (Option<String>, Option<u32>, Option<u32>, Option<String>, Option<u64>);
        let (phase, weight, cursor, held, amended): Found = self.run_command(run, &ask).await?;
        match (phase, weight, cursor) {
            (Some(phase), Some(weight), Some(cursor)) => {
                wire::current(&known, (phase, weight, cursor, held.unwrap_or_default(), amended.unwrap_or(0)))
                    .map_err(|odd| odd.of(run))
            }
            _ => Err(StateError::NoRun(run)),
        }
    }

    /// A run follows into an epoch.
    pub(super) async fn begin_run(&self, run: RunId, epoch: Epoch) -> Result<u32, StateError> {
        let mut call = on(run, &scripts::BEGIN);
        self.run_script(run, epoch, call.arg(epoch.0).arg(wire::millis(RESERVE))).await
    }

    /// Renews leases of any runs.
    pub(super) async fn renew_all(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StateError> {
        let renewed = by_run(leases).into_iter().map(async |(run, places)| {
            let these: Vec<&Lease> = places.iter().map(|&at| &leases[at]).collect();
            self.renew_of(run, &these, lease).await.map(|renewed| (places, renewed))
        });
        Ok(in_order(leases.len(), false, try_join_all(renewed).await?))
    }

    /// Keeps tasks of any runs for who runs them.
    pub(super) async fn announce_all(
        &self,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<AnnouncedTask>, StateError> {
        let answers = by_run(leases).into_iter().map(async |(run, places)| {
            let these: Vec<&Lease> = places.iter().map(|&at| &leases[at]).collect();
            self.announce_of(run, &these, lease).await.map(|answers| (places, answers))
        });
        Ok(in_order(leases.len(), AnnouncedTask::NoRun, try_join_all(answers).await?))
    }

    async fn renew_of(&self, run: RunId, leases: &[&Lease], lease: Duration) -> Result<Vec<bool>, StateError> {
        let mut call = on(run, &scripts::RENEW);
        call.arg(wire::millis(lease));
        for lease in leases {
            call.arg(wire::task_text(lease.task)).arg(lease.attempt.0).arg(lease.nonce.to_string());
        }
        match self.run_script::<Vec<u32>>(run, Epoch::default(), &call).await {
            Ok(renewed) => Ok(renewed.into_iter().map(|renewed| renewed == 1).collect()),
            // Nobody can tell, and what works is not stopped for that.
            Err(StateError::Damaged { .. }) => Ok(vec![true; leases.len()]),
            Err(error) => Err(error),
        }
    }

    /// Keeps tasks of one run for who runs them.
    async fn announce_of(
        &self,
        run: RunId,
        leases: &[&Lease],
        lease: Duration,
    ) -> Result<Vec<AnnouncedTask>, StateError> {
        let mut call = on(run, &scripts::ANNOUNCE);
        call.arg(wire::millis(lease));
        for Lease { task, attempt, nonce, .. } in leases {
            call.arg(task.star.0).arg(task.module.0).arg(attempt.0).arg(nonce.to_string());
        }
        match self.run_script::<Vec<i64>>(run, Epoch::default(), &call).await {
            Ok(answers) => Ok(answers.into_iter().map(wire::announced).collect()),
            Err(StateError::NoRun(_)) => Ok(vec![AnnouncedTask::NoRun; leases.len()]),
            // As when they are renewed.
            Err(StateError::Damaged { .. }) => Ok(vec![AnnouncedTask::Kept; leases.len()]),
            Err(error) => Err(error),
        }
    }

    /// Whether the service keeps what it is given; the error says which line to change.
    pub(super) async fn check_service(&self) -> Result<(), StateError> {
        let info: String = self.command(&redis::cmd("INFO")).await?;
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("unknown").trim()
        };
        let mut wrong = Vec::new();
        let version = field("redis_version");
        if version.split('.').next().and_then(|major| major.parse().ok()).is_none_or(|major: u32| major < 7) {
            wrong.push(format!("it is version {version}: version 7 or newer is needed"));
        }
        let policy = field("maxmemory_policy");
        if policy != "noeviction" {
            wrong.push(format!(
                "it may evict what it was given (maxmemory-policy {policy}): set `maxmemory-policy noeviction` in redis.conf"
            ));
        }
        if field("aof_enabled") != "1" {
            wrong.push("it forgets with every restart: set `appendonly yes` in redis.conf".to_owned());
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(StateError::Misconfigured(format!("Redis at {} cannot be used: {}", self.link.address(), wrong.join("; "))))
    }
}

/// Where the leases of each run are among these.
fn by_run(leases: &[Lease]) -> BTreeMap<RunId, Vec<usize>> {
    let mut by_run: BTreeMap<RunId, Vec<usize>> = BTreeMap::new();
    leases.iter().enumerate().for_each(|(at, lease)| by_run.entry(lease.run).or_default().push(at));
    by_run
}

/// Answers in the order of the places that they are for.
fn in_order<T: Clone>(count: usize, otherwise: T, answers: Vec<(Vec<usize>, Vec<T>)>) -> Vec<T> {
    let mut all = vec![otherwise; count];
    for (at, answer) in answers.into_iter().flat_map(|(places, answers)| places.into_iter().zip(answers)) {
        all[at] = answer;
    }
    all
}
