//! What pages and API cost beside a run of 300,000 stars of 34 modules that is in full flight, while ten people look at it:
//! `cargo bench --workspace --bench pages`. With Chromium it also tells when the matrix is painted.
//!
//! A viewer follows the stream of the status and asks for a page every two seconds, as an open page does.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::browser::Browser;
use harness::flight::{Flight, MODULES, STARS};
use harness::{ask_bytes, follow, wait_until};
use tokio::task::JoinSet;

const VIEWERS: usize = 10;
/// How often each is asked; the median and the slowest are shown.
const TIMES: usize = 15;

#[tokio::main]
async fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let began = Instant::now();
    let flight = Flight::prepare(directory.path()).await?;
    println!("{STARS} stars x {MODULES} modules in Redis and store, made in {:.0?}", began.elapsed());
    let (coordinator, address) = flight.coordinator().await?;
    let paths = flight.paths();
    let mut viewers = viewers(&address, &paths);
    println!("\n{:<64}{:>9}{:>9}{:>9}", format!("asked beside {VIEWERS} viewers"), "median", "slowest", "kB");
    for path in &paths {
        let (mut times, mut bytes) = (Vec::new(), 0);
        for _ in 0..TIMES {
            let asked = Instant::now();
            let (head, body) = ask_bytes(&address, path).await?;
            times.push(asked.elapsed().as_secs_f64() * 1e3);
            ensure!(head.starts_with("HTTP/1.1 20"), "{path}: {head}{}", String::from_utf8_lossy(&body));
            bytes = body.len();
        }
        times.sort_by(f64::total_cmp);
        let shown = path.replace(&flight.run.to_string(), "RUN");
        println!("{shown:<64}{:>6.0} ms{:>6.0} ms{:>9}", times[TIMES / 2], times[TIMES - 1], bytes / 1000);
    }
    painted(&flight, &address).await?;
    viewers.abort_all();
    println!("\ncoordinator: {:.0} MB at most", coordinator.most_memory()?);
    Ok(())
}

/// So many that follow the stream, and as many that look at one page after another.
fn viewers(address: &str, paths: &[String]) -> JoinSet<()> {
    let mut viewers = JoinSet::new();
    for viewer in 0..VIEWERS {
        let (address, follower, mut paths) = (address.to_owned(), address.to_owned(), paths.to_vec());
        viewers.spawn(async move { _ = follow(&follower, "/api/v1/stream").await });
        paths.rotate_left(viewer);
        viewers.spawn(async move {
            let mut every = tokio::time::interval(Duration::from_secs(2));
            for path in paths.iter().cycle() {
                every.tick().await;
                _ = ask_bytes(&address, path).await;
            }
        });
    }
    viewers
}

/// When a browser has painted the matrix, and when the coordinator had drawn its page.
async fn painted(flight: &Flight, address: &str) -> Result<()> {
    let browser = Browser::start(1400, 1000).await?;
    println!();
    for order in ["arrival", "state", "progress"] {
        let mut times = Vec::new();
        for _ in 0..5 {
            browser.open(&format!("http://{address}/runs/{}/matrix?order={order}", flight.run)).await?;
            let mut millis = None;
            let is_painted = async || {
                let painted = browser.run("return document.querySelector('[data-painted]')?.dataset.painted").await;
                millis = painted.ok().and_then(|painted| painted.as_str()?.parse::<u64>().ok());
                millis.is_some()
            };
            wait_until(Duration::from_secs(30), "the matrix is painted", is_painted).await?;
            times.extend(millis);
        }
        times.sort_unstable();
        println!("matrix by {order} painted {} ms after it was asked for, at most {}", times[2], times[4]);
    }
    browser.close().await
}
