//! The cluster of `compose.yaml`, under a project name, on ports and with a store of its own.
//!
//! A guard process takes everything down when this process ends, however that happens: containers, also those of modules,
//! volumes, networks, and the store.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::ports::free_ports;
use crate::programs::program;
use crate::registry::docker;

/// The image with the programs of this build.
const SYSTEM: &str = "sas/system:test";

/// The two programs that read `compose.yaml`, the one that is used first.
const COMPOSERS: [&[&str]; 2] = [&["docker-compose"], &["docker", "compose"]];

/// Ends everything at the end of its input.
const GUARD: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
$COMPOSE down --volumes --remove-orphans --timeout 5
docker ps -aq --filter "label=sas.store=$SAS_STORE" | xargs -r docker rm -f
rm -rf -- "$DIRECTORY"
"#;

/// A cluster that runs, or is about to.
pub struct Compose {
    directory: PathBuf,
    environment: Vec<(String, String)>,
    port: u16,
    guard: Child,
}

/// Makes the images of the cluster, from the programs of this build, and those of light modules.
pub fn build_images() -> Result<()> {
    let bin = program("sas-cli", "sas");
    for (package, name) in [("sas-coordinator", "sas-coordinator"), ("sas-worker", "sas-worker")] {
        program(package, name);
    }
    let made = Command::new(root().join("deploy/images/build.sh"))
        .args(["light", "services", "system"])
        .env("SAS_BIN", bin.parent().context("programs lie in a directory")?)
        .env("SAS_SYSTEM_IMAGE", SYSTEM)
        .status()?;
    ensure!(made.success(), "deploy/images/build.sh failed");
    Ok(())
}

