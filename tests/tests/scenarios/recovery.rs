//! What is promised of the time after a loss: a host, Redis, the broker, a delivery. Times are measured, and asserted.

mod scene;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::id::StarId;
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection, Start, to_json};
use futures::StreamExt as _;
use harness::clock::SteppedClock;
use harness::{RabbitMq, wait_until};
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};
use scene::{PATIENCE, RecoveryScene, now};
use services::queue::amqp::{AmqpConfig, AmqpQueue};
use services::queue::{Outgoing, Queue, QueueName};
use store::Store;

/// A worker that runs processes, with so many slots and so long a lease.
fn worker<'a>(slots: &'a str, lease: &'a str) -> [(&'static str, &'a str); 5] {
    [
        ("SAS_WORKER_RUNNER", "process"),
        ("SAS_SLOTS_SLOW", slots),
        ("SAS_SLOTS_DEFAULT", "0"),
        ("SAS_WORKER_LEASE", lease),
        ("SAS_WORKER_SWEEP", "2s"),
    ]
}

fn process(pid: u32) -> Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process has an id")
}

/// Everything of a worker's host ends at once. What it ran runs elsewhere within a lease and five seconds.
#[tokio::test]
async fn what_a_lost_host_ran_runs_elsewhere_within_a_lease_and_five_seconds() -> Result<()> {
    const LEASE: f64 = 3.0;
    let scene = RecoveryScene::new(1, 60, None, &[])?;
    let _coordinator = scene.cluster.coordinator("coordinator")?;
    let lost = scene.cluster.worker("lost", &worker("1", "3s"))?;
    scene.until_started("SLOW", 1).await.with_context(|| lost.log())?;
    let _heir = scene.cluster.worker("heir", &worker("1", "3s"))?;
    let first = scene.started()?.pop().context("it was started")?;
    // Well into its lease, as hosts are when they are lost.
    wait_until(PATIENCE, "the heir is there", async || {
        scene.cluster.ask(&["worker", "list"]).is_ok_and(|all| all.to_string().contains("heir"))
    })
    .await?;
    let killed = now()?;
    lost.kill()?;
    kill_process_group(process(first.pid)?, Signal::KILL)?;
    scene.until_started("SLOW", 2).await?;
    let again = scene.started()?.pop().context("it was started again")?;
    let seconds = again.at - killed;
    println!("a lost host: started elsewhere after {seconds:.1} s with a lease of {LEASE} s");
    ensure!(seconds <= LEASE + 5.0, "it was started elsewhere after {seconds:.1} s");
    Ok(())
}

/// Redis is flushed twice while modules run, and there are free slots for them: they go on, and none is started again.
#[tokio::test]
async fn what_runs_when_redis_is_flushed_goes_on_and_is_started_once() -> Result<()> {
    const STARS: usize = 4;
    const SECONDS: u32 = 20;
    let scene = RecoveryScene::new(STARS as u32, SECONDS, None, &[])?;
    let coordinator = scene.cluster.coordinator("coordinator")?;
    let settings = worker("4", "60s");
    let workers = [scene.cluster.worker("one", &settings)?, scene.cluster.worker("two", &settings)?];
    scene.until_started("SLOW", STARS).await.with_context(|| workers[0].log())?;
    for _ in 0..2 {
        let flushed = Instant::now();
        scene.flush()?;
        wait_until(PATIENCE, "what runs is adopted", async || scene.shown("running") == Some(STARS as u64))
            .await
            .with_context(|| format!("{}\n{}", coordinator.log(), workers[0].log()))?;
        println!("a flush: {STARS} modules are adopted after {:.1} s", flushed.elapsed().as_secs_f64());
    }
    assert_eq!(scene.count("LAST"), 0, "all of this was while they ran");
    scene.ends_with_each_started_once(STARS)?;
    // As early as before: when the first module that takes its time was to end, and what is left to do takes a moment.
    let slow = scene.started()?.into_iter().filter(|started| started.module == "SLOW").map(|started| started.at);
    let due = slow.min_by(f64::total_cmp).context("it was started")? + f64::from(SECONDS);
    let after = scene.first_star_file()? - due;
    println!("a flush: the first star file {after:.1} s after the first module was due");
    ensure!(after < 8.0, "the first star file came {after:.1} s after the first module was due");
    Ok(())
}

