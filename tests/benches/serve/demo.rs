//! The demo's stars through the seismic pipeline, by programs that serve and by a container per star.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use harness::light::sas;
use harness::results::{Figure, Limit, Results};

pub(crate) fn measure(results: &mut Results, rounds: usize) -> Result<()> {
    let place = tempfile::tempdir()?;
    let stars = simulate(place.path())?;
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pipelines");
    fs::copy(deploy.join("products.toml"), place.path().join("products.toml"))?;
    let text = fs::read_to_string(deploy.join("seismic.toml"))?;
    let plain: String =
        text.lines().filter(|line| !line.starts_with("mode = ")).map(|line| format!("{line}\n")).collect();
    let pipelines = ["oneshot", "serve"].map(|mode| (place.path().join(format!("{mode}.toml")), mode));
    for (path, mode) in &pipelines {
        let image = "image = \"sas/reference:1\"\n";
        fs::write(path, plain.replace(image, &format!("{image}mode = \"{mode}\"\n")))?;
    }
    println!("\n{:<24}{:>14}{:>14}{:>8}", format!("demo, {} stars", stars.len()), "served, s", "alone, s", "ratio");
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let mut seconds = Vec::new();
        for (pipeline, mode) in &pipelines {
            let began = Instant::now();
            let store = place.path().join(format!("{mode}-{round}"));
            let done =
                sas().args(["local", "--pipeline"]).arg(pipeline).arg("--store").arg(&store).args(&stars).output()?;
            ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            seconds.push(began.elapsed().as_secs_f64());
        }
        let [alone, served] = seconds[..] else { anyhow::bail!("both were measured") };
        println!("{round:<24}{served:>14.1}{alone:>14.1}{:>8.2}", alone / served);
        ratios.push(alone / served);
    }
    results.add("demo_serve_vs_oneshot", Figure::new("ratio", ratios, Limit::Least(3.0)));
    Ok(())
}

/// A dozen star files, as the demo makes them.
fn simulate(place: &Path) -> Result<Vec<PathBuf>> {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/images/build.sh");
    ensure!(Command::new(build).arg("reference").status()?.success(), "the image sas/reference:1 cannot be built");
    let input = place.join("input");
    fs::create_dir(&input)?;
    let user = format!("{}:{}", rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let made = Command::new("docker")
        .args(["run", "--rm", "--network", "none", "--user", &user, "-v", &format!("{}:/out", input.display())])
        .args(["sas/reference:1", "python3", "-m", "sas_modules.simulate", "/out", "--stars", "12", "--seed", "1"])
        .output()
        .context("failed to run docker")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let files = fs::read_dir(input)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "h5")).collect())
}
