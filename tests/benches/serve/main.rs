//! What serving costs and saves, and what a container per star costs beside the bare engine: `cargo bench --workspace --bench
//! serve [-- overhead | rates | bare | demo]`.
//!
//! Real containers, run by `sas local` as module teams run it. Figures that belong together are taken in turns. Times are of
//! this machine at this time.

mod bare;
mod demo;
mod overhead;
mod scene;

use anyhow::Result;
use domain::pipeline::Mode;
use harness::calls::Trace;
use harness::results::{Figure, Limit, Results};
use scene::{EMPTY, ServeScene};

/// Rounds of everything; `SAS_BENCH_ROUNDS` says otherwise.
const ROUNDS: usize = 3;

/// Stars of a round of containers, and of one of programs that serve.
const CONTAINERS: u32 = 24;
const SERVED: u32 = 600;

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo bench … -- demo` measures only that.
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    let rounds = std::env::var("SAS_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut results = Results::read()?;
    if wanted("overhead") {
        overhead::measure(&mut results, rounds).await?;
        results.write()?;
    }
    if wanted("rates") {
        rates(&mut results, rounds).await?;
        results.write()?;
    }
    if wanted("bare") {
        bare::measure(&mut results, rounds).await?;
        results.write()?;
    }
    if wanted("demo") {
        demo::measure(&mut results, rounds)?;
        results.write()?;
    }
    println!("\n{results}");
    Ok(())
}

/// A program that does nothing: served, and in a container per star.
async fn rates(results: &mut Results, rounds: usize) -> Result<()> {
    println!("\n{:<24}{:>14}{:>14}{:>8}", "an empty module", "served/s", "alone/s", "ratio");
    let (mut served, mut alone) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let (serve, oneshot) = (ServeScene::new(SERVED)?, ServeScene::new(CONTAINERS)?);
        served.push(serve.run(EMPTY, Mode::Serve, 2)?.rate().await?);
        alone.push(oneshot.run(EMPTY, Mode::Oneshot, 3)?.rate().await?);
        let (served, alone) = (served[round - 1], alone[round - 1]);
        println!("{round:<24}{served:>14.1}{alone:>14.2}{:>8.1}", served / alone);
    }
    if Trace::is_possible() {
        let requests = |mode| anyhow::Ok(ServeScene::new(CONTAINERS)?.count(EMPTY, mode, 1)?.per(CONTAINERS).requests);
        let (served, alone) = (requests(Mode::Serve)?, requests(Mode::Oneshot)?);
        println!(
            "\nrequests to the engine a star: {served:.2} served, {alone:.2} alone, those of the start and end of `sas` among them"
        );
        results.add("serve_engine_requests", Figure::new("requests a task", vec![served], Limit::None));
        results.add("oneshot_engine_requests", Figure::new("requests a task", vec![alone], Limit::None));
    }
    let ratios = served.iter().zip(&alone).map(|(served, alone)| served / alone).collect();
    results.add("serve_rate", Figure::new("tasks/s", served, Limit::None));
    results.add("oneshot_rate", Figure::new("tasks/s", alone, Limit::None));
    results.add("serve_vs_oneshot", Figure::new("ratio", ratios, Limit::Least(30.0)));
    Ok(())
}
