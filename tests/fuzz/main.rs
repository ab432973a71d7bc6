//! Asks a live coordinator for everything that the document of its API allows, and for what it does not: `make fuzz`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use harness::exhibit::Exhibit;

#[tokio::main]
async fn main() -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/fuzz.sh");
    let exhibit = Exhibit::open().await?;
    let fuzzed = Command::new(script).arg(&exhibit.address).args(std::env::args().skip(1)).status()?;
    let log = exhibit.programs.first().map(|coordinator| coordinator.log()).unwrap_or_default();
    ensure!(!log.contains("panicked"), "the coordinator panicked:\n{log}");
    ensure!(fuzzed.success(), "the API does not do what its document says");
    Ok(())
}
