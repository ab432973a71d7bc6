//! A worker that dies with commits under way.

use super::*;

/// The worker is stopped where it is while a sealed result lies in its scratch, and then killed: nobody commits that any more.
#[tokio::test]
async fn what_a_killed_worker_was_about_to_commit_others_make_again() -> Result<()> {
    let scene = Scene::new(8, 0.0, "/usr/bin/python3", "none")?;
    let cluster = &scene.cluster;
    let coordinator = cluster.coordinator("coordinator")?;
    let settings = [&SHORT_LEASE[..2], &[("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "4")]].concat();
    let victim = cluster.worker("victim", &settings)?;
    let outstanding = tokio::time::timeout(PATIENCE, frozen_while_committing(&victim, &cluster.store)).await??;
    victim.kill()?;
    let heir = cluster.worker("heir", &settings)?;
    scene.watch(&[&coordinator, &heir]).await?;
    scene.check().await?;
    let again = |file: &StarFile| file.modules.values().any(|end| end.attempt > Attempt(1));
    assert!(scene.star_files()?.iter().any(again), "{outstanding:?} was not reported");
    Ok(())
}

/// Lets a worker run until it can be stopped beside a result that is sealed and still there; returns that file.
async fn frozen_while_committing(worker: &Running, store: &Path) -> Result<PathBuf> {
    loop {
        if sealed(store).is_some() {
            worker.freeze()?;
            if let Some(file) = sealed(store) {
                return Ok(file);
            }
            worker.thaw()?;
        }
        // These moments are short: whoever looks now and then sees none.
        tokio::task::yield_now().await;
    }
}

/// A result that is sealed and not committed: a file beside the directories of attempts.
fn sealed(store: &Path) -> Option<PathBuf> {
    let below = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let workers = below(&store.join("scratch"))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("victim")));
    let slots = workers.flat_map(|worker| below(&worker).collect::<Vec<_>>());
    let mut files = slots.flat_map(|slot| below(&slot).collect::<Vec<_>>());
    files.find(|file| file.extension().is_some_and(|extension| extension == "h5"))
}
