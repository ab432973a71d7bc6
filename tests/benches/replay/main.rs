//! What replays cost: `cargo bench --workspace --bench replay [-- plans | unchanged]`.
//!
//! Planning a replay of 300,000 settled stars of 34 modules, each time in a process of its own: after another image alone, and after
//! a delivery, when names of every star and its quarter before are looked at. A number makes it so many stars. Then stars of which
//! nothing is other, beside running them (`unchanged`).
//!
//! The first needs 4 GB and 3 million inodes below the temporary directory: a star has its directories, as in a store that is in use.

mod unchanged;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use coordinator::operate::replay::{self, ReplayRequest};
use coordinator::operate::{self, Connected};
use domain::contract::{Definitions, Programs, StarInputs};
use domain::id::{EventId, Generation, ImageIdentity, Key, ModuleIndex, Quarter, RunId, Sequence, StarId, StarIndex};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection};
use domain::pipeline::load;
use domain::run::TaskState;
use harness::results::Results;
use jiff::Timestamp;
use services::queue::memory::MemoryQueue;
use services::state::memory::MemoryState;
use store::Store;
use store::runs::{RunEnd, RunRecord, SettledStar, StarEnd, Took};

const MODULES: u8 = 34;
const STARS: u64 = 300_000;
/// As batches are where stars settle fast.
const BATCH: usize = 512;
/// What the issue of time and memory is about.
const MOST: (f64, u64) = (10.0, 256 << 10);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [command, root, image] = &arguments[..]
        && command == "plan"
    {
        return plan(Path::new(root), image).await;
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|asked| asked == name);
    let number = arguments.iter().find_map(|asked| asked.parse().ok());
    if wanted("plans") || number.is_some() {
        plans(number.unwrap_or(STARS))?;
    }
    if wanted("unchanged") {
        let mut results = Results::read()?;
        unchanged::measure(&mut results).await?;
        println!("\n{results}");
        results.write().context("failed to write the results")?;
    }
    Ok(())
}

fn plans(stars: u64) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let started = Instant::now();
    let store = site(dir.path(), stars)?;
    println!("a store of {stars} stars x {MODULES} modules, made in {:.0?}", started.elapsed());
    println!("{:<64}{:>8}{:>12}", "", "s", "MB");
    ask(dir.path(), "two", "another image of one module, nothing delivered since")?;
    ask(dir.path(), "one", "nothing is other")?;
    let started = Instant::now();
    directories(&store, stars)?;
    println!("their directories, made in {:.0?}", started.elapsed());
    store.next_sequence()?;
    ask(dir.path(), "two", "the same image, and names of all stars looked at")?;
    ask(dir.path(), "one", "nothing is other, and names of all stars looked at")
}

/// Has a process of its own plan, and prints what that took.
fn ask(root: &Path, image: &str, what: &str) -> Result<()> {
    let done = Command::new(std::env::current_exe()?).arg("plan").arg(root).arg(image).output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8(done.stdout)?;
    let [seconds, kilobytes, numbers] = said.split_whitespace().collect::<Vec<_>>()[..] else {
        anyhow::bail!("it said {said:?}")
    };
    println!("{what:<64}{seconds:>8}{:>12}   {numbers}", kilobytes.parse::<u64>()? >> 10);
    let is_met = seconds.parse::<f64>()? < MOST.0 && kilobytes.parse::<u64>()? < MOST.1;
    if !is_met {
        println!("  that is more than {} s or {} MB", MOST.0, MOST.1 >> 10);
    }
    Ok(())
}

async fn plan(root: &Path, image: &str) -> Result<()> {
    let store = Store::open(root)?;
    let connected =
        Connected { queue: Arc::new(MemoryQueue::new()), state: Arc::new(MemoryState::new()), pipelines: [].into() };
    let operator = operate::Context::new(store, Arc::new(connected), "bench");
    let mut request = ReplayRequest::of("BENCH".parse()?);
    request.programs = (0..MODULES)
        .map(|at| {
            let identity = if at == 3 { identity(image) } else { identity("one") };
            Ok((name(at).parse()?, replay::PlannedProgram { subject: "i".to_owned(), identity }))
        })
        .collect::<Result<_>>()?;
    let started = Instant::now();
    let plan = replay::plan(&operator, request).await?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("Linux tells the peak")?;
    let peak = peak.trim().trim_end_matches(" kB");
    let (work, tasks) = (&plan.work, plan.work.tasks);
    println!(
        "{:.2} {peak} {}/{},{}..{}",
        started.elapsed().as_secs_f64(),
        work.stars(),
        work.considered,
        tasks.at_least,
        tasks.at_most
    );
    Ok(())
}

