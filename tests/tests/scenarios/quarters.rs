//! Quarters in a row, on a real RabbitMQ and Redis: what becomes of a star whose quarter before failed or goes on is its pipeline's
//! policy, and what was decided outlives coordinators and Redis.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::light::sas;
use harness::wait_until;
use serde_json::{Value, json};

use crate::triggers::scene::{CHAIN, TriggerScene, star, write};

/// Adds up a number a quarter.
const SUMS: &str = "name = 'SUMS'\nversion = '1'\ntrigger = 'l1/lightcurve'\nexternals.star = ['CURVE']\nPOLICY\n\
    [modules.M]\nimage = 'i'\ncommand = ['/usr/bin/python3', 'CHAIN']\ninputs.mandatory = ['CURVE']\n\
    inputs.optional = ['X@previous']\noutputs.mandatory = ['X']\nretry.max_attempts = 1\n";

/// The sum in a star file, and whether what it says of the quarter before is a digest.
const READ: &str = r#"
import h5py, json, sys
with h5py.File(sys.argv[1], "r") as file:
    x = file.get("PRODUCTS/X/value")
    module = next(name for name in file if name.startswith("SUMS-M_"))
    digest = file[module]["digests"].attrs.get("X@previous") if x is not None else None
    digest = digest.decode() if isinstance(digest, bytes) else digest
    print(json.dumps([None if x is None else float(x[()]), digest]))
"#;

struct QuartersScene(TriggerScene);

impl QuartersScene {
    fn start(policy: &str) -> Result<Self> {
        Ok(Self(TriggerScene::start(&[&SUMS.replace("POLICY", policy)])?))
    }

    fn deliver(&self, quarter: u16, stars: &[(u8, i32)]) -> Result<String> {
        self.0.deliver_in(quarter, "l1/lightcurve", ("CURVE", "value"), stars)
    }

    /// The run of an event.
    fn run(&self, event: &str) -> Result<String> {
        let ledger = self.0.cluster.ask(&["event", "ledger", event])?;
        ledger[0]["lines"][0]["run"].as_str().map(str::to_owned).context("it has a run")
    }

    /// Waits until a run has ended; how its stars did.
    async fn ends(&self, run: &str) -> Result<BTreeMap<String, u64>> {
        let mut shown = Value::Null;
        let waited = wait_until(Duration::from_secs(60), "the run ends", async || {
            shown = self.0.cluster.ask(&["run", "show", run]).unwrap_or_default();
            shown["phase"] == "ended"
        });
        waited.await.with_context(|| format!("{shown}\n{}", self.0.log()))?;
        Ok(serde_json::from_value(shown["ends"].clone())?)
    }

    /// What the reason says for which stars of an event wait.
    fn waiting(&self, event: &str) -> Result<Vec<String>> {
        let shown = self.0.cluster.ask(&["event", "show", event])?;
        let waiting = shown["waiting"].as_array().context("a list")?;
        Ok(waiting.iter().filter_map(|star| star["reason"].as_str().map(str::to_owned)).collect())
    }

    /// The sum of a star in a quarter, and what is on record of the quarter before.
    fn sum(&self, number: u8, quarter: u16) -> Result<(Option<f64>, Option<String>)> {
        let name = star(number);
        let store = store::Store::open(&self.0.cluster.store)?;
        let file = store.at(store::paths::star_file(name.parse()?, u32::from(quarter).try_into()?));
        let read = Command::new("/usr/bin/python3").args(["-c", READ]).arg(file).output()?;
        ensure!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        Ok(serde_json::from_slice(&read.stdout)?)
    }

