//! What a task costs besides the own time of the program that serves it: found, staged, asked, copied, checked, committed.
//!
//! Stars of one module pay for all that is made once a star; stars of several are what pipelines have. With the store in memory
//! what the disk costs is left out: making files, and having them written.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use harness::results::{Figure, Limit, Results};

use super::scene::ServeScene;

/// A program that says in its product how long it took, in seconds from the request to the answer.
const TIMES_ITSELF: &str = r#"
import json, sys, time
import h5py
print(json.dumps({"ready": 1}), flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    request = json.loads(line)
    with h5py.File(request["input"], "r") as source, h5py.File(request["output"], "w") as file:
        file["PRODUCTS/PRODUCT/mean"] = source["EXTERNALS/DP1_LC_MERGED/flux"][()].mean()
        file["PRODUCTS/PRODUCT/seconds"] = time.perf_counter() - began
    print(json.dumps({"id": request["id"], "exit": 0, "message": ""}), flush=True)
"#;

/// Modules of a star in the figure that must hold.
const MODULES: usize = 8;

/// Tasks of each module that do not count: the program starts with the first of them.
const FIRST: usize = 20;

/// Tasks of a round.
const TASKS: usize = 480;

/// A file system in memory that every Linux has.
const MEMORY: &str = "/dev/shm";

pub(crate) async fn measure(results: &mut Results, rounds: usize) -> Result<()> {
    println!("\n{:<34}{:>10}{:>10}{:>10}{:>14}", "a served task, ms", "median", "90 %", "99 %", "module's own");
    let memory = tempfile::tempdir_in(MEMORY)?;
    let cases: [(&str, usize, Option<&Path>, Limit); 3] = [
        ("serve_overhead_ms", MODULES, None, Limit::Most(5.0)),
        ("serve_overhead_in_memory_ms", MODULES, Some(memory.path()), Limit::None),
        ("serve_overhead_one_module_ms", 1, None, Limit::None),
    ];
    let mut medians = cases.map(|_| Vec::new());
    for round in 1..=rounds {
        for ((name, modules, place, _), medians) in cases.iter().zip(&mut medians) {
            medians.push(
                median(&format!("{round} {name}"), *modules, place.map(|place| place.join(round.to_string()))).await?,
            );
        }
    }
    for ((name, _, _, limit), medians) in cases.into_iter().zip(medians) {
        results.add(name, Figure::new("ms", medians, limit));
    }
    Ok(())
}

/// The median of a round of stars of so many modules.
async fn median(name: &str, modules: usize, store: Option<PathBuf>) -> Result<f64> {
    let programs: Vec<String> =
        (0..modules).map(|number| TIMES_ITSELF.replace("PRODUCT/", &format!("X{number}/"))).collect();
    let commands: Vec<Vec<&str>> = programs.iter().map(|program| vec!["python3", "-c", program]).collect();
    let scene = ServeScene::new((TASKS / modules) as u32)?;
    let store = store.unwrap_or_else(|| scene.store());
    let mut tasks = scene.serve_at(store, &commands)?.tasks().await?;
    tasks.sort_by_key(|task| task.started);
    let (mut over, mut own) = (Vec::new(), Vec::new());
    for task in tasks.into_iter().skip(FIRST * modules) {
        let seconds = task.columns.get("seconds").context("the program says how long it took")?;
        own.push(seconds * 1e3);
        // Whole milliseconds are on record, cut off.
        over.push(task.millis + 0.5 - seconds * 1e3);
    }
    [&mut over, &mut own].into_iter().for_each(|of| of.sort_by(f64::total_cmp));
    let at = |of: &[f64], share: f64| of[((of.len() - 1) as f64 * share) as usize];
    let median = at(&over, 0.5);
    println!("{name:<34}{median:>10.2}{:>10.2}{:>10.2}{:>14.2}", at(&over, 0.9), at(&over, 0.99), at(&own, 0.5));
    Ok(median)
}
