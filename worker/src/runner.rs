//! Runs a module's program on a prepared directory and says how it ended: [`docker`], [`process`]; for benchmarks [`noop`],
//! and [`dispatch`], which has no directory either. A program that can serve is asked star after star: [`session`].
//!
//! A runner knows nothing of contracts, keys, queues and HDF5. What the program does wrong is an [`Exit`]; what the
//! platform cannot do is a [`RunnerError`].

mod code;
pub mod dispatch;
pub mod docker;
pub(crate) mod folder;
mod log;
pub mod noop;
pub mod process;
pub mod session;

use domain::id::{Attempt, ImageIdentity, ImageName, InvalidName};
use domain::outcome::UsedResources;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use log::{BoundedLog, LastLine};
use session::{Opened, SessionSpec};
use tokio_util::sync::CancellationToken;

/// How long a program has after SIGTERM before it is killed.
pub const TERM_PATIENCE: Duration = Duration::from_secs(10);

/// Name of a module's input in its input directory.
pub const INPUT: &str = "input.h5";

/// Name of a module's parameters in its input directory.
pub const PARAMETERS: &str = "parameters.json";

/// Name of a module's output in its output directory.
pub const OUTPUT: &str = "output.h5";

/// The signal that ends any program.
pub(crate) const SIGKILL: i32 = 9;

/// Most files and directories that a program may make in its output directory: only one file is kept.
pub const MOST_FILES: u64 = 10_000;

/// What runs: a module's image and command as its pipeline names them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// The image.
    pub image: ImageName,
    /// What runs in it; where it is empty, what the image says.
    pub command: Vec<String>,
}

/// One try of a program.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What runs.
    pub program: Program,
    /// The identity that the program's image has in this run: exactly this is run.
    pub identity: ImageIdentity,
    /// Environment, besides the paths of input, output and parameters, which the runner adds.
    pub environment: BTreeMap<String, String>,
    /// Directory with `input.h5` and `parameters.json`; the program may read it.
    pub input: PathBuf,
    /// Empty directory that the program may write to; for a session it is not there yet.
    pub output: PathBuf,
    /// What it may use.
    pub limits: Limits,
    /// What it is for.
    pub labels: Labels,
    /// Where the newest line of its log is shown while it runs.
    pub last_line: LastLine,
}

/// What a program may use.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// CPUs, as in `--cpus` of Docker.
    pub cpus: f64,
    /// Bytes of memory, `/tmp` included; no swap.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u32,
    /// Time from start to end.
    pub time: Duration,
    /// Bytes in its output directory.
    pub output: u64,
    /// Bytes that must stay free on the file system of its output directory.
    pub free: u64,
    /// Bytes in `/tmp`.
    pub tmp: u64,
}

/// What a program is run for; operators see it on the container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    /// The run.
    pub run: String,
    /// The star.
    pub star: String,
    /// The module.
    pub module: String,
    /// The attempt, counted from 1.
    pub attempt: Attempt,
    /// The claim's nonce, by which a sweep knows the attempt.
    pub nonce: String,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// In which way.
    pub exit: Exit,
    /// stdout and stderr in the order of time, bounded.
    pub log: String,
    /// How long it ran, in milliseconds.
    pub millis: u64,
    /// Whether the end is known for certain. False when the engine went away meanwhile: then only a valid output shows
    /// that the program ended well.
    pub certain: bool,
    /// Whether it is proven that nothing of the program is left that could write to its output.
    pub gone: bool,
    /// Whether nothing is seen any more that could write where it read.
    pub input_is_free: bool,
    /// What it used, as far as that was measured.
    pub used: UsedResources,
}

/// In which way a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i64),
    /// By a signal that the runner did not send. A container that exits with 128 + n counts as ended by signal n.
    Signal(i32),
    /// By SIGKILL, which somebody told the engine to send.
    KilledFromOutside,
    /// Killed for using more memory than it may.
    OutOfMemory,
    /// Stopped after its time limit.
    TimeLimit,
    /// Stopped, or ended by itself, for writing more bytes than it may.
    OutputTooLarge,
    /// Stopped, or ended by itself, with more than [`MOST_FILES`] in its output directory.
    TooManyFiles,
    /// Stopped, or ended by itself, with an output directory that it removed, locked, or nested deeper than paths can be.
    OutputHidden,
    /// Stopped because the file system of its output directory was about to be full, whoever filled it.
    NoSpace,
    /// Stopped, or ended by itself, without the answer that a program owes that serves; the last line of the log says what
    /// came instead.
    NoAnswer,
    /// Stopped because the caller said so.
    Cancelled,
}

