//! The state in Redis 7 or newer.
//!
//! Keys of a run, all with the hash tag `{run}`, all beginning with `sas:{run}:` :
//!
//! | key | type | holds |
//! |---|---|---|
//! | `info` | hash | epoch, the run as JSON, phase, weight, admission cursor, held modules, newest amendment, class of each module, longest lease, when timers were last asked for, until when no lease is named, from when until when claims are under reserve, whether entries are being moved since other modules are held |
//! | `rows:<block>` | string | rows of 4,096 stars, one byte a module |
//! | `counts` | hash | `module:state` → tasks |
//! | `tries` | hash | star → tries, where a task has more than one |
//! | `in_flight` | sorted set | stars that are admitted and not closed |
//! | `star:<star>` | hash | module → detail, `admission`; while the star is in flight |
//! | `outbox:<class>`, `published:<class>` | sorted set | `star:module` by time |
//! | `on_hold` | sorted set | `star:module` of held modules by time, in place of `outbox` and `published` |
//! | `waits`, `leases`, `closing` | sorted set | `star:module`, or star, by the time when they are due |
//! | `lease` | hash | `star:module` → attempt, nonce, when it was claimed, worker |
//! | `announced` | hash | `star:module` → until when, attempt and nonce of whoever runs it, though its claim is forgotten; for a lease |
//! | `moves:<time>` | hash | `module:entered`, `module:left` → attempts that became ready and that ended in the period that began then; for some minutes |
//! | `spent` | hash | `module:tasks`, `module:millis`, `module:found`, `module:warned`, `module:unmade` → results that were made, how long that took, results that were found, those with warnings, those without a product that must be answered |
//!
//! Beside them `sas:epoch`, `sas:runs`, `sas:{workers}:…` and `sas:{probe}:…`. Ids of stars are not here: the store's list is sorted and
//! read at random, which saves 16 bytes a star. Everything that must happen together is one script (`redis/*.lua`); times
//! are Redis' own. Scripts that act on what the caller read before name the epoch or compare what they replace.
//!
//! Measured: 46 bytes a star for 300,000 settled stars of 34 modules, every twentieth with a second try.

mod asking;
mod failure;
mod flow;
mod link;
mod scripts;
mod wire;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use link::RedisLink;
use redis::{Script, ScriptInvocation};
use serde::{Deserialize, Serialize};
use wire::Odd;

use super::{
    AnnouncedTask, CLOSING_PATIENCE, Change, Claim, ClaimRequest, CursorMove, Due, Lease, OpenPlace, OpenTask, Phase,
    Ready, RunFlow, RunInfo, RunView, StarView, State, StateError, WorkerInfo, Written,
};
use crate::address::Address;
use domain::id::{Attempt, ClassName, Epoch, ModuleIndex, RunId, StarIndex, WorkerName};
use domain::run::{Row, Star};

const EPOCH: &str = "sas:epoch";
const RUNS: &str = "sas:runs";
const PROBED: [&str; 2] = ["sas:{probe}:hash", "sas:{probe}:set"];

/// Where Redis is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://user:password@host:port/database`.
    pub url: Address,
}

/// The state in Redis.
pub struct RedisState {
    link: RedisLink,
    /// What never changes of a run, read once.
    known: Mutex<BTreeMap<RunId, Arc<RunInfo>>>,
}

impl RedisState {
    /// Connects. What the service must be set up like is a matter of [`State::check`].
    pub async fn connect(config: &RedisConfig) -> Result<Self, StateError> {
        let state = Self { link: RedisLink::new(&config.url)?, known: Mutex::default() };
        state.command::<String>(&redis::cmd("PING")).await?;
        Ok(state)
    }
}

fn key(run: RunId, name: &str) -> String {
    format!("sas:{{{run}}}:{name}")
}

fn on(run: RunId, script: &Script) -> ScriptInvocation<'_> {
    script.key(key(run, "info"))
}

