//! What the broker confirmed and lost.

use harness::RabbitMq;

use super::flow::of_broker;
use super::*;

/// No coordinator is there when a task ends, and before one comes somebody purges the queue. The claim is held, so that nobody
/// else runs the task; its worker says once more how it ended.
#[tokio::test]
async fn a_completion_that_the_broker_lost_is_published_again() -> Result<()> {
    let scene = Scene::new(1, 3.0, "/usr/bin/python3", "none")?;
    let cluster = &scene.cluster;
    let first = cluster.coordinator("first")?;
    let worker = cluster.worker("one", &[&SHORT_LEASE[..], &[("SAS_WORKER_RUNNER", "process")]].concat())?;
    wait_until(PATIENCE, "A runs", async || cluster.ask(&["run", "show"]).is_ok_and(|run| run["running"] == 1)).await?;
    first.kill()?;
    let waits = || of_broker(cluster, "sas.completions").is_ok_and(|(ready, _)| ready > 0);
    wait_until(PATIENCE, "its completion waits for a coordinator", async || waits()).await?;
    let vhost = cluster.queue_url().rsplit('/').next().context("an address ends with the virtual host")?;
    RabbitMq::shared()?.ctl(&["purge_queue", "-p", vhost, "sas.completions"])?;
    let second = cluster.coordinator("second")?;
    scene.watch(&[&second, &worker])?;
    for star in scene.star_files()? {
        assert!(star.modules.values().all(|module| module.attempt == Attempt(1)), "{:?}", star.modules);
    }
    assert!(worker.log().contains("published again"), "{}", worker.log());
    scene.check().await
}