/// Redis' clock is an hour ahead while a host is lost, and is set right then: what the host ran does not wait for that hour.
#[tokio::test]
async fn what_a_lost_host_ran_runs_elsewhere_though_the_clock_was_ahead() -> Result<()> {
    const LEASE: f64 = 3.0;
    const HOUR: i32 = 3600;
    let clock = SteppedClock::new()?;
    let scene = RecoveryScene::by(&clock, 1, 60)?;
    let coordinator = scene.cluster.coordinator_with("coordinator", &[("SAS_COORDINATOR_SWEEP", "300ms")])?;
    let lost = scene.cluster.worker("lost", &worker("1", "3s"))?;
    scene.until_started("SLOW", 1).await.with_context(|| lost.log())?;
    let key = |name: &str| scene.redis_cli(&["--scan", "--pattern", &format!("sas:*:{name}")]);
    wait_until(PATIENCE, "a first sweep has seen the time", async || {
        key("info")
            .and_then(|info| scene.redis_cli(&["hget", info.trim(), "swept"]))
            .is_ok_and(|at| !at.trim().is_empty())
    })
    .await?;
    let stepped = now()?;
    clock.set(HOUR.into())?;
    // When the lease ends, and until when no lease is taken for lost, by Redis' clock.
    let times = || -> Result<[f64; 2]> {
        let lease = scene.redis_cli(&["zrange", key("leases")?.trim(), "0", "0", "withscores"])?;
        let mercy = scene.redis_cli(&["hget", key("info")?.trim(), "mercy"])?;
        let lease = lease.lines().nth(1).context("there is a lease")?.parse::<f64>()?;
        Ok([lease, mercy.trim().parse::<f64>()?].map(|millis| millis / 1e3 - f64::from(HOUR)))
    };
    wait_until(PATIENCE, "the lease ends in an hour, and any may be lost", async || {
        matches!((times(), now()), (Ok([lease, mercy]), Ok(now)) if lease > now && mercy > stepped && mercy < now)
    })
    .await
    .with_context(|| format!("stepped at {stepped}: {:?}, now {:?}\n{}\n{}", times(), now(), coordinator.log(), lost.log()))?;
    let _heir = scene.cluster.worker("heir", &worker("1", "3s"))?;
    wait_until(PATIENCE, "the heir is there", async || {
        scene.cluster.ask(&["worker", "list"]).is_ok_and(|all| all.to_string().contains("heir"))
    })
    .await?;
    let first = scene.started()?.pop().context("it was started")?;
    lost.kill()?;
    kill_process_group(process(first.pid)?, Signal::KILL)?;
    clock.set(0)?;
    let right = now()?;
    scene.until_started("SLOW", 2).await.with_context(|| coordinator.log())?;
    let again = scene.started()?.pop().context("it was started again")?;
    let seconds = again.at - right;
    println!("a clock set right: started elsewhere after {seconds:.1} s with a lease of {LEASE} s");
    ensure!(seconds <= LEASE + 5.0, "it was started elsewhere after {seconds:.1} s");
    Ok(())
}

