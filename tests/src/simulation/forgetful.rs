//! A state that forgets everything again and again while programs run that take longer than that: none is stopped, and none is
//! begun a second time.

use std::time::Duration;

use anyhow::{Context, Result};
use domain::id::StarId;

use super::{FaultKind, World};

/// Stars of the event.
const STARS: u64 = 8;

/// How long a program takes at most.
const SLOW: Duration = Duration::from_secs(40);

/// How often the state forgets at most, and how long after the time before.
const TIMES: u32 = 4;
const BETWEEN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15)];

/// How long everything may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Plays it; how many tasks there were.
pub(super) async fn forgetful_state(world: &World) -> Result<u64> {
    world.around.witness.expect_all_to_end(SLOW);
    let working = [world.coordinator(), world.coordinator()];
    let stars: Vec<StarId> = (0..STARS).map(StarId::of_simulator).collect();
    let event = world.publish("1", &stars).await?;
    let run = *world.runs_of(&event).await?.first().context("the event has a run")?;
    for _ in 0..TIMES {
        tokio::time::sleep(world.faults.between(BETWEEN[0], BETWEEN[1])).await;
        if world.faults.strikes(FaultKind::StateFlushed, 0.8) && world.store.run_end(run)?.is_none() {
            world.flush_state();
        }
    }
    world.wait_for_end_within(&[run], PATIENCE).await?;
    world.check_end(run, false)?;
    working.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(STARS * world.scripts[0].pipeline.modules.len() as u64)
}
