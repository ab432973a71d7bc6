//! A whole cluster as operators start it: RabbitMQ, Redis, a store, and the project's own programs as processes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use services::queue::amqp::AmqpConfig;
use services::state::redis::RedisConfig;
use store::Store;

use crate::{RabbitMq, Redis, light, program};

/// Queues and state that no other test has, a store, and what all programs are told.
pub struct Cluster {
    directory: PathBuf,
    /// Root of the store.
    pub store: PathBuf,
    environment: BTreeMap<&'static str, String>,
}

/// What a command took.
#[derive(Debug, Clone, Copy)]
pub struct CommandCost {
    /// From its start to its end.
    pub seconds: f64,
    /// The most memory that it had at a time.
    pub kilobytes: u64,
}

/// Runs its arguments, silently, and says how they ended, how long they took and how much memory.
const MEASURE: &str = "import os, sys, time
began = time.monotonic()
quiet = [(os.POSIX_SPAWN_OPEN, out, '/dev/null', os.O_WRONLY, 0) for out in (1, 2)]
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), time.monotonic() - began, usage.ru_maxrss)";

/// A program of ours that runs; it ends, by SIGKILL, with its owner.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Cluster {
    /// An empty store without any program yet, in `directory`, whose coordinators serve these pipelines.
    pub fn start(directory: &Path, pipelines: &[&Path]) -> Result<Self> {
        Self::start_on(directory, pipelines, &RabbitMq::shared()?.vhost()?, &Redis::shared()?.database()?)
    }

    /// The same on this broker and this Redis.
    pub fn start_on(directory: &Path, pipelines: &[&Path], queue: &AmqpConfig, state: &RedisConfig) -> Result<Self> {
        let store = directory.join("store");
        Store::init(&store)?;
        let config = directory.join("sas.toml");
        fs::write(&config, format!("[coordinator]\npipelines = {pipelines:?}\n[http]\nlisten = \"\"\n"))?;
        let environment = BTreeMap::from([
            ("SAS_CONFIG", config.display().to_string()),
            ("SAS_STORE_ROOT", store.display().to_string()),
            ("SAS_QUEUE_URL", queue.url.secret().to_owned()),
            ("SAS_STATE_URL", state.url.secret().to_owned()),
            ("PYTHONPATH", light::modules().display().to_string()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ]);
        Ok(Self { directory: directory.to_owned(), store, environment })
    }

    /// Starts a coordinator; `name` names its log.
    pub fn coordinator(&self, name: &str) -> Result<Running> {
        self.run("sas-coordinator", name, &[], &[])
    }

    /// Starts a coordinator with more settings, as `("SAS_HTTP_LISTEN", "127.0.0.1:8080")`.
    pub fn coordinator_with(&self, name: &str, settings: &[(&str, &str)]) -> Result<Running> {
        self.run("sas-coordinator", name, settings, &[])
    }

    /// The same within limits, as `--nofile=1024` for `prlimit`.
    pub fn coordinator_within(&self, name: &str, limits: &[&str], settings: &[(&str, &str)]) -> Result<Running> {
        self.run("sas-coordinator", name, settings, &[&["prlimit"], limits, &["--"]].concat())
    }

    /// Starts a worker with more settings, as `("SAS_SLOTS_DEFAULT", "2")`; `name` names its log and its host.
    pub fn worker(&self, name: &str, settings: &[(&str, &str)]) -> Result<Running> {
        let host = [("SAS_WORKER_HOST", name)];
        self.run("sas-worker", name, &[&host, settings].concat(), &[])
    }

    fn run(&self, package: &str, name: &str, settings: &[(&str, &str)], within: &[&str]) -> Result<Running> {
        let log = self.directory.join(format!("{name}.log"));
        let file = File::create(&log)?;
        // However the test ends, the kernel ends what it started.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(within)
            .arg(program(package, package))
            .envs(&self.environment)
            .envs(settings.iter().copied())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("failed to start {package}"))?;
        Ok(Running { child, log })
    }

    /// Runs `sas` to its end.
    pub fn sas(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(program("sas-cli", "sas"));
        command.args(arguments).envs(&self.environment).output().context("failed to run sas")
    }

    /// What it takes to run `sas` to its end, which must be 0.
    pub fn cost(&self, arguments: &[&str]) -> Result<CommandCost> {
        let mut measure = Command::new("/usr/bin/python3");
        measure.args(["-c", MEASURE]).arg(program("sas-cli", "sas")).args(arguments).envs(&self.environment);
        let said = String::from_utf8(measure.output().context("failed to run python3")?.stdout)?;
        let said: Vec<&str> = said.split_whitespace().collect();
        let ["0", seconds, kilobytes] = said[..] else { anyhow::bail!("sas {arguments:?} ended with {said:?}") };
        Ok(CommandCost { seconds: seconds.parse()?, kilobytes: kilobytes.parse()? })
    }

    /// Where the broker is.
    pub fn queue_url(&self) -> &str {
        &self.environment["SAS_QUEUE_URL"]
    }

    /// Where the state is.
    pub fn state_url(&self) -> &str {
        &self.environment["SAS_STATE_URL"]
    }

    /// Runs `sas -o json`, which must end with 0, and reads its answer.
    pub fn ask(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let done = self.sas(&[&["-o", "json"], arguments].concat())?;
        ensure!(done.status.success(), "sas {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(serde_json::from_slice(&done.stdout)?)
    }

    /// Takes star files in and publishes the event that says so.
    pub fn ingest(&self, files: &[PathBuf]) -> Result<()> {
        let mut arguments = vec!["ingest", "--publish"];
        for file in files {
            arguments.push(file.to_str().context("a path that is no UTF-8")?);
        }
        let done = self.sas(&arguments)?;
        ensure!(done.status.success(), "sas ingest: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it had at a time, in MB.
    pub fn most_memory(&self) -> Result<f64> {
        self.memory("VmHWM:")
    }

    /// What it has in memory now of files, which is its own program, in MB.
    pub fn program_in_memory(&self) -> Result<f64> {
        self.memory("RssFile:")
    }

    /// A line of what the kernel says of its memory, in MB.
    fn memory(&self, name: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("the kernel tells it")?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes / 1024.0)
    }

    /// Whether it ended by itself.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Stops it from going on, where it is.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, by SIGTERM, and waits until it has.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        Ok(self.child.wait()?)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process has an id")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
