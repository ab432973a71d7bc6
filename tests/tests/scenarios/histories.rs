//! Whatever happened before, in whatever order: stars end as one clean run from scratch on the final inputs ends them.
//!
//! Histories are drawn from seeds. `SAS_HISTORIES=200` plays so many, `SAS_HISTORY=17` that one, with `SAS_HISTORY_STEPS=0,3,5`
//! these steps of it. One that fails is printed with the few steps that it takes; when things happen is not drawn, so that it may
//! take another try.

mod history;
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, bail, ensure};
use domain::message::DatasetEvent;
use history::{FinalInputs, History, HistoryStep, QUARTERS, STARS};
use site::{HistoryEnd, HistorySite, star};

/// How many are played unless somebody wants more.
const HISTORIES: u64 = 3;

/// How often one that fails is played to find out which steps it takes.
const PLAYS: usize = 24;

/// How many replays it may take until nothing is other: each quarter may change the next one.
const REPLAYS: usize = 2 + QUARTERS.len() * 2;

const PROGRAM: &str = include_str!("histories/program.py");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happened_before_stars_end_as_one_clean_run_ends_them() -> Result<()> {
    let asked = |name: &str| std::env::var(name).ok();
    let seeds = match asked("SAS_HISTORY") {
        Some(seed) => vec![seed.parse()?],
        None => (1..=asked("SAS_HISTORIES").map_or(Ok(HISTORIES), |count| count.parse())?).collect(),
    };
    for seed in seeds {
        let mut history = History::draw(seed);
        if let Some(steps) = asked("SAS_HISTORY_STEPS") {
            history = history.only(&steps.split(',').map(str::parse).collect::<Result<_, _>>()?);
        }
        if let Err(wrong) = play(&history).await {
            bail!("{}", shrink(history, format!("{wrong:#}")).await);
        }
    }
    Ok(())
}

/// Leaves out one step after the other as long as it fails; says what is left.
async fn shrink(mut history: History, mut wrong: String) -> String {
    let mut plays = 0;
    for (place, _) in history.steps.clone().into_iter().rev() {
        let kept: BTreeSet<usize> = history.steps.iter().map(|(kept, _)| *kept).filter(|kept| *kept != place).collect();
        let fewer = history.only(&kept);
        plays += 1;
        if plays > PLAYS {
            break;
        }
        if let Err(same) = play(&fewer).await {
            (history, wrong) = (fewer, format!("{same:#}"));
        }
    }
    let places: Vec<String> = history.steps.iter().map(|(place, _)| place.to_string()).collect();
    let steps: Vec<String> = history.steps.iter().map(|(place, step)| format!("  {place}: {step:?}")).collect();
    let (seed, places) = (history.seed, places.join(","));
    format!("{wrong}\nSAS_HISTORY={seed} SAS_HISTORY_STEPS={places} plays it again:\n{}", steps.join("\n"))
}

/// Plays a history to its end, and a clean run beside it; what is wrong is the error.
async fn play(history: &History) -> Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("faults"))?;
    std::fs::write(dir.path().join("program.py"), PROGRAM)?;
    let mut inputs = history.final_inputs();
    let missing = inputs.complete();

    let mut site = HistorySite::start(dir.path(), &dir.path().join("history"), &BTreeSet::new()).await?;
    let mut turned = FinalInputs::default();
    for (_, step) in &history.steps {
        happen(&mut site, dir.path(), &mut turned, step).await?;
    }
    for fault in std::fs::read_dir(dir.path().join("faults"))? {
        std::fs::remove_file(fault?.path())?;
    }
    if !missing.is_empty() {
        site.deliver(&missing).await?;
    }
    site.rest(true).await?;
    settle(&mut site).await?;
    site.check_ledgers().await?;
    let ends = site.ends().await?;
    drop(site);
    compare(&ends, &clean(dir.path(), &inputs).await?)
}

async fn happen(site: &mut HistorySite, shared: &Path, turned: &mut FinalInputs, step: &HistoryStep) -> Result<()> {
    match step {
        HistoryStep::Burst(deliveries) => site.deliver(deliveries).await?,
        HistoryStep::Repeat { event, is_same } => {
            let Some(known) = site.events.get(event % site.events.len().max(1)).cloned() else { return Ok(()) };
            let again = format!("{}-again-{}", known.id, site.events.len());
            let id = if *is_same { known.id.clone() } else { again };
            site.publish(DatasetEvent::new("history", &id, "2030-01-01T00:00:00Z".to_owned(), known.data)).await?;
        }
        HistoryStep::Update(switch) => {
            turned.turn(*switch);
            site.crash(shared, &turned.switches)?;
        }
        HistoryStep::Fault { star: place, is_there } => {
            let file = shared.join("faults").join(star(*place).to_string());
            if *is_there {
                std::fs::write(file, "")?;
            } else if file.exists() {
                std::fs::remove_file(file)?;
            }
        }
        HistoryStep::Replay { failed, take_over } => _ = site.replay(*failed, *take_over).await?,
        HistoryStep::Rollback { star: place, quarter } => _ = site.show(star(*place), *quarter, false).await?,
        HistoryStep::Crash => site.crash(shared, &turned.switches)?,
        HistoryStep::Rest => site.rest(false).await?,
    }
    Ok(())
}

/// What an operator does in the end: everything that changed again, what failed included, and star files that show the newest.
async fn settle(site: &mut HistorySite) -> Result<()> {
    let mut failed = true;
    let mut left = None;
    for _ in 0..REPLAYS {
        left = site.replay(failed, false).await?;
        site.rest(true).await?;
        let mut is_other = false;
        for (place, quarter) in (0..STARS).flat_map(|star| QUARTERS.map(|quarter| (star, quarter))) {
            is_other |= site.show(star(place), quarter, true).await?;
        }
        if left.is_none() && !is_other && !failed {
            return Ok(());
        }
        failed = false;
    }
    ensure!(left.is_none(), "replays come to no end: {left:?}");
    Ok(())
}

/// What one run over each quarter ends with, in a store of its own.
async fn clean(shared: &Path, inputs: &FinalInputs) -> Result<BTreeMap<(usize, u16), HistoryEnd>> {
    let mut site = HistorySite::start(shared, &shared.join("clean"), &inputs.switches).await?;
    for quarter in QUARTERS {
        let of_quarter = inputs.deliveries().filter(|one| one.quarter == quarter);
        site.deliver(&of_quarter.collect::<Vec<_>>()).await?;
        site.rest(true).await?;
    }
    site.ends().await
}

fn compare(ends: &BTreeMap<(usize, u16), HistoryEnd>, clean: &BTreeMap<(usize, u16), HistoryEnd>) -> Result<()> {
    for (place, wanted) in clean {
        let found = &ends[place];
        ensure!(found == wanted, "star {} in quarter {}\n  is      {found:?}\n  must be {wanted:?}", place.0, place.1);
    }
    Ok(())
}
