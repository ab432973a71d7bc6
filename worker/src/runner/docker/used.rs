//! What a container used: read from its control groups while it runs, which asks nothing of the engine. With its last process they
//! are gone, so that what is known is what it had used when it was last looked at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::outcome::UsedResources;
use tokio::time::{Instant, sleep_until};

/// Where this host shows control groups.
const ROOT: &str = "/sys/fs/cgroup";

/// The first pause between two looks, which doubles from one to the next.
const FIRST: Duration = Duration::from_millis(50);

/// The longest pause between two looks.
const LONGEST: Duration = Duration::from_secs(5);

/// Looks at what a container uses, again and again.
pub(super) struct Looks {
    root: PathBuf,
    id: String,
    due: Instant,
    pause: Duration,
    used: UsedResources,
}

impl Looks {
    /// At the container with this id, which has just started.
    pub(super) fn at(id: &str) -> Self {
        Self {
            root: ROOT.into(),
            id: id.to_owned(),
            due: Instant::now() + FIRST,
            pause: FIRST,
            used: UsedResources::default(),
        }
    }

    /// Waits until it is time to look again, and does. Cancel safe.
    pub(super) async fn next(&mut self) {
        sleep_until(self.due).await;
        self.look();
        self.pause = (self.pause * 2).min(LONGEST);
        self.due = Instant::now() + self.pause;
    }

    /// Looks now; where there is nothing to see any more, what was seen before stays.
    pub(super) fn look(&mut self) {
        let now = if self.root.join("cgroup.controllers").exists() { self.second() } else { self.first() };
        let UsedResources { cpu_ms, peak_memory, read, written, .. } = now;
        let known = &mut self.used;
        known.cpu_ms = cpu_ms.or(known.cpu_ms);
        known.peak_memory = peak_memory.or(known.peak_memory);
        (known.read, known.written) = (read.or(known.read), written.or(known.written));
        known.at_least = known.cpu_ms.is_some() || known.peak_memory.is_some();
    }

    /// What was seen.
    pub(super) fn used(&self) -> UsedResources {
        self.used
    }

    /// As version 2 of control groups tells it.
    fn second(&self) -> UsedResources {
        let file = |name: &str| file_of(&self.root, &self.id, name);
        let cpu = file("cpu.stat");
        let micros = cpu.lines().find_map(|line| line.strip_prefix("usage_usec ")).and_then(number);
        let disk = file("io.stat");
        let of_disk = |name: &str| {
            let told = disk.split_whitespace().filter_map(|word| number(word.strip_prefix(name)?));
            (!disk.is_empty()).then(|| told.sum())
        };
        UsedResources {
            cpu_ms: micros.map(|micros| micros / 1000),
            peak_memory: number(&file("memory.peak")),
            read: of_disk("rbytes="),
            written: of_disk("wbytes="),
            at_least: true,
        }
    }

    /// As version 1 does, which has a tree for each of these.
    fn first(&self) -> UsedResources {
        let file = |tree: &str, name: &str| file_of(&self.root.join(tree), &self.id, name);
        let disk = file("blkio", "blkio.throttle.io_service_bytes");
        let of_disk = |name: &str| {
            let told = disk.lines().filter_map(|line| number(line.split_once(name)?.1));
            (!disk.is_empty()).then(|| told.sum())
        };
        UsedResources {
            cpu_ms: number(&file("cpuacct", "cpuacct.usage")).map(|nanos| nanos / 1_000_000),
            peak_memory: number(&file("memory", "memory.max_usage_in_bytes")),
            read: of_disk(" Read "),
            written: of_disk(" Write "),
            at_least: true,
        }
    }
}

/// What a file of a container's control group says; nothing where it is not there. Engines place groups by themselves, or have
/// systemd do it.
fn file_of(tree: &Path, id: &str, name: &str) -> String {
    let places = [format!("docker/{id}"), format!("system.slice/docker-{id}.scope")];
    let found = places.iter().find_map(|place| std::fs::read_to_string(tree.join(place).join(name)).ok());
    found.unwrap_or_default()
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(files: &[(&str, &str)]) -> UsedResources {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut looks = Looks { root: root.path().to_owned(), ..Looks::at("c1") };
        looks.look();
        let seen = looks.used();
        root.close().unwrap();
        looks.look();
        assert_eq!(looks.used(), seen, "what was seen stays when the container is gone");
        seen
    }

    #[tokio::test]
    async fn control_groups_of_either_version_tell_what_a_container_used() {
        let expected = UsedResources {
            cpu_ms: Some(1234),
            peak_memory: Some(5678),
            read: Some(30),
            written: Some(7),
            at_least: true,
        };
        let second = [
            ("cgroup.controllers", ""),
            ("system.slice/docker-c1.scope/cpu.stat", "usage_usec 1234567\nuser_usec 1\n"),
            ("system.slice/docker-c1.scope/memory.peak", "5678\n"),
            ("system.slice/docker-c1.scope/io.stat", "8:0 rbytes=10 wbytes=3 rios=1\n8:16 rbytes=20 wbytes=4 rios=1\n"),
        ];
        assert_eq!(looks(&second), expected);
        let disk = "8:0 Read 30\n8:0 Write 7\n8:0 Total 37\nTotal 37\n";
        let first = [
            ("cpuacct/docker/c1/cpuacct.usage", "1234567890\n"),
            ("memory/docker/c1/memory.max_usage_in_bytes", "5678\n"),
            ("blkio/docker/c1/blkio.throttle.io_service_bytes", disk),
        ];
        assert_eq!(looks(&first), expected);
        assert_eq!(looks(&[("cgroup.controllers", "")]), UsedResources::default());
    }
}
