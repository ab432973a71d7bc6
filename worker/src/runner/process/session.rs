//! A program that serves as a process of this host.

use std::io;
use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use domain::outcome::UsedResources;
use futures::{Stream, StreamExt, stream};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::task::JoinHandle;

use super::super::session::{Gauge, Opened, SERVE, SessionSpec, Utterance, Vessel};
use super::super::{Exit, RunnerError};
use super::used::used_so_far;
use super::{SIGXFSZ, command, engine, exit_of, limit_files, process, signal};

/// Starts it.
pub(super) fn open(spec: &SessionSpec) -> Result<Opened, RunnerError> {
    let mut child = spawn(spec).map_err(|error| engine("start the program", &error))?;
    let missing = || engine("start the program", &io::Error::other("it has no streams"));
    let (input, output, log) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (input, output, log) = (input.ok_or_else(missing)?, output.ok_or_else(missing)?, log.ok_or_else(missing)?);
    let group = process(&child);
    Ok(Opened {
        input: Box::pin(input),
        output: Box::pin(stream::select(read(output, Utterance::Out), read(log, Utterance::Err))),
        vessel: Box::new(ServingProcess { group, ended: Some(tokio::spawn(wait(child, group))), exit: None }),
        inside: [spec.input(), spec.output()],
        is_isolated: false,
        owner: None,
    })
}

fn spawn(spec: &SessionSpec) -> io::Result<Child> {
    let child = command(&spec.kind.program)?
        .envs(&spec.kind.environment)
        .env(SERVE.0, SERVE.1)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    limit_files(&child, &spec.kind.limits);
    Ok(child)
}

/// What is read from one stream, until its last writer is gone.
fn read(from: impl AsyncRead + Send + Unpin, said: fn(Vec<u8>) -> Utterance) -> impl Stream<Item = Utterance> + Send {
    stream::unfold(from, |mut from| async move {
        let mut buffer = vec![0; 32 << 10];
        let read = from.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        buffer.truncate(read);
        Some((buffer, from))
    })
    .map(said)
}

/// Waits for its end; what it started ends with it, and with that its streams.
async fn wait(mut child: Child, group: Option<Pid>) -> io::Result<Exit> {
    let status = child.wait().await;
    signal(group, Signal::KILL);
    status.map(exit_of)
}

/// A process that serves. Dropped, it is killed.
struct ServingProcess {
    group: Option<Pid>,
    ended: Option<JoinHandle<io::Result<Exit>>>,
    exit: Option<Exit>,
}

impl ServingProcess {
    fn lives(&self) -> bool {
        self.ended.as_ref().is_some_and(|ended| !ended.is_finished())
    }
}

#[async_trait]
impl Vessel for ServingProcess {
    async fn end(&mut self) -> Result<Exit, RunnerError> {
        if let Some(ended) = self.ended.take() {
            let exit = ended.await.map_err(io::Error::other).and_then(|exit| exit);
            self.exit = Some(exit.map_err(|error| engine("wait for the program", &error))?);
        }
        Ok(match self.exit {
            Some(Exit::Signal(SIGXFSZ)) => Exit::OutputTooLarge,
            exit => exit.unwrap_or(Exit::Code(-1)),
        })
    }

    async fn ran_out_of_memory(&mut self) -> bool {
        false
    }

    async fn kill(&mut self) {
        if self.lives() {
            signal(self.group, Signal::KILL);
        }
        let _ = self.end().await;
    }

    fn gauge(&self) -> Arc<dyn Gauge> {
        Arc::new(ProcessMemory(self.group))
    }

    fn used(&self) -> UsedResources {
        self.group.filter(|_| self.lives()).map(used_so_far).unwrap_or_default()
    }
}

impl Drop for ServingProcess {
    fn drop(&mut self) {
        if self.lives() {
            signal(self.group, Signal::KILL);
        }
    }
}

/// Memory of a process, without that of what it started.
struct ProcessMemory(Option<Pid>);

#[async_trait]
impl Gauge for ProcessMemory {
    async fn memory(&self) -> Option<u64> {
        let told = tokio::fs::read_to_string(format!("/proc/{}/status", self.0?.as_raw_nonzero())).await.ok()?;
        let line = told.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kilobytes * 1024)
    }
}
