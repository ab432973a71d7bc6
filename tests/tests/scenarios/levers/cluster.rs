//! A simulated cluster on real services, and `sas` as operators type it.

use std::ops::Range;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result};
use domain::id::{ModuleIndex, ModuleName, RunId, StarId};
use harness::simulation::{Script, World};
use harness::{RabbitMq, Redis};
use serde_json::Value;
use services::queue::amqp::{AmqpConfig, AmqpQueue};
use services::state::RunView;
use services::state::redis::RedisState;

/// A simulated cluster with a Redis of its own.
pub(crate) struct LeversCluster {
    pub(crate) world: World,
    redis: Redis,
    broker: AmqpConfig,
}

/// What `sas` said, and how it ended.
pub(crate) struct Said(Output);

impl LeversCluster {
    pub(crate) async fn start(seed: u64, scripts: Vec<Script>) -> Result<Self> {
        let (broker, redis) = (RabbitMq::shared()?.vhost()?, Redis::start()?);
        let queue = AmqpQueue::connect(&broker, "test").await?;
        let state = RedisState::connect(&redis.database()?).await?;
        let world = World::start_on(std::sync::Arc::new(queue), std::sync::Arc::new(state), seed, scripts).await?;
        Ok(Self { world, redis, broker })
    }

    /// Publishes an event and waits for its one run.
    pub(crate) async fn publish(&self, id: &str, stars: &[StarId]) -> Result<RunId> {
        let event = self.world.publish(id, stars).await?;
        self.world.runs_of(&event).await?.first().copied().context("the event started a run")
    }

    /// Runs `sas -o json` with these arguments.
    pub(crate) fn sas(&self, arguments: &[&str]) -> Said {
        self.sas_told(&[], arguments)
    }

    /// The same on a host where workers use this runner.
    pub(crate) fn sas_with(&self, runner: &str, arguments: &[&str]) -> Said {
        self.sas_told(&[("SAS_WORKER_RUNNER", runner)], arguments)
    }

    /// The same with more settings.
    pub(crate) fn sas_told(&self, settings: &[(&str, &str)], arguments: &[&str]) -> Said {
        let mut command = Command::new(harness::program("sas-cli", "sas"));
        command.args(["-o", "json"]).args(arguments);
        command.env("SAS_STORE_ROOT", self.world.store.root()).env("SAS_QUEUE_URL", self.broker.url.secret());
        command.env("SAS_STATE_URL", format!("redis://127.0.0.1:{}/0", self.redis.port()));
        // A runner that takes any image for what it is called.
        command.env("SAS_WORKER_RUNNER", "noop").env("SAS_OPERATOR", "tester").envs(settings.iter().copied());
        Said(command.output().expect("sas starts"))
    }

    /// Waits until a run stands so in the state; returns how it stands.
    pub(crate) async fn view(
        &self,
        run: RunId,
        deadline: Duration,
        what: &str,
        holds: impl Fn(&RunView) -> bool,
    ) -> Result<RunView> {
        let mut found = None;
        let waited = harness::wait_until(deadline, what, async || {
            found = self.world.state().run(run).await.ok().flatten();
            found.as_ref().is_some_and(&holds)
        });
        let waited = waited.await;
        waited.with_context(|| format!("run {run} is {found:?}"))?;
        found.context("just seen")
    }

    /// Redis forgets everything.
    pub(crate) fn flush(&self) -> Result<()> {
        self.redis.cli(&["FLUSHALL"]).map(drop)
    }

    /// Redis is set up as it must not be.
    pub(crate) fn evicts(&self) -> Result<()> {
        self.redis.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).map(drop)
    }

    /// Redis does not answer any more.
    pub(crate) fn stop_redis(&self) -> Result<()> {
        self.redis.stop()
    }
}

impl Said {
    /// What it answered, however it ended.
    #[track_caller]
    pub(crate) fn answer(&self) -> Value {
        serde_json::from_slice(&self.0.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.words()))
    }

    /// What it answered; it must have ended well.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert!(self.0.status.success(), "{}", self.words());
        self.answer()
    }

    /// It must have ended with this code and said this on stderr.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, word: &str) {
        let stderr = String::from_utf8_lossy(&self.0.stderr);
        assert_eq!(self.0.status.code(), Some(code), "{}", self.words());
        assert!(stderr.contains(word), "{word:?} is not in {stderr:?}");
    }

    fn words(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!("{}: {}{}", self.0.status, text(&self.0.stdout), text(&self.0.stderr))
    }
}

pub(crate) fn stars(numbers: Range<u64>) -> Vec<StarId> {
    numbers.map(StarId::of_simulator).collect()
}

pub(crate) fn none(violations: Vec<String>) {
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// The first module of a script that waits for another one.
pub(crate) fn below_a_root(script: &Script) -> (ModuleIndex, ModuleName) {
    let pipeline = &script.pipeline;
    let found = pipeline.indexed().find(|(_, module)| module.enabled && !module.upstream.is_empty());
    let (index, module) = found.expect("a script has modules below others");
    (index, module.name.clone())
}
