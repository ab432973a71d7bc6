//! Where everything is in the store: the one place that composes its paths.
//!
//! Pure. All paths are relative to the store's root unless the name says otherwise; [`crate::Store::at`] makes them absolute.

mod of_events;

use std::path::{Path, PathBuf};

pub use of_events::{
    announced_event, announced_events, event, event_by_number, event_dispositions, event_index, event_shard, events,
    pending_event, pending_events, refused_event,
};
use sha2::{Digest as _, Sha256};

use domain::id::{
    Attempt, DatasetName, Epoch, Generation, HostName, Key, ModuleName, PipelineName, Quarter, ReplayId, RunId,
    Sequence, StarId,
};

/// Says that the directory is a store, and of which format.
pub const STORE_FILE: &str = "store.json";

/// What is not finished yet, of every process in a folder of its own.
pub fn scratch() -> PathBuf {
    PathBuf::from("scratch")
}

/// Where stars are.
pub fn stars() -> PathBuf {
    PathBuf::from("stars")
}

/// The folder of a star: `stars/<2 hex>/PLATO_<uuid>`.
pub fn star(star: StarId) -> PathBuf {
    let shard = hex::encode(&star.as_bytes()[..1]);
    stars().join(shard).join(star.to_string())
}

/// The folder of a star's quarter.
pub fn quarter(star: StarId, quarter: Quarter) -> PathBuf {
    self::star(star).join(quarter.to_string())
}

/// A star's externals of a quarter.
pub fn externals(star: StarId, quarter: Quarter) -> PathBuf {
    self::quarter(star, quarter).join("externals")
}

/// A star's externals of no quarter in particular.
pub fn star_externals(star: StarId) -> PathBuf {
    self::star(star).join("externals")
}

/// Externals that are the same for all stars.
pub fn shared() -> PathBuf {
    PathBuf::from("shared")
}

/// File name of a version of a dataset: `<dataset>@<sequence>.h5`, slashes of the dataset as dots.
pub fn external_name(dataset: &DatasetName, sequence: Sequence) -> String {
    format!("{}@{sequence}.h5", dataset.in_file_name())
}

/// Dataset (with dots) and sequence number in a file name that [`external_name`] made.
pub fn parse_external_name(name: &str) -> Option<(&str, Sequence)> {
    let (dataset, sequence) = name.strip_suffix(".h5")?.rsplit_once('@')?;
    let canonical =
        sequence.bytes().all(|byte| byte.is_ascii_digit()) && (sequence == "0" || !sequence.starts_with('0'));
    if dataset.is_empty() || !canonical {
        return None;
    }
    Some((dataset, sequence.parse().ok()?))
}

/// Whether a file of externals, as admissions name it, is a version of this dataset.
pub fn is_version_of(name: &str, dataset: &DatasetName) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    parse_external_name(file).is_some_and(|(of, _)| of == dataset.in_file_name())
}

/// Where a star's committed results are.
pub fn products(star: StarId, quarter: Quarter) -> PathBuf {
    self::quarter(star, quarter).join("products")
}

/// A committed result.
pub fn product(star: StarId, quarter: Quarter, module: &ModuleName, key: &Key) -> PathBuf {
    products(star, quarter).join(format!("{module}-{key}.h5"))
}

/// Where failures of a star are.
pub fn failures(star: StarId, quarter: Quarter) -> PathBuf {
    self::quarter(star, quarter).join("failures")
}

/// A task that failed for good; without a key when it failed before its inputs were known.
pub fn failure(
    star: StarId,
    quarter: Quarter,
    module: &ModuleName,
    key: Option<&Key>,
    run: RunId,
    attempt: Attempt,
) -> PathBuf {
    let key = key.map_or_else(|| "nokey".to_owned(), ToString::to_string);
    failures(star, quarter).join(format!("{module}-{key}-{run}-{attempt}.json"))
}

