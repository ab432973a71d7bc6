//! The simulation by the million: `make simulate`. Plays seeds until enough went wrong; a seed that fails is printed, played
//! again, and reduced to the few faults that it takes. Then protocols that are broken on purpose must be caught.
//!
//! From the environment: `FAULTS` (how many, 10,000), `SEED` (the first, 1), `ONLY` (faults of that seed, all others do not
//! happen), `MUTANTS` (`no`, or the name of one, whose faults are reduced, too), `RUST_LOG` (what the programs log).

mod chance;
mod mutants;
mod plays;
mod report;
mod shrink;

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use harness::simulation::{Episode, Fault};

use plays::play;
use report::SimulationReport;
use shrink::FewFaults;

/// Faults where nobody says how many.
const FAULTS: u64 = 10_000;

/// What is asked for.
struct SimulationOptions {
    faults: u64,
    seed: u64,
    only: Option<BTreeSet<Fault>>,
    mutants: String,
}

impl SimulationOptions {
    fn of_environment() -> Result<Self> {
        let said = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
        let number = |name: &str, otherwise: u64| {
            said(name)
                .map_or(Ok(otherwise), |text| text.trim().replace('_', "").parse())
                .with_context(|| format!("{name} is no number"))
        };
        let only = said("ONLY").map(|text| text.split_whitespace().map(str::parse).collect()).transpose()?;
        Ok(Self {
            faults: number("FAULTS", FAULTS)?,
            seed: number("SEED", 1)?,
            only,
            mutants: said("MUTANTS").unwrap_or_default(),
        })
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [plays::PLAY, episode] => return plays::play_here(episode),
        // Whoever lists the tests of this program finds none.
        ["--list", ..] => return Ok(()),
        _ => {}
    }
    let asked = SimulationOptions::of_environment()?;
    if let Some(only) = asked.only {
        return once(Episode { seed: asked.seed, only: Some(only), mutant: None });
    }
    let first = Episode { seed: asked.seed, only: None, mutant: None };
    let (once, again) = (play(&first)?, play(&first)?);
    ensure!(once.trace == again.trace, "seed {} was played twice, and was not the same", first.seed);
    let (mut report, mut well) = (SimulationReport::begin(), BTreeSet::new());
    for played in plays::until(asked.seed, asked.faults)? {
        if let Some(wrong) = &played.1.wrong {
            fails(played.0, &played.1.faults, wrong)?;
        }
        well.insert(played.0);
        report.add(played.1);
    }
    report.print_seeds();
    if asked.mutants != "no" {
        let began = Instant::now();
        let caught = mutants::catch_all(&asked.mutants, &well)?;
        report::print_mutants(&caught, began.elapsed().as_secs_f64());
        ensure!(caught.iter().all(|one| one.caught.is_some()), "a broken protocol was not noticed");
        // Who asks for one wants to know how little it takes.
        if let [mutants::CaughtMutant { mutant, caught: Some((seed, played)), .. }] = &caught[..] {
            let episode = Episode { seed: *seed, only: None, mutant: Some(*mutant) };
            print_few(&shrink::shrink(&episode, &played.faults, shrink::PLAYS)?);
        }
    }
    Ok(())
}

/// Plays one seed, and says what came of it.
fn once(episode: Episode) -> Result<()> {
    let played = play(&episode)?;
    println!("seed {}: {} faults, history {:016x}", episode.seed, played.faults.len(), played.trace);
    match played.wrong {
        None => println!("nothing is wrong"),
        Some(wrong) => bail!("{wrong}"),
    }
    Ok(())
}

/// A seed failed: says how to play it again, and which of its faults it takes.
fn fails(seed: u64, faults: &[Fault], wrong: &str) -> Result<()> {
    println!(
        "seed {seed} fails after {} faults:\n{wrong}\n\nmake simulate SEED={seed} FAULTS=1 MUTANTS=no\n",
        faults.len()
    );
    let episode = Episode { seed, only: None, mutant: None };
    let few = print_few(&shrink::shrink(&episode, faults, shrink::PLAYS)?);
    println!("\nmake simulate SEED={seed} ONLY=\"{few}\"");
    bail!("seed {seed} fails")
}

/// Says how few faults it takes; returns them.
fn print_few(FewFaults { faults, wrong, plays }: &FewFaults) -> String {
    let few = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    println!("\nafter {plays} more plays {} faults are enough: {few}\nfor {wrong}", faults.len());
    few
}
