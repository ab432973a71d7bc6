//! Workers as they show themselves: an entry each that lives for a while, one that is kept for longer, and the set of their
//! names; and the hosts that are
//! drained, which is what they are told.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::id::WorkerName;

use super::{RedisState, wire};
use crate::state::{REMEMBERED, StateError, WorkerInfo};

const WORKERS: &str = "sas:{workers}:names";
const DRAINED: &str = "sas:{workers}:drained";

impl RedisState {
    pub(super) async fn show(&self, worker: &WorkerInfo, lives: Duration) -> Result<(), StateError> {
        let (name, json) = (worker.worker.as_str(), wire::json(worker));
        for (key, lives) in [(worker_key(name), lives), (last_key(name), lives + REMEMBERED)] {
            let mut set = redis::cmd("SET");
            set.arg(key).arg(&json).arg("PX").arg(wire::millis(lives).max(1));
            self.command::<()>(&set).await?;
        }
        self.command::<u32>(redis::cmd("SADD").arg(WORKERS).arg(name)).await?;
        Ok(())
    }

    pub(super) async fn forget_shown(&self, worker: &WorkerName) -> Result<(), StateError> {
        let name = worker.as_str();
        self.command::<u32>(redis::cmd("DEL").arg(worker_key(name)).arg(last_key(name))).await?;
        self.command::<u32>(redis::cmd("SREM").arg(WORKERS).arg(name)).await?;
        Ok(())
    }

    pub(super) async fn shown(&self) -> Result<Shown, StateError> {
        let mut names: Vec<String> = self.command(redis::cmd("SMEMBERS").arg(WORKERS)).await?;
        let mut shown = Shown::default();
        if names.is_empty() {
            return Ok(shown);
        }
        names.sort_unstable();
        // One that cannot be read is written anew when the worker shows itself again.
        let (living, silent) = self.entries(&names, worker_key).await?;
        shown.living = living;
        if silent.is_empty() {
            return Ok(shown);
        }
        let (lost, gone) = self.entries(&silent, last_key).await?;
        shown.lost = lost;
        if !gone.is_empty() {
            // One that shows itself at this moment enters its name again next time.
            self.command::<u32>(redis::cmd("SREM").arg(WORKERS).arg(&gone)).await?;
        }
        Ok(shown)
    }

    /// What these workers showed under such keys, and the names of those that have none.
    async fn entries(
        &self,
        names: &[String],
        key: fn(&str) -> String,
    ) -> Result<(Vec<WorkerInfo>, Vec<String>), StateError> {
        let keys: Vec<String> = names.iter().map(|name| key(name)).collect();
        let found: Vec<Option<Vec<u8>>> = self.command(redis::cmd("MGET").arg(&keys)).await?;
        let (mut workers, mut without) = (Vec::new(), Vec::new());
        for (name, json) in names.iter().zip(&found) {
            match json {
                Some(json) => workers.extend(wire::from_json("worker", json).ok()),
                None => without.push(name.clone()),
            }
        }
        Ok((workers, without))
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

/// Workers that showed themselves.
#[derive(Default)]
pub(super) struct Shown {
    /// Those that still do.
    pub(super) living: Vec<WorkerInfo>,
    /// Those that do no more, and did not take leave.
    pub(super) lost: Vec<WorkerInfo>,
}

fn last_key(worker: &str) -> String {
    format!("sas:{{workers}}:last:{worker}")
}

fn worker_key(worker: &str) -> String {
    format!("sas:{{workers}}:info:{worker}")
}
