//! What flows is the same wherever it is asked: the broker's own numbers, Redis' rows, `sas queue list`, the metrics.

use std::collections::BTreeMap;

use harness::{RabbitMq, Redis, ask};

use super::*;

/// What `rabbitmqctl` says: ready and unacknowledged messages of a queue.
pub(super) fn of_broker(cluster: &Cluster, queue: &str) -> Result<(u64, u64)> {
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
    let listen = harness::free_address()?;
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

/// What one who is asked says of class `default`: messages that are ready, and the tasks behind them.
#[derive(Debug, PartialEq, Eq)]
struct Depths {
    messages: u64,
    ready: u64,
    in_progress: u64,
    waiting: u64,
}

impl Depths {
    /// RabbitMQ and Redis themselves.
    fn of_services(cluster: &Cluster) -> Result<Self> {
        let (messages, _) = of_broker(cluster, "sas.tasks.default")?;
        let ready = in_redis(cluster, "published:default")? + in_redis(cluster, "outbox:default")?;
        Ok(Self { messages, ready, in_progress: in_redis(cluster, "leases")?, waiting: in_redis(cluster, "waits")? })
    }

    /// The answer of `sas queue list` or the API: a list of queues.
    fn of_queues(queues: &serde_json::Value) -> Result<Self> {
        let mut all = queues.as_array().context("a list")?.iter();
        let queue = all.find(|queue| queue["queue"] == "sas.tasks.default").context("there is the class")?;
        let number = |value: &serde_json::Value| value.as_u64().with_context(|| format!("no number in {queue}"));
        let class = &queue["class"];
        Ok(Self {
            messages: number(&queue["ready"])?,
            ready: number(&class["ready"])?,
            in_progress: number(&class["in_progress"])?,
            waiting: number(&class["waiting"])?,
        })
    }

    fn of_metrics(metrics: &str) -> Result<Self> {
        let of =
            |name: &str| number(metrics, name).map(|found| found as u64).with_context(|| format!("{name} is missing"));
        let place = |place: &str| of(&format!("sas_class_tasks{{class=\"default\",place=\"{place}\"}}"));
        Ok(Self {
            messages: of("sas_queue_ready{queue=\"sas.tasks.default\"}")?,
            ready: place("ready")?,
            in_progress: place("in_progress")?,
            waiting: place("waiting")?,
        })
    }

    /// The page of the queues: the line of the queue, and the last line of the table of its class.
    fn of_page(page: &str) -> Result<Self> {
        let (queues, class) =
            page.split_once("id=\"sas.tasks.default\"").context("the class has a part of the page")?;
        let (queue, all) = (cells(queues, "sas.tasks.default")?, cells(class, "all")?);
        let number = |cells: &[String], at: usize| -> Result<u64> {
            let said = cells.get(at).with_context(|| format!("{cells:?} has too few cells"))?;
            let digits: String =
                said.chars().take_while(|c| !c.is_ascii_alphabetic()).filter(char::is_ascii_digit).collect();
            digits.parse().with_context(|| format!("{said:?} is no number"))
        };
        Ok(Self {
            messages: number(&queue, 0)?,
            ready: number(&all, 0)?,
            in_progress: number(&all, 2)?,
            waiting: number(&all, 3)?,
        })
    }
}

/// The texts of the cells of a line of a table that has this heading.
fn cells(page: &str, heading: &str) -> Result<Vec<String>> {
    let found = page.split("<tr>").find(|row| row.starts_with(&format!("<th scope=\"row\">{heading}</th>")));
    let row = found.with_context(|| format!("no line {heading} in {page}"))?.split("</tr>").next().unwrap_or_default();
    let text = |cell: &str| {
        let parts = cell.split('<').enumerate().map(|(at, part)| {
            let tag_end = if at == 0 { 0 } else { part.find('>').map_or(part.len(), |end| end + 1) };
            &part[tag_end..]
        });
        parts.collect::<String>()
    };
    // What stands before the first cell is the heading.
    Ok(row.split("<td").skip(1).map(|cell| text(cell.split_once('>').map_or("", |(_, inside)| inside))).collect())
}

/// What all say who can be asked, by name.
async fn all_depths(cluster: &Cluster, listen: &str) -> Result<BTreeMap<&'static str, Depths>> {
    let api = ask(listen, "/api/v1/queues").await?;
    let (_, body) = api.split_once("\r\n\r\n").context("an answer has a head")?;
    let flow: serde_json::Value = serde_json::from_str(body)?;
    Ok(BTreeMap::from([
        ("services", Depths::of_services(cluster)?),
        ("command line", Depths::of_queues(&cluster.ask(&["queue", "list"])?)?),
        ("API", Depths::of_queues(&flow["queues"])?),
        ("metrics", Depths::of_metrics(&ask(listen, "/metrics").await?)?),
        ("page", Depths::of_page(&ask(listen, "/queues").await?)?),
    ]))
}

/// Several times in the middle of a run its workers are stopped where they are: then nothing moves any more, and whoever is
/// asked says what RabbitMQ and Redis say.
#[tokio::test]
async fn in_the_middle_of_work_all_who_can_be_asked_say_the_same() -> Result<()> {
    const STARS: u32 = 30;
    let scene = Scene::new(STARS, 0.3, "/usr/bin/python3", "none")?;
    let cluster = &scene.cluster;
    let listen = harness::free_address()?;
    let coordinator = cluster.coordinator_with("coordinator", &[("SAS_HTTP_LISTEN", &listen)])?;
    let settings = [("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "2")];
    let workers = [cluster.worker("one", &settings)?, cluster.worker("two", &settings)?];
    let done = || -> Result<u64> {
        let run = cluster.ask(&["run", "show"])?;
        Ok(run["tasks"]["succeeded"].as_u64().unwrap_or(0))
    };
    for part in 1..=3 {
        let so_many = u64::from(STARS) * MODULES.len() as u64 * part / 4;
        wait_until(PATIENCE, "a part of the work is done", async || done().is_ok_and(|done| done >= so_many)).await?;
        for worker in &workers {
            worker.freeze()?;
        }
        // What was under way when they stopped arrives, and the broker counts anew every five seconds.
        let mut seen = None;
        let is_one = |all: &BTreeMap<&str, Depths>| all.values().all(|depths| depths == &all["services"]);
        wait_until(PATIENCE, "all say the same", async || {
            seen = all_depths(cluster, &listen).await.ok();
            seen.as_ref().is_some_and(is_one)
        })
        .await
        .with_context(|| format!("{seen:?}\n{}", coordinator.log()))?;
        let seen = seen.context("all were asked")?;
        assert!(seen["services"].ready + seen["services"].in_progress > 0, "nothing was under way: {seen:?}");
        for worker in &workers {
            worker.thaw()?;
        }
    }
    scene.watch(&[&coordinator, &workers[0], &workers[1]]).await?;
    scene.check().await
}
