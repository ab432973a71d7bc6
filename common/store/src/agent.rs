//! The store agent: a child process that does everything with HDF5, so that its global lock and hostile files stay there.
//!
//! [`Agent`] is the parent's side: it starts the child, asks one thing at a time with a deadline, and replaces a child that
//! crashed, hung or talked garbage. [`serve_if_asked`] is the child's side; every binary of the project calls it first.

mod calls;
mod record;
mod sandbox;
mod serve;
mod tasks;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Once;
use std::time::Duration;

pub use record::*;
use sandbox::InForce;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
pub use serve::serve_if_asked;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
pub use wire::*;
use wire::{AnswerLine, Request};

/// The first argument that makes a binary of the project a store agent.
pub const ASKED: &str = "store-agent";

/// Longest line that an agent may answer, in bytes.
const LONGEST_ANSWER: u64 = 256 << 20;

/// Bytes that the slowest store gives in a second.
const SLOWEST: u64 = 20_000_000;

/// How an agent is started and bounded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentOptions {
    /// The program to start with [`ASKED`]; `None` is the running one.
    pub program: Option<PathBuf>,
    /// Root of the store, which it may read.
    pub store: PathBuf,
    /// The one directory that it may write to.
    pub writable: PathBuf,
    /// What else it may read: delivered files.
    pub readable: Vec<PathBuf>,
    /// Bytes of address space.
    pub memory: u64,
    /// Bytes of the largest file that it may write.
    pub file_size: u64,
    /// How long one request may take, besides the time for the bytes of the files that it reads as a whole.
    pub deadline: Duration,
}

impl AgentOptions {
    /// The usual bounds: 4 GB of address space, files of 16 GB, two minutes a request and a second for each 20 MB.
    pub fn new(store: &Path, writable: &Path) -> Self {
        Self {
            program: None,
            store: store.to_owned(),
            writable: writable.to_owned(),
            readable: Vec::new(),
            memory: 4 << 30,
            file_size: 16 << 30,
            deadline: Duration::from_secs(120),
        }
    }

    /// The same for outputs of this many bytes: what is packed of one may be somewhat larger than that.
    #[must_use]
    pub fn with_outputs_of(mut self, bytes: u64) -> Self {
        self.file_size = self.file_size.max(bytes.saturating_mul(2));
        self
    }
}

/// Why a request was not answered with what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The agent said no, and why; it lives on.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The agent died over the request; the next one starts another.
    #[error("the store agent died ({status}) over {request}")]
    Died {
        /// How it ended.
        status: String,
        /// What it was asked.
        request: String,
    },
    /// The agent did not answer in time and was killed; the next request starts another.
    #[error("the store agent did not answer {request} within {} s", .after.as_secs())]
    Hung {
        /// How long it had.
        after: Duration,
        /// What it was asked.
        request: String,
    },
    /// What it read took more time of a CPU than the size of the files, and what they declare, would take; the next request
    /// starts another.
    #[error(
        "it takes more time to be read than anything of the size that it has and declares: it is damaged, or made so"
    )]
    Overspent {
        /// What it was asked.
        request: String,
    },
    /// The agent could not be started.
    #[error("failed to start the store agent `{}`", .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A store agent, started when it is first needed. Dropping it kills the child.
#[derive(Debug)]
pub struct Agent {
    options: AgentOptions,
    running: Option<AgentProcess>,
    asked: u64,
}

impl Agent {
    /// An agent with these options; its child starts with the first request.
    pub fn new(options: AgentOptions) -> Self {
        Self { options, running: None, asked: 0 }
    }

    /// How it is started and bounded.
    pub fn options(&self) -> &AgentOptions {
        &self.options
    }

    /// What one of our files holds, from its `/MANIFEST`.
    pub async fn manifest(&mut self, file: &Path) -> Result<Manifest, AgentError> {
        self.ask(Request::Manifest { file: file.to_owned() }).await
    }

    /// Scalar columns of each of these products; nested columns have slashes in their names. A product that is a scalar
    /// dataset itself has the column `value`.
    pub async fn scalars(&mut self, wants: Vec<WantedScalars>) -> Result<Vec<ReadScalars>, AgentError> {
        self.ask(Request::Scalars { wants }).await
    }

