//! Looking at a run of 300,000 stars costs the coordinator little, however many look: no page is as long as the run has stars.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use harness::ask_bytes;
use harness::flight::Flight;

const VIEWERS: usize = 10;
/// What a page may weigh; the longest lists what it was asked to.
const MOST_BYTES: usize = 400_000;
/// What the coordinator may have, in MB: more than 35 of it are pages of a program that is not optimised. Optimised it had 61 in all
/// (`cargo bench --workspace --bench pages`).
const MOST_MEMORY: f64 = 112.0;

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_300_000_stars_are_short_and_ten_viewers_cost_little_memory() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let flight = Flight::prepare(directory.path()).await?;
    let (coordinator, address) = flight.coordinator().await?;
    let paths = &flight.paths();
    let viewer = async |from: usize| {
        for path in paths.iter().cycle().skip(from).take(paths.len()) {
            let (head, body) = ask_bytes(&address, path).await?;
            ensure!(head.starts_with("HTTP/1.1 20"), "{path}: {head}{}", String::from_utf8_lossy(&body));
            let is_binary = path.contains("/matrix?");
            ensure!(
                body.len() < MOST_BYTES || is_binary && path.starts_with("/api"),
                "{path} has {} bytes",
                body.len()
            );
        }
        Ok(())
    };
    try_join_all((0..VIEWERS).map(viewer)).await?;
    let memory = coordinator.most_memory()?;
    ensure!(memory < MOST_MEMORY, "the coordinator had {memory:.0} MB");
    Ok(())
}
