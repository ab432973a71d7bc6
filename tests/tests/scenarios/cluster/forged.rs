//! Completions by somebody who never claimed the task: they are counted, and change nothing.

use domain::id::{Epoch, ModuleIndex, Nonce, StarIndex, Task};
use domain::message::{Completion, Report, WIRE_VERSION, to_json};
use domain::outcome::{Failure, FailureKind, Outcome};
use harness::ask;
use services::queue::amqp::{AmqpConfig, AmqpQueue};
use services::queue::{Outgoing, Queue, QueueName};

use super::*;

#[tokio::test]
async fn who_did_not_claim_a_task_is_not_believed_about_it() -> Result<()> {
    let scene = Scene::new(2, 1.0, "/usr/bin/python3", "none")?;
    let cluster = &scene.cluster;
    let listen = harness::free_address()?;
    let coordinator = cluster.coordinator_with("coordinator", &[("SAS_HTTP_LISTEN", &listen)])?;
    wait_until(PATIENCE, "the run is there", async || cluster.ask(&["run", "show"]).is_ok()).await?;
    let held = cluster.sas(&["module", "hold", "SMALL", "B"])?;
    assert!(held.status.success(), "{}", String::from_utf8_lossy(&held.stderr));
    let worker = cluster.worker("one", &[("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "1")])?;
    wait_until(PATIENCE, "both stars wait for what is held", async || {
        cluster.ask(&["run", "show"]).is_ok_and(|run| run["on_hold"] == 2)
    })
    .await?;

    let run = cluster.ask(&["run", "show"])?["run"].as_str().context("a run has an id")?.parse()?;
    let failed =
        Failure { kind: FailureKind::Exit, message: "forged".to_owned(), exit_code: Some(1), log_tail: String::new() };
    let forged = |star| Completion {
        v: WIRE_VERSION,
        epoch: Epoch(1),
        run,
        task: Task { star: StarIndex(star), module: ModuleIndex(1) },
        attempt: Attempt(1),
        nonce: Nonce::random(),
        worker: "nobody".parse().expect("a worker name"),
        started: jiff::Timestamp::now(),
        millis: 1,
        claim: None,
        key: None,
        result: Report::Ended(Outcome::Failed(failed.clone())),
    };
    let message = |star| Outgoing { queue: QueueName::Completions, body: to_json(&forged(star)), trace: None };
    let config = AmqpConfig::at(cluster.queue_url());
    let queue = AmqpQueue::connect(&config, "forger").await?;
    for published in queue.publish(vec![message(0), message(1)]).await {
        published?;
    }
    wait_until(PATIENCE, "both are counted", async || {
        ask(&listen, "/metrics").await.is_ok_and(|metrics| metrics.contains("sas_completions_unclaimed_total 2\n"))
    })
    .await
    .with_context(|| coordinator.log())?;
    let shown = cluster.ask(&["run", "show"])?;
    assert_eq!((&shown["on_hold"], &shown["tasks"]["failed"]), (&2.into(), &serde_json::Value::Null), "{shown}");

    let released = cluster.sas(&["module", "release", "SMALL", "B"])?;
    assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
    scene.watch(&[&coordinator, &worker]).await?;
    scene.check().await?;
    for star in scene.star_files()? {
        // What nobody held was handed out once more, which costs no try.
        let attempts = |name: &str| star.modules[name].attempt;
        assert_eq!(["A", "B", "C", "D"].map(attempts), [1, 2, 1, 1].map(Attempt), "{:?}", star.modules);
    }
    Ok(())
}