    /// Builds an `input.h5` of links.
    pub async fn stage(&mut self, stage: Stage) -> Result<(), AgentError> {
        self.ask(Request::Stage(stage)).await
    }

    /// Checks a module's output, and packs one that keeps its contract. An output that kills the agent or makes it hang is an
    /// error here; whether that is the module's fault the caller finds out by asking again.
    pub async fn seal(&mut self, seal: Seal) -> Result<Checked, AgentError> {
        self.ask(Request::Seal(Box::new(seal))).await
    }

    /// Builds a star file; returns its manifest.
    pub async fn assemble(&mut self, assemble: Assemble) -> Result<Manifest, AgentError> {
        self.ask(Request::Assemble(Box::new(assemble))).await
    }

    /// Copies delivered externals into a fresh file; returns its manifest.
    pub async fn import(&mut self, import: Import) -> Result<Manifest, AgentError> {
        self.ask(Request::Import(import)).await
    }

    /// What a file is.
    pub async fn inspect(&mut self, file: &Path) -> Result<Inspected, AgentError> {
        self.ask(Request::Inspect { file: file.to_owned() }).await
    }

    /// Digest and size of a product, or of any other object, computed from its values.
    pub async fn digest(&mut self, at: At) -> Result<ProductEntry, AgentError> {
        self.ask(Request::Digest { at }).await
    }

    /// Copies a generation for the star file's place.
    pub async fn show(&mut self, show: Show) -> Result<(), AgentError> {
        self.ask(Request::Show(show)).await
    }

    /// All columns of each of these products, as [`Agent::scalars`] names them.
    pub async fn columns(&mut self, wants: Vec<At>) -> Result<Vec<BTreeMap<String, ColumnFacts>>, AgentError> {
        self.ask(Request::Columns { wants }).await
    }

    /// Two columns thinned out for drawing; `None` where the product has no such lists of numbers of one length.
    pub async fn curve(&mut self, ask: AskCurve) -> Result<Option<Curve>, AgentError> {
        self.ask(Request::Curve(ask)).await
    }

    /// The columns that differ between each of these products, before and after.
    pub async fn compare(&mut self, pairs: Vec<[At; 2]>) -> Result<Vec<BTreeMap<String, ColumnChange>>, AgentError> {
        self.ask(Request::Compare { pairs }).await
    }

    /// Whether a product differs from another one by no more than is tolerated.
    pub async fn within(&mut self, ask: AskWithin) -> Result<bool, AgentError> {
        self.ask(Request::Within(ask)).await
    }

    /// Writes into a sealed result what its products stand for.
    pub async fn mark(&mut self, mark: MarkSealed) -> Result<(), AgentError> {
        self.ask(Request::Mark(mark)).await
    }

    /// What the modules of a generation read, by what the groups of the file say.
    pub async fn recorded(&mut self, file: &Path) -> Result<Vec<RecordedReads>, AgentError> {
        self.ask(Request::Recorded { file: file.to_owned() }).await
    }

    /// Copies a generation with everything that it links to.
    pub async fn export(&mut self, export: Export) -> Result<(), AgentError> {
        self.ask(Request::Export(export)).await
    }

    /// Ends the child, if one runs; the next request starts another.
    pub fn end(&mut self) {
        self.running = None;
    }

    /// Asks one thing. A future that is dropped before its answer costs the child, nothing more.
    async fn ask<T: DeserializeOwned>(&mut self, request: Request) -> Result<T, AgentError> {
        self.asked += 1;
        let line = serde_json::to_string(&(self.asked, &request)).expect("requests have string keys") + "\n";
        let hung = |after| AgentError::Hung { after, request: summary(&line) };
        let deadline = self.options.deadline;
        let mut running = match self.running.take() {
            Some(running) => running,
            None => AgentProcess::start(&self.options).await?,
        };
        let mut told = timeout(deadline, running.say(&line)).await.map_err(|_| hung(deadline))?;
        if told.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            // It ended since it was last asked.
            running = AgentProcess::start(&self.options).await?;
            told = timeout(deadline, running.say(&line)).await.map_err(|_| hung(deadline))?;
        }
        let heard = match told {
            Ok(()) => running.hear_within(deadline, &request).await.map_err(hung)?,
            Err(error) => Err(error),
        };
        let nonsense = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let answer = heard.and_then(|line| serde_json::from_str::<AnswerLine<T>>(&line).map_err(nonsense));
        match answer {
            Ok(answer) if answer.id == self.asked => {
                self.running = Some(running);
                Ok(answer.result?)
            }
            Ok(_) => Err(AgentError::Died { status: "it answered something else".to_owned(), request: summary(&line) }),
            Err(error) => Err(running.died(&error, summary(&line)).await),
        }
    }
}

