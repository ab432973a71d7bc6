//! Sessions: a program that serves is started once, and answers a request per star (`mode = "serve"`).
//!
//! What is said over its streams is here, and what each request finds below `/sas`: `folders`. What it lives in is a
//! [`Vessel`], a container or a process. The program lives on while its output is judged, and nobody knows what it left
//! behind: each request has folders of its own, whose names never come again, and what it made is moved from under the name that
//! it knows.

mod folders;
mod heard;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::id::{Attempt, ImageIdentity, Quarter, StarId};
use domain::outcome::UsedResources;
use futures::{FutureExt, Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{BoundedLog, Ended, Exit, Limits, Program, Runner, RunnerError, Spec, must_stop};
use crate::removal;
use folders::Folders;
use heard::Heard;
use words::Reply;

/// Variable that tells a program to serve.
pub(super) const SERVE: (&str, &str) = ("SAS_SERVE", "1");

/// Longest line of an answer, in bytes.
const LONGEST: usize = 64 << 10;

/// How long the log of a request that went wrong may come after its answer.
const LATE: Duration = Duration::from_millis(50);

/// What makes a session: requests that agree in all of it may go to the same one.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionKind {
    /// What runs.
    pub program: Program,
    /// The identity of its image.
    pub identity: ImageIdentity,
    /// Environment, but for what differs from request to request.
    pub environment: BTreeMap<String, String>,
    /// The module.
    pub module: String,
    /// What it may use; time is that of a request.
    pub limits: Limits,
}

/// A session that is to begin.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    /// Its name, which no other has; a sweep knows it by that.
    pub name: String,
    /// What it serves.
    pub kind: SessionKind,
    /// Its directory, with `in`, which the program may read, and `out`, where it may write.
    pub folder: PathBuf,
}

impl SessionSpec {
    /// Where the program reads.
    pub fn input(&self) -> PathBuf {
        self.folder.join("in")
    }

    /// Where it writes.
    pub fn output(&self) -> PathBuf {
        self.folder.join("out")
    }
}

/// What a request is about; the rest of it follows from where it is laid.
#[derive(Debug, Clone, Copy)]
pub struct RequestSubject {
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// The attempt.
    pub attempt: Attempt,
    /// The seed of its random numbers.
    pub seed: u64,
}

/// A program that was started to serve.
pub struct Opened {
    /// Its stdin.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    /// What it says; ends when it has ended, or cannot be heard any more.
    pub output: Pin<Box<dyn Stream<Item = Utterance> + Send>>,
    /// What it lives in.
    pub vessel: Box<dyn Vessel>,
    /// What its `in` and `out` are called inside.
    pub inside: [PathBuf; 2],
    /// Whether it can write nowhere but to its own `out` and `/tmp`.
    pub is_isolated: bool,
    /// User and group that its output directories must be given to, where these are not this process's.
    pub owner: Option<(u32, u32)>,
}

/// What a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Utterance {
    /// On stdout: answers.
    Out(Vec<u8>),
    /// On stderr: its log.
    Err(Vec<u8>),
}

/// What a program that serves lives in.
#[async_trait]
pub trait Vessel: Send + Sync {
    /// How the program ended; asked when it says nothing any more.
    async fn end(&mut self) -> Result<Exit, RunnerError>;
    /// Whether it, or something that it started, was killed for using more memory than it may.
    async fn ran_out_of_memory(&mut self) -> bool;
    /// Ends it. What cannot be removed is left for the sweep.
    async fn kill(&mut self);
    /// What tells how much memory it uses.
    fn gauge(&self) -> Arc<dyn Gauge>;
    /// What it used since it began, as far as that is known while it runs.
    fn used(&self) -> UsedResources;
}

/// Tells how much memory a program uses.
#[async_trait]
pub trait Gauge: Send + Sync {
    /// Bytes that it uses now, and cannot give back; `None` where nobody knows.
    async fn memory(&self) -> Option<u64>;
}

/// How a request ended.
#[derive(Debug)]
pub struct ServedStar {
    /// As if the program had run for this star alone.
    pub ended: Ended,
    /// Whether the session can be asked again.
    pub goes_on: bool,
}

