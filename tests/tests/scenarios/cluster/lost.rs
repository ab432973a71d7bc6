//! What the broker confirmed and lost, and what Redis forgot.

use harness::{RabbitMq, Redis};

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
    scene.watch(&[&second, &worker]).await?;
    for star in scene.star_files()? {
        assert!(star.modules.values().all(|module| module.attempt == Attempt(1)), "{:?}", star.modules);
    }
    assert!(worker.log().contains("published again"), "{}", worker.log());
    scene.check().await
}

/// A fails, and says in a file that it ran; B takes its time, so that its star stays in flight.
fn one_fails(directory: &Path) -> Result<PathBuf> {
    let mut text = "name = \"FAILING\"\nversion = \"1\"\ntrigger = \"l1/lightcurve\"\n\
                    [externals]\nstar = [\"DP1_LC_MERGED\"]\n[classes.default]\ncpus = 1\nmemory = \"256MB\"\n"
        .to_owned();
    let ran = directory.join("ran");
    let a = format!("import sys; open({ran:?}, 'a').write('x'); sys.exit(3)");
    let b = "import h5py, os, threading; threading.Event().wait(6); \
             o = h5py.File(os.environ['SAS_OUTPUT'], 'w'); o['PRODUCTS/Y/seen'] = 1";
    for (name, program, output) in [("A", a.as_str(), "X"), ("B", b, "Y")] {
        text += &format!(
            "[modules.{name}]\nimage = \"none\"\ncommand = [\"/usr/bin/python3\", \"-c\", {program:?}]\nclass = \"default\"\n\
             time_limit = \"1m\"\ninputs.mandatory = [\"DP1_LC_MERGED\"]\noutputs.mandatory = [\"{output}\"]\n"
        );
    }
    let path = directory.join("failing.toml");
    fs::write(&path, text)?;
    Ok(path)
}

/// Redis is flushed while a star is in flight of which one module has failed: the store knows that. Only when operators say so
/// it is tried again.
#[tokio::test]
async fn what_failed_for_good_fails_once_though_the_state_is_lost() -> Result<()> {
    let mut campaign = Campaign::new()?;
    campaign.deliver(QUARTER, "quiet=1", 1)?;
    let directory = campaign.path("cluster");
    fs::create_dir(&directory)?;
    let cluster = Cluster::start(&directory, &[&one_fails(&directory)?])?;
    cluster.ingest(&campaign.star_files()?)?;
    let _coordinator = cluster.coordinator("coordinator")?;
    let settings = [("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "2")];
    let worker = cluster.worker("one", &settings)?;
    let failed = || cluster.ask(&["run", "show"]).is_ok_and(|run| run["tasks"]["failed"] == 1);
    wait_until(PATIENCE, "A has failed", async || failed()).await?;
    let database = cluster.state_url().rsplit('/').next().context("an address ends with the database")?;
    Redis::shared()?.cli(&["-n", database, "flushdb"])?;
    let ended = async || {
        let watched = cluster.sas(&["run", "watch", "--timeout", "2m"])?;
        // 8: not all stars are complete.
        assert_eq!(watched.status.code(), Some(8), "{}", String::from_utf8_lossy(&watched.stderr));
        anyhow::Ok(fs::read_to_string(directory.join("ran"))?.len())
    };
    assert_eq!(ended().await?, 1, "{}", worker.log());
    let retried = cluster.sas(&["run", "failures", "--retry", "--yes"])?;
    assert!(retried.status.success(), "{}", String::from_utf8_lossy(&retried.stderr));
    wait_until(PATIENCE, "A has run again", async || {
        fs::read_to_string(directory.join("ran")).is_ok_and(|ran| ran.len() == 2)
    })
    .await
    .with_context(|| worker.log())?;
    assert_eq!(ended().await?, 2);
    Ok(())
}
