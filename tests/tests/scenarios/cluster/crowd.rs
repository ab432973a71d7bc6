//! Clients who never say what they want, and others who never go: the coordinator works on, and answers everybody else.

use std::time::Instant;

use harness::{ask, follow, free_address};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::*;

const MANY: usize = 1_100;

/// Somebody who sends half a head, and comes again whenever it is sent away.
async fn say_half(listen: String) -> Result<()> {
    loop {
        // Where too many wait to be let in, the system gives up for one of them.
        let Ok(mut stream) = TcpStream::connect(&listen).await else {
            tokio::task::yield_now().await;
            continue;
        };
        // It may be sent away before it has said anything.
        _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await;
        _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

/// With 1,024 descriptors, fewer than there are clients.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_that_say_nothing_keep_nobody_from_work() -> Result<()> {
    let ours = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: ours.maximum, ..ours })?;
    let listen = free_address()?;
    let mut campaign = Campaign::new()?;
    campaign.deliver(QUARTER, "quiet=2", 1)?;
    let directory = campaign.path("cluster");
    fs::create_dir(&directory)?;
    let pipeline = definition(&directory, 0.0, "/usr/bin/python3", "none")?;
    let cluster = Cluster::start(&directory, &[&pipeline])?;
    let coordinator =
        cluster.coordinator_within("coordinator", &["--nofile=1024:1024"], &[("SAS_HTTP_LISTEN", &listen)])?;
    wait_until(PATIENCE, "the coordinator answers", async || ask(&listen, "/livez").await.is_ok()).await?;

    let mut crowd = JoinSet::new();
    for _ in 0..MANY {
        crowd.spawn(say_half(listen.clone()));
    }
    let connected = || {
        let open = fs::read_dir(format!("/proc/{}/fd", coordinator.id())).into_iter().flatten();
        let leads = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        leads.filter(|to| to.to_string_lossy().starts_with("socket:")).count()
    };
    wait_until(PATIENCE, "half of the descriptors are theirs", async || connected() >= 500).await?;
    cluster.ingest(&campaign.star_files()?)?;
    let scene = Scene { campaign, cluster };
    let worker = scene.cluster.worker("one", &[("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "2")])?;
    let asked = Instant::now();
    let answer = ask(&listen, "/readyz").await?;
    let seconds = asked.elapsed().as_secs_f64();
    println!("a crowd of {MANY}: asked whether it is ready, the coordinator answered after {seconds:.1} s");
    assert!(answer.starts_with("HTTP/1.1 200") && seconds < 15.0, "after {seconds:.1} s: {answer}");
    scene.watch(&[&coordinator, &worker]).await?;
    scene.check().await?;
    assert!(crowd.try_join_next().is_none(), "all of them are there to the end");
    assert!(connected() < 1_024 - 400, "{} of the descriptors are connections", connected());
    Ok(())
}

/// Each of them has a connection for as long as it likes; there are places for 128.
#[tokio::test(flavor = "multi_thread")]
async fn those_who_follow_leave_room_for_those_who_ask() -> Result<()> {
    let listen = free_address()?;
    let campaign = Campaign::new()?;
    let directory = campaign.path("cluster");
    fs::create_dir(&directory)?;
    let pipeline = definition(&directory, 0.0, "/usr/bin/python3", "none")?;
    let cluster = Cluster::start(&directory, &[&pipeline])?;
    let _coordinator = cluster.coordinator_with("coordinator", &[("SAS_HTTP_LISTEN", &listen)])?;
    wait_until(PATIENCE, "the coordinator answers", async || ask(&listen, "/livez").await.is_ok()).await?;
    let mut followers = JoinSet::new();
    for _ in 0..600 {
        let listen = listen.clone();
        followers.spawn(async move { follow(&listen, "/api/v1/stream").await });
    }
    wait_until(PATIENCE, "those who found no place are gone", async || {
        while followers.try_join_next().is_some() {}
        followers.len() == 128
    })
    .await
    .with_context(|| format!("{} follow", followers.len()))?;
    let refused = ask(&listen, "/api/v1/stream").await?;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("too_many_follow"), "{refused}");
    for path in ["/readyz", "/metrics", "/api/v1/status"] {
        let answer = ask(&listen, path).await?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    followers.shutdown().await;
    wait_until(PATIENCE, "their places are free again", async || {
        let asked = tokio::time::timeout(Duration::from_secs(2), ask(&listen, "/api/v1/stream")).await;
        // Whoever follows is not answered to the end.
        asked.is_err()
    })
    .await
}