/// Where a star's generations of a quarter are.
pub fn generations(star: StarId, quarter: Quarter) -> PathBuf {
    self::quarter(star, quarter).join("generations")
}

/// One generation, counted from 1.
pub fn generation(star: StarId, quarter: Quarter, generation: Generation) -> PathBuf {
    generations(star, quarter).join(format!("{generation}.h5"))
}

/// A generation as what is on record names it: relative to the star's folder.
pub fn name_of_generation(quarter: Quarter, generation: Generation) -> String {
    format!("{quarter}/generations/{generation}.h5")
}

/// What operators decided about which generation the star file shows.
pub fn rollbacks(star: StarId, quarter: Quarter) -> PathBuf {
    self::quarter(star, quarter).join("rollbacks")
}

/// Which generation the star file shows where that is not simply the newest, by what the choice rests on.
pub fn choice(star: StarId, quarter: Quarter, newest: Generation, rollbacks: u64) -> PathBuf {
    self::quarter(star, quarter).join("choices").join(format!("{newest}-{rollbacks}.json"))
}

/// The star file: what scientists open.
pub fn star_file(star: StarId, quarter: Quarter) -> PathBuf {
    self::quarter(star, quarter).join(format!("{star}.h5"))
}

/// The audit: who changed what, and why.
pub fn audit() -> PathBuf {
    PathBuf::from("audit")
}

/// Where the events are by which a pipeline's trigger let stars of a quarter in.
pub fn firings(pipeline: &PipelineName, quarter: Quarter) -> PathBuf {
    PathBuf::from("control/triggers").join(pipeline.as_str()).join(quarter.to_string())
}

/// Where a mark is of every run whose results are to be announced to other pipelines.
pub fn unpublished_runs() -> PathBuf {
    PathBuf::from("control/unpublished")
}

/// The mark of a run whose results are to be announced to other pipelines.
pub fn unpublished_run(run: RunId) -> PathBuf {
    unpublished_runs().join(run.to_string())
}

/// Where epochs are that were begun.
pub fn epochs() -> PathBuf {
    PathBuf::from("control/epochs")
}

/// The mark that an epoch was begun.
pub fn epoch(epoch: Epoch) -> PathBuf {
    epochs().join(epoch.to_string())
}

/// How many sequence numbers share a folder.
pub const SEQUENCE_SHARD: u64 = 1000;

/// Where the folders of sequence numbers are.
pub fn sequences() -> PathBuf {
    PathBuf::from("control/sequence")
}

/// The folder with this number.
pub fn sequence_shard(shard: u64) -> PathBuf {
    sequences().join(shard.to_string())
}

/// The mark that a sequence number was given.
pub fn sequence(number: Sequence) -> PathBuf {
    sequence_shard(number.0 / SEQUENCE_SHARD).join(number.to_string())
}

/// Where the lists of stars are that events of many stars name.
pub fn star_lists() -> PathBuf {
    PathBuf::from("control/lists")
}

/// A list of stars as an event names it.
pub fn name_of_star_list(name: &str) -> String {
    format!("control/lists/{name}.txt")
}

/// What somebody ordered a replay to run.
pub fn replay_order(id: ReplayId) -> PathBuf {
    replay_orders().join(format!("{id}.json"))
}

/// Where the orders of replays are.
pub fn replay_orders() -> PathBuf {
    PathBuf::from("control/replays")
}

/// Where runs are.
pub fn runs() -> PathBuf {
    PathBuf::from("runs")
}

/// The folder of a run.
pub fn run(run: RunId) -> PathBuf {
    runs().join(run.to_string())
}

/// What was fixed of a run when it was accepted.
pub fn run_record(run: RunId) -> PathBuf {
    self::run(run).join("run.json")
}

/// The pipeline file of a run.
pub fn definition(run: RunId) -> PathBuf {
    self::run(run).join("pipeline.toml")
}

/// The data model of a run.
pub fn data_model(run: RunId) -> PathBuf {
    self::run(run).join("products.toml")
}

