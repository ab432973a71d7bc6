//! Another image of one module, in containers: planned in numbers, then run as planned, whatever its tag means by then.

use std::collections::BTreeMap;

use harness::Variant;
use serde_json::json;
use store::Store;

use super::*;

/// A name for an image that may come to mean another one; it goes when this is dropped.
struct MovingTag(String);

impl MovingTag {
    fn new() -> Self {
        Self(format!("sas/test-{}:1", uuid::Uuid::new_v4()))
    }

    fn means(&self, image: &str) -> Result<()> {
        anyhow::ensure!(Command::new("docker").args(["tag", image, &self.0]).status()?.success(), "no tag");
        Ok(())
    }
}

impl Drop for MovingTag {
    fn drop(&mut self) {
        _ = Command::new("docker").args(["rmi", &self.0]).stdout(std::process::Stdio::null()).status();
    }
}

#[tokio::test]
async fn another_image_of_one_module_runs_it_again_for_all_stars_and_nothing_else_where_values_stay() -> Result<()> {
    let scene = Scene::new(2, 0.0, "python3", base_image())?;
    let cluster = &scene.cluster;
    let coordinator = cluster.coordinator("coordinator")?;
    let worker = cluster.worker("worker", &[("SAS_SLOTS_DEFAULT", "2")])?;
    let begun = || cluster.ask(&["run", "list"]).is_ok_and(|runs| runs[0]["run"].is_string());
    wait_until(PATIENCE, "the event is a run", async || begun()).await?;
    scene.watch(&[&coordinator, &worker]).await?;

    let (other, tag) = (Variant::of_base("LABEL other=1")?, MovingTag::new());
    tag.means(other.name())?;
    let file = scene.campaign.path("plan.json").display().to_string();
    let image = format!("B={}", tag.0);
    let plan = cluster.ask(&["replay", "plan", "--pipeline", "SMALL", "--image", &image, "--to", &file])?;
    assert_eq!(plan["work"]["reasons"], json!([{"reason": "image", "module": "B", "stars": 2}]), "{plan}");
    let numbers = |of: &serde_json::Value| json!([of["module"], of["will"], of["may"]]);
    let modules: Vec<_> = plan["work"]["modules"].as_array().context("a list")?.iter().map(numbers).collect();
    assert_eq!(modules, [json!(["B", 2, 0]), json!(["D", 0, 2])], "{plan}");
    assert_eq!((&plan["work"]["tasks"], &plan["notes"]), (&json!({"at_least": 2, "at_most": 4}), &json!([])));

    tag.means(base_image())?;
    let started = cluster.ask(&["replay", "apply", &file])?;
    let run = started[0]["run"].as_str().with_context(|| format!("{started} names a run"))?;
    let done = cluster.sas(&["run", "watch", run, "--timeout", "4m"])?;
    assert!(done.status.success(), "{}\n{}", String::from_utf8_lossy(&done.stderr), worker.log());
    let end = Store::open(&cluster.store)?.run_end(run.parse()?)?.context("it ended")?;
    let made: BTreeMap<String, u64> = end.took.iter().map(|(module, took)| (module.to_string(), took.tasks)).collect();
    assert_eq!(made, [("B".to_owned(), 2)].into(), "D read what it had read before");
    for star in scene.campaign.kinds.keys() {
        let lineage = cluster.ask(&["star", "lineage", star, "Y"])?.to_string();
        let identity = plan["request"]["programs"]["B"]["identity"].as_str().context("it is known")?;
        assert!(lineage.contains(identity), "{lineage} is of {identity}");
    }
    Ok(())
}
