//! What tasks cost in coordinator, worker and store agents: processor time, and calls that read or wrote.

use std::fs;

use anyhow::{Context, Result};

/// Seconds in a tick of the kernel's clocks of processes, which is a hundredth on Linux whatever it is built with.
const TICK: f64 = 0.01;

/// Processor time in microseconds, and calls.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FileCost {
    pub(crate) coordinator: f64,
    pub(crate) worker: f64,
    /// Store agents of both.
    pub(crate) agents: f64,
    /// Of all: files, pipes and sockets read and written.
    pub(crate) calls: f64,
}

impl FileCost {
    /// Since these processes began.
    pub(crate) fn so_far(coordinator: u32, worker: u32) -> Result<Self> {
        let mut cost = Self { coordinator: core(coordinator)?, worker: core(worker)?, ..Self::default() };
        cost.calls = calls(coordinator) + calls(worker);
        for id in agents_of(coordinator, worker) {
            // One that ended meanwhile costs nothing more.
            cost.agents += core(id).unwrap_or_default();
            cost.calls += calls(id);
        }
        Ok(cost)
    }

    pub(crate) fn since(self, before: &Self) -> Self {
        self.each(before, |now, then| now - then)
    }

    /// For each of so many tasks.
    pub(crate) fn per(self, tasks: usize) -> Self {
        self.each(&self, |all, _| all / tasks as f64)
    }

    fn each(self, other: &Self, of: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            coordinator: of(self.coordinator, other.coordinator),
            worker: of(self.worker, other.worker),
            agents: of(self.agents, other.agents),
            calls: of(self.calls, other.calls),
        }
    }
}

/// The store agents of both.
pub(crate) fn agents_of(coordinator: u32, worker: u32) -> Vec<u32> {
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_agent = |id: &u32| {
        fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.starts_with(b"sas-store-agent"))
            && parent(*id).is_some_and(|parent| parent == coordinator || parent == worker)
    };
    ids.filter(is_agent).collect()
}

/// What `/proc` says of a process after its name, which may hold anything.
fn stat(process: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn parent(process: u32) -> Option<u32> {
    stat(process)?.get(1)?.parse().ok()
}

/// Processor time of a process and all its threads, in microseconds.
fn core(process: u32) -> Result<f64> {
    let stat = stat(process).with_context(|| format!("no process {process}"))?;
    let ticks = |at: usize| stat.get(at).and_then(|text| text.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("a process says how long it ran")?;
    Ok((user + system) * TICK * 1e6)
}

/// Calls of a process that read or wrote, its children's that have ended not among them.
fn calls(process: u32) -> f64 {
    let io = fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    let number = |line: &str| line.split_once(": ").and_then(|(_, number)| number.parse::<f64>().ok());
    io.lines().filter(|line| line.starts_with("syscr") || line.starts_with("syscw")).filter_map(number).sum()
}
