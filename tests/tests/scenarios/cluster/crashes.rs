//! Coordinators and workers that die at every crash point, one time each, and are started again.

use std::collections::BTreeSet;
use std::time::Instant;

use store::crash::CrashPoint;
use store::presence::lives;

use super::*;

const STARS: usize = 12;

/// Long enough for one death after the other on a busy machine.
const DEATHS: Duration = Duration::from_secs(180);

/// With the state that each must end in. B asks to be tried again at first.
const FATES: [(&str, &str, &str, &str, &str); 4] = [
    ("A", "DP1_LC_MERGED", "X", "succeeded", ""),
    ("B", "X", "Y", "succeeded", "import os, sys; os.environ['SAS_ATTEMPT'] == '1' and sys.exit(75); "),
    ("F", "X", "Z", "failed", "import sys; sys.exit(3); "),
    ("U", "Z", "W", "upstream_failed", ""),
];

fn definition(directory: &Path) -> Result<PathBuf> {
    let mut text = "name = \"SMALL\"\nversion = \"1\"\ntrigger = \"l1/lightcurve\"\n\
                    [externals]\nstar = [\"DP1_LC_MERGED\"]\n[classes.default]\ncpus = 1\nmemory = \"256MB\"\n"
        .to_owned();
    for (name, input, output, _, before) in FATES {
        let program =
            format!("{before}import h5py, os; h5py.File(os.environ['SAS_OUTPUT'], 'w')['PRODUCTS/{output}/seen'] = 1");
        text += &format!(
            "[modules.{name}]\nimage = \"none\"\ncommand = [\"/usr/bin/python3\", \"-c\", {program:?}]\nclass = \"default\"\n\
             time_limit = \"1m\"\nretry.backoff = \"500ms\"\ninputs.mandatory = [{input:?}]\noutputs.mandatory = [{output:?}]\n"
        );
    }
    let path = directory.join("small.toml");
    fs::write(&path, text)?;
    Ok(path)
}

/// A program that is started again when it ends.
struct Supervised<'a> {
    cluster: &'a Cluster,
    name: &'static str,
    settings: Vec<(&'static str, &'a str)>,
    /// All that were started, the last of which runs.
    started: Vec<Running>,
}

impl Supervised<'_> {
    fn tend(&mut self) -> Result<()> {
        let runs = match self.started.last_mut() {
            Some(running) => !running.has_ended()?,
            None => false,
        };
        if !runs {
            let log = format!("{}-{}", self.name, self.started.len());
            self.started.push(match self.name.starts_with("worker") {
                true => self.cluster.worker(&log, &self.settings)?,
                false => self.cluster.coordinator_with(&log, &self.settings)?,
            });
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let ends = self.started.iter().rev().take(3).map(|running| {
            let log = running.log();
            log.lines().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
        });
        format!("---- {}, started {} times\n{}", self.name, self.started.len(), ends.collect::<Vec<_>>().join("\n--\n"))
    }
}

/// Names in a directory.
fn names(directory: &Path) -> Result<BTreeSet<String>> {
    let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<std::io::Result<_>>().with_context(|| format!("{} cannot be read", directory.display()))
}

/// What is in the directory of working directories, besides what the store is asked with, and what somebody died over: files, and
/// directories of those who had not shown themselves. They are removed when they are ten minutes old.
fn left_in(scratch: &Path) -> Result<BTreeSet<String>> {
    let mut left = names(scratch)?;
    let was_begun = |name: &String| {
        names(&scratch.join(name)).is_ok_and(|inside| inside.iter().all(|file| file.starts_with("alive.")))
    };
    left.retain(|name| name != "probe" && !name.ends_with(".new") && !name.ends_with(".replace") && !was_begun(name));
    Ok(left)
}

