//! What flows is the same wherever it is asked: the broker's own numbers, Redis' rows, `sas queue list`, the metrics.

use harness::{RabbitMq, Redis, ask};

use super::*;

/// What `rabbitmqctl` says: ready and unacknowledged messages of a queue.
fn of_broker(cluster: &Cluster, queue: &str) -> Result<(u64, u64)> {
    let vhost = cluster.queue_url().rsplit('/').next().context("an address ends with the virtual host")?;
    let fields = ["name", "messages_ready", "messages_unacknowledged", "--silent"];
    let listed = RabbitMq::shared()?.ctl(&[&["list_queues", "-p", vhost][..], &fields].concat())?;
    let words = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|words| words[0] == queue);
    let words = words.with_context(|| format!("{queue} is not in {listed}"))?;
    Ok((words[1].parse()?, words[2].parse()?))
}

/// How many entries Redis has in the one set of the run with this name.
fn in_redis(cluster: &Cluster, name: &str) -> Result<u64> {
    let database = cluster.state_url().rsplit('/').next().context("an address ends with the database")?;
    let redis = Redis::shared()?;
    let keys = redis.cli(&["-n", database, "--scan", "--pattern", &format!("sas:*:{name}")])?;
    let Some(key) = keys.lines().next() else { return Ok(0) };
    Ok(redis.cli(&["-n", database, "zcard", key])?.trim().parse()?)
}

/// The number of a metric with these labels.
fn number(metrics: &str, name: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// One slot, which is busy for long: two tasks are ready for it, all others are to come.
#[tokio::test]
async fn broker_state_command_line_and_metrics_say_the_same_of_what_flows() -> Result<()> {
    let scene = Scene::new(6, 50.0, "/usr/bin/python3", "none")?;
    let cluster = &scene.cluster;
    let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let coordinator = cluster.coordinator_with("coordinator", &[("SAS_HTTP_LISTEN", &listen)])?;
    let _worker = cluster.worker("one", &[("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "1")])?;
    let class = || -> Result<serde_json::Value> {
        let queues = cluster.ask(&["queue", "list"])?;
        let queues = queues.as_array().context("a list")?;
        let found = queues.iter().find(|queue| queue["queue"] == "sas.tasks.default").context("there is the class")?;
        Ok(found.clone())
    };
    wait_until(PATIENCE, "one runs, two are ready, all is settled down", async || {
        class().is_ok_and(|queue| {
            let tasks = &queue["class"];
            tasks["in_progress"] == 1 && tasks["ready"] == 2 && queue["ready"] == 2 && tasks["busy"] == 1
        })
    })
    .await
    .with_context(|| format!("{:?}\n{}", class(), coordinator.log()))?;
    let queue = class()?;
    let metrics = ask(&listen, "/metrics").await?;
    // It counts anew every five seconds.
    wait_until(PATIENCE, "rabbitmqctl says so", async || {
        of_broker(cluster, "sas.tasks.default").is_ok_and(|count| count == (2, 0))
    })
    .await?;
    assert_eq!(in_redis(cluster, "published:default")? + in_redis(cluster, "outbox:default")?, 2);
    assert_eq!(in_redis(cluster, "leases")?, 1);
    let tasks = &queue["class"];
    assert_eq!(
        (&tasks["to_come"], &tasks["waiting"], &tasks["on_hold"]),
        (&21.into(), &0.into(), &0.into()),
        "{queue}"
    );
    assert_eq!((&tasks["slots"], &tasks["unmeasured"]), (&1.into(), &4.into()), "{queue}");
    assert_eq!(tasks["modules"].as_array().map(Vec::len), Some(MODULES.len()), "{queue}");
    assert!(tasks["oldest"].is_string() && tasks["periods"].as_array().is_some_and(|all| all.len() == 20), "{queue}");
    for (name, expected) in [
        ("sas_queue_ready{queue=\"sas.tasks.default\"}", 2.0),
        ("sas_class_tasks{class=\"default\",place=\"ready\"}", 2.0),
        ("sas_class_tasks{class=\"default\",place=\"in_progress\"}", 1.0),
        ("sas_class_tasks{class=\"default\",place=\"to_come\"}", 21.0),
        ("sas_slots_busy{class=\"default\"}", 1.0),
        ("sas_tasks{pipeline=\"SMALL\",module=\"A\",state=\"queued\"}", 3.0),
    ] {
        assert_eq!(number(&metrics, name), Some(expected), "{name} in {metrics}");
    }
    let table = cluster.sas(&["queue", "list", "--modules", "-o", "csv"])?;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("sas.tasks.default,SMALL,A,2,1,0,,0,3,"), "{table}");
    Ok(())
}
