//! One seed, played from its event to its end: what went wrong on the way, and whether anything came of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::id::StarId;
use serde::{Deserialize, Serialize};
use services::queue::QueueName;
use services::queue::memory::MemoryQueue;
use services::state::memory::MemoryState;

use super::forgetful::forgetful_state;
use super::{Fault, Faults, Mutant, Script, World, stale, watch_counts};

/// Stars of an event.
const STARS: u64 = 40;

/// How long whole programs and services are struck.
const STRIKES: Duration = Duration::from_secs(60);

/// How long everything may take after that: an attempt that was lost with its completion is missed after ten minutes.
const PATIENCE: Duration = Duration::from_secs(2400);

/// Of so many seeds each scene besides the usual one is played by one.
const SCENES: u64 = 16;

/// What is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EpisodeScene {
    FaultsOfEveryKind,
    StaleRow,
    ForgetfulState,
}

/// A seed to be played.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Episode {
    /// Draws pipelines, fates and faults.
    pub seed: u64,
    /// Where given, these faults happen and no others.
    pub only: Option<BTreeSet<Fault>>,
    /// What of the protocol is broken on purpose.
    pub mutant: Option<Mutant>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlayedEpisode {
    /// What went wrong.
    pub faults: Vec<Fault>,
    /// How often programs of modules ran to their ends.
    pub executions: u64,
    /// How many tasks there were.
    pub tasks: u64,
    /// A digest of its history: equal where the same was played.
    pub trace: u64,
    /// What must not be.
    pub wrong: Option<String>,
}

impl Episode {
    /// Plays it, on a clock of its own.
    pub fn play(&self) -> Result<PlayedEpisode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
        runtime.block_on(async {
            let faults = Faults::given(self.seed, self.only.clone(), self.mutant);
            let (world, state) = self.world(faults).await?;
            let done = match self.scene() {
                EpisodeScene::StaleRow => stale::stale_row(&world).await.map(|()| 1),
                EpisodeScene::ForgetfulState => forgetful_state(&world).await,
                EpisodeScene::FaultsOfEveryKind => faults_of_every_kind(&world, &state).await,
            };
            let mut wrong = world.violations();
            wrong.extend(done.as_ref().err().map(|error| format!("{error:#}")));
            Ok(PlayedEpisode {
                faults: world.faults.happened(),
                executions: world.around.witness.executions(),
                tasks: done.unwrap_or(0),
                trace: world.faults.trace(),
                wrong: (!wrong.is_empty()).then(|| wrong.join("\n")),
            })
        })
    }

    const fn scene(&self) -> EpisodeScene {
        match self.seed % SCENES {
            3 => EpisodeScene::StaleRow,
            5 => EpisodeScene::ForgetfulState,
            _ => EpisodeScene::FaultsOfEveryKind,
        }
    }

    async fn world(&self, faults: Faults) -> Result<(World, MemoryState)> {
        let state = MemoryState::new();
        let (broker, seed) = (Arc::new(MemoryQueue::new()), self.seed);
        let scripts = match self.scene() {
            EpisodeScene::StaleRow => vec![Script::random(seed, "ONE", 1)],
            EpisodeScene::ForgetfulState => vec![Script::random(seed, "ONE", 5)],
            EpisodeScene::FaultsOfEveryKind => {
                vec![Script::random(seed, "ONE", 7), Script::random(seed + 100, "TWO", 4)]
            }
        };
        let world = World::on(broker, Arc::new(state.clone()), faults, scripts).await?;
        if self.scene() != EpisodeScene::StaleRow {
            world.work(2);
        }
        world.keep(tokio::spawn(watch_counts(world.around.clone())));
        Ok((world, state))
    }
}

/// Two pipelines over the same stars, with an event that cannot be read and one that is repeated; how many tasks there were.
async fn faults_of_every_kind(world: &World, state: &MemoryState) -> Result<u64> {
    world.faults.set_level(1.0);
    let stars: Vec<StarId> = (0..STARS).map(StarId::of_simulator).collect();
    let event = world.publish("1", &stars).await?;
    world.send(b"{}".to_vec()).await?;
    world.publish("1", &stars).await?;
    world.strike(state, STRIKES).await?;
    ensure!(world.violations().is_empty(), "it went wrong");
    let runs = world.runs_of(&event).await.context("E1")?;
    ensure!(runs.len() == 2, "a repeated event made {} runs", runs.len());
    world.wait_for_end_within(&runs, PATIENCE).await?;
    for run in &runs {
        world.check_end(*run, false)?;
    }
    ensure!(world.store.runs()?.len() == 2, "there are runs that nobody asked for");
    ensure!(world.depth(QueueName::Dead).await? >= 1, "the event that cannot be read is not with the dead letters");
    let modules: usize = world.scripts.iter().map(|script| script.pipeline.modules.len()).sum();
    Ok(STARS * modules as u64)
}
