//! Replays of failures, narrowed to stars and modules, over a small pipeline: what was not asked for stays as it is.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::numbers;
use crate::triggers::scene::{TriggerScene, star};

/// M fails where its number is negative and not mended, N is below it.
const FAILS: &str = "name = 'FAILS'\nversion = '1'\ntrigger = 'l1/lightcurve'\nexternals.star = ['CURVE']\n\
    [modules.M]\nimage = 'i'\ncommand = ['/usr/bin/python3', 'CHAIN']\ninputs.mandatory = ['CURVE']\n\
    outputs.mandatory = ['X']\nretry.max_attempts = 1\n\
    [modules.N]\nimage = 'i'\ncommand = ['/usr/bin/python3', 'ADD', 'X', 'Y']\ninputs.mandatory = ['X']\n\
    outputs.mandatory = ['Y']\n";

struct NarrowedScene {
    scene: TriggerScene,
    directory: tempfile::TempDir,
}

impl NarrowedScene {
    /// What a plan says; it is kept to be applied.
    fn plan(&self, arguments: &[&str]) -> Result<Value> {
        let to = self.file("plan.json");
        self.scene.cluster.ask(&[&["replay", "plan", "--pipeline", "FAILS", "--to", &to], arguments].concat())
    }

    /// Applies the last plan: what M and N made, and how many stars there were.
    fn apply(&self) -> Result<(u64, u64, u64)> {
        let started = self.scene.cluster.ask(&["replay", "apply", &self.file("plan.json")])?;
        let run = started[0]["run"].as_str().with_context(|| format!("{started} names a run"))?;
        let done = self.scene.cluster.sas(&["run", "watch", run, "--timeout", "60s"])?;
        ensure!(done.status.success(), "{}\n{}", String::from_utf8_lossy(&done.stderr), self.scene.log());
        let stars = self.scene.cluster.ask(&["run", "show", run])?["stars"].as_u64().context("a number")?;
        Ok((self.scene.made(run, "M")?, self.scene.made(run, "N")?, stars))
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_tried_again_of_those_stars_and_modules_that_are_asked_for() -> Result<()> {
    let scene = NarrowedScene { scene: TriggerScene::start(&[FAILS])?, directory: tempfile::tempdir()? };
    scene.scene.runs_processes()?;
    scene.scene.deliver("l1/lightcurve", "CURVE", "value", &[(1, -1), (2, -2), (3, 3)])?;
    scene.scene.ended("FAILS", 1).await?;
    scene.scene.mend(1)?;
    scene.scene.mend(2)?;
    let work = scene.plan(&[])?["work"].clone();
    assert_eq!(
        json!([work["unchanged"], work["tasks"]["at_most"], work["lost_left"]]),
        json!([3, 0, 4]),
        "nobody asked for what failed: {work}"
    );

    // Of one star.
    fs::write(scene.file("stars.txt"), format!("{}\n", star(1)))?;
    let plan = scene.plan(&["--failed", "--stars-from", &scene.file("stars.txt")])?;
    assert_eq!(plan["work"]["reasons"], json!([{"reason": "asked", "state": "failed", "stars": 1}]), "{plan}");
    assert_eq!(numbers(&plan), [("M".to_owned(), (1, 0)), ("N".to_owned(), (0, 1))].into(), "{plan}");
    assert_eq!(scene.apply()?, (1, 1, 1));
    assert_eq!(scene.scene.held(1)?.0[0], json!({"X": 1.0, "Y": 2.0}));

    // Of one module: N did not fail, it never ran.
    let plan = scene.plan(&["--state", "failed", "--module", "N"])?;
    assert_eq!(json!([plan["work"]["quarters"], plan["work"]["unchanged"]]), json!([[], 3]), "{plan}");
    let plan = scene.plan(&["--state", "failed", "--module", "M", "--downstream"])?;
    assert_eq!(numbers(&plan), [("M".to_owned(), (1, 0)), ("N".to_owned(), (0, 1))].into(), "{plan}");
    assert_eq!(plan["work"]["quarters"][0]["first"], json!([star(2)]), "{plan}");
    assert_eq!(scene.apply()?, (1, 1, 1));
    assert_eq!(scene.scene.held(2)?.0[0], json!({"X": 2.0, "Y": 3.0}));
    let plan = scene.plan(&["--failed"])?;
    assert_eq!(json!([plan["work"]["unchanged"], plan["work"]["lost_left"]]), json!([3, 0]), "{plan}");
    Ok(())
}