/// The broker is killed and comes back without any queue. What runs is not disturbed, and what was queued is handed out again.
#[tokio::test]
async fn a_wiped_broker_is_handed_everything_again_within_half_a_minute() -> Result<()> {
    const STARS: usize = 4;
    let broker = RabbitMq::start()?;
    let scene = RecoveryScene::new(STARS as u32, 30, Some(&broker), &[])?;
    let coordinator = scene.cluster.coordinator("coordinator")?;
    let busy = scene.cluster.worker("busy", &worker("2", "60s"))?;
    scene.until_started("SLOW", 2).await.with_context(|| busy.log())?;
    let running = scene.started()?;
    broker.wipe()?;
    let back = Instant::now();
    let _idle = scene.cluster.worker("idle", &worker("2", "60s"))?;
    let before = running.len();
    wait_until(PATIENCE, "more is started", async || scene.started().is_ok_and(|all| all.len() > before))
        .await
        .with_context(|| coordinator.log())?;
    let seconds = back.elapsed().as_secs_f64();
    println!("a wiped broker: dispatching again {seconds:.1} s after it was back");
    ensure!(seconds < 30.0, "dispatching again after {seconds:.1} s");
    for slow in running.iter().filter(|started| started.module == "SLOW") {
        test_kill_process(process(slow.pid)?).with_context(|| format!("{slow:?} does not run any more"))?;
    }
    scene.ends_with_each_started_once(STARS)
}

/// The broker loses an event that no coordinator has received; the first one that comes finds it in the store.
#[tokio::test]
async fn an_event_that_a_wiped_broker_lost_is_published_again() -> Result<()> {
    const STARS: usize = 2;
    let broker = RabbitMq::start()?;
    let scene = RecoveryScene::new(STARS as u32, 1, Some(&broker), &[])?;
    broker.wipe()?;
    let announced = scene.cluster.store.join("control/announced");
    let damaged = announced.join(format!("{}.json", uuid::Uuid::nil()));
    std::fs::write(&damaged, "{")?;
    let coordinator = scene.cluster.coordinator("coordinator")?;
    let _worker = scene.cluster.worker("one", &worker("2", "60s"))?;
    scene.until_started("LAST", STARS).await.with_context(|| coordinator.log())?;
    scene.ends_with_each_started_once(STARS)?;
    ensure!(Store::open(&scene.cluster.store)?.events()?.len() == 1, "it is one event");
    let left: Vec<_> = announced.read_dir()?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    ensure!(left == [damaged], "what was accepted is announced no more: {left:?}");
    Ok(())
}

/// A module takes longer than the broker waits for an acknowledgement; it is started once.
#[tokio::test]
async fn a_module_that_outlasts_the_brokers_delivery_time_out_is_started_once() -> Result<()> {
    let broker = RabbitMq::start()?;
    let low = "application:set_env(rabbit, consumer_timeout, 4000), application:set_env(rabbit, channel_tick_interval, 1000).";
    broker.ctl(&["eval", low])?;
    let scene = RecoveryScene::new(1, 15, Some(&broker), &[])?;
    let _coordinator = scene.cluster.coordinator("coordinator")?;
    let one = scene.cluster.worker("one", &worker("1", "60s"))?;
    scene.until_started("SLOW", 1).await.with_context(|| one.log())?;
    let held = held_delivery(scene.cluster.queue_url()).await?;
    ensure!(held < Duration::from_secs(12), "the time-out is not in force: a delivery was held for {held:?}");
    scene.ends_with_each_started_once(1)
}

/// How long the broker lets somebody hold a delivery.
async fn held_delivery(url: &str) -> Result<Duration> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    // Only quorum queues are what ours are.
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), lapin::types::AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("held".into(), options, arguments).await?;
    channel
        .basic_publish("".into(), "held".into(), BasicPublishOptions::default(), b"x", BasicProperties::default())
        .await?;
    let mut consumer = channel
        .basic_consume("held".into(), "test".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    let _held = consumer.next().await.context("it is delivered")??;
    let since = Instant::now();
    // The channel is closed over it.
    let ended = tokio::time::timeout(PATIENCE, consumer.next()).await.context("it is held for ever")?;
    ensure!(!matches!(ended, Some(Ok(_))), "another delivery came");
    Ok(since.elapsed())
}

