//! What `sas event publish` takes, and what becomes of it: one event under one name, and a reason for each that was refused.

use domain::id::{EventId, StarId};

use super::*;

/// No worker is needed: the events are runs, or they are not.
#[tokio::test]
async fn an_event_is_published_once_under_its_name_and_a_refused_one_says_why_in_the_ledger() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let pipeline = definition(folder.path(), 0.0, "/usr/bin/python3", "none")?;
    let cluster = Cluster::start(folder.path(), &[&pipeline])?;
    let [one, two] = [1, 2].map(|number| StarId::of_simulator(number).to_string());
    let publish = |id: &str, which: &[&str]| {
        cluster.sas(&[&["event", "publish", "--quarter", "3", "--source", "test", "--id", id], which].concat())
    };
    let is_refused = |which: &[&str]| -> Result<bool> {
        let done = publish("1", which)?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        Ok(!done.status.success() && said.contains("new data need an event with a new id"))
    };
    assert!(publish("1", &[&one])?.status.success());
    assert!(publish("1", &[&one])?.status.success(), "the same twice is one event");
    assert!(is_refused(&[&two])?, "no coordinator has accepted the first yet");
    assert!(publish("list", &["--stars-file", "stars.txt"])?.status.success());

    let coordinator = cluster.coordinator("coordinator")?;
    let refused = EventId::of("test", "list").to_string();
    let ledger = || cluster.ask(&["event", "ledger", &refused]);
    wait_until(PATIENCE, "the ledger says what became of it", async || ledger().is_ok()).await?;
    let said = ledger()?[0].clone();
    assert_eq!((&said["lines"][0]["stars"], &said["stars"]), (&serde_json::json!({ "rejected": null }), &().into()));
    assert!(said["lines"][0]["reason"].as_str().is_some_and(|reason| reason.contains("stars.txt")), "{said}");
    let told = cluster.sas(&["event", "ledger", &refused, "-o", "csv"])?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("rejected, nobody knows how many"), "{told}");
    let shown = cluster.sas(&["event", "show", &refused])?;
    assert!(String::from_utf8_lossy(&shown.stderr).contains("was refused: star list `stars.txt`"), "{shown:?}");
    assert!(is_refused(&[&two])?, "it is a run by now");

    // Mended, the same event is good.
    fs::write(cluster.store.join("stars.txt"), &two)?;
    assert!(publish("list", &["--stars-file", "stars.txt"])?.status.success());
    wait_until(PATIENCE, "it is accepted", async || ledger().is_ok_and(|said| said[0]["stars"] == 1)).await?;
    let listed = cluster.ask(&["event", "list"])?;
    let ids: Vec<_> = listed.as_array().context("a list")?.iter().map(|event| &event["id"]).collect();
    assert_eq!(ids, ["list", "1"], "newest first, each once");
    assert!(coordinator.terminate()?.success());
    Ok(())
}