/// The time that the bytes of these files take, which one that is not there has none of.
async fn time_for(files: Vec<PathBuf>) -> Duration {
    let sizes = move || files.iter().filter_map(|file| file.metadata().ok()).map(|facts| facts.len()).sum::<u64>();
    Duration::from_secs(tokio::task::spawn_blocking(sizes).await.unwrap_or(0) / SLOWEST)
}

/// A child that lives.
#[derive(Debug)]
struct AgentProcess {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl AgentProcess {
    async fn start(options: &AgentOptions) -> Result<Self, AgentError> {
        // The running program itself, also when its file was replaced or deleted: both speak the same language.
        let program = options.program.clone().unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        let failed = |source| AgentError::Start { program: program.clone(), source };
        let mut child = Command::new(&program)
            .arg0("sas-store-agent")
            .arg(ASKED)
            .env_clear()
            .env("HDF5_USE_FILE_LOCKING", "FALSE")
            .current_dir(&options.writable)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut running = Self { child, stdin, stdout };
        // Not as an argument: ingestion names thousands of files that may be read.
        let line = serde_json::to_string(options).expect("options have string keys") + "\n";
        let ready = async {
            running.say(&line).await?;
            running.hear().await
        };
        match timeout(options.deadline, ready).await {
            Ok(Ok(ready)) => report(&ready),
            Ok(Err(source)) => return Err(failed(source)),
            Err(_) => return Err(failed(io::Error::new(io::ErrorKind::TimedOut, "it did not become ready"))),
        }
        Ok(running)
    }

    /// Writes a line.
    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.stdin.write_all(line.as_bytes()).await
    }

    /// Reads a line.
    async fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let read = (&mut self.stdout).take(LONGEST_ANSWER).read_line(&mut line).await?;
        if read == 0 || !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }

    /// Reads the answer to a request; fails with the time that it had. Only one that takes long is asked how much there is to
    /// read: a store that does not even say that is no better than an agent that hangs on it.
    async fn hear_within(&mut self, deadline: Duration, request: &Request) -> Result<io::Result<String>, Duration> {
        let hearing = self.hear();
        tokio::pin!(hearing);
        if let Ok(heard) = timeout(deadline, &mut hearing).await {
            return Ok(heard);
        }
        let more = timeout(deadline, time_for(request.files())).await.map_err(|_| deadline)?;
        timeout(more, &mut hearing).await.map_err(|_| deadline + more)
    }

    /// How it ended, after it stopped talking sense.
    async fn died(mut self, error: &io::Error, request: String) -> AgentError {
        if error.kind() == io::ErrorKind::InvalidData {
            return AgentError::Died { status: format!("it talks nonsense: {error}"), request };
        }
        let status = match timeout(Duration::from_secs(5), self.child.wait()).await {
            Ok(Ok(status)) if status.signal() == Some(libc::SIGXCPU) => return AgentError::Overspent { request },
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it closed its output".to_owned(),
        };
        AgentError::Died { status, request }
    }
}

/// Says once per process what protects the host from hostile files.
fn report(ready: &str) {
    static SAID: Once = Once::new();
    let Ok(in_force) = serde_json::from_str::<InForce>(ready) else { return };
    SAID.call_once(|| {
        if in_force.is_open() {
            let InForce { landlock, calls, .. } = in_force;
            tracing::warn!(
                landlock,
                calls,
                "store agents are not confined as they should be: this host is open to files"
            );
        } else {
            tracing::debug!(?in_force, "store agents are confined");
        }
    });
}

/// The beginning of a request, for messages.
fn summary(line: &str) -> String {
    line.trim_end().chars().take(200).collect()
}
