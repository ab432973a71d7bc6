//! What must not grow with the number of stars: `cargo bench --workspace --bench scale [-- events | memory | waiting | workers | hop | all]`.
//!
//! Real RabbitMQ, Redis, coordinator and workers as processes of their own; workers run nothing, so that a run of 300,000 stars
//! ends within minutes. Times are of this machine at this time.

mod all;
mod events;
mod hop;
mod memory;
mod waiting;
mod workers;

use anyhow::{Context, Result};
use harness::results::Results;

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo bench … -- events` measures only that.
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    let mut results = Results::read()?;
    if wanted("events") {
        events::measure(&mut results).await?;
    }
    if wanted("memory") {
        memory::measure(&mut results).await?;
    }
    if wanted("waiting") {
        waiting::measure(&mut results).await?;
    }
    if wanted("workers") {
        workers::measure(&mut results).await?;
    }
    if wanted("all") {
        all::measure(&mut results).await?;
    }
    if wanted("hop") {
        hop::measure(&mut results).await?;
    }
    println!("\n{results}");
    results.write().context("failed to write the results")
}