    /// Sums of a star by quarter, 1 to 3, each with whether the quarter before is in it.
    fn check(&self, number: u8, expected: [Option<(f64, bool)>; 3]) -> Result<()> {
        for (quarter, expected) in (1..).zip(expected) {
            let (sum, digest) = self.sum(number, quarter)?;
            let found = sum.map(|sum| (sum, digest.as_deref() != Some("absent")));
            ensure!(found == expected, "star {number}, quarter {quarter}: {sum:?} {digest:?}, expected {expected:?}");
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_wait_a_star_enters_when_its_quarter_before_has_settled() -> Result<()> {
    let mut scene = QuartersScene::start("previous = 'wait'")?;
    let first = scene.deliver(1, &[(1, 1), (2, 2), (3, 7)])?;
    scene.0.wait_for(&first, &["SUMS: 3 expanded"]).await?;
    let second = scene.deliver(2, &[(1, 10), (2, -20), (3, 30)])?;
    let third = scene.deliver(3, &[(1, 100), (2, 200), (3, 300)])?;
    // Star 3 goes on in the first quarter; all others settle in all three.
    for event in [&second, &third] {
        scene.0.wait_for(event, &["SUMS: 2 expanded, 1 waiting_for"]).await?;
    }
    let runs = [scene.run(&first)?, scene.run(&second)?, scene.run(&third)?];
    let words = |run: &str| format!("its quarter before, which run {run} has not settled");
    assert_eq!((scene.waiting(&second)?, scene.waiting(&third)?), (vec![words(&runs[0])], vec![words(&runs[1])]));
    wait_until(Duration::from_secs(60), "the others are done", async || {
        let shown = scene.0.cluster.ask(&["run", "show", &runs[2]]).unwrap_or_default();
        (shown["to_come"].as_u64(), shown["in_flight"].as_u64()) == (Some(1), Some(0))
    })
    .await?;
    let status = scene.0.cluster.ask(&["status"])?.to_string();
    assert!(status.contains(&format!("1 star waits for {}", words(&runs[1]))), "{status}");

    // Who waits is in the store alone.
    scene.0.lose_everything(|_| Ok(()))?;
    wait_until(Duration::from_secs(60), "the runs are open again", async || {
        let shown = scene.0.cluster.ask(&["run", "show", &runs[2]]).unwrap_or_default();
        (shown["phase"].as_str(), shown["to_come"].as_u64()) == (Some("active"), Some(1))
    })
    .await?;
    scene.0.wait_for(&second, &["SUMS: 2 expanded, 1 waiting_for"]).await?;
    scene.0.open_gate()?;
    assert_eq!(scene.ends(&runs[2]).await?, [("complete".to_owned(), 3)].into());
    assert_eq!(scene.ends(&runs[1]).await?, [("complete".to_owned(), 2), ("failed".to_owned(), 1)].into());
    scene.check(1, [Some((1.0, false)), Some((11.0, true)), Some((111.0, true))])?;
    // The star file of a quarter that failed has no sum.
    scene.check(2, [Some((2.0, false)), None, Some((200.0, false))])?;
    scene.check(3, [Some((7.0, false)), Some((37.0, true)), Some((337.0, true))])
}

#[tokio::test(flavor = "multi_thread")]
async fn with_without_a_star_enters_at_once_as_if_there_were_no_quarter_before() -> Result<()> {
    let mut scene = QuartersScene::start("previous = 'without'")?;
    let first = scene.deliver(1, &[(1, 1), (2, 2), (3, 7), (4, -4)])?;
    wait_until(Duration::from_secs(60), "star 3 alone goes on", async || {
        let Ok(run) = scene.run(&first) else { return false };
        let shown = scene.0.cluster.ask(&["run", "show", &run]).unwrap_or_default();
        (shown["to_come"].as_u64(), shown["in_flight"].as_u64()) == (Some(0), Some(1))
    })
    .await?;
    let second = scene.deliver(2, &[(1, 10), (2, -20), (3, 30), (4, 40)])?;
    scene.0.wait_for(&second, &["SUMS: 4 expanded"]).await?;
    let second = scene.run(&second)?;
    assert_eq!(scene.ends(&second).await?, [("complete".to_owned(), 3), ("failed".to_owned(), 1)].into());
    let third = scene.deliver(3, &[(1, 100), (2, 200), (3, 300), (4, 400)])?;
    scene.0.wait_for(&third, &["SUMS: 4 expanded"]).await?;
    scene.ends(&scene.run(&third)?).await?;
    let check = |scene: &QuartersScene| {
        scene.check(1, [Some((1.0, false)), Some((11.0, true)), Some((111.0, true))])?;
        scene.check(2, [Some((2.0, false)), None, Some((200.0, false))])?;
        scene.check(4, [None, Some((40.0, false)), Some((440.0, true))])
    };
    check(&scene)?;
    scene.0.open_gate()?;
    scene.ends(&scene.run(&first)?).await?;
    // What a star entered without it goes on without, also when it is admitted anew: it is one run of one star.
    let again = ["task", "retry", "--run", &second, "--module", "M", "--yes"];
    scene.0.lose_everything(|scene| {
        let done = scene.cluster.sas(&again)?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    })?;
    assert_eq!(scene.ends(&second).await?, [("complete".to_owned(), 3), ("failed".to_owned(), 1)].into());
    check(&scene)?;
    scene.check(3, [Some((7.0, false)), Some((30.0, false)), Some((330.0, true))])?;

    // Where a product came from says of which quarter what was read is, and why one was left out.
    let of_first = scene.run(&first)?;
    let previous = |number: u8, quarter: &str| -> Result<Value> {
        let lineage = scene.0.cluster.ask(&["star", "lineage", &star(number), "X", "--quarter", quarter])?;
        let inputs = lineage["product"]["inputs"].as_array().context("it was made of something")?;
        inputs.iter().find(|input| input["product"] == "X").cloned().context("it reads what was before")
    };
    let read = previous(1, "3")?;
    assert_eq!((&read["quarter"], &read["module"]), (&json!(2), &json!("M")), "{read}");
    let left_out = previous(4, "2")?;
    let why = format!("left out, for previous = \"without\" and Q001 ended as failed in run {of_first}");
    assert_eq!((&left_out["quarter"], &left_out["why"]), (&json!(1), &json!(why)), "{left_out}");
    assert_eq!(previous(2, "1")?["why"], "not_made", "there is no quarter before");
    let tree = scene.0.cluster.sas(&["-o", "table", "star", "lineage", &star(1), "X", "--quarter", "3"])?;
    let tree = String::from_utf8(tree.stdout)?;
    assert!(tree.contains("X@previous (Q002)  by M") && tree.contains("X@previous (Q001)  by M"), "{tree}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_hold_a_star_whose_quarter_before_failed_waits_for_an_operator() -> Result<()> {
    let mut scene = QuartersScene::start("previous = 'hold'")?;
    let first = scene.deliver(1, &[(1, 1), (2, 2), (4, 4)])?;
    scene.0.wait_for(&first, &["SUMS: 3 expanded"]).await?;
    let second = scene.deliver(2, &[(1, 10), (2, -20), (4, -40)])?;
    let third = scene.deliver(3, &[(1, 100), (2, 200), (4, 400)])?;
    let of_second = scene.run(&second)?;
    let held = format!("an operator: its quarter before ended as failed in run {of_second}");
    wait_until(Duration::from_secs(60), "two stars are held", async || {
        scene.waiting(&third).is_ok_and(|reasons| reasons == [held.clone(), held.clone()])
    })
    .await?;
    scene.0.wait_for(&third, &["SUMS: 1 expanded, 2 waiting_for"]).await?;
    let of_third = scene.run(&third)?;
    let status = scene.0.cluster.ask(&["status"])?.to_string();
    assert!(status.contains(&format!("sas run resume {of_third}")) && status.contains("2 stars"), "{status}");
    let audit = scene.0.cluster.ask(&["audit"])?.to_string();
    assert!(audit.contains("they do not enter"), "{audit}");

    // What is mended enters by itself.
    scene.0.mend(40)?;
    let star = star(4);
    let retry = ["task", "retry", "--run", &of_second, "--star", &star, "--state", "failed", "--yes"];
    assert!(scene.0.cluster.sas(&retry)?.status.success());
    scene.0.wait_for(&third, &["SUMS: 2 expanded, 1 waiting_for"]).await?;
    // What is held stays so until somebody says otherwise, whoever dies.
    scene.0.lose_everything(|_| Ok(()))?;
    wait_until(Duration::from_secs(60), "the others are done", async || {
        let shown = scene.0.cluster.ask(&["run", "show", &of_third]).unwrap_or_default();
        (shown["phase"].as_str(), shown["to_come"].as_u64(), shown["in_flight"].as_u64())
            == (Some("active"), Some(1), Some(0))
    })
    .await?;
    assert_eq!(scene.waiting(&third)?, [held]);
    let resumed = scene.0.cluster.ask(&["run", "resume", &of_third, "--why", "we looked at it"])?.to_string();
    assert!(resumed.contains("1 star that is held enters"), "{resumed}");
    assert_eq!(scene.ends(&of_third).await?, [("complete".to_owned(), 3)].into());
    scene.check(1, [Some((1.0, false)), Some((11.0, true)), Some((111.0, true))])?;
    scene.check(2, [Some((2.0, false)), None, Some((200.0, false))])?;
    scene.check(4, [Some((4.0, false)), Some((44.0, true)), Some((444.0, true))])
}

/// In one process, whose services end with it.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_held_in_one_process_is_told_with_what_lets_them_in_from_another_terminal() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [pipeline, program, store] = ["sums.toml", "chain.py", "store"].map(|name| directory.path().join(name));
    fs::write(&program, CHAIN)?;
    let text = SUMS.replace("POLICY", "previous = 'hold'").replace("CHAIN", &program.display().to_string());
    fs::write(&pipeline, format!("{text}[classes.default]\ncpus = 1\nmemory = '256MB'\n"))?;
    let local = |quarter: u16| {
        let mut command = sas();
        command.args(["local", "--runner", "process", "--pipeline"]).arg(&pipeline).arg("--store").arg(&store);
        command.args(["--quarter", &quarter.to_string()]);
        command
    };
    for (quarter, numbers) in [(1, [(1, 1), (2, -2), (3, -3)]), (2, [(1, 10), (2, 20), (3, 30)])] {
        write(&directory.path().join(quarter.to_string()), quarter, ("CURVE", "value"), &numbers)?;
    }
    assert_eq!(local(1).arg(directory.path().join("1")).output()?.status.code(), Some(8));

    let late = local(2).args(["--timeout", "15s"]).arg(directory.path().join("2")).output()?;
    let said = String::from_utf8_lossy(&late.stderr);
    assert_eq!(late.status.code(), Some(7), "{said}");
    let run =
        store::Store::open(&store)?.runs()?.iter().find(|run| run.quarter.to_string() == "Q002").map(|run| run.run);
    let lets_in = format!("`sas run resume {}`", run.context("it is on record")?);
    let warned = format!("their quarter before did not end well; {lets_in} lets them in");
    assert!(said.contains(&warned), "{said}");
    let held = format!("2 stars held, which {lets_in} from another terminal lets in");
    assert!(said.contains(&format!("did not end within 15s; {held}")), "{said}");
    assert!(said.lines().any(|line| line.contains("tasks/s") && line.contains(&held)), "{said}");

    let mut running = local(2).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut resumed = BTreeMap::new();
    // Whoever is held in several runs is let in in each.
    wait_until(Duration::from_secs(60), "it has ended", async || {
        let open = store::Store::open(&store).and_then(|store| Ok((store.runs()?, store))).ok();
        for (run, store) in open.iter().flat_map(|(runs, store)| runs.iter().map(move |run| (run.run, store))) {
            let is_held = store.stars_outside(run).is_ok_and(|outside| !outside.is_empty());
            if is_held && !resumed.contains_key(&run) {
                let resume = ["run", "resume", &run.to_string()];
                resumed.insert(run, sas().args(resume).arg("--store").arg(store.root()).output());
            }
        }
        running.try_wait().is_ok_and(|ended| ended.is_some())
    })
    .await?;
    let ended = running.wait_with_output()?;
    assert!(ended.status.success(), "{resumed:?} {}", String::from_utf8_lossy(&ended.stderr));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_how_many_stars_of_the_next_quarter_read_what_it_makes_and_the_next_plan_has_them() -> Result<()> {
    let scene = QuartersScene::start("previous = 'wait'")?;
    scene.0.runs_processes()?;
    for (quarter, numbers) in [(1, [(1, 1), (2, 2)]), (2, [(1, 10), (2, 20)]), (3, [(1, 100), (2, 200)])] {
        let event = scene.deliver(quarter, &numbers)?;
        scene.0.wait_for(&event, &["SUMS: 2 expanded"]).await?;
        scene.ends(&scene.run(&event)?).await?;
    }
    // A correction of one star, of which no event says anything.
    scene.0.take_in(1, "l1/lightcurve", ("CURVE", "value"), &[(1, 5)])?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("plan.json").display().to_string();
    let plan = || scene.0.cluster.ask(&["replay", "plan", "--pipeline", "SUMS", "--to", &file]);
    for (quarter, note) in [(1, Some("1 star of Q002 reads")), (2, Some("1 star of Q003 reads")), (3, None)] {
        let plan = plan()?;
        let quarters = plan["work"]["quarters"].as_array().context("a list")?;
        let planned = [&quarters[0]["quarter"], &quarters[0]["stars"], &plan["work"]["tasks"]["at_most"]];
        assert_eq!((quarters.len(), planned), (1, [&json!(quarter), &json!(1), &json!(1)]), "{plan}");
        let notes: Vec<&str> = plan["notes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(notes.len(), note.iter().len(), "{notes:?}");
        assert!(notes.iter().zip(note).all(|(found, note)| found.starts_with(note)), "{notes:?}");
        let started = scene.0.cluster.ask(&["replay", "apply", &file])?;
        let run = started[0]["run"].as_str().with_context(|| format!("{started} names a run"))?;
        assert_eq!(scene.ends(run).await?, [("complete".to_owned(), 1)].into());
    }
    let done = plan()?;
    assert_eq!((&done["work"]["unchanged"], &done["notes"]), (&json!(6), &json!([])), "{done}");
    scene.check(1, [Some((5.0, false)), Some((15.0, true)), Some((115.0, true))])?;
    scene.check(2, [Some((2.0, false)), Some((22.0, true)), Some((222.0, true))])
}
