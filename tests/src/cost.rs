//! What work costs by counters that waiting does not touch: processor time of every process, scripts and commands of Redis.

use std::fmt;
use std::fs;
use std::ops::Sub;

use anyhow::{Context, Result, ensure};

use crate::{RabbitMq, Redis};

/// Seconds in a tick of the kernel's clocks of processes, which is a hundredth on Linux whatever it is built with.
const TICK: f64 = 0.01;

/// The processes of a cluster.
pub struct Processes {
    broker: u32,
    state: u32,
    coordinator: u32,
    workers: Vec<u32>,
}

/// Processor time by process, in microseconds, and what Redis was asked.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    broker: f64,
    state: f64,
    /// Processor time of the coordinator.
    pub coordinator: f64,
    workers: f64,
    /// Scripts that Redis ran.
    pub scripts: f64,
    /// Whatever Redis ran, those of scripts included.
    pub commands: f64,
}

impl Processes {
    /// Those of the shared broker and Redis, and of programs with these process ids.
    pub fn of(coordinator: u32, workers: Vec<u32>) -> Result<Self> {
        Ok(Self { broker: RabbitMq::shared()?.id()?, state: Redis::shared()?.id()?, coordinator, workers })
    }

    /// What they cost since they began.
    pub fn cost(&self) -> Result<Cost> {
        let redis = Redis::shared()?;
        Ok(Cost {
            broker: core(self.broker)?,
            state: core(self.state)?,
            coordinator: core(self.coordinator)?,
            workers: self.workers.iter().map(|&worker| core(worker)).sum::<Result<f64>>()?,
            scripts: info(redis, "commandstats", "cmdstat_evalsha").unwrap_or(0.0),
            commands: info(redis, "stats", "total_commands_processed")?,
        })
    }
}

impl Cost {
    /// What [`fmt::Display`] shows.
    pub const HEAD: &str = "us of core a task: all = broker + Redis + coordinator + workers; scripts, commands a task";

    /// For each of so many tasks.
    pub fn per(self, tasks: u32) -> Self {
        self.each(self, |one, _| one / f64::from(tasks))
    }

    /// Processor time of all.
    pub fn core(&self) -> f64 {
        self.broker + self.state + self.coordinator + self.workers
    }

    fn each(self, other: Self, of: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            broker: of(self.broker, other.broker),
            state: of(self.state, other.state),
            coordinator: of(self.coordinator, other.coordinator),
            workers: of(self.workers, other.workers),
            scripts: of(self.scripts, other.scripts),
            commands: of(self.commands, other.commands),
        }
    }
}

impl Sub for Cost {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        self.each(before, |now, then| now - then)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broker, state, coordinator, workers, scripts, commands } = self;
        let all = self.core();
        write!(f, "{all:.0} = {broker:.0} + {state:.0} + {coordinator:.0} + {workers:.0}; {scripts:.3}, {commands:.1}")
    }
}

/// A number that `INFO` of Redis says.
pub fn info(redis: &Redis, section: &str, field: &str) -> Result<f64> {
    let text = redis.cli(&["INFO", section])?;
    let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = found.with_context(|| format!("INFO {section} does not say {field}"))?;
    ensure!(!number.is_empty(), "INFO {section} says nothing of {field}");
    let number = number.trim().strip_prefix("calls=").unwrap_or(number.trim());
    Ok(number.split(',').next().unwrap_or_default().parse()?)
}

/// Bytes of memory that a process has now.
pub fn resident(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the kernel tells it")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}

/// Processor time of a process and all its threads, in microseconds.
fn core(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).with_context(|| format!("no process {process}"))?;
    // The name before may hold anything.
    let (_, after) = stat.rsplit_once(')').context("a process has a name")?;
    let ticks = |at: usize| after.split_whitespace().nth(at).and_then(|text| text.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("a process says how long it ran")?;
    Ok((user + system) * TICK * 1e6)
}
