//! The cluster of `compose.yaml`: a campaign runs to its end while workers come and go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::compose::{Compose, build_images};
use harness::light::{Campaign, in_state, star_files};
use harness::wait_until;
use serde_json::Value;

/// Long enough for a few containers on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const QUARTER: u16 = 3;

fn definition() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pipelines/seismic.toml")
}

/// How often each task succeeded, by star and module, as the workers' logs tell it.
fn successes(logs: &[PathBuf]) -> BTreeMap<(String, String), u32> {
    let mut found = BTreeMap::new();
    for log in logs {
        for line in std::fs::read_to_string(log).unwrap().lines() {
            let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
            let is_success = record["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("succeeded"));
            if record["message"] == "ended" && is_success {
                let word = |name: &str| record["span"][name].as_str().unwrap().to_owned();
                *found.entry((word("star"), word("module"))).or_default() += 1;
            }
        }
    }
    found
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    wait_until(PATIENCE, what, async || condition()).await.unwrap();
}

#[tokio::test]
async fn a_campaign_runs_to_its_end_while_workers_come_and_go() {
    build_images().unwrap();
    let mut campaign = Campaign::new().unwrap();
    campaign.deliver(QUARTER, "quiet=3,seismic=3", 4).unwrap();
    let options = ["--image", "sas/light:1", "--time-limit", "2m", "--cpus", "1"];
    let pipeline = campaign.rewrite(&definition(), &options).unwrap();
    let cluster = Compose::new(&pipeline).unwrap();
    cluster.check_file().unwrap();

    // As the operators' page begins; then an event that waits for a coordinator.
    let report = cluster.sas(&["init", "--no-docker"]).unwrap();
    assert!(report.contains("SEISMIC") && report.contains("sas.tasks.heavy"), "{report}");
    let files = campaign.star_files().unwrap();
    let name = |file: &PathBuf| format!("/input/{}", file.file_name().unwrap().to_string_lossy());
    let files_inside: Vec<String> = files.iter().map(name).collect();
    let volume = format!("{}:/input:ro", files[0].parent().unwrap().display());
    let ingest = ["run", "--rm", "-T", "-v", &volume, "sas", "ingest", "--publish"];
    let arguments = ingest.into_iter().chain(files_inside.iter().map(String::as_str)).collect::<Vec<_>>();
    cluster.run(&arguments).unwrap();
    let refused = cluster.worker_elsewhere().unwrap();
    assert!(
        refused.contains("same absolute path"),
        "a worker started that the engine does not share files with: {refused}"
    );

    let mut logs: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut follow = |cluster: &Compose| {
        for container in cluster.containers("worker").unwrap() {
            logs.entry(container.clone()).or_insert_with(|| cluster.follow(&container).unwrap());
        }
    };
    let done = |cluster: &Compose| cluster.metric("sas_tasks", "state=\"succeeded\"").unwrap_or(0.0);
    cluster.scale(1).unwrap();
    follow(&cluster);
    until("some tasks are done by one worker", || done(&cluster) >= 4.0).await;

    cluster.scale(3).unwrap();
    follow(&cluster);
    until("three workers are there", || cluster.metric("sas_workers", "") == Some(3.0)).await;
    let so_far = done(&cluster);
    until("more tasks are done", || done(&cluster) >= so_far + 6.0).await;

    cluster.scale(1).unwrap();
    assert_eq!(cluster.metric("sas_workers", ""), Some(1.0), "those that left have said so");
    assert!(cluster.metric("sas_stars_in_flight", "").unwrap() > 0.0, "the run was over before workers left");
    let end = cluster.sas(&["run", "watch", "--timeout", "3m"]).unwrap();
    assert!(end.contains("6 complete"), "{end}");

    let kinds: Vec<&String> = campaign.kinds.keys().collect();
    let mut expected = BTreeMap::new();
    for (star, file) in star_files(&cluster.store(), QUARTER, &kinds).unwrap() {
        let (succeeded, skipped) = (in_state(&file, "succeeded"), in_state(&file, "skipped"));
        assert_eq!(succeeded.len() + skipped.len(), file.modules.len(), "{star} is not complete");
        assert!(succeeded.len() >= 8, "{star}: {succeeded:?}");
        expected.extend(succeeded.into_iter().map(|module| ((star.clone(), module), 1)));
    }
    let logs: Vec<PathBuf> = logs.into_values().collect();
    assert_eq!(logs.len(), 3);
    until("the log of the last worker is written", || successes(&logs).len() == expected.len()).await;
    assert_eq!(successes(&logs), expected, "every task succeeded, and none of them twice");
    until("the queues are empty", || queues_are_empty(&cluster)).await;
}

/// No message waits, none is unanswered, none was put aside.
fn queues_are_empty(cluster: &Compose) -> bool {
    let depths: Vec<Value> = serde_json::from_str(&cluster.sas(&["queue", "list", "-o", "json"]).unwrap()).unwrap();
    assert!(depths.iter().any(|depth| depth["queue"] == "sas.tasks.heavy"), "{depths:?}");
    depths.iter().all(|depth| depth["ready"] == 0 && depth["unacknowledged"] == 0)
}