/// The run's classes, each once, in the order of their first module.
fn classes(info: &RunInfo) -> Vec<&ClassName> {
    let mut classes: Vec<&ClassName> = Vec::new();
    for (_, class) in &info.modules {
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    classes
}

#[async_trait]
impl State for RedisState {
    async fn check(&self) -> Result<(), StateError> {
        self.check_service().await
    }

    async fn probe(&self) -> Result<(), StateError> {
        let [hash, set] = PROBED;
        let _: u32 = self.script(scripts::PROBE.key(hash).key(set)).await?;
        Ok(())
    }

    async fn clock(&self) -> Result<jiff::Timestamp, StateError> {
        self.time().await
    }

    async fn epoch(&self) -> Result<Epoch, StateError> {
        let epoch: Option<u64> = self.command(redis::cmd("GET").arg(EPOCH)).await?;
        Ok(Epoch(epoch.unwrap_or(0)))
    }

    async fn begin_epoch(&self, epoch: Epoch) -> Result<Epoch, StateError> {
        let _: u64 = self.script(scripts::EPOCH.key(EPOCH).arg(epoch.0)).await?;
        self.spread_epoch().await
    }

    async fn spread_epoch(&self) -> Result<Epoch, StateError> {
        let now = self.epoch().await?;
        // Runs follow after the state: one that is opened meanwhile looks again at the end (`open_run`).
        for run in self.run_ids().await? {
            match self.begin_run(run, now).await {
                // Whoever uses the run is told.
                Ok(_) | Err(StateError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(now)
    }

    async fn open_run(&self, info: &RunInfo, reserve: Duration) -> Result<(), StateError> {
        let run = info.run;
        let accepted = info.accepted.as_millisecond();
        self.command::<u32>(redis::cmd("ZADD").arg(RUNS).arg(accepted).arg(run.to_string())).await?;
        let epoch = self.epoch().await?;
        let mut call = on(run, &scripts::OPEN);
        call.arg(epoch.0).arg(wire::json(info)).arg(info.stars);
        call.arg(info.phase.to_string()).arg(info.weight).arg(info.cursor).arg(wire::held_text(&info.held));
        call.arg(info.amended).arg(wire::millis(reserve));
        for (_, class) in &info.modules {
            call.arg(class.as_str());
        }
        self.run_script::<u32>(run, epoch, &call).await?;
        let now = self.epoch().await?;
        if now != epoch {
            self.begin_run(run, now).await?;
        }
        Ok(())
    }

    async fn close_run(&self, run: RunId) -> Result<(), StateError> {
        match self.known(run).await {
            Ok(info) => {
                let mut call = on(run, &scripts::CLOSE);
                for class in classes(&info) {
                    call.arg(class.as_str());
                }
                self.run_script::<u32>(run, Epoch::default(), &call).await?;
            }
            Err(StateError::NoRun(_)) => {}
            Err(error) => return Err(error),
        }
        self.forget(run);
        self.command::<u32>(redis::cmd("ZREM").arg(RUNS).arg(run.to_string())).await?;
        Ok(())
    }

    async fn run_ids(&self) -> Result<Vec<RunId>, StateError> {
        let names: Vec<String> = self.command(redis::cmd("ZRANGE").arg(RUNS).arg(0).arg(-1)).await?;
        // What is no id was put there by hand, and names no run.
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    async fn runs(&self) -> Result<Vec<RunInfo>, StateError> {
        let infos = self.run_ids().await?.into_iter().map(|run| self.info(run));
        let mut runs = Vec::new();
        for info in join_all(infos).await {
            match info {
                Ok(info) => runs.push(info),
                // It ended while we looked, or is being entered; or it cannot be read.
                Err(StateError::NoRun(_) | StateError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(runs)
    }

    async fn run(&self, run: RunId) -> Result<Option<RunView>, StateError> {
        type RunReply =
            (wire::Changing, BTreeMap<String, u64>, u32, u32, Vec<u64>, u64, BTreeMap<String, u64>, f64, bool);
        let look = async {
            let known = self.known(run).await?;
            let classes = classes(&known);
            let mut call = on(run, &scripts::VIEW);
            for class in &classes {
                call.arg(class.as_str());
            }
            let (changing, counts, in_flight, running, ready, on_hold, spent, moved, is_moving): RunReply =
                self.run_script(run, Epoch::default(), &call).await?;
            Ok(RunView {
                moved: wire::look::time(moved),
                info: wire::current(&known, changing).map_err(|odd| odd.of(run))?,
                counts: wire::look::counts(&counts).map_err(|odd| odd.of(run))?,
                in_flight,
                running,
                ready: classes.into_iter().cloned().zip(ready).collect(),
                on_hold,
                is_moving,
                spent: wire::look::spent(&spent).map_err(|odd| odd.of(run))?,
            })
        };
        match look.await {
            Ok(view) => Ok(Some(view)),
            Err(StateError::NoRun(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn flow(&self, run: RunId) -> Result<Option<RunFlow>, StateError> {
        self.flow_of(run).await
    }

    async fn set_phase(&self, run: RunId, phase: Phase, weight: u32) -> Result<(), StateError> {
        let known = self.known(run).await?;
        let mut call = on(run, &scripts::PHASE);
        call.arg(phase.to_string()).arg(weight).arg(Phase::Active.to_string());
        for class in classes(&known) {
            call.arg(class.as_str());
        }
        self.run_script::<u32>(run, Epoch::default(), &call).await?;
        Ok(())
    }

    async fn hold(&self, run: RunId, modules: &[ModuleIndex]) -> Result<(), StateError> {
        let (known, held) = (self.known(run).await?, wire::held_text(modules));
        self.run_script::<u32>(run, Epoch::default(), on(run, &scripts::HOLD).arg(&held).arg("begin")).await?;
        for class in if modules.is_empty() { Vec::new() } else { classes(&known) } {
            self.move_entries(run, &format!("outbox:{class}")).await?;
            self.move_entries(run, &format!("published:{class}")).await?;
        }
        self.move_entries(run, "on_hold").await?;
        self.run_script::<u32>(run, Epoch::default(), on(run, &scripts::HOLD).arg(&held).arg("end")).await?;
        Ok(())
    }

    async fn amend(&self, run: RunId, number: u64) -> Result<(), StateError> {
        self.run_script::<u32>(run, Epoch::default(), on(run, &scripts::AMEND).arg(number)).await?;
        Ok(())
    }

    async fn load(&self, run: RunId, stars: &[StarIndex]) -> Result<Vec<Star>, StateError> {
        let mut call = on(run, &scripts::LOAD);
        for star in stars {
            call.arg(star.0);
        }
        let found: Vec<(Vec<u8>, Vec<u8>)> = self.run_script(run, Epoch::default(), &call).await?;
        found.into_iter().map(|(row, tries)| wire::star(row, &tries).map_err(|odd| odd.of(run))).collect()
    }

    async fn rows(&self, run: RunId, block: u32) -> Result<Vec<u8>, StateError> {
        self.run_script(run, Epoch::default(), on(run, &scripts::ROWS).arg(block)).await
    }

    async fn star(&self, run: RunId, star: StarIndex) -> Result<StarView, StateError> {
        type StarReply = (Vec<u8>, Vec<u8>, BTreeMap<String, Vec<u8>>, Vec<(u8, String)>, Vec<(u8, f64)>);
        let (row, tries, known, running, due): StarReply =
            self.run_script(run, Epoch::default(), on(run, &scripts::STAR).arg(star.0)).await?;
        wire::look::star_view(row, &tries, &known, &running, &due).map_err(|odd| odd.of(run))
    }

    async fn write(
        &self,
        run: RunId,
        epoch: Epoch,
        cursor: Option<CursorMove>,
        changes: &[Change],
    ) -> Result<Vec<Written>, StateError> {
        let mut call = on(run, &scripts::WRITE);
        wire::head(&mut call, epoch, cursor);
        for change in changes {
            wire::change(&mut call, change);
        }
        let answers: Vec<u32> = self.run_script(run, epoch, &call).await?;
        Ok(answers.into_iter().map(wire::written).collect())
    }

    async fn closed(&self, run: RunId, stars: &[(StarIndex, &Row)]) -> Result<Vec<Written>, StateError> {
        let mut call = on(run, &scripts::CLOSED);
        for (star, row) in stars {
            call.arg(star.0).arg(row.as_bytes());
        }
        let closed: Vec<u32> = self.run_script(run, Epoch::default(), &call).await?;
        Ok(closed.into_iter().map(wire::written).collect())
    }

    async fn outbox(&self, run: RunId, age: Duration, limit: u32) -> Result<Vec<Ready>, StateError> {
        let known = self.known(run).await?;
        let mut call = on(run, &scripts::OUTBOX);
        call.arg(wire::millis(age)).arg(limit);
        for class in classes(&known) {
            call.arg(class.as_str());
        }
        let mut found: Vec<(f64, String, u32, String)> = self.run_script(run, Epoch::default(), &call).await?;
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let ready = |(_, task, attempt, class): (f64, String, u32, String)| {
            let class = class.parse().map_err(|_| Odd(format!("class {class:?}")))?;
            Ok(Ready { task: wire::task(&task)?, attempt: Attempt(attempt), class })
        };
        found.into_iter().map(ready).collect::<Result<_, Odd>>().map_err(|odd| odd.of(run))
    }

    async fn published(&self, run: RunId, tasks: &[Ready]) -> Result<(), StateError> {
        let mut call = on(run, &scripts::PUBLISHED);
        for ready in tasks {
            call.arg(ready.task.star.0).arg(ready.task.module.0).arg(ready.attempt.0).arg(ready.class.as_str());
        }
        self.run_script::<u32>(run, Epoch::default(), &call).await?;
        Ok(())
    }

    async fn republish(&self, run: RunId, class: &ClassName, age: Duration, limit: u32) -> Result<u32, StateError> {
        let mut call = on(run, &scripts::REPUBLISH);
        call.arg(class.as_str()).arg(wire::millis(age)).arg(limit);
        self.run_script(run, Epoch::default(), &call).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StateError> {
        let mut call = on(request.run, &scripts::CLAIM);
        call.arg(request.epoch.0).arg(request.worker.as_str());
        call.arg(wire::millis(request.lease)).arg(Phase::Active.to_string());
        for wish in &request.wishes {
            call.arg(wish.task.star.0).arg(wish.task.module.0).arg(wish.attempt.0).arg(wish.nonce.to_string());
            call.arg(wire::modules_text(&wish.reads));
        }
        let answers: Vec<Vec<Vec<u8>>> = self.run_script(request.run, request.epoch, &call).await?;
        let claims = request.wishes.iter().zip(answers).map(|(wish, answer)| wire::claim(wish, answer));
        claims.collect::<Result<_, Odd>>().map_err(|odd| odd.of(request.run))
    }

    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StateError> {
        self.renew_all(leases, lease).await
    }

    async fn announce(&self, leases: &[Lease], lease: Duration) -> Result<Vec<AnnouncedTask>, StateError> {
        self.announce_all(leases, lease).await
    }

    async fn due(&self, run: RunId, limit: u32, closing: u32, silence: Duration) -> Result<Due, StateError> {
        let mut call = on(run, &scripts::DUE);
        call.arg(limit).arg(wire::millis(CLOSING_PATIENCE)).arg(wire::millis(silence)).arg(closing);
        let (leases, waits, closing): (Vec<(String, String)>, Vec<String>, Vec<u32>) =
            self.run_script(run, Epoch::default(), &call).await?;
        wire::due(&leases, &waits, &closing).map_err(|odd| odd.of(run))
    }

    async fn show_worker(&self, worker: &WorkerInfo, lives: Duration) -> Result<(), StateError> {
        self.show(worker, lives).await
    }

    async fn forget_worker(&self, worker: &WorkerName) -> Result<(), StateError> {
        self.forget_shown(worker).await
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, StateError> {
        Ok(self.shown().await?.living)
    }

    async fn lost_workers(&self) -> Result<Vec<WorkerInfo>, StateError> {
        Ok(self.shown().await?.lost)
    }

    async fn set_drained(&self, hosts: &BTreeSet<String>) -> Result<(), StateError> {
        self.drain(hosts).await
    }

    async fn drained(&self) -> Result<Option<BTreeSet<String>>, StateError> {
        self.drained_hosts().await
    }

    async fn open_tasks(&self, run: RunId, place: OpenPlace, limit: u32) -> Result<Vec<OpenTask>, StateError> {
        self.find_open(run, place, limit).await
    }

    async fn in_flight(&self, run: RunId, limit: u32) -> Result<Vec<StarIndex>, StateError> {
        self.find_in_flight(run, limit).await
    }
}
