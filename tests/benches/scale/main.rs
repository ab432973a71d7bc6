//! What must not grow with the number of stars: `cargo bench --workspace --bench scale [-- hop | events | memory | waiting | workers | all]`.
//!
//! Real RabbitMQ, Redis, coordinator and workers as processes of their own; workers run nothing, so that a run of 300,000 stars
//! ends within minutes. Times are of this machine at this time.

mod all;
mod events;
mod hop;
mod memory;
mod waiting;
mod workers;

use anyhow::Result;
use harness::results::Results;

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo bench … -- events` measures only that.
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    let mut results = Results::read()?;
    // First: what others left on the disk makes it longer.
    if wanted("hop") {
        hop::measure(&mut results).await?;
        results.write()?;
    }
    if wanted("events") {
        events::measure(&mut results).await?;
        results.write()?;
    }
    if wanted("memory") {
        memory::measure(&mut results).await?;
        results.write()?;
    }
    if wanted("waiting") {
        waiting::measure(&mut results).await?;
        results.write()?;
    }
    if wanted("workers") {
        workers::measure(&mut results).await?;
        results.write()?;
    }
    if wanted("all") {
        all::measure(&mut results).await?;
        results.write()?;
    }
    println!("\n{results}");
    Ok(())
}
