//! What a star costs a program that serves besides its own time: found, staged, asked, copied, checked, committed.

use anyhow::{Context, Result};
use domain::pipeline::Mode;
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
        file["PRODUCTS/X/mean"] = source["EXTERNALS/DP1_LC_MERGED/flux"][()].mean()
        file["PRODUCTS/X/seconds"] = time.perf_counter() - began
    print(json.dumps({"id": request["id"], "exit": 0, "message": ""}), flush=True)
"#;

/// Stars that do not count: the program starts with the first of them.
const FIRST: usize = 20;

const STARS: u32 = 220;

pub(crate) async fn measure(results: &mut Results, rounds: usize) -> Result<()> {
    println!("\n{:<24}{:>14}{:>14}{:>14}{:>14}", "a served star, ms", "median", "90 %", "99 %", "module's own");
    let mut medians = Vec::new();
    for round in 1..=rounds {
        let ran = ServeScene::new(STARS)?.run(&["python3", "-c", TIMES_ITSELF], Mode::Serve, 1)?;
        let mut tasks = ran.tasks().await?;
        tasks.sort_by_key(|task| task.started);
        let (mut over, mut own) = (Vec::new(), Vec::new());
        for task in tasks.into_iter().skip(FIRST) {
            let seconds = task.columns.get("seconds").context("the program says how long it took")?;
            own.push(seconds * 1e3);
            // Whole milliseconds are on record, cut off.
            over.push(task.millis + 0.5 - seconds * 1e3);
        }
        [&mut over, &mut own].into_iter().for_each(|of| of.sort_by(f64::total_cmp));
        let at = |of: &[f64], share: f64| of[((of.len() - 1) as f64 * share) as usize];
        let (median, own) = (at(&over, 0.5), at(&own, 0.5));
        println!("{round:<24}{median:>14.2}{:>14.2}{:>14.2}{own:>14.2}", at(&over, 0.9), at(&over, 0.99));
        medians.push(median);
    }
    results.add("serve_overhead_ms", Figure::new("ms", medians, Limit::Most(5.0)));
    Ok(())
}