/// A program that serves.
pub struct Session {
    spec: SessionSpec,
    opened: Opened,
    /// What was heard on stdout, and is not a whole line yet.
    heard: Vec<u8>,
    is_ready: bool,
    requests: u32,
    /// What it had used when it was asked last.
    used_before: UsedResources,
    /// Makes the next request's place to write.
    making_ahead: Option<JoinHandle<()>>,
}

impl Session {
    /// Starts a program that serves; `None` where the runner has none.
    pub async fn open(runner: &dyn Runner, spec: SessionSpec) -> Result<Option<Self>, RunnerError> {
        let made = spec.clone();
        blocking(&spec.folder, move || folders::make(&made)).await?;
        let opened = runner.open(&spec).await;
        if !matches!(opened, Ok(Some(_))) {
            remove(spec.folder.clone()).await;
        }
        Ok(opened?.map(|opened| Self {
            spec,
            opened,
            heard: Vec::new(),
            is_ready: false,
            requests: 0,
            used_before: UsedResources::default(),
            making_ahead: None,
        }))
    }

    /// What it serves.
    pub fn spec(&self) -> &SessionSpec {
        &self.spec
    }

    /// How many requests it got.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// What tells how much memory it uses.
    pub fn gauge(&self) -> Arc<dyn Gauge> {
        self.opened.vessel.gauge()
    }

    /// Whether it can be asked: it lives, and said nothing that nobody asked for. What it wrote to its log since is lost.
    pub fn is_idle(&mut self) -> bool {
        loop {
            match self.opened.output.next().now_or_never() {
                None => return self.heard.is_empty(),
                Some(Some(Utterance::Err(_))) => {}
                Some(Some(Utterance::Out(bytes))) => self.heard.extend(bytes),
                Some(None) => return false,
            }
        }
    }

    /// Asks for one star: as [`Runner::run`] does, with the input in `spec.input`; what it made becomes `spec.output`, which is not
    /// there before.
    pub async fn ask(
        &mut self,
        spec: &Spec,
        subject: RequestSubject,
        cancel: &CancellationToken,
    ) -> Result<ServedStar, RunnerError> {
        self.requests += 1;
        let began = Instant::now();
        let folders = Folders::of(&self.spec, self.requests, spec);
        self.made_ahead().await;
        let (entering, owner) = (folders.clone(), self.opened.owner);
        blocking(&self.spec.folder, move || entering.enter(owner)).await?;
        let mut log = BoundedLog::shown_by(spec.last_line.clone());
        let reply = match self.converse(spec, subject, &mut log, cancel).await {
            Ok(reply) => reply,
            Err(error) => {
                self.opened.vessel.kill().await;
                return Err(error);
            }
        };
        // It answers one request at a time.
        let used = self.opened.vessel.used().since(self.used_before);
        let (exit, goes_on) = match reply {
            Reply::Code(code, message) => {
                self.listen_on(code, &message, &mut log).await;
                let killed = code != 0 && self.opened.vessel.ran_out_of_memory().await;
                if killed { (Exit::OutOfMemory, false) } else { (words::exit_of(code), true) }
            }
            Reply::Over(exit) => (exit, false),
            Reply::Nonsense(what) => {
                log.push_of(0, what.as_bytes());
                (Exit::NoAnswer, false)
            }
        };
        if !goes_on {
            self.opened.vessel.kill().await;
        }
        let breach = blocking(&self.spec.folder, move || folders.leave(exit)).await?;
        if goes_on {
            let (session, owner) = (self.spec.clone(), self.opened.owner);
            self.making_ahead = Some(tokio::task::spawn_blocking(move || folders::make_ahead(&session, owner)));
        }
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        // The session goes on, and may still have open what it made; its input it could only read.
        let (exit, log, input_is_free) = (breach.unwrap_or(exit), log.text(), self.opened.is_isolated);
        let ended = Ended { exit, log, millis, certain: true, gone: false, input_is_free, used };
        Ok(ServedStar { ended, goes_on })
    }

    /// Ends it, and removes what it had.
    pub async fn close(mut self) {
        self.opened.vessel.kill().await;
        self.made_ahead().await;
        remove(self.spec.folder.clone()).await;
    }