fn site(root: &Path, stars: u64) -> Result<Store> {
    let store = Store::init(root)?;
    let quarter: Quarter = 3.try_into()?;
    let mut names: Vec<StarId> = (0..stars).map(StarId::of_simulator).collect();
    names.sort_unstable();
    store.next_sequence()?;
    let update =
        DatasetUpdate { dataset: "l1/lc".parse()?, quarter, stars: StarSelection::File("x".to_owned()), start: None };
    let event = store.accept_event(&DatasetEvent::new("bench", "1", Timestamp::now().to_string(), update))?;
    let run = run(&store, event.id, event.sequence, quarter, &names)?;
    let definition = load("bench.toml", &definition(), None)?;
    let images: BTreeMap<ModuleIndex, ImageIdentity> =
        (0..MODULES).map(|at| (ModuleIndex(at), identity("one"))).collect();
    let programs = Definitions::of(&definition).programs(&images);
    for (at, batch) in (0..).step_by(BATCH).zip(names.chunks(BATCH)) {
        let lines: Vec<SettledStar> =
            (at..).zip(batch).map(|(at, star)| settled(at, *star, quarter, &programs)).collect();
        store.append_settled(run, &lines)?;
    }
    Ok(store)
}

/// What every star has: an external of its quarter, and a generation of the one before.
fn directories(store: &Store, stars: u64) -> Result<()> {
    let (quarter, before): (Quarter, Quarter) = (3.try_into()?, 2.try_into()?);
    for star in (0..stars).map(StarId::of_simulator) {
        for (folder, file) in
            [(store::paths::externals(star, quarter), "l1.lc@1.h5"), (store::paths::generations(star, before), "1.h5")]
        {
            let folder = store.at(folder);
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join(file), "")?;
        }
    }
    Ok(())
}

fn run(store: &Store, event: EventId, horizon: Sequence, quarter: Quarter, stars: &[StarId]) -> Result<RunId> {
    let run = RunId::of(event, "BENCH", "1");
    let record = RunRecord {
        run,
        event,
        publisher: None,
        pipeline: "BENCH".parse()?,
        version: "1".to_owned(),
        quarter,
        horizon,
        accepted: Timestamp::UNIX_EPOCH,
        stars: stars.len() as u32,
        only_group: None,
        replay: None,
        definition: definition(),
        data_model: String::new(),
    };
    store.create_run(&record, stars)?;
    store.fix_image_identity(run, "i", &identity("one"))?;
    let took =
        (0..MODULES).map(|at| Ok((name(at).parse()?, Took { tasks: 10, millis: 20_000 }))).collect::<Result<_>>()?;
    let (counts, stars, remarks) = Default::default();
    store.end_run(run, &RunEnd { ended: Timestamp::UNIX_EPOCH, decisions: 0, counts, stars, remarks, took })?;
    store.put_away(run)?;
    Ok(run)
}

/// A star in ten failed in its last module, in one of several attempts.
fn settled(at: u32, star: StarId, quarter: Quarter, programs: &Programs) -> SettledStar {
    let state = |module: u8| {
        let is_lost = at.is_multiple_of(10) && module == MODULES - 1;
        let state = if is_lost { TaskState::Failed } else { TaskState::Succeeded };
        (state as u8) << 4 | (at % 3) as u8
    };
    let key = |module: u8| (ModuleIndex(module), Key::from_bytes([module ^ at as u8; 32]));
    let externals = [format!("{quarter}/externals/l1.lc@1.h5")];
    let inputs = StarInputs { star, quarter, externals: &externals, previous: Some(Generation(1)) };
    SettledStar {
        star: StarIndex(at),
        row: (0..MODULES).map(state).collect(),
        keys: (0..MODULES).map(key).collect(),
        generation: Some(Generation(1)),
        end: Some(if at.is_multiple_of(10) { StarEnd::Failed } else { StarEnd::Complete }),
        reason: None,
        fingerprint: Some(programs.fingerprint(inputs)),
    }
}

fn identity(image: &str) -> ImageIdentity {
    format!("sha256:{image}").parse().expect("it is printable")
}

fn name(module: u8) -> String {
    format!("MSAP{module:02}")
}

/// Each module reads the one before, the first its own result of the quarter before.
fn definition() -> String {
    let module = |at: u8| {
        let input = if at == 0 { "LC".to_owned() } else { format!("P{}", at - 1) };
        let previous = if at == 0 { "inputs.optional = ['P9@previous']\n" } else { "" };
        format!(
            "[modules.{}]\nimage = 'i'\nclass = 'default'\ntime_limit = '1m'\ninputs.mandatory = ['{input}']\n{previous}\
             outputs.mandatory = ['P{at}']\n",
            name(at)
        )
    };
    format!(
        "name = 'BENCH'\nversion = '1'\ntrigger = 'l1/lc'\n[externals]\nstar = ['LC']\n[classes.default]\ncpus = 1\n\
         memory = '1GB'\n{}",
        (0..MODULES).map(module).collect::<String>()
    )
}
