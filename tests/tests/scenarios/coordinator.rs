//! The coordinator on a real RabbitMQ and a real Redis: events become tasks, what cannot be read is kept aside, a killed
//! coordinator is missed by nobody.

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use domain::id::{EventId, StarId};
use domain::message::StarSelection;
use harness::noop::{NoopCluster, until};
use harness::simulation::{Script, World};
use harness::{RabbitMq, Redis, ask};
use serde_json::json;
use services::queue::QueueName;
use services::queue::amqp::AmqpQueue;
use services::state::redis::RedisState;
use store::runs::StarEnd;

async fn world(seed: u64, scripts: Vec<Script>) -> Result<World> {
    let broker = AmqpQueue::connect(&RabbitMq::shared()?.vhost()?, "test").await?;
    let state = RedisState::connect(&Redis::shared()?.database()?).await?;
    World::start_on(Arc::new(broker), Arc::new(state), seed, scripts).await
}

fn stars(count: u64) -> Vec<StarId> {
    (0..count).map(StarId::of_simulator).collect()
}

fn none(violations: Vec<String>) {
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_tasks_and_a_repeated_one_the_same_run() -> Result<()> {
    let world = world(1, vec![Script::random(1, "ONE", 5)]).await?;
    let working = world.coordinator();
    let event = world.publish("1", &stars(30)).await?;
    world.publish("1", &stars(30)).await?;
    let runs = world.runs_of(&event).await?;
    world.wait_for_end(&runs).await?;
    world.check_end(runs[0], false)?;
    harness::wait_until(Duration::from_secs(20), "both deliveries are acknowledged", async || {
        world.depth(QueueName::Events).await.is_ok_and(|depth| depth == 0)
    })
    .await?;
    assert_eq!(world.store.runs()?.len(), 1);
    none(world.violations());
    working.abort();
    Ok(())
}

/// More stars than travel in an event that is kept, and more than end in one step.
#[tokio::test(flavor = "multi_thread")]
async fn all_stars_enter_at_once_where_operators_want_it_and_wait_are_held_and_cancelled() -> Result<()> {
    const MANY: u64 = 5_000;
    let directory = tempfile::tempdir()?;
    let modules = [("A", vec![]), ("B", vec![]), ("C", vec!["A".to_owned(), "B".to_owned()])];
    let modules = modules.map(|(name, after)| (name.to_owned(), after));
    let cluster = NoopCluster::start_with(directory.path(), &modules, &[("SAS_COORDINATOR_WINDOW", "all")]).await?;
    let run = cluster.begin("all", StarSelection::Inline(stars(MANY))).await?;
    until("everything is queued, though nobody works", async || Ok(cluster.waiting().await? >= 2 * MANY)).await?;
    let event = cluster.store.event(EventId::of("bench", "all"))?.context("it is on record")?;
    let StarSelection::File(list) = &event.event.data.stars else { panic!("its stars are kept beside it: {event:?}") };
    assert_eq!(cluster.store.read_star_list(list)?.map(|stars| stars.len()), Ok(MANY as usize));

    let on_hold = async || anyhow::Ok(cluster.view(run).await?.context("the run is there")?.on_hold);
    cluster.cluster.ask(&["module", "hold", "BENCH", "A"])?;
    until("half is put aside", async || Ok(on_hold().await? == MANY)).await?;
    cluster.cluster.ask(&["module", "release", "BENCH", "A"])?;
    until("it is back", async || Ok(on_hold().await? == 0)).await?;
    cluster.cluster.ask(&["run", "cancel", &run.to_string()])?;
    until("the run is over", async || Ok(cluster.store.run_end(run)?.is_some())).await?;
    let ends = cluster.store.run_end(run)?.context("it is over")?;
    assert_eq!(ends.stars.get(&StarEnd::Cancelled), Some(&MANY), "{ends:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_event_is_kept_with_its_reason_and_stops_nothing() -> Result<()> {
    let world = world(2, vec![Script::random(2, "ONE", 3)]).await?;
    let working = world.coordinator();
    world.send(b"no json".to_vec()).await?;
    world.send(br#"{"specversion":"1.0","type":"sas.dataset.updated.v1","source":"s","id":"1","data":{"dataset":"l1/lightcurve","quarter":3,"stars":[]}}"#.to_vec()).await?;
    let event = world.publish("1", &stars(5)).await?;
    let runs = world.runs_of(&event).await?;
    world.wait_for_end(&runs).await?;
    let mut dead = world.broker.consume(QueueName::Dead, 10).await?;
    let mut reasons = Vec::new();
    for _ in 0..2 {
        let delivery = tokio::time::timeout(Duration::from_secs(10), dead.next()).await?;
        let death = delivery.death.context("it says why")?;
        assert_eq!(death.queue, "sas.events");
        reasons.push(death.reason);
        delivery.receipt.ack().await?;
    }
    reasons.sort();
    assert!(reasons.iter().any(|reason| reason.contains("data.stars")), "{reasons:?}");
    none(world.violations());
    working.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_coordinators_are_killed_others_go_on() -> Result<()> {
    let world = world(3, vec![Script::random(3, "ONE", 5)]).await?;
    world.faults.set_level(0.7);
    let event = world.publish("1", &stars(40)).await?;
    world.crash_coordinators(2, Duration::from_secs(12)).await;
    let runs = world.runs_of(&event).await?;
    world.wait_for_end(&runs).await?;
    world.check_end(runs[0], false)?;
    none(world.violations());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_answered() -> Result<()> {
    let world = world(4, vec![Script::random(4, "ONE", 3)]).await?;
    let listen = harness::free_address()?;
    let working = world.coordinator_with(&listen, Vec::new());
    let event = world.publish("1", &stars(10)).await?;
    let runs = world.runs_of(&event).await?;
    world.wait_for_end(&runs).await?;
    let health = ask(&listen, "/health").await?;
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    let metrics = ask(&listen, "/metrics").await?;
    for line in
        ["sas_stars_closed_total 10", "sas_events_total 1", "sas_workers 2", "sas_queue_ready{queue=\"sas.dead\"} 0"]
    {
        assert!(metrics.contains(line), "no {line:?} in {metrics}");
    }
    working.abort();
    Ok(())
}

const MOMENTS: [&str; 6] = ["run_started", "run_ended", "star_started", "star_ended", "group_started", "group_ended"];

/// A command gets every moment on its standard input; a webhook that fails at first is called again.
#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_told_of_runs_stars_and_groups() -> Result<()> {
    // M00, M01 and M02 are group G0, M03 is G1: a group of which nothing is handed out neither starts nor ends.
    let tried = |script: &Script, modules: Range<usize>| {
        let is_tried = |star: &StarId| script.expected(*star)[modules.clone()].iter().any(|task| task.is_tried);
        stars(6).iter().filter(|star| is_tried(star)).count()
    };
    let mut scripts = (5..).map(|seed| Script::random(seed, "ONE", 4));
    let script =
        scripts.find(|script| (1..6).contains(&tried(script, 3..4))).context("a group that some stars skip")?;
    let (first, second) = (tried(&script, 0..3), tried(&script, 3..4));
    let world = world(5, vec![script]).await?;
    let directory = tempfile::tempdir()?;
    let told = directory.path().join("told");
    let told_of_group = directory.path().join("told-of-group");
    let (posts, address) = webhook().await?;
    let [command, of_group] =
        [&told, &told_of_group].map(|file| format!("printf '%s\\n' \"$(cat)\" >> {}", file.display()));
    let hooks = [
        json!({"on": MOMENTS, "command": ["/bin/sh", "-c", command]}),
        json!({"on": ["group_started", "group_ended"], "group": "G1", "command": ["/bin/sh", "-c", of_group]}),
        json!({"on": ["run_ended"], "url": address}),
        json!({"on": ["run_ended"], "pipeline": "OTHER", "command": ["/bin/sh", "-c", command]}),
    ];
    let hooks = hooks.map(|hook| serde_json::from_value(hook).unwrap());
    let working = world.coordinator_with("", hooks.into());
    let event = world.publish("1", &stars(6)).await?;
    let runs = world.runs_of(&event).await?;
    world.wait_for_end(&runs).await?;
    let groups = first + second;
    harness::wait_until(Duration::from_secs(20), "all is told", async || {
        let told = lines_of(&told).len() >= 14 + 2 * groups && lines_of(&told_of_group).len() >= 2 * second;
        told && posts.lock().unwrap().len() >= 2
    })
    .await?;
    let lines = lines_of(&told);
    let count = |moment: &str| lines.iter().filter(|line| line["moment"] == moment).count();
    assert_eq!(MOMENTS.map(count), [1, 1, 6, 6, groups, groups]);
    let lines_of_group = lines_of(&told_of_group);
    assert_eq!(lines_of_group.len(), 2 * second);
    assert!(lines_of_group.iter().all(|line| line["group"] == "G1" && line["star"].is_string()));
    let ended: BTreeSet<String> = lines
        .iter()
        .filter(|line| line["moment"] == "star_ended" && line["end"].is_string())
        .map(|line| line["star"].to_string())
        .collect();
    assert_eq!(ended.len(), 6, "each star by its name and end");
    assert!(posts.lock().unwrap().iter().all(|body| body["run"] == runs[0].to_string()));
    working.abort();
    Ok(())
}

/// What a hook's command wrote.
fn lines_of(file: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A server that refuses the first POST; what it was sent, and its address.
async fn webhook() -> Result<(Arc<Mutex<Vec<serde_json::Value>>>, String)> {
    let posts = Arc::new(Mutex::new(Vec::new()));
    let received = posts.clone();
    let answer = async move |Json(body): Json<serde_json::Value>| {
        let mut received = received.lock().unwrap();
        received.push(body);
        if received.len() == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/hook", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, Router::new().route("/hook", post(answer))).into_future());
    Ok((posts, address))
}
