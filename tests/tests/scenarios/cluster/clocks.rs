//! A host whose clock is wrong.

use harness::clock::SteppedClock;
use harness::light::star_file;

use super::*;

/// It is named among the workers, and what it made says by how much its times are wrong.
#[tokio::test]
async fn a_host_whose_clock_is_ahead_is_named_and_what_it_makes_is_marked() -> Result<()> {
    let clock = SteppedClock::new()?;
    clock.set(7200)?;
    let scene = Scene::new(1, 0.5, "/usr/bin/python3", "none")?;
    let coordinator = scene.cluster.coordinator("coordinator")?;
    let stepped = clock.environment();
    let mut settings = vec![("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "1")];
    settings.extend(stepped.iter().map(|(name, value)| (*name, value.as_str())));
    let worker = scene.cluster.worker("early", &settings)?;
    wait_until(PATIENCE, "its clock is named", async || {
        scene.cluster.ask(&["worker", "list"]).is_ok_and(|all| all.to_string().contains(" s ahead: times that"))
    })
    .await
    .with_context(|| format!("{:?}\n{}", scene.cluster.ask(&["worker", "list"]), worker.log()))?;
    scene.watch(&[&coordinator, &worker]).await?;
    scene.check().await?;
    let star = scene.campaign.kinds.keys().next().context("there is a star")?;
    let program = "import h5py, sys; f = h5py.File(sys.argv[1]); \
                   print(*(f[name].attrs['clock_ahead'] for name in f if name.startswith('SMALL-')))";
    let file = star_file(&scene.cluster.store, QUARTER, star)?;
    let read = Command::new("/usr/bin/python3").args(["-c", program]).arg(file).output()?;
    let said = String::from_utf8(read.stdout)? + &String::from_utf8_lossy(&read.stderr);
    let ahead = said.split_whitespace().map(str::parse).collect::<Result<Vec<i64>, _>>().context(said.clone())?;
    assert!(ahead.len() == MODULES.len() && ahead.iter().all(|ahead| (7190..=7210).contains(ahead)), "{ahead:?}");
    let lineage = scene.cluster.sas(&["star", "lineage", star, "W"])?;
    let said = String::from_utf8_lossy(&lineage.stdout).into_owned();
    assert!(said.contains(" s ahead: the times above are wrong by that"), "{said}");
    Ok(())
}
