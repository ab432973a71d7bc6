//! Ports that are free, each given to one asker only.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

/// What this process gave out: who asked may not listen yet.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// An address of this machine where nobody listens, as `127.0.0.1:20123`.
pub fn free_address() -> Result<String> {
    Ok(format!("127.0.0.1:{}", free_ports(1)?))
}

/// Free ports in a row, below those that the system gives to outgoing connections.
pub(crate) fn free_ports(count: u16) -> Result<u16> {
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..200 {
        let first = rand::random_range(20_000..32_000 - count);
        let mut ports = first..first + count;
        if ports.clone().all(|port| !given.contains(&port)) && ports.all(is_free) {
            given.extend(first..first + count);
            return Ok(first);
        }
    }
    bail!("found no {count} free ports in a row")
}
