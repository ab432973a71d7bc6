//! What Redis keeps of a star when all are settled: 300,000 stars of 34 modules.

use std::time::Duration;

use anyhow::{Context, Result};
use domain::id::{Attempt, Epoch, EventId, ModuleIndex, RunId, Sequence, StarIndex};
use domain::run::{Cell, Row, Star, TaskState, Tries};
use harness::Redis;
use harness::cost::info;
use harness::results::{Figure, Limit, Results};
use jiff::Timestamp;
use services::state::redis::RedisState;
use services::state::{Change, CursorMove, Phase, RunInfo, State};

const STARS: u32 = 300_000;
const MODULES: u8 = 34;
const AT_ONCE: u32 = 500;

pub(crate) async fn measure(results: &mut Results) -> Result<()> {
    let redis = Redis::start()?;
    let state = RedisState::connect(&redis.database()?).await?;
    state.begin_epoch(Epoch(1)).await?;
    let run = RunId::of(EventId::of("bench", "1"), "BENCH", "1");
    let before = info(&redis, "memory", "used_memory")?;
    state.open_run(&opened(run)?, Duration::ZERO).await?;
    for from in (0..STARS).step_by(AT_ONCE as usize) {
        let to = (from + AT_ONCE).min(STARS);
        let changes: Vec<Change> = (from..to).map(settled).collect();
        state.write(run, Epoch(1), Some(CursorMove { from, to }), &changes).await?;
    }
    let view = state.run(run).await?.context("the run is there")?;
    anyhow::ensure!(view.info.cursor == STARS, "all stars are in");
    let bytes = (info(&redis, "memory", "used_memory")? - before) / f64::from(STARS);
    println!(
        "Redis: {bytes:.1} bytes a star when {STARS} stars of {MODULES} modules are settled, every twentieth with a second try"
    );
    results.add("redis_bytes_per_star", Figure::new("bytes", vec![bytes], Limit::Most(48.0)));
    Ok(())
}

fn opened(run: RunId) -> Result<RunInfo> {
    let modules = (0..MODULES).map(|at| Ok((format!("M{at}").parse()?, "default".parse()?)));
    Ok(RunInfo {
        run,
        pipeline: "BENCH".parse()?,
        version: "1".to_owned(),
        quarter: 3.try_into()?,
        stars: STARS,
        modules: modules.collect::<Result<_>>()?,
        horizon: Sequence(1),
        accepted: Timestamp::now(),
        phase: Phase::Active,
        weight: 1,
        cursor: 0,
        held: Vec::new(),
        amended: 0,
    })
}

/// A star that was never seen, and is settled.
fn settled(star: u32) -> Change {
    let expected = Star { row: Row::fresh(MODULES.into()), ..Star::default() };
    let mut after = expected.clone();
    for module in (0..MODULES).map(ModuleIndex) {
        after.row.set(module, Cell { state: TaskState::Succeeded, tag: 1 });
    }
    if star.is_multiple_of(20) {
        after.row.set(ModuleIndex(3), Cell { state: TaskState::Succeeded, tag: 2 });
        after.tries.insert(ModuleIndex(3), Tries { attempt: Attempt(2), science: 1, platform: 0 });
    }
    Change { star: StarIndex(star), expected, after, ..Change::default() }
}