/// Redis is flushed with half of 10,000 stars settled while modules run: the settled ones are back within a minute, everything
/// ends, and no module is started a second time.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_stars_half_done_are_rebuilt_within_a_minute_and_nothing_is_started_twice() -> Result<()> {
    const BULK: u64 = 10_000;
    const STARS: usize = 4;
    let scene = RecoveryScene::new(STARS as u32, 60, None, &[BULK_PIPELINE])?;
    let cluster = &scene.cluster;
    let coordinator = cluster.coordinator_with("coordinator", &[("RUST_LOG", "warn")])?;
    let modules = cluster.worker("modules", &worker("6", "60s"))?;
    scene.until_started("SLOW", STARS).await.with_context(|| modules.log())?;
    let bulk = ["dispatch", "4", "0", "warn"];
    let names = ["SAS_WORKER_RUNNER", "SAS_SLOTS_BULK", "SAS_SLOTS_DEFAULT", "RUST_LOG"];
    let settings: Vec<(&str, &str)> = names.into_iter().zip(bulk).collect();
    let store = Store::open(&cluster.store)?;
    let list: String = (0..BULK).map(|star| format!("{}\n", StarId::of_simulator(1_000_000 + star))).collect();
    std::fs::write(store.at("control/bulk.txt"), list)?;
    begin(cluster.queue_url()).await?;
    let _bulk = cluster.worker("bulk", &settings)?;
    let settled = || bulk_settled(&scene).unwrap_or(0);
    wait_until(PATIENCE * 4, "half of the stars are settled", async || settled() >= BULK / 2)
        .await
        .with_context(|| format!("{} are, {}", settled(), coordinator.log()))?;
    let flushed = Instant::now();
    scene.flush()?;
    wait_until(PATIENCE * 4, "it is rebuilt", async || {
        scene.shown("running") == Some(STARS as u64) && settled() >= BULK / 2
    })
    .await
    .with_context(|| coordinator.log())?;
    let seconds = flushed.elapsed().as_secs_f64();
    println!("a flush with {BULK} stars half done: rebuilt, with what runs, after {seconds:.1} s");
    ensure!(seconds < 60.0, "rebuilt after {seconds:.1} s");
    scene.ends_with_each_started_once(STARS)?;
    let run = store.runs()?.into_iter().find(|run| run.pipeline.as_str() == "BULK").context("it is on record")?.run;
    wait_until(PATIENCE * 4, "all stars are settled", async || {
        store.run_end(run).is_ok_and(|end| end.is_some_and(|end| end.stars.values().sum::<u64>() == BULK))
    })
    .await
}

/// Order alone, and nothing that is made.
const BULK_PIPELINE: &str = "name = 'BULK'\nversion = '1'\ntrigger = 'l1/nothing'\n[classes.bulk]\ncpus = 1\nmemory = '64MB'\n\
    [modules.M1]\ngroup = 'G'\nimage = 'none'\nclass = 'bulk'\ntime_limit = '1m'\noutputs.optional = ['P1']\n\
    [modules.M2]\ngroup = 'G'\nimage = 'none'\nclass = 'bulk'\ntime_limit = '1m'\nafter = ['M1']\noutputs.optional = ['P2']\n";

/// Publishes the event that starts the group over the stars in the list.
async fn begin(url: &str) -> Result<()> {
    let queue = AmqpQueue::connect(&AmqpConfig::at(url), "test").await?;
    let start = Start { pipeline: "BULK".parse()?, version: None, only_group: Some("G".parse()?), replay: None };
    let stars = StarSelection::File("control/bulk.txt".to_owned());
    let data = DatasetUpdate { dataset: "l1/nothing".parse()?, quarter: 3.try_into()?, stars, start: Some(start) };
    let event = DatasetEvent::new("test", "bulk", jiff::Timestamp::now().to_string(), data);
    let message = Outgoing { queue: QueueName::Events, body: to_json(&event), trace: None };
    queue.publish(vec![message]).await.into_iter().collect::<Result<(), _>>()?;
    Ok(())
}

/// How many stars of the bulk have ended, as the state says.
fn bulk_settled(scene: &RecoveryScene) -> Option<u64> {
    let shown = scene.cluster.ask(&["run", "show", &scene.run_of("BULK")?]).ok()?;
    shown["modules"].as_array()?.iter().find(|module| module["module"] == "M2")?["tasks"]["succeeded"].as_u64()
}