#[tokio::test]
async fn who_dies_at_any_step_costs_nothing() -> Result<()> {
    let mut campaign = Campaign::new()?;
    campaign.deliver(QUARTER, &format!("quiet={STARS}"), 1)?;
    let directory = campaign.path("cluster");
    let deaths = campaign.path("deaths");
    fs::create_dir(&directory)?;
    fs::create_dir(&deaths)?;
    let cluster = Cluster::start(&directory, &[&definition(&directory)?])?;
    cluster.ingest(&campaign.star_files()?)?;
    let began = Instant::now();

    let points = deaths.to_str().context("a path in UTF-8")?;
    let supervised = |name: &'static str| {
        let mut settings = vec![("SAS_CRASH_POINTS", points)];
        if name.starts_with("worker") {
            // Who is started again finds what the one before it left by its host.
            settings.extend([("SAS_WORKER_HOST", name), ("SAS_WORKER_RUNNER", "process")]);
            settings.extend(SHORT_LEASE);
        }
        Supervised { cluster: &cluster, name, settings, started: Vec::new() }
    };
    let mut programs = ["coordinator-a", "coordinator-b", "worker-a", "worker-b", "worker-c"].map(supervised);
    let all: BTreeSet<String> = CrashPoint::all().iter().map(ToString::to_string).collect();
    let ended = wait_until(DEATHS, "all died everywhere, and the run ended all the same", async || {
        programs.iter_mut().all(|program| program.tend().is_ok())
            && names(&deaths).is_ok_and(|died| died == all)
            && cluster.ask(&["run", "list"]).is_ok_and(|runs| runs[0]["phase"] == "ended")
    })
    .await;
    let never: Vec<String> = all.difference(&names(&deaths)?).cloned().collect();
    assert!(never.is_empty(), "nobody came to {never:?}");
    // Who died last may have done so after it was looked after.
    programs.iter_mut().try_for_each(Supervised::tend)?;
    ended.with_context(|| programs.iter().map(Supervised::last_words).collect::<Vec<_>>().join("\n"))?;
    println!("{} deaths: the run ended after {:.1} s", all.len(), began.elapsed().as_secs_f64());

    // One run with one end, one generation for each star, one result for each task, and nothing that waits.
    let runs = cluster.ask(&["run", "list", "--all"])?;
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs}");
    let run = runs[0]["run"].as_str().context("a run has an id")?;
    assert_eq!(names(&cluster.store.join("runs").join(run).join("end"))?.len(), 1);
    let stars: Vec<&String> = campaign.kinds.keys().collect();
    let files = star_files(&cluster.store, QUARTER, &stars)?;
    assert_eq!(files.len(), STARS);
    for (star, file) in &files {
        for (module, _, _, state, _) in FATES {
            assert!(in_state(file, state).contains(module), "{module} of {star} is not {state}: {:?}", file.modules);
        }
        assert_eq!(file.generation.0, 1, "{star}");
        let committed = products(&cluster.store, star)?;
        let made = committed.iter().map(|name| name.split('-').next().unwrap_or_default()).collect::<Vec<_>>();
        assert_eq!(made.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from(["A", "B"]), "{star}: {committed:?}");
        assert_eq!(made.len(), 2, "{star}: {committed:?}");
    }
    wait_until(PATIENCE, "the queues are empty", async || {
        let queues = cluster.ask(&["queue", "list"]);
        queues.is_ok_and(|queues| queues.as_array().is_some_and(|all| all.iter().all(|queue| queue["ready"] == 0)))
    })
    .await?;
    let scratch = cluster.store.join("scratch");
    let of_the_dead = || anyhow::Ok(left_in(&scratch)?.into_iter().filter(|name| !lives(&scratch.join(name))).count());
    wait_until(PATIENCE, "what the dead left is gone", async || of_the_dead().is_ok_and(|count| count == 0))
        .await
        .with_context(|| format!("{:?}", left_in(&scratch)))?;
    for mut program in programs {
        let last = program.started.pop().context("it runs")?;
        assert!(last.terminate()?.success(), "{} does not end well", program.name);
    }
    let left = left_in(&scratch)?;
    assert!(left.is_empty(), "{left:?} is left behind");
    Ok(())
}
