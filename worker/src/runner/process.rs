//! Runs a module's command as a process of this host: for development and load, where there is no container engine.
//!
//! The same contract as in a container, without isolation: no limits but time and output size, the whole file system and
//! the network within reach, the worker's own user. What a killed worker leaves running nobody finds. It says so loudly.

mod session;
mod used;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::id::ImageIdentity;
use domain::outcome::UsedResources;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use store::crash::CrashPoint;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use used::used_at_end;

use super::session::{Opened, SessionSpec};
use super::{
    BoundedLog, Ended, Exit, IsKnown, Limits, Program, Runner, RunnerError, Spec, TERM_PATIENCE, code, environment,
    folder, identity_of, must_stop,
};

/// What a program sees of the worker's own environment.
const INHERITED: &[&str] = &["PATH", "PYTHONPATH", "LANG"];

/// How long the log is read after the program has ended, while something holds it open.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// Signal of a process that writes a file beyond its limit.
const SIGXFSZ: i32 = 25;

/// Runs programs as processes.
#[derive(Debug)]
pub struct ProcessRunner(());

impl ProcessRunner {
    /// A runner without isolation; warns that it is one.
    pub fn new() -> Self {
        tracing::warn!(
            "modules run as processes of this host WITHOUT ISOLATION: they may read and write whatever this user may, \
             and use the network and all memory; for development only"
        );
        Self(())
    }
}

impl Default for ProcessRunner {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Runner for ProcessRunner {
    fn subject(&self, program: &Program) -> String {
        format!("process: {}", serde_json::json!(program.command))
    }

    async fn check(&self) -> Result<(), RunnerError> {
        Ok(())
    }

    async fn identify(&self, program: &Program) -> Result<ImageIdentity, RunnerError> {
        let command = program.command.clone();
        let [search, python] = ["PATH", "PYTHONPATH"].map(|name| std::env::var(name).unwrap_or_default());
        let hashed = tokio::task::spawn_blocking(move || code::hash(&command, &search, &python)).await;
        match hashed.map_err(io::Error::other).and_then(|hashed| hashed) {
            Ok(hash) => identity_of(&format!("process:sha256:{hash}")),
            Err(error) => Err(RunnerError::ImageMissing(format!(
                "the program of `{}` cannot be read on this host: {error}",
                program.command.join(" ")
            ))),
        }
    }

    async fn run(&self, spec: &Spec, cancel: &CancellationToken) -> Result<Ended, RunnerError> {
        let started = Instant::now();
        let (child, log) = spawn(spec).map_err(|error| engine("start the program", &error))?;
        CrashPoint::ProgramStarted.reached();
        let mut log = Log { pipe: log, kept: BoundedLog::shown_by(spec.last_line.clone()) };
        let ended = {
            let ended = end(child, spec, cancel);
            tokio::pin!(ended);
            tokio::select! {
                ended = &mut ended => ended,
                () = log.follow() => ended.await,
            }
        };
        let _ = tokio::time::timeout(LOG_PATIENCE, log.follow()).await;
        let (exit, used) = ended.map_err(|error| engine("wait for the program", &error))?;
        let exit = match exit {
            Exit::Signal(SIGXFSZ) => Exit::OutputTooLarge,
            exit @ (Exit::Code(_) | Exit::Signal(_)) => {
                folder::final_breach(&spec.output, spec.limits.output).await?.unwrap_or(exit)
            }
            exit @ (Exit::OutOfMemory
            | Exit::TimeLimit
            | Exit::OutputTooLarge
            | Exit::TooManyFiles
            | Exit::OutputHidden
            | Exit::NoSpace
            | Exit::NoAnswer
            | Exit::KilledFromOutside
            | Exit::Cancelled) => exit,
        };
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Its group is gone where it ended by itself; what left that is not seen, and could write anywhere.
        let input_is_free = matches!(exit, Exit::Code(_));
        Ok(Ended { exit, log: log.kept.text(), millis, certain: true, gone: false, input_is_free, used })
    }

    async fn open(&self, spec: &SessionSpec) -> Result<Option<Opened>, RunnerError> {
        session::open(spec).map(Some)
    }

    async fn sweep(&self, _is_known: IsKnown<'_>) -> Result<u32, RunnerError> {
        Ok(0)
    }
}

/// A program's stdout and stderr: one pipe, so that their order is that of time.
struct Log {
    pipe: Receiver,
    kept: BoundedLog,
}

impl Log {
    /// Keeps what is written until the last writer is gone. Cancel safe.
    async fn follow(&mut self) {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(read @ 1..) = self.pipe.read(&mut buffer).await {
            self.kept.push(&buffer[..read]);
        }
    }
}

/// What starts a program, in a group of its own, with what it may see of the worker's environment.
fn command(program: &Program) -> io::Result<Command> {
    let [program, arguments @ ..] = program.command.as_slice() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the module has no command"));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

/// Lets no file of a program that was started grow beyond its limit.
fn limit_files(child: &Child, limits: &Limits) {
    if let Some(pid) = process(child) {
        let limit = Rlimit { current: Some(limits.output), maximum: Some(limits.output) };
        // A program that has ended needs no limit.
        let _ = prlimit(Some(pid), Resource::Fsize, limit);
    }
}

fn spawn(spec: &Spec) -> io::Result<(Child, Receiver)> {
    let (reader, writer) = io::pipe()?;
    let mut command = command(&spec.program)?;
    command
        .envs(environment(spec, &spec.input, &spec.output))
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let child = command.spawn()?;
    // The writers live in `command`; the log ends only when it is gone.
    drop(command);
    limit_files(&child, &spec.limits);
    let reader = Receiver::from_owned_fd(nonblocking(reader.into())?)?;
    Ok((child, reader))
}

fn nonblocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd)
}

/// Waits for the end of the program, or brings it about; afterwards its whole process group is gone.
async fn end(mut child: Child, spec: &Spec, cancel: &CancellationToken) -> io::Result<(Exit, UsedResources)> {
    let group = process(&child);
    let stop = tokio::select! {
        biased;
        waited = wait(&mut child) => {
            signal(group, Signal::KILL);
            let (status, used) = waited?;
            return Ok((exit_of(status), used));
        }
        stop = must_stop(&spec.limits, &spec.output, cancel) => stop,
    };
    signal(group, Signal::TERM);
    let waited = tokio::time::timeout(TERM_PATIENCE, wait(&mut child)).await;
    signal(group, Signal::KILL);
    let (_, used) = match waited {
        Ok(waited) => waited?,
        Err(_) => wait(&mut child).await?,
    };
    Ok((stop, used))
}

/// Waits for the end of a program; how it ended, and what it used.
async fn wait(child: &mut Child) -> io::Result<(ExitStatus, UsedResources)> {
    let used = used_at_end(process(child)).await;
    Ok((child.wait().await?, used))
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code.into()),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}

fn process(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // A group without members is what is wanted.
        let _ = kill_process_group(group, signal);
    }
}

fn engine(doing: &'static str, error: &io::Error) -> RunnerError {
    RunnerError::Engine { doing, reason: error.to_string() }
}
