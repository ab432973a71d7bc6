//! A store on a disk of its own, which can only be read at times, and can be full.

use super::*;

/// A small file system in a directory; it goes away with this.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` where that is not allowed here.
    fn mount(at: &'a Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tests"]).arg(at).output();
        if mounted.is_ok_and(|done| done.status.success()) {
            return Some(Self(at));
        }
        println!("skipped: file systems cannot be mounted here");
        None
    }

    /// Whether it can be written to from now on: `ro` or `rw`. The kernel says that it is busy while one of the processes of
    /// the last command, which end a moment after it, still has a file open.
    async fn remount(&self, how: &str) -> Result<()> {
        let options = format!("remount,{how}");
        wait_until(PATIENCE, &format!("it is mounted {how}"), async || {
            let done = Command::new("mount").args(["-o", &options]).arg(self.0).status();
            done.is_ok_and(|status| status.success())
        })
        .await
    }

    /// Leaves so many bytes free.
    fn fill(&self, leave: u64) -> Result<()> {
        let file = fs::OpenOptions::new().create(true).append(true).open(self.0.join("filling"))?;
        let facts = rustix::fs::statvfs(self.0)?;
        let used = file.metadata()?.len() + facts.f_bavail * facts.f_frsize - leave;
        Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, used)?)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// A coordinator begins while the store can only be read, and begins its work when it can be written to. Whoever writes when
/// it is full says that.
#[tokio::test]
async fn a_store_that_only_reads_is_waited_for_and_a_full_one_is_called_full() -> Result<()> {
    let mut campaign = Campaign::new()?;
    campaign.deliver(QUARTER, "quiet=2", 1)?;
    let directory = campaign.path("cluster");
    let store = directory.join("store");
    fs::create_dir_all(&store)?;
    let Some(disk) = SmallDisk::mount(&store) else { return Ok(()) };
    let pipeline = definition(&directory, 0.0, "/usr/bin/python3", "none")?;
    let cluster = Cluster::start(&directory, &[&pipeline])?;
    cluster.ingest(&campaign.star_files()?)?;
    disk.remount("ro").await?;
    let mut coordinator = cluster.coordinator("coordinator")?;
    wait_until(PATIENCE, "it says why it waits", async || coordinator.log().contains("Read-only file system"))
        .await
        .with_context(|| coordinator.log())?;
    assert!(!coordinator.has_ended()?, "{}", coordinator.log());
    disk.remount("rw").await?;
    let scene = Scene { campaign, cluster };
    let settings = [("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "2"), ("SAS_WORKER_FREE", "1MiB")];
    let worker = scene.cluster.worker("one", &settings)?;
    scene.watch(&[&coordinator, &worker]).await?;
    scene.check().await?;
    assert!(!coordinator.has_ended()?, "{}", coordinator.log());

    let mut later = Campaign::new()?;
    later.deliver(QUARTER + 1, "quiet=1", 2)?;
    let file = later.star_files()?.remove(0).display().to_string();
    for leave in [0, 16 << 10, 48 << 10] {
        disk.fill(leave)?;
        let done = scene.cluster.sas(&["ingest", &file])?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        println!("{leave} bytes left: {said}");
        assert!(!done.status.success() && said.contains("No space left on device"), "{leave} bytes left: {said}");
        fs::remove_file(store.join("filling"))?;
    }
    scene.cluster.ingest(&[later.star_files()?.remove(0)])
}
