//! A host that is drained from anywhere: what runs there ends, nothing new begins, and the rest of the run goes on.

use serde_json::Value;

use super::*;

/// What `sas worker list` says of the worker on this host.
fn shown(cluster: &Cluster, host: &str) -> Result<Value> {
    let all = cluster.ask(&["worker", "list"])?;
    let worker = all["workers"].as_array().and_then(|all| all.iter().find(|worker| worker["host"] == host));
    worker.cloned().with_context(|| format!("{host} is not in {all}"))
}

#[tokio::test]
async fn a_drained_host_ends_what_runs_and_begins_nothing_until_it_is_resumed() -> Result<()> {
    let scene = Scene::new(5, 0.3, "/usr/bin/python3", "none")?;
    let cluster = &scene.cluster;
    let settings = [&SHORT_LEASE[..], &[("SAS_WORKER_RUNNER", "process")]].concat();
    let coordinator = cluster.coordinator("coordinator")?;
    let [drained, stays] = [cluster.worker("drained", &settings)?, cluster.worker("stays", &settings)?];
    wait_until(PATIENCE, "the host runs a task", async || {
        shown(cluster, "drained").is_ok_and(|worker| {
            let slots = &worker["slots"]["default"];
            slots["busy"] == 1 && worker["attempts"][0]["module"].is_string() && worker["waits_for"].is_null()
        })
    })
    .await
    .with_context(|| drained.log())?;
    assert!(drained.log().contains("begins"), "{}", drained.log());

    let decided = cluster.ask(&["worker", "drain", "drained"])?;
    assert_eq!((&decided["number"], &decided["decision"]), (&1.into(), &"drain".into()), "{decided}");
    let again = cluster.ask(&["worker", "drain", "drained"])?;
    assert!(again["number"].is_null(), "{again}");
    wait_until(PATIENCE, "it is drained", async || {
        shown(cluster, "drained").is_ok_and(|worker| {
            worker["waits_for"] == "drained" && worker["slots"]["default"]["busy"] == 0 && worker["ended"]["all"] != 0
        })
    })
    .await
    .with_context(|| drained.log())?;
    let lost = shown(cluster, "drained")?;
    assert_eq!((&lost["ended"]["lost"], &lost["ended"]["given_back"]), (&0.into(), &0.into()), "what ran ended well");
    let begun = drained.log().matches("begins").count();

    let absent = cluster.ask(&["worker", "drain", "nobody"])?;
    let effect = absent["effect"].as_str().context("it says what comes of it")?;
    assert!(effect.contains("no worker runs on nobody") && effect.contains("drained, stays"), "{effect}");
    let unknown = cluster.sas(&["worker", "resume", "stay"])?;
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.status.code() == Some(3) && said.contains("drained, stays"), "{said}");

    scene.watch(&[&coordinator, &stays]).await?;
    scene.check().await?;
    assert_eq!(drained.log().matches("begins").count(), begun, "{}", drained.log());
    cluster.ask(&["worker", "resume", "drained"])?;
    wait_until(PATIENCE, "it takes tasks again", async || {
        shown(cluster, "drained").is_ok_and(|worker| worker["waits_for"].is_null() && worker["drained"] == false)
    })
    .await
    .with_context(|| drained.log())?;
    Ok(())
}
