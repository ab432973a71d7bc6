//! Metrics of a coordinator on real services: what is exported, described, drawn and watched has the same names; what is counted
//! adds up; a service that only reads is seen.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::id::StarId;
use harness::simulation::{Script, World};
use harness::{RabbitMq, Redis, ask, free_address, wait_until};
use services::queue::amqp::AmqpQueue;
use services::queue::memory::MemoryQueue;
use services::state::redis::RedisState;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// Names of our metrics in a text, without what histograms add.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("sas_") && !word.ends_with('_'));
    ours.map(|word| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    })
    .collect()
}

/// Runs promtool, in the directory of what it checks, on what is written to it.
fn promtool(arguments: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(deploy().join("monitoring"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool is needed: `deploy/setup.sh test` installs it")?;
    child.stdin.take().context("it reads")?.write_all(input.as_bytes())?;
    let done = child.wait_with_output()?;
    let said = [&done.stdout[..], &done.stderr].concat();
    ensure!(done.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
    Ok(())
}

/// The sum of all numbers of a metric.
fn sum(metrics: &str, name: &str) -> f64 {
    let of = metrics.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with([' ', '{']));
    of.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_is_described_and_what_is_watched_is_exported() -> Result<()> {
    let broker = AmqpQueue::connect(&RabbitMq::shared()?.vhost()?, "test").await?;
    let state = RedisState::connect(&Redis::shared()?.database()?).await?;
    let world = World::start_on(Arc::new(broker), Arc::new(state), 9, vec![Script::random(9, "ONE", 5)]).await?;
    let listen = free_address()?;
    let working = world.coordinator_with(&listen, Vec::new());
    world.send(b"no json".to_vec()).await?;
    let stars: Vec<StarId> = (0..30).map(StarId::of_simulator).collect();
    let event = world.publish("1", &stars).await?;
    world.publish("1", &stars).await?;
    let runs = world.runs_of(&event).await?;
    world.wait_for_end(&runs).await?;
    let mut answer = String::new();
    wait_until(Duration::from_secs(20), "all events are taken", async || {
        answer = ask(&listen, "/metrics").await.unwrap_or_default();
        sum(&answer, "sas_event_dispositions_total") >= 3.0
    })
    .await?;
    working.abort();

    let (head, metrics) = answer.split_once("\r\n\r\n").context("an answer of HTTP")?;
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    promtool(&["check", "metrics"], metrics)?;
    let exported: BTreeSet<String> =
        metrics.lines().filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned())).collect();

    let page = fs::read_to_string(deploy().join("README.md"))?;
    let section = page.split("\n## What to watch\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let rows: String = section.context("the section")?.lines().filter(|line| line.starts_with("| `sas_")).collect();
    assert_eq!(named(&rows), exported, "left: the table in deploy/README.md, right: what is exported");

    let alerts = fs::read_to_string(deploy().join("monitoring/alerts.yml"))?;
    for file in ["alerts.yml", "alerts_test.yml", "grafana/dashboard.json"] {
        let watched = named(&fs::read_to_string(deploy().join("monitoring").join(file))?);
        let unknown: Vec<&String> = watched.difference(&exported).collect();
        assert!(watched.len() > 10 && unknown.is_empty(), "{file} names what is not exported: {unknown:?}");
    }
    promtool(&["check", "config", "prometheus.yml"], "")?;
    promtool(&["test", "rules", "alerts_test.yml"], "")?;
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let link = format!("runbook: deploy/README.md#{}\n", alert.to_lowercase());
        assert!(alerts.contains(&link) && page.contains(&format!("\n### {alert}\n")), "{alert} has no section");
        assert!(
            fs::read_to_string(deploy().join("monitoring/alerts_test.yml"))?.contains(alert),
            "{alert} is not tried"
        );
    }

    // What is counted adds up.
    assert_eq!(sum(metrics, "sas_event_dispositions_total"), sum(metrics, "sas_events_total"), "{metrics}");
    assert_eq!(sum(metrics, "sas_stars_ended_total"), 30.0);
    assert_eq!(sum(metrics, "sas_attempts_total"), sum(metrics, "sas_completions_total"), "{metrics}");
    assert_eq!(sum(metrics, "sas_claim_seconds_count"), sum(metrics, "sas_completions_total"), "{metrics}");
    assert_eq!(sum(metrics, "sas_unlock_seconds_count"), sum(metrics, "sas_completions_total"), "{metrics}");
    assert!(
        sum(metrics, "sas_queue_wait_seconds_count") > 0.0 && sum(metrics, "sas_store_free_bytes") > 0.0,
        "{metrics}"
    );
    assert_eq!(sum(metrics, "sas_service_up"), 3.0, "{metrics}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_or_a_store_that_only_reads_is_seen() -> Result<()> {
    let redis = Redis::start()?;
    let state = RedisState::connect(&redis.database()?).await?;
    let world = World::start_on(Arc::new(MemoryQueue::new()), Arc::new(state), 10, Vec::new()).await?;
    let listen = free_address()?;
    let _working = world.coordinator_with(&listen, Vec::new());
    let until = async |what: &str, path: &str, parts: &[&str]| {
        let mut answer = String::new();
        let waited = wait_until(Duration::from_secs(20), what, async || {
            answer = ask(&listen, path).await.unwrap_or_default();
            parts.iter().all(|part| answer.contains(part))
        });
        waited.await.with_context(|| answer)
    };
    until("all is well", "/readyz", &["HTTP/1.1 200", "ok    store\nok    redis\nok    rabbitmq\n"]).await?;
    // As when its replica is lost: it answers all questions, and takes nothing.
    redis.cli(&["config", "set", "min-replicas-to-write", "1"])?;
    until("Redis is seen to only read", "/readyz", &["HTTP/1.1 503", "ok    store\n", "away  redis: ", "NOREPLICAS"])
        .await?;
    until("the metric says so", "/metrics", &["HTTP/1.1 200", "sas_service_up{service=\"redis\"} 0"]).await?;
    until("it lives all the same", "/livez", &["HTTP/1.1 200"]).await?;
    redis.cli(&["config", "set", "min-replicas-to-write", "0"])?;
    until("all is well again", "/health", &["HTTP/1.1 200"]).await?;

    redis.freeze()?;
    let began = std::time::Instant::now();
    until("Redis is seen to hang", "/readyz", &["HTTP/1.1 503", "away  redis: "]).await?;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    redis.thaw()?;
    let scratch = world.store.at("scratch");
    fs::rename(&scratch, world.store.at("elsewhere"))?;
    fs::write(&scratch, "in the way")?;
    until("the store is seen to take nothing", "/readyz", &["HTTP/1.1 503", "away  store: "]).await?;
    Ok(())
}
