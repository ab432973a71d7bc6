//! Staging an input of 60 MB, beside a copy of it by `cp`.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use domain::id::StarId;
use harness::program;
use harness::results::{Figure, Limit, Results};
use store::Store;
use store::agent::{Agent, AgentOptions, Stage, StageItem};

/// Times that each is done in a round.
const TIMES: u32 = 20;

/// Both in turns.
pub(crate) async fn measure(results: &mut Results, rounds: usize) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = Store::init(&directory.path().join("store"))?;
    let scratch = store.own_scratch("bench")?;
    let options = AgentOptions::new(store.root(), scratch.path());
    let mut agent = Agent::new(AgentOptions { program: Some(program("sas-store", "sas-store-agent")), ..options });
    let delivered = directory.path().join("delivered.h5");
    let program =
        format!("import h5py, numpy as np; h5py.File({delivered:?}, 'w')['EXTERNALS/LC/flux'] = np.zeros(7_500_000)");
    ensure!(Command::new("/usr/bin/python3").args(["-c", &program]).status()?.success(), "h5py made no file");
    println!("\n{:<8}{:>14}{:>14}{:>8}", "round", "staged, ms", "cp, ms", "ratio");
    let (mut staged, mut copied) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let began = Instant::now();
        for number in 0..TIMES {
            let input = scratch.path().join(format!("{round}-{number}"));
            fs::create_dir(&input)?;
            fs::create_dir(input.join("files"))?;
            fs::hard_link(&delivered, input.join("files/0.h5"))?;
            let (at, file) = ("/EXTERNALS/LC".to_owned(), "files/0.h5".to_owned());
            let stage = Stage {
                input: input.join("input.h5"),
                attributes: BTreeMap::new(),
                star: StarId::of_simulator(1),
                quarter: 3.try_into()?,
                observed: None,
                items: vec![StageItem { path: at.clone(), at, file }],
                staged: "{}".to_owned(),
            };
            agent.stage(stage).await?;
        }
        staged.push(began.elapsed().as_secs_f64() * 1e3 / f64::from(TIMES));
        let began = Instant::now();
        for number in 0..TIMES {
            let copy = scratch.path().join(format!("{round}-{number}/copy.h5"));
            ensure!(Command::new("cp").arg(&delivered).arg(&copy).status()?.success(), "cp failed");
            // Or there is no room for the next.
            fs::remove_file(&copy)?;
        }
        copied.push(began.elapsed().as_secs_f64() * 1e3 / f64::from(TIMES));
        let (staged, copied) = (staged[round - 1], copied[round - 1]);
        println!("{round:<8}{staged:>14.2}{copied:>14.2}{:>8.3}", staged / copied);
    }
    let ratios = staged.iter().zip(&copied).map(|(staged, copied)| staged / copied).collect();
    results.add("staging_ms", Figure::new("ms", staged, Limit::None));
    results.add("staging_vs_cp", Figure::new("ratio", ratios, Limit::Most(0.1)));
    Ok(())
}
