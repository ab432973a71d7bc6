//! RabbitMQ and Redis of this machine's packages, started by `deploy/services.sh` in a temporary directory.
//!
//! A guard process holds the other end of a pipe: when this process ends, even by SIGKILL, it ends the service and removes
//! the directory. Starting takes RabbitMQ some seconds, so that a test binary shares one; a test that breaks its service
//! starts one of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, ensure};
use services::address::Address;
use services::queue::amqp::AmqpConfig;
use services::state::redis::RedisConfig;

use crate::clock::SteppedClock;
use crate::ports::free_ports;

/// Virtual hosts of the broker that tests share, beside `/`; each costs a tenth of a second at the start.
const SHARED_VHOSTS: usize = 96;

/// Virtual hosts of any other broker.
const VHOSTS: usize = 4;

/// Databases of a Redis.
const DATABASES: usize = 128;

/// A RabbitMQ of our own.
pub struct RabbitMq {
    service: Service,
    management: bool,
    vhosts: usize,
    next_vhost: AtomicUsize,
}

/// A Redis of our own, with append-only file.
pub struct Redis {
    service: Service,
    next_database: AtomicUsize,
}

impl RabbitMq {
    /// Starts one.
    pub fn start() -> Result<Self> {
        Self::with(VHOSTS, false)
    }

    /// Starts one with the management API, which takes some seconds more.
    pub fn start_with_management() -> Result<Self> {
        Self::with(VHOSTS, true)
    }

    fn with(vhosts: usize, management: bool) -> Result<Self> {
        let mut service = Service::prepare("rabbitmq", 4)?;
        if management {
            service.arguments.push("management".to_owned());
        }
        fs::write(service.directory.join("definitions.json"), definitions(vhosts))?;
        service.start()?;
        Ok(Self { service, management, vhosts, next_vhost: AtomicUsize::new(0) })
    }

    /// The one that all tests of this process share.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<RabbitMq, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::with(SHARED_VHOSTS, false).map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// A virtual host that no other test uses.
    pub fn vhost(&self) -> Result<AmqpConfig> {
        let next = self.next_vhost.fetch_add(1, Ordering::Relaxed);
        ensure!(
            next < self.vhosts,
            "more than {} tests share a broker: raise the number of its virtual hosts",
            self.vhosts
        );
        Ok(self.config(&format!("test{next}")))
    }

    /// How to reach a virtual host.
    pub fn config(&self, vhost: &str) -> AmqpConfig {
        let port = self.service.port;
        AmqpConfig {
            management: self.management.then(|| Address::new(format!("http://guest:guest@127.0.0.1:{}", port + 3))),
            ..AmqpConfig::at(format!("amqp://guest:guest@127.0.0.1:{port}/{vhost}"))
        }
    }

    /// Ends it in order.
    pub fn stop(&self) -> Result<()> {
        self.service.end("stop")
    }

    /// Ends it with SIGKILL. RabbitMQ 3.10 writes the registration of a new quorum queue seconds later; killed in between, the
    /// queue never has a leader again. Queues of a system at work are older, so these are written before.
    pub fn kill(&self) -> Result<()> {
        self.ctl(&["eval", "[dets:sync(Table) || Table <- dets:all()]."])?;
        self.service.end("kill")
    }

    /// Starts it again, on the data that it had.
    pub fn restart(&self) -> Result<()> {
        self.service.start()
    }

    /// Ends it with SIGKILL, and starts it again without any queue or message; virtual hosts are there.
    pub fn wipe(&self) -> Result<()> {
        self.service.end("kill")?;
        fs::remove_dir_all(self.service.directory.join("data")).context("a broker has data")?;
        self.service.start()
    }

