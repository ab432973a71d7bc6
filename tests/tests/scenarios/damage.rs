//! Damage stays where it is: what somebody spoilt by hand in a busy store stops that alone, is named once, and all else goes on.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use domain::id::{RunId, StarId};
use harness::simulation::{Script, World};
use harness::{RabbitMq, Redis};
use services::queue::QueueName;
use services::queue::amqp::AmqpQueue;
use services::state::redis::{RedisConfig, RedisState};
use store::paths;
use tracing_subscriber::fmt::MakeWriter;

use harness::ask;

/// Stars of each run: enough to keep it busy while its files are spoilt.
const STARS: u64 = 60;

/// What this thread's log says.
#[derive(Clone, Default)]
struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl CapturedLog {
    /// How many lines have all of these words.
    fn count(&self, words: &[&str]) -> usize {
        let text = String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        text.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }
}

impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for CapturedLog {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Puts something else into a file of the store; those are written once, and by others.
fn spoil(path: &Path, with: &str) -> Result<()> {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    std::fs::write(path, with).with_context(|| format!("failed to spoil `{}`", path.display()))
}

fn redis(config: &RedisConfig, command: &[&str]) -> Result<String> {
    let output = std::process::Command::new("redis-cli").args(["-u", config.url.secret()]).args(command).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The store is that of one busy coordinator, which dies; a second one finds it spoilt.
#[tokio::test]
async fn what_is_spoilt_by_hand_stops_itself_alone_and_is_named_once() -> Result<()> {
    let database = Redis::shared()?.database()?;
    let broker = AmqpQueue::connect(&RabbitMq::shared()?.vhost()?, "test").await?;
    let state = RedisState::connect(&database).await?;
    let world = World::start_on(Arc::new(broker), Arc::new(state), 7, vec![Script::random(7, "ONE", 5)]).await?;
    let first = world.coordinator();
    let mut runs: Vec<RunId> = Vec::new();
    for id in 0..3_u64 {
        let stars: Vec<StarId> = (id * STARS..(id + 1) * STARS).map(StarId::of_simulator).collect();
        let event = world.publish(&id.to_string(), &stars).await?;
        runs.extend(world.runs_of(&event).await?);
    }
    let [record, control, row] = runs[..] else { anyhow::bail!("three runs: {runs:?}") };
    harness::wait_until(Duration::from_secs(20), "all runs are busy", async || {
        let mut busy = 0;
        for run in &runs {
            busy += usize::from(
                world.state().run(*run).await.is_ok_and(|view| view.is_some_and(|view| view.in_flight > 0)),
            );
        }
        busy == runs.len()
    })
    .await?;
    first.abort();

    // By hand: a run's record, another one's decisions, a third one's rows, an event that nobody finished.
    spoil(&world.store.at(paths::run(record)).join("run.json"), "{")?;
    spoil(&world.store.at(paths::run(control)).join("control/000001.json"), "pause, please")?;
    let script = format!("return redis.call('SETRANGE', KEYS[1], 0, string.rep(string.char(255), {}))", STARS * 5);
    redis(&database, &["EVAL", &script, "1", &format!("sas:{{{row}}}:rows:0")])?;
    let unfinished = uuid::Uuid::new_v4().to_string();
    spoil(&world.store.at("events").join(format!("{unfinished}.json")), "{")?;
    spoil(&world.store.at(paths::pending_event(unfinished.parse()?)), "")?;

    let log = CapturedLog::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::WARN);
    let _guard = tracing::subscriber::set_default(subscriber.with_writer(log.clone()).finish());
    let listen = harness::free_address()?;
    let second = world.coordinator_with(&listen, Vec::new());
    let stars: Vec<StarId> = (1000..1010).map(StarId::of_simulator).collect();
    let event = world.publish("after", &stars).await?;
    let whole = world.runs_of(&event).await?;
    harness::wait_until(Duration::from_secs(60), "the run that is whole has ended", async || {
        world.store.run_end(whole[0]).is_ok_and(|end| end.is_some())
    })
    .await?;
    world.check_end(whole[0], false)?;
    let damage = [record, control, row].map(|run| run.to_string());
    harness::wait_until(Duration::from_secs(60), "everything is named", async || {
        damage.iter().chain([&unfinished]).all(|name| log.count(&["set aside", name]) == 1)
    })
    .await?;

    // Comparisons and timers come by again and again.
    let metrics = ask(&listen, "/metrics").await?;
    for line in ["sas_runs_set_aside 3", "sas_events_set_aside 1"] {
        assert!(metrics.contains(line), "no {line:?} in {metrics}");
    }
    for _ in 0..3 {
        world.store.nudge(whole[0])?;
        harness::wait_until(
            Duration::from_secs(20),
            "a comparison takes it, after the one before it has ended",
            async || world.store.nudges().is_ok_and(|nudges| nudges.is_empty()),
        )
        .await?;
    }
    for name in damage.iter().chain([&unfinished]) {
        assert_eq!(
            log.count(&[name]),
            1,
            "{name} is named once: {:?}",
            String::from_utf8_lossy(&log.0.lock().unwrap())
        );
    }

    // Workers would renew for ten minutes what they reported to nobody.
    world.kill_workers();
    // What is mended goes on: here by taking the spoilt decision away, and the spoilt run out of Redis.
    let forget = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('UNLINK', key) end";
    redis(&database, &["EVAL", forget, "0", &format!("sas:{{{row}}}:*")])?;
    std::fs::remove_file(world.store.at(paths::run(control)).join("control/000001.json"))?;
    world.store.nudge(whole[0])?;
    for run in [control, row] {
        let what = format!("run {run} of {runs:?} has ended, which was mended");
        harness::wait_until(Duration::from_secs(240), &what, async || {
            world.store.run_end(run).is_ok_and(|end| end.is_some())
        })
        .await?;
        world.check_end(run, false)?;
    }
    second.abort();
    Ok(())
}

/// An event whose record is damaged is its message's trouble.
#[tokio::test]
async fn an_event_with_a_damaged_record_is_kept_aside_with_its_reason() -> Result<()> {
    let broker = AmqpQueue::connect(&RabbitMq::shared()?.vhost()?, "test").await?;
    let state = RedisState::connect(&Redis::shared()?.database()?).await?;
    let world = World::start_on(Arc::new(broker), Arc::new(state), 8, vec![Script::random(8, "ONE", 3)]).await?;
    let working = world.coordinator();
    let stars: Vec<StarId> = (0..3).map(StarId::of_simulator).collect();
    let event = world.publish("1", &stars).await?;
    let runs = world.runs_of(&event).await?;
    world.wait_for_end(&runs).await?;
    spoil(&world.store.at(paths::event_dispositions(event.event_id())), "[")?;
    world.publish("1", &stars).await?;
    let mut dead = world.broker.consume(QueueName::Dead, 10).await?;
    let delivery = tokio::time::timeout(Duration::from_secs(20), dead.next()).await?;
    let reason = delivery.death.context("it says why")?.reason;
    assert!(reason.contains("damaged") && reason.contains(&event.event_id().to_string()), "{reason}");
    let runs = world.runs_of(&world.publish("2", &stars).await?).await?;
    world.wait_for_end(&runs).await?;
    world.check_end(runs[0], false)?;
    working.abort();
    Ok(())
}
