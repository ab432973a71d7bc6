//! The store's HDF5 side against files that h5py wrote, and against h5py reading what the store wrote.

mod agent;
mod costs;
mod digests;
mod hostile;
mod ingesting;
mod outputs;
mod seen;
mod star_files;
mod tolerated;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use store::Store;
use store::agent::{Agent, AgentError, AgentOptions, Check, Checked, Seal};
use tempfile::TempDir;

/// A store in a directory of its own, with an agent.
struct Workbench {
    dir: TempDir,
    store: Store,
    agent: Agent,
    /// Outputs that were sealed.
    sealed: u32,
}

impl Workbench {
    fn new() -> Self {
        Self::with_deadline(Duration::from_secs(60))
    }

    fn with_deadline(deadline: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(&dir.path().join("store")).unwrap();
        let mut options = AgentOptions::new(store.root(), &store.scratch("test").unwrap());
        options.program = Some(env!("CARGO_BIN_EXE_sas-store-agent").into());
        options.readable.push(dir.path().to_owned());
        options.deadline = deadline;
        Self { agent: Agent::new(options), dir, store, sealed: 0 }
    }

    /// A path beside the store, where delivered files and outputs are.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path in the directory that the agent may write to.
    fn private(&self, name: &str) -> PathBuf {
        self.agent.options().writable.join(name)
    }

    /// Checks an output, and packs it into a file that nobody looks at; in its module's reach, as that costs more.
    async fn seal(&mut self, check: Check) -> Result<Checked, AgentError> {
        self.sealed += 1;
        let dest = self.private(&format!("sealed-{}.h5", self.sealed));
        let provenance = star_files::provenance(vec![]);
        self.agent.seal(Seal { check, is_in_reach: true, provenance, log: String::new(), dest }).await
    }

    /// Runs Python with h5py as `h5py` and numpy as `np`; `{dir}` in the text stands for the directory. Returns its stdout.
    fn python(&self, text: &str) -> String {
        let dir = self.dir.path().display().to_string();
        let text = format!("import h5py, json, numpy as np\n{}", text.replace("{dir}", &dir));
        python(&["-c".as_ref(), text.as_ref()])
    }
}

/// Runs a script of `tests/python`.
fn script(name: &str, arguments: &[&Path]) -> String {
    script_in(name, arguments, &[])
}

/// The same with these variables in its environment.
fn script_in(name: &str, arguments: &[&Path], environment: &[(&str, &str)]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name);
    let mut all: Vec<&std::ffi::OsStr> = vec![script.as_os_str()];
    all.extend(arguments.iter().map(|argument| argument.as_os_str()));
    python_in(&all, environment)
}

/// Debian's Python: the one that has h5py, numpy and scipy.
fn python(arguments: &[&std::ffi::OsStr]) -> String {
    python_in(arguments, &[])
}

fn python_in(arguments: &[&std::ffi::OsStr], environment: &[(&str, &str)]) -> String {
    let mut python = Command::new("/usr/bin/python3");
    let output = python.args(arguments).envs(environment.iter().copied()).output().expect("python3 is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "python: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The process that works in this directory, if there is one.
fn child_in(directory: &Path) -> Option<String> {
    let mut processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ours = processes.find(|entry| entry.path().join("cwd").read_link().is_ok_and(|cwd| cwd == directory));
    ours.and_then(|entry| entry.file_name().into_string().ok())
}
