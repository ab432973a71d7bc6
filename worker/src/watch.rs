//! Whether store and host are well, looked at every second while programs run: trouble that is over when a program has ended may
//! have brought about its end all the same. It blames nobody: that is `attempt/blame.rs`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytesize::ByteSize;
use domain::outcome::PlatformErrorKind;
use rustix::fs::{StatVfsMountFlags, statvfs};
use store::Store;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::gate::{ask_store, look_at_store};
use crate::runner::folder::lacks_space;

/// How often store and host are asked while programs run.
const EVERY: Duration = Duration::from_secs(1);

/// What is written to see whether anybody could: more than a file system keeps in a file's own entry.
static PROBE: [u8; 64 * 1024] = [0; 64 * 1024];

/// A host with less memory than this cannot run a program well.
const MEMORY: u64 = 64 << 20;

/// What store or host lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostTrouble {
    pub(crate) kind: PlatformErrorKind,
    pub(crate) reason: String,
}

/// Looks after the store, as this host sees it, and after the host.
#[derive(Debug)]
pub(crate) struct HostWatch {
    store: Store,
    /// Bytes that must stay free in the store.
    free: u64,
    /// How many programs run.
    programs: watch::Sender<u32>,
    /// Held while they are asked.
    asking: tokio::sync::Mutex<()>,
    last: Mutex<Option<(Instant, HostTrouble)>>,
}

/// A program that runs until this is dropped.
pub(crate) struct WatchedProgram<'a>(&'a HostWatch);

impl HostWatch {
    pub(crate) fn new(store: Store, free: u64) -> Self {
        let programs = watch::Sender::default();
        Self { store, free, programs, asking: tokio::sync::Mutex::default(), last: Mutex::default() }
    }

    /// A program begins to run.
    pub(crate) fn program(&self) -> WatchedProgram<'_> {
        self.programs.send_modify(|programs| *programs += 1);
        WatchedProgram(self)
    }

    /// Asks store and host as long as programs run. Never returns.
    pub(crate) async fn tend(&self) {
        let mut programs = self.programs.subscribe();
        loop {
            // The sender lives as long as this does.
            let _ = programs.wait_for(|programs| *programs > 0).await;
            tokio::time::sleep(EVERY).await;
            let _asking = self.asking.lock().await;
            if let Some(trouble) = self.looks().await {
                tracing::debug!(trouble.reason, "trouble while programs run");
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), trouble));
            }
        }
    }

    /// What store and host lack now, or lacked at any time since `began`; `folder` is where a program wrote.
    pub(crate) async fn trouble(&self, folder: PathBuf, began: Instant) -> Option<HostTrouble> {
        // What is being asked may be the answer.
        drop(self.asking.lock().await);
        let (answer, free) = (ask_store(&self.store).await, self.free);
        let now = self.lacks(answer, move || written(&folder).or_else(|| lacks_here(&folder, free))).await;
        if now.is_some() {
            return now;
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (_, trouble) = last.filter(|(at, _)| *at >= began)?;
        Some(HostTrouble { reason: format!("{} (while the module ran; not any more)", trouble.reason), ..trouble })
    }

    /// What store and host lack, as far as that can be told without writing.
    async fn looks(&self) -> Option<HostTrouble> {
        let (folder, free) = (self.store.root().to_owned(), self.free);
        let answer = look_at_store(&self.store).await;
        self.lacks(answer, move || lacks_here(&folder, free)).await
    }

    /// What the store said it lacks, or what somebody finds who looks.
    async fn lacks(
        &self,
        answer: Result<(), String>,
        look: impl FnOnce() -> Option<HostTrouble> + Send + 'static,
    ) -> Option<HostTrouble> {
        match answer {
            Ok(()) => self.store.ask(move |_| Ok(look())).await.unwrap_or_default(),
            Err(reason) => Some(of_store(reason)),
        }
    }
}

impl Drop for WatchedProgram<'_> {
    fn drop(&mut self) {
        self.0.programs.send_modify(|programs| *programs -= 1);
    }
}

fn of_store(reason: String) -> HostTrouble {
    HostTrouble { kind: PlatformErrorKind::Store, reason }
}

/// What this host, or the file system of a directory, lacks.
fn lacks_here(folder: &Path, free: u64) -> Option<HostTrouble> {
    if statvfs(folder).is_ok_and(|facts| facts.f_flag.contains(StatVfsMountFlags::RDONLY)) {
        return Some(of_store("the file system of the store is read-only".to_owned()));
    }
    if lacks_space(folder, free) {
        let reason = format!("the store has less than {} of free space ([worker] free)", ByteSize(free));
        return Some(of_store(reason));
    }
    fs::read_to_string("/proc/meminfo").ok().and_then(|told| lacks_memory(&told))
}

/// Why nothing can be written to a directory, if so.
fn written(folder: &Path) -> Option<HostTrouble> {
    let error = write(folder).err()?;
    Some(of_store(format!("nothing can be written to `{}`: {error}", folder.display())))
}

/// Writes something into a directory, and takes it away again.
fn write(folder: &Path) -> io::Result<()> {
    let probe = folder.join("probe");
    let written = fs::File::create(&probe).and_then(|mut file| {
        file.write_all(&PROBE)?;
        file.sync_all()
    });
    let removed = fs::remove_file(&probe);
    written.and(removed)
}

/// That a host lacks memory, as its `/proc/meminfo` tells it.
fn lacks_memory(told: &str) -> Option<HostTrouble> {
    let available = available(told).filter(|available| *available < MEMORY)?;
    let reason = format!("this host has {} of memory left", ByteSize(available));
    Some(HostTrouble { kind: PlatformErrorKind::Interrupted, reason })
}

/// Bytes of memory that programs can still have.
fn available(told: &str) -> Option<u64> {
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_memory_is_told_by_what_its_kernel_says() {
        let lacking = lacks_memory("MemTotal:  100 kB\nMemAvailable:    64 kB\n").unwrap();
        assert_eq!(lacking.kind, PlatformErrorKind::Interrupted);
        assert_eq!(lacking.reason, "this host has 64.0 KiB of memory left");
        assert_eq!(lacks_memory("MemTotal: 1000000 kB\nMemAvailable:  900000 kB\n"), None);
        assert_eq!(lacks_memory("MemTotal: 100 kB\n"), None, "an old kernel does not say");
    }

    #[test]
    fn where_nothing_can_be_written_the_reason_is_known() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(written(folder.path()), None);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing is left");
        assert!(written(&folder.path().join("gone")).unwrap().reason.contains("nothing can be written"));
    }

    /// More turns than anybody here needs, whoever is first.
    async fn others_have_their_turn() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_while_a_program_ran_is_known_when_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::init(&folder.path().join("store")).unwrap().asked_here();
        let (there, away) = (store.at("store.json"), store.at("away.json"));
        let watch = HostWatch::new(store, 0);
        let scene = async {
            let began = Instant::now();
            let program = watch.program();
            others_have_their_turn().await;
            fs::rename(&there, &away).unwrap();
            tokio::time::advance(EVERY * 2).await;
            others_have_their_turn().await;
            fs::rename(&away, &there).unwrap();
            drop(program);
            let trouble = watch.trouble(folder.path().to_owned(), began).await.unwrap();
            assert!(trouble.reason.contains("store.json") && trouble.reason.contains("not any more"), "{trouble:?}");
            tokio::time::advance(EVERY).await;
            assert_eq!(watch.trouble(folder.path().to_owned(), Instant::now()).await, None, "of the next one");
        };
        tokio::select! {
            () = scene => {}
            () = watch.tend() => {}
        }
    }
}