    /// Waits until nothing is made ahead any more.
    async fn made_ahead(&mut self) {
        if let Some(making) = self.making_ahead.take() {
            let _ = making.await;
        }
    }

    /// Says the request, and hears the answer.
    async fn converse(
        &mut self,
        spec: &Spec,
        subject: RequestSubject,
        log: &mut BoundedLog,
        cancel: &CancellationToken,
    ) -> Result<Reply, RunnerError> {
        let (limits, output) = (spec.limits.clone(), self.spec.output());
        let mut stop = pin!(must_stop(&limits, &output, cancel));
        if !self.is_ready {
            let line = match self.hear(stop.as_mut(), log).await?.line() {
                Ok(line) => line,
                Err(over) => return Ok(over.unsaid(&self.heard, "`{\"ready\":1}`")),
            };
            if !words::is_ready(&line) {
                return Ok(words::nonsense(&line, "`{\"ready\":1}` as its first line"));
            }
            self.is_ready = true;
        }
        let id = spec.labels.nonce.as_str();
        self.used_before = self.opened.vessel.used();
        let request = words::request(id, subject, self.requests, &self.opened.inside);
        tokio::select! {
            exit = &mut stop => return Ok(Reply::Over(exit)),
            // One that does not listen any more will be heard to end.
            _ = say(&mut self.opened.input, &request) => {}
        }
        let line = match self.hear(stop, log).await?.line() {
            Ok(line) => line,
            Err(over) => return Ok(over.unsaid(&self.heard, "an answer")),
        };
        Ok(words::reply(id, &line))
    }

    /// Listens until there is a line on stdout, or will be none.
    async fn hear(
        &mut self,
        mut stop: Pin<&mut (impl Future<Output = Exit> + Send)>,
        log: &mut BoundedLog,
    ) -> Result<Heard, RunnerError> {
        loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let rest = self.heard.split_off(end + 1);
                return Ok(Heard::Line(std::mem::replace(&mut self.heard, rest)));
            }
            if self.heard.len() > LONGEST {
                return Ok(Heard::Endless);
            }
            tokio::select! {
                biased;
                exit = &mut stop => return Ok(Heard::Stopped(exit)),
                said = self.opened.output.next() => match said {
                    Some(Utterance::Out(bytes)) => self.heard.extend(bytes),
                    Some(Utterance::Err(bytes)) => log.push_of(1, &bytes),
                    None => return Ok(Heard::Ended(self.opened.vessel.end().await?)),
                },
            }
        }
    }

    /// Takes what belongs to the log of a request that was answered: what came, and where it went wrong, what is on its way.
    async fn listen_on(&mut self, code: i64, message: &str, log: &mut BoundedLog) {
        let late = tokio::time::sleep(LATE);
        let mut late = pin!(late);
        loop {
            let said = if code == 0 {
                let Some(said) = self.opened.output.next().now_or_never() else { break };
                said
            } else {
                tokio::select! {
                    biased;
                    said = self.opened.output.next() => said,
                    () = &mut late => break,
                }
            };
            match said {
                Some(Utterance::Err(bytes)) => log.push_of(1, &bytes),
                Some(Utterance::Out(bytes)) => self.heard.extend(bytes),
                None => break,
            }
        }
        let text = log.text();
        if !message.trim().is_empty() && !text.contains(message.trim()) {
            log.push_of(0, message.trim().as_bytes());
            log.push(b"\n");
        }
    }
}

async fn say(input: &mut Pin<Box<dyn AsyncWrite + Send>>, line: &[u8]) -> std::io::Result<()> {
    input.write_all(line).await?;
    input.flush().await
}

/// Does something with the folders of a session off the async threads.
async fn blocking<T: Send + 'static>(
    folder: &Path,
    what: impl FnOnce() -> Result<T, RunnerError> + Send + 'static,
) -> Result<T, RunnerError> {
    tokio::task::spawn_blocking(what).await.unwrap_or_else(|error| {
        let source = std::io::Error::other(error);
        Err(RunnerError::Directory { doing: "use", path: folder.to_owned(), source })
    })
}

async fn remove(folder: PathBuf) {
    let removed = tokio::task::spawn_blocking(move || {
        if let Err(error) = removal::remove(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "a session's directory stays behind");
        }
    });
    let _ = removed.await;
}
