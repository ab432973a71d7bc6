//! The harness: real services on ports of their own, and waiting for conditions instead of sleeping.
//!
//! Everything that it starts ends with the process that started it, however that ends.

pub mod browser;
pub mod calls;
pub mod clock;
pub mod cluster;
pub mod compose;
pub mod cost;
mod cut;
pub mod exhibit;
pub mod flight;
mod http;
mod images;
pub mod light;
pub mod noop;
mod ports;
mod programs;
mod registry;
pub mod results;
mod services;
pub mod simulation;

use std::time::Duration;

use anyhow::{Result, bail};
pub use cut::Cut;
pub use http::{ask, ask_bytes, follow};
pub use images::{Variant, base_image};
pub use ports::free_address;
pub use programs::program;
pub use registry::{Registry, TinyImage};
pub use services::{RabbitMq, Redis};
use tokio::time::Instant;

/// Waits until `condition` holds; after `deadline` an error that says `what` was waited for.
pub async fn wait_until(deadline: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) -> Result<()> {
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_millis(2);
    while !condition().await {
        if Instant::now() >= end {
            bail!("waited {deadline:?} in vain until {what}");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    Ok(())
}