/// What the platform could not do.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// The image is not on this host and cannot be pulled.
    #[error("{0}")]
    ImageMissing(String),
    /// No container can be made as the module's image or definition want it; why, and what to change.
    #[error("{0}")]
    Refused(String),
    /// The engine did not do what it was asked to.
    #[error("container engine failed to {doing}: {reason}")]
    Engine {
        /// What it was asked.
        doing: &'static str,
        /// Why not.
        reason: String,
    },
    /// A directory of the attempt cannot be used.
    #[error("failed to {doing} `{}`", .path.display())]
    Directory {
        /// What was tried.
        doing: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// What attempts leave in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Inputs are staged, a program may run, results are committed.
    Files,
    /// Nothing at all: the attempt ends where it begins.
    Nothing,
}

/// A way to run programs.
#[async_trait]
pub trait Runner: Send + Sync {
    /// What its attempts leave in the store.
    fn effect(&self) -> Effect {
        Effect::Files
    }
    /// What is fixed in the store per run: two programs with the same subject have the same identity.
    fn subject(&self, program: &Program) -> String;
    /// Whether programs can be run now.
    async fn check(&self) -> Result<(), RunnerError>;
    /// The identity that a program has now: what changes when its code changes.
    async fn identify(&self, program: &Program) -> Result<ImageIdentity, RunnerError>;
    /// Brings a program of this identity to this host, so that running it need not wait for that.
    async fn fetch(&self, _program: &Program, _identity: &ImageIdentity) -> Result<(), RunnerError> {
        Ok(())
    }
    /// Runs a program to its end. Nothing of it runs when this returns, unless the engine is out of reach: then the sweep
    /// ends it. Its container may go a moment later, see [`Runner::finish`].
    async fn run(&self, spec: &Spec, cancel: &CancellationToken) -> Result<Ended, RunnerError>;
    /// Starts a program that serves; `None` where this runner has no such, and it must be run star by star.
    async fn open(&self, _spec: &SessionSpec) -> Result<Option<Opened>, RunnerError> {
        Ok(None)
    }
    /// Waits until what is being removed in the background is gone.
    async fn finish(&self) {}
    /// Removes what dead workers of this store left on this host, and of this worker's what it does not know, by nonce or
    /// session: it is asked after everything was listed, so that what begins meanwhile is safe. Returns how much that was.
    async fn sweep(&self, is_known: IsKnown<'_>) -> Result<u32, RunnerError>;
}

/// What a runner found an image to be.
fn identity_of(text: &str) -> Result<ImageIdentity, RunnerError> {
    text.parse()
        .map_err(|error: InvalidName| RunnerError::Engine { doing: "identify an image", reason: error.to_string() })
}

/// Whether a worker knows an attempt by its nonce, or a session by its name.
pub type IsKnown<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// A shared runner.
pub type SharedRunner = Arc<dyn Runner>;

/// Waits until a running program must be stopped that writes to `output`, and says how that counts.
async fn must_stop(limits: &Limits, output: &Path, cancel: &CancellationToken) -> Exit {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Exit::Cancelled,
        () = tokio::time::sleep(limits.time) => Exit::TimeLimit,
        exit = folder::breaks_its_limits(output, limits) => exit,
    }
}

/// Environment of a program whose input and output directories have these names inside.
fn environment(spec: &Spec, input: &Path, output: &Path) -> BTreeMap<String, String> {
    let paths = [
        ("SAS_INPUT", input.join(INPUT)),
        ("SAS_PARAMETERS", input.join(PARAMETERS)),
        ("SAS_OUTPUT", output.join(OUTPUT)),
    ];
    let paths = paths.map(|(name, path)| (name.to_owned(), path.to_string_lossy().into_owned()));
    spec.environment.clone().into_iter().chain(paths).collect()
}
