//! The same tasks through Celery: groups of six that follow one another as chords, then one, on the same RabbitMQ and Redis.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use harness::{RabbitMq, Redis};

/// The program: `worker` runs tasks until it is ended, a number of stars sends that many through and says how long they took.
const PROGRAM: &str = r#"
import os, sys, time
from celery import Celery, chain, group

app = Celery("peer", broker=os.environ["PEER_BROKER"], backend=os.environ["PEER_RESULTS"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=64, worker_send_task_events=False)

@app.task(name="peer.first")
def first(number):
    return number

@app.task(name="peer.next")
def following(_, number):
    return number

def star():
    layers = [group(first.s(at) for at in range(6))]
    layers += [group(following.s(6 * layer + at) for at in range(6)) for layer in range(1, 5)]
    return chain(*layers, following.s(30))

if sys.argv[1] == "worker":
    app.worker_main(["worker", "--concurrency=2", "--loglevel=ERROR", "--without-gossip", "--without-mingle"])
else:
    began = time.monotonic()
    for result in [star().apply_async() for _ in range(int(sys.argv[1]))]:
        result.get(timeout=600)
    print(time.monotonic() - began)
"#;

/// A Celery worker with a process for each of two cores; it ends with its owner.
pub(crate) struct Celery {
    directory: tempfile::TempDir,
    environment: [(&'static str, String); 2],
    worker: Child,
}

impl Celery {
    /// Starts it; `None` where this machine has no Celery, which is said.
    pub(crate) fn start() -> Result<Option<Self>> {
        let is_there = Command::new("/usr/bin/python3").args(["-c", "import celery, redis"]).output();
        if !is_there.is_ok_and(|done| done.status.success()) {
            println!("Celery is not compared with: apt-get install python3-celery python3-redis\n");
            return Ok(None);
        }
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("peer.py"), PROGRAM)?;
        let environment = [
            ("PEER_BROKER", RabbitMq::shared()?.vhost()?.url.secret().to_owned()),
            ("PEER_RESULTS", Redis::shared()?.database()?.url.secret().to_owned()),
        ];
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "/usr/bin/python3", "peer.py", "worker"]);
        command.current_dir(directory.path()).envs(environment.clone());
        let worker = command.spawn().context("failed to start Celery")?;
        let celery = Self { directory, environment, worker };
        // The first tasks wait for its start.
        celery.round(1)?;
        Ok(Some(celery))
    }

    /// Sends so many stars through; tasks a second.
    pub(crate) fn round(&self, stars: u32) -> Result<f64> {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(Path::new("peer.py")).arg(stars.to_string());
        let done = command.current_dir(self.directory.path()).envs(self.environment.clone()).output()?;
        ensure!(done.status.success(), "Celery: {}", String::from_utf8_lossy(&done.stderr));
        let seconds: f64 = String::from_utf8(done.stdout)?.trim().parse().context("it says how long it took")?;
        Ok(f64::from(stars * super::TASKS) / seconds)
    }
}

impl Drop for Celery {
    fn drop(&mut self) {
        _ = self.worker.kill();
        _ = self.worker.wait();
    }
}
