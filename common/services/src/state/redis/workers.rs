//! Workers as they show themselves: an entry each that lives for a while, and the set of their names; and the hosts that are
//! drained, which is what they are told.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::id::WorkerName;

use super::{RedisState, wire};
use crate::state::{StateError, WorkerInfo};

const WORKERS: &str = "sas:{workers}:names";
const DRAINED: &str = "sas:{workers}:drained";

impl RedisState {
    pub(super) async fn show(&self, worker: &WorkerInfo, lives: Duration) -> Result<(), StateError> {
        let mut set = redis::cmd("SET");
        set.arg(worker_key(worker.worker.as_str())).arg(wire::json(worker)).arg("PX").arg(wire::millis(lives).max(1));
        self.command::<()>(&set).await?;
        self.command::<u32>(redis::cmd("SADD").arg(WORKERS).arg(worker.worker.as_str())).await?;
        Ok(())
    }

    pub(super) async fn forget_shown(&self, worker: &WorkerName) -> Result<(), StateError> {
        self.command::<u32>(redis::cmd("DEL").arg(worker_key(worker.as_str()))).await?;
        self.command::<u32>(redis::cmd("SREM").arg(WORKERS).arg(worker.as_str())).await?;
        Ok(())
    }

    pub(super) async fn shown(&self) -> Result<Vec<WorkerInfo>, StateError> {
        let mut names: Vec<String> = self.command(redis::cmd("SMEMBERS").arg(WORKERS)).await?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        names.sort_unstable();
        let keys: Vec<String> = names.iter().map(|name| worker_key(name)).collect();
        let found: Vec<Option<Vec<u8>>> = self.command(redis::cmd("MGET").arg(&keys)).await?;
        let mut workers = Vec::new();
        let mut gone = Vec::new();
        for (name, json) in names.iter().zip(&found) {
            match json {
                // One that cannot be read is written anew when the worker shows itself again.
                Some(json) => workers.extend(wire::from_json("worker", json).ok()),
                None => gone.push(name),
            }
        }
        if !gone.is_empty() {
            // One that shows itself at this moment enters its name again next time.
            self.command::<u32>(redis::cmd("SREM").arg(WORKERS).arg(&gone)).await?;
        }
        Ok(workers)
    }

    pub(super) async fn drain(&self, hosts: &BTreeSet<String>) -> Result<(), StateError> {
        self.command::<()>(redis::cmd("SET").arg(DRAINED).arg(wire::json(hosts))).await
    }

    pub(super) async fn drained_hosts(&self) -> Result<Option<BTreeSet<String>>, StateError> {
        let told: Option<Vec<u8>> = self.command(redis::cmd("GET").arg(DRAINED)).await?;
        // What cannot be read is as good as nothing, and is told again.
        Ok(told.and_then(|json| wire::from_json("drained hosts", &json).ok()))
    }
}

fn worker_key(worker: &str) -> String {
    format!("sas:{{workers}}:info:{worker}")
}
