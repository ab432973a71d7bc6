//! How long a task waits for the one before it, at low load: from a commit to the request to the program that it unlocked.

use std::fs;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use harness::cluster::Cluster;
use harness::light::{Campaign, empty_output};
use harness::results::{Figure, Limit, Results};
use harness::wait_until;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use store::paths;

/// Modules in a row, and stars, one after the other; programs start with the first star, which does not count.
const MODULES: usize = 10;
const STARS: usize = 25;
const QUARTER: u16 = 3;
/// Directories of the worker's slots.
const SLOTS: [&str; 2] = ["default-0", "default-1"];

/// A program that serves, and says when it was asked.
const SAYS_WHEN: &str = r#"
import json, os, shutil, sys, time
print(json.dumps({"ready": 1}), flush=True)
for line in sys.stdin:
    asked = time.time_ns()
    request = json.loads(line)
    shutil.copyfile(sys.argv[1], request["output"])
    print(json.dumps({"id": request["id"], "exit": 0, "message": ""}), flush=True)
    times = os.open(os.environ["TIMES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(times, f"{asked}\n".encode())
    os.close(times)
"#;

/// A file system in memory that every Linux has: the time that is needed without a disk.
const MEMORY: &str = "/dev/shm";

pub(crate) async fn measure(results: &mut Results) -> Result<()> {
    let disk = std::env::temp_dir();
    println!("\nfrom a commit to the request that it unlocks (reported, unlocked, claimed, staged, asked), in ms:");
    for (place, [half, nearly_all]) in [
        (&*disk, [("unlock_p50_ms", Limit::Most(5.0)), ("unlock_p99_ms", Limit::Most(20.0))]),
        (Path::new(MEMORY), [("unlock_in_memory_p50_ms", Limit::None), ("unlock_in_memory_p99_ms", Limit::None)]),
    ] {
        let hops = hops(place).await?;
        let at = |share: f64| hops[((hops.len() - 1) as f64 * share) as usize];
        let (p50, p99) = (at(0.5), at(0.99));
        println!("store in {}: half of {} within {p50:.1}, 99 % within {p99:.1}", place.display(), hops.len());
        for ((name, limit), value) in [(half, p50), (nearly_all, p99)] {
            results.add(name, Figure::new("ms", vec![value], limit));
        }
    }
    Ok(())
}

/// How long each task waited, least first, with the store in a directory below `place`.
async fn hops(place: &Path) -> Result<Vec<f64>> {
    let mut campaign = Campaign::new_in(place)?;
    campaign.deliver(QUARTER, &format!("quiet={STARS}"), 1)?;
    let directory = campaign.path("cluster");
    fs::create_dir(&directory)?;
    let pipeline = directory.join("bench.toml");
    fs::write(&pipeline, definition(&directory, &empty_output(&directory)?))?;
    let cluster = Cluster::start(&directory, &[&pipeline])?;
    let (warm, slots) = (MODULES.to_string(), SLOTS.len().to_string());
    let settings = [
        ("SAS_WORKER_RUNNER", "process"),
        ("SAS_WORKER_WARM", &*warm),
        ("SAS_SLOTS_DEFAULT", &*slots),
        ("RUST_LOG", "warn"),
    ];
    let worker = cluster.worker("worker", &settings)?;
    let commits = commits(&cluster.store).await?;
    let coordinator = cluster.coordinator("coordinator")?;
    let mut hops = Vec::new();
    for (at, file) in campaign.star_files()?.into_iter().enumerate() {
        cluster.ingest(&[file])?;
        let lines = || fs::read_to_string(directory.join("times")).unwrap_or_default();
        let is_done = async || lines().lines().count() >= MODULES * (at + 1);
        let done = wait_until(Duration::from_secs(60), "the star's last program has answered", is_done).await;
        done.with_context(|| format!("{}\n{}", coordinator.log(), worker.log()))?;
        let committed = (0..MODULES).map(|_| commits.recv_timeout(Duration::from_secs(60)));
        let committed = committed.collect::<Result<Vec<_>, _>>().context("each program's result is committed")?;
        if at > 0 {
            let asked = asked(&lines().lines().skip(MODULES * at).collect::<Vec<_>>())?;
            hops.extend(asked[1..].iter().zip(committed).map(|(asked, before)| asked - before));
        }
    }
    hops.sort_by(f64::total_cmp);
    Ok(hops)
}

/// When the programs of a star were asked, in milliseconds.
fn asked(lines: &[&str]) -> Result<Vec<f64>> {
    ensure!(lines.len() == MODULES, "each program is asked once: {lines:?}");
    lines.iter().map(|line| Ok(line.parse::<f64>()? / 1e6)).collect()
}

/// When results are committed, in milliseconds: their names in the directories of the worker's slots go when their last names are
/// synced. Times of files are no use for it, for the kernel's clock of them may stand still for 4 ms.
async fn commits(store: &Path) -> Result<Receiver<f64>> {
    let slots = || -> Vec<PathBuf> {
        let workers = fs::read_dir(store.join(paths::scratch())).into_iter().flatten().flatten();
        let slots = workers.flat_map(|worker| SLOTS.map(|slot| worker.path().join(slot)));
        slots.filter(|slot| slot.exists()).collect()
    };
    wait_until(Duration::from_secs(60), "the slots have directories", async || slots().len() == SLOTS.len()).await?;
    let watch = inotify::init(CreateFlags::CLOEXEC)?;
    for slot in slots() {
        inotify::add_watch(&watch, slot, WatchFlags::DELETE)?;
    }
    let (told, commits) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [const { MaybeUninit::uninit() }; 4096];
        let mut events = inotify::Reader::new(watch, &mut buffer);
        // Ends when the directories are gone, or nobody wants to know any more.
        while let Ok(event) = events.next() {
            let is_result = event.file_name().is_some_and(|name| name.to_bytes().ends_with(b".h5"));
            let gone = event.events().contains(ReadFlags::IGNORED);
            if gone || is_result && told.send(milliseconds(SystemTime::now())).is_err() {
                break;
            }
        }
    });
    Ok(commits)
}

fn milliseconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3
}

/// A chain of programs that give one number each.
fn definition(directory: &Path, template: &Path) -> String {
    let head = "name = \"BENCH\"\nversion = \"1\"\ntrigger = \"l1/lightcurve\"\n\
                [externals]\nstar = [\"DP1_LC_MERGED\"]\n[classes.default]\ncpus = 1\nmemory = \"64MB\"\n";
    let times = directory.join("times");
    // What is named in the command is part of what the program is: a file that changes would make it another one.
    let command = ["/usr/bin/python3".into(), "-c".into(), SAYS_WHEN.into(), template.display().to_string()];
    let module = |at: usize| {
        let after: Vec<String> = (at > 0).then(|| format!("M{:02}", at.saturating_sub(1))).into_iter().collect();
        format!(
            "[modules.M{at:02}]\nimage = \"none\"\nmode = \"serve\"\ncommand = {}\nclass = \"default\"\n\
             time_limit = \"1m\"\nenvironment = {{ TIMES = {times:?} }}\nafter = {after:?}\ninputs.mandatory = [\"DP1_LC_MERGED\"]\noutputs.optional = [\"P{at}\"]\n",
            serde_json::json!(command),
        )
    };
    head.to_owned() + &(0..MODULES).map(module).collect::<String>()
}
