//! A Redis that answers, and takes nothing.

use harness::{RabbitMq, Redis};

use super::*;

/// A worker that has work to do takes none meanwhile; it says so once, and once that it is over. `sas doctor` names it.
#[tokio::test]
async fn a_redis_that_only_reads_is_told_once_when_it_begins_and_once_when_it_ends() -> Result<()> {
    let mut campaign = Campaign::new()?;
    campaign.deliver(QUARTER, "quiet=6", 1)?;
    let directory = campaign.path("cluster");
    fs::create_dir(&directory)?;
    let pipeline = definition(&directory, 1.0, "/usr/bin/python3", "none")?;
    let redis = Redis::start()?;
    let cluster = Cluster::start_on(&directory, &[&pipeline], &RabbitMq::shared()?.vhost()?, &redis.database()?)?;
    cluster.ingest(&campaign.star_files()?)?;
    let scene = Scene { campaign, cluster };
    let cluster = &scene.cluster;
    let coordinator = cluster.coordinator("coordinator")?;
    let settings = [("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "2"), ("RUST_LOG", "info,worker=debug")];
    let worker = cluster.worker("one", &settings)?;
    let running = || cluster.ask(&["run", "show"]).is_ok_and(|run| run["running"] == 2);
    wait_until(PATIENCE, "modules run", async || running()).await.with_context(|| worker.log())?;

    redis.cli(&["replicaof", "127.0.0.1", "1"])?;
    let probed = || worker.log().matches("still no tasks are taken").count();
    wait_until(PATIENCE, "the worker asked twice in vain", async || probed() >= 2)
        .await
        .with_context(|| worker.log())?;
    let doctor = cluster.sas(&["doctor", "--no-docker"])?;
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(!doctor.status.success() && said.contains("read only replica"), "{said}");
    redis.cli(&["replicaof", "no", "one"])?;

    scene.watch(&[&coordinator, &worker]).await?;
    scene.check().await?;
    for words in
        ["no more tasks are taken", "tasks are taken again", "leases cannot be renewed", "leases are renewed again"]
    {
        assert_eq!(worker.log().matches(words).count(), 1, "{words}: {}", worker.log());
    }
    Ok(())
}