impl Compose {
    /// A cluster for the pipeline file `pipeline`; nothing is started.
    pub fn new(pipeline: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("sas-compose-").tempdir()?.keep();
        let port = free_ports(4)?;
        fs::create_dir(directory.join("store"))?;
        let owner = fs::metadata(&directory)?;
        let socket = fs::metadata("/var/run/docker.sock").context("failed to find the engine's socket")?;
        let (folder, file) = (pipeline.parent(), pipeline.file_name().map(|name| name.to_string_lossy()));
        let text = |path: &Path| path.display().to_string();
        let environment = [
            ("COMPOSE_PROJECT_NAME", format!("sas-test-{port}")),
            ("COMPOSE_FILE", text(&root().join("compose.yaml"))),
            ("COMPOSE_HTTP_TIMEOUT", "180".to_owned()),
            ("SAS_SYSTEM_IMAGE", SYSTEM.to_owned()),
            ("SAS_RABBITMQ_IMAGE", "sas/rabbitmq:3".to_owned()),
            ("SAS_REDIS_IMAGE", "sas/redis:7".to_owned()),
            ("SAS_AMQP_PORT", port.to_string()),
            ("SAS_AMQP_MANAGEMENT_PORT", (port + 1).to_string()),
            ("SAS_REDIS_PORT", (port + 2).to_string()),
            ("SAS_PORT", (port + 3).to_string()),
            ("SAS_STORE", text(&directory.join("store"))),
            ("SAS_PIPELINES", text(folder.context("a pipeline lies in a directory")?)),
            ("SAS_PIPELINE", file.context("a pipeline has a file name")?.into_owned()),
            ("SAS_USER", format!("{}:{}", owner.uid(), owner.gid())),
            ("SAS_GROUP", socket.gid().to_string()),
        ];
        let environment: Vec<_> = environment.map(|(name, value)| (name.to_owned(), value)).into();
        let program = composer();
        let guard = with(Command::new("bash").args(["-c", GUARD]), &environment)
            .env("COMPOSE", program.join(" "))
            .env("DIRECTORY", &directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to start the guard of a cluster")?;
        Ok(Self { directory, environment, port: port + 3, guard })
    }

    /// The store, here and in the containers.
    pub fn store(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// Runs `docker-compose` with these arguments; what it says.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_by(composer(), arguments)
    }

    /// Has every implementation of `docker-compose` that this machine has read the file.
    pub fn check_file(&self) -> Result<()> {
        let mut here = COMPOSERS.into_iter().filter(|program| is_there(program));
        here.try_for_each(|program| self.run_by(program, &["config", "-q"]).map(drop))
    }

    fn run_by(&self, program: &[&str], arguments: &[&str]) -> Result<String> {
        let done = with(Command::new(program[0]).args(&program[1..]).args(arguments), &self.environment)
            .stdin(Stdio::null())
            .output()
            .context("failed to run docker-compose")?;
        let said = String::from_utf8_lossy(&done.stderr);
        let printed = String::from_utf8_lossy(&done.stdout);
        ensure!(done.status.success(), "{} {arguments:?}: {said}{printed}", program.join(" "));
        Ok(printed.into_owned())
    }

    /// Runs `sas` in a container of its own.
    pub fn sas(&self, arguments: &[&str]) -> Result<String> {
        self.run(&[&["run", "--rm", "-T", "sas"], arguments].concat())
    }

    /// Sets the number of workers; returns when those that are too many have ended.
    pub fn scale(&self, workers: u32) -> Result<()> {
        self.run(&["up", "-d", "--no-recreate", "--scale", &format!("worker={workers}")]).map(drop)
    }

    /// The containers of a service.
    pub fn containers(&self, service: &str) -> Result<Vec<String>> {
        Ok(self.run(&["ps", "-q", service])?.lines().map(str::to_owned).collect())
    }

    /// Writes what a container says to a file, until the container is gone; returns the file.
    pub fn follow(&self, container: &str) -> Result<PathBuf> {
        let path = self.directory.join(format!("{container}.log"));
        let file = File::create(&path)?;
        // It ends with the container, at the latest when the guard removes that.
        let arguments = ["logs", "-f", container];
        Command::new("docker").args(arguments).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(path)
    }

    /// The sum of a metric of the coordinator over the lines whose labels contain `label`; `None` while it does not answer.
    pub fn metric(&self, name: &str, label: &str) -> Option<f64> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let lines = body.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with([' ', '{']));
        let values =
            lines.filter(|rest| rest.contains(label)).filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
        head.contains(" 200 ").then(|| values.sum())
    }

    /// What a worker in a container says that sees the store at another path than the host.
    pub fn worker_elsewhere(&self) -> Result<String> {
        let volume = format!("{}:/elsewhere", self.store().display());
        let socket = "/var/run/docker.sock:/var/run/docker.sock";
        let name = format!("sas-test-{}-elsewhere", self.port);
        let arguments =
            ["run", "--rm", "--name", &name, "-v", &volume, "-v", socket, "-e", "SAS_STORE_ROOT=/elsewhere"];
        match docker(&[&arguments[..], &[SYSTEM, "sas-worker"]].concat()) {
            Ok(_) => Ok(String::new()),
            Err(error) => Ok(format!("{error:#}")),
        }
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.run(&["logs", "--no-color", "--tail", "30"]).unwrap_or_else(|error| format!("{error:#}"));
            _ = std::io::stderr().write_all(logs.as_bytes());
        }
        drop(self.guard.stdin.take());
        _ = self.guard.wait();
    }
}

/// docker-compose 1.29, or the engine's own where that is missing.
fn composer() -> &'static [&'static str] {
    COMPOSERS.into_iter().find(|program| is_there(program)).unwrap_or(COMPOSERS[1])
}

fn is_there(composer: &[&str]) -> bool {
    let mut command = Command::new(composer[0]);
    let asked = command.args(&composer[1..]).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// The environment of the cluster, in place of what this process may have of the same kind.
fn with<'a>(command: &'a mut Command, environment: &[(String, String)]) -> &'a mut Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SAS_") || name.starts_with("COMPOSE_")) {
        command.env_remove(name);
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}