/// The stars of a run.
pub fn star_list(run: RunId) -> PathBuf {
    self::run(run).join("stars.bin")
}

/// What operators decided about a run, and what of it was followed.
pub fn decisions(run: RunId) -> PathBuf {
    self::run(run).join("control")
}

/// How a run ended, each time that it did.
pub fn ends(run: RunId) -> PathBuf {
    self::run(run).join("end")
}

/// How a run ended after so many decisions.
pub fn run_end(run: RunId, decisions: u64) -> PathBuf {
    ends(run).join(format!("{decisions}.json"))
}

/// What the stars of a run settled with.
pub fn settled(run: RunId) -> PathBuf {
    self::run(run).join("settled")
}

/// What was found of the quarter before of stars that could not simply enter.
pub fn quarter_notes(run: RunId) -> PathBuf {
    self::run(run).join("quarters")
}

/// Where the files of a folder are that hold what many numbered ones say.
pub fn whole(folder: &Path) -> PathBuf {
    folder.join("whole")
}

/// Where a mark is of every run that somebody decided something about.
pub fn nudges() -> PathBuf {
    PathBuf::from("control/nudges")
}

/// The mark of a run that somebody decided something about.
pub fn nudge(run: RunId) -> PathBuf {
    nudges().join(run.to_string())
}

/// Where it is on record how far those are who look at every committed file.
pub fn scrubs() -> PathBuf {
    PathBuf::from("control/scrubs")
}

/// What was looked at in one pass.
pub fn scrub(pass: u64) -> PathBuf {
    scrubs().join(pass.to_string())
}

/// Where a mark is of every run that goes on.
pub fn open_runs() -> PathBuf {
    PathBuf::from("control/open")
}

/// The mark of a run that goes on.
pub fn open_run(run: RunId) -> PathBuf {
    open_runs().join(run.to_string())
}

/// The index of runs that are over.
pub fn run_index() -> PathBuf {
    PathBuf::from("control/index")
}

/// Decisions about holding modules of any pipeline.
pub fn all_holds() -> PathBuf {
    PathBuf::from("control/holds")
}

/// Decisions about holding modules of a pipeline.
pub fn holds(pipeline: &PipelineName) -> PathBuf {
    all_holds().join(pipeline.as_str())
}

/// Decisions about holding one module.
pub fn hold(pipeline: &PipelineName, module: &ModuleName) -> PathBuf {
    holds(pipeline).join(module.as_str())
}

/// Identities of images in a run.
pub fn images(run: RunId) -> PathBuf {
    self::run(run).join("images")
}

/// The identity that a subject, mostly an image's name, stands for in a run.
pub fn image(run: RunId, subject: &str) -> PathBuf {
    let hash = hex::encode(Sha256::digest(subject.as_bytes()));
    images(run).join(format!("{hash}.json"))
}

/// Decisions about draining hosts.
pub fn drains() -> PathBuf {
    PathBuf::from("control/drains")
}

/// Decisions about draining one host.
pub fn drain(host: &HostName) -> PathBuf {
    drains().join(host.as_str())
}

/// Whether a file that an admission names holds externals that are the same for all stars.
pub fn is_shared(name: &str) -> bool {
    name.starts_with("shared/")
}

/// A file of a star as admissions name it: relative to the star's folder (`Q003/externals/…`, `externals/…`,
/// `Q003/products/…`), or `shared/…`. `None` when the name leads anywhere else.
pub fn of_star(star: StarId, name: &str) -> Option<PathBuf> {
    let parts: Vec<&str> = name.split('/').collect();
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if !parts.iter().all(|part| plain(part)) {
        return None;
    }
    match parts.as_slice() {
        ["shared", _] => Some(PathBuf::from(name)),
        ["externals", _] => Some(self::star(star).join(name)),
        [quarter, "externals" | "products" | "generations", _] if quarter.parse::<Quarter>().is_ok() => {
            Some(self::star(star).join(name))
        }
        _ => None,
    }
}