    /// Asks the management API, and returns its answer.
    pub fn api(&self, method: &str, path: &str, body: &str) -> Result<String> {
        ensure!(self.management, "this broker has no management API");
        let address = format!("127.0.0.1:{}", self.service.port + 3);
        let mut connection = TcpStream::connect(&address).context("failed to reach the management API")?;
        // "guest:guest".
        let head = "Host: localhost\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nContent-Type: application/json";
        write!(
            connection,
            "{method} {path} HTTP/1.0\r\n{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        ensure!(head.contains(" 20"), "{method} {path}: {answer}");
        Ok(body.to_owned())
    }

    /// The id of its process.
    pub fn id(&self) -> Result<u32> {
        self.service.id()
    }

    /// How many messages it was given since it began.
    pub fn messages(&self) -> Result<f64> {
        let sum = "maps:fold(fun(_, Of, Sum) -> Sum + maps:get(messages_received_total, Of, 0) end, 0, \
                   rabbit_global_counters:overview()).";
        Ok(self.ctl(&["eval", sum])?.trim().parse()?)
    }

    /// Runs `rabbitmqctl` and returns what it prints; takes about a second.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let debian = Path::new("/usr/lib/rabbitmq/bin/rabbitmqctl");
        let program = if debian.exists() { debian } else { Path::new("rabbitmqctl") };
        let output = Command::new(program)
            .arg("-n")
            .arg(format!("sas-{}@localhost", self.service.port))
            .args(arguments)
            .env("HOME", &self.service.directory)
            .env("ERL_EPMD_PORT", (self.service.port + 2).to_string())
            .output()
            .context("failed to run rabbitmqctl")?;
        ensure!(output.status.success(), "rabbitmqctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Redis {
    /// Starts one.
    pub fn start() -> Result<Self> {
        Self::start_with("")
    }

    /// Starts one with more lines in its `redis.conf`.
    pub fn start_with(lines: &str) -> Result<Self> {
        let service = Service::prepare("redis", 1)?;
        fs::write(service.directory.join("more.conf"), format!("databases {DATABASES}\n{lines}\n"))?;
        service.start()?;
        Ok(Self { service, next_database: AtomicUsize::new(0) })
    }

    /// Starts one that takes the time of day from this clock.
    pub fn start_by(clock: &SteppedClock) -> Result<Self> {
        let mut service = Service::prepare("redis", 1)?;
        service.environment = clock.environment().into();
        fs::write(service.directory.join("more.conf"), format!("databases {DATABASES}\n"))?;
        service.start()?;
        Ok(Self { service, next_database: AtomicUsize::new(0) })
    }

    /// The one that all tests of this process share.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Redis, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// A database that no other test uses.
    pub fn database(&self) -> Result<RedisConfig> {
        let next = self.next_database.fetch_add(1, Ordering::Relaxed);
        ensure!(next < DATABASES, "more than {DATABASES} tests share a Redis: raise DATABASES");
        Ok(RedisConfig { url: Address::new(format!("redis://127.0.0.1:{}/{next}", self.service.port)) })
    }

    /// The id of its process.
    pub fn id(&self) -> Result<u32> {
        self.service.id()
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.service.port
    }

    /// Ends it in order.
    pub fn stop(&self) -> Result<()> {
        self.service.end("stop")
    }

    /// Ends it with SIGKILL.
    pub fn kill(&self) -> Result<()> {
        self.service.end("kill")
    }

    /// Starts it again, on the data that it had.
    pub fn restart(&self) -> Result<()> {
        self.service.start()
    }

    /// Stops it from answering, with its connections open.
    pub fn freeze(&self) -> Result<()> {
        self.service.signal("-STOP")
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<()> {
        self.service.signal("-CONT")
    }

    /// Runs a command in `redis-cli` and returns what it prints.
    pub fn cli(&self, command: &[&str]) -> Result<String> {
        let port = self.service.port.to_string();
        let output =
            Command::new("redis-cli").args(["-p", &port]).args(command).output().context("failed to run redis-cli")?;
        ensure!(output.status.success(), "redis-cli {command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A service in a directory, with a guard that ends both.
pub(crate) struct Service {
    kind: &'static str,
    pub(crate) directory: PathBuf,
    pub(crate) port: u16,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    guard: Child,
}

impl Service {
    /// Directory and guard of a service that needs `ports` ports in a row.
    pub(crate) fn prepare(kind: &'static str, ports: u16) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix(&format!("sas-{kind}-")).tempdir()?.keep();
        let guard = script(&["guard", path(&directory)?])
            .stdin(Stdio::piped())
            .spawn()
            .context("failed to start the guard of a service")?;
        Ok(Self { kind, directory, port: free_ports(ports)?, arguments: Vec::new(), environment: Vec::new(), guard })
    }

    pub(crate) fn start(&self) -> Result<()> {
        let port = self.port.to_string();
        let mut arguments = vec![self.kind, path(&self.directory)?, &port];
        arguments.extend(self.arguments.iter().map(String::as_str));
        run(&arguments, &self.environment)
    }

    pub(crate) fn end(&self, how: &str) -> Result<()> {
        run(&[how, path(&self.directory)?], &[])
    }

    fn id(&self) -> Result<u32> {
        let id = fs::read_to_string(self.directory.join("pid")).context("the service does not run")?;
        Ok(id.trim().parse()?)
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.id()?;
        let status = Command::new("kill").args([signal, &pid.to_string()]).status().context("failed to run kill")?;
        ensure!(status.success(), "kill {signal} {pid}");
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // It ends by itself; waiting keeps ports and directory from being there when the next test starts.
        _ = self.guard.wait();
    }
}

fn script(arguments: &[&str]) -> Command {
    let mut command = Command::new("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/services.sh")).args(arguments);
    command
}

fn run(arguments: &[&str], environment: &[(&str, String)]) -> Result<()> {
    let mut command = script(arguments);
    command.envs(environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
    let output = command.output().context("failed to run deploy/services.sh")?;
    ensure!(output.status.success(), "services.sh {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("the temporary directory has a name that is not UTF-8")
}

fn definitions(count: usize) -> String {
    let mut vhosts = r#"{"name":"/"}"#.to_owned();
    let mut permissions = permission("/");
    for number in 0..count {
        let name = format!("test{number}");
        _ = write!(vhosts, r#",{{"name":"{name}"}}"#);
        _ = write!(permissions, ",{}", permission(&name));
    }
    format!(
        r#"{{"users":[{{"name":"guest","password":"guest","tags":"administrator"}}],"vhosts":[{vhosts}],"permissions":[{permissions}]}}"#
    )
}

fn permission(vhost: &str) -> String {
    format!(r#"{{"user":"guest","vhost":"{vhost}","configure":".*","write":".*","read":".*"}}"#)
}
