//! Trouble that is the host's and not the module's: agents that are killed, a store that is away, committed files that are
//! damaged.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use domain::outcome::{FailureKind, Outcome, PlatformError, PlatformErrorKind};
use harness::{program, wait_until};

use super::field::{Field, PATIENCE, light};
use super::{QUIET, failed, one, product, script, succeeded};

/// A store agent that is killed over requests of one kind, as a host without memory does it.
struct Mortal {
    /// `seal`, `manifest`, …
    request: &'static str,
    /// How often; afterwards it lives.
    times: u32,
    /// What else happens then, in Python.
    also: String,
}

impl Mortal {
    /// Puts the program beside the store.
    fn program(&self, field: &Field) -> PathBuf {
        let path = field.store.root().with_file_name("mortal-agent");
        let Self { request, times, also } = self;
        let (agent, died) = (program("sas-store", "sas-store-agent"), path.with_extension("died"));
        let script = format!(
            r#"#!/usr/bin/python3
import os, subprocess, sys
died = {died:?}
agent = subprocess.Popen([{agent:?}, "store-agent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
for line in sys.stdin.buffer:
    before = os.path.getsize(died) if os.path.exists(died) else 0
    if b'"ask":"{request}"' in line and before < {times}:
        open(died, "a").write("x")
        {also}
        os.kill(os.getpid(), 9)
    agent.stdin.write(line); agent.stdin.flush()
    sys.stdout.buffer.write(agent.stdout.readline()); sys.stdout.flush()
"#
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }
}

/// How module `A`, which does nothing wrong, ends with such an agent.
async fn with_agent(request: &'static str, times: u32, also: impl FnOnce(&Field) -> String) -> Outcome {
    let mut field = Field::new(|dir| one(dir, "{}", "")).await;
    let program = Mortal { request, times, also: also(&field) }.program(&field);
    let worker = field.worker(|config| config.agent = Some(program)).await;
    let outcome = field.outcome("A").await;
    worker.stop();
    worker.ended().await;
    outcome
}

#[tokio::test]
async fn an_agent_that_the_host_kills_over_an_output_is_not_the_modules_failure() {
    for request in ["seal", "manifest"] {
        succeeded(with_agent(request, 1, |_| "pass".to_owned()).await);
    }
}

#[tokio::test]
async fn an_output_that_kills_every_agent_is_the_modules_failure() {
    let failure = failed(with_agent("seal", 9, |_| "pass".to_owned()).await);
    assert_eq!(failure.kind, FailureKind::OutputCorrupt);
    assert!(failure.message.contains("twice"), "{}", failure.message);
}

/// As when a network file system is unmounted while an output is read.
#[tokio::test]
async fn nothing_is_blamed_on_a_module_while_the_store_is_away() {
    for request in ["seal", "manifest"] {
        let away = |field: &Field| format!("os.rename({:?}, died + '.json')", field.store.at("store.json"));
        let outcome = with_agent(request, 9, away).await;
        let Outcome::Errored(error) = outcome else { panic!("{request}: {outcome}") };
        assert_eq!(error.kind, PlatformErrorKind::Store, "{}", error.message);
        assert!(error.message.contains("store.json"), "{}", error.message);
    }
}

/// How a module ends that runs this line of Python and then ends with 70, as one does whose own write was refused.
async fn exits(line: impl FnOnce(&Path) -> String, free: bytesize::ByteSize) -> Outcome {
    let module = |dir: &Path| {
        let program = format!("import os, sys, threading; {}; sys.exit(70)", line(&dir.join("store")));
        format!(
            "[modules.A]\nimage = \"none\"\ncommand = [\"/usr/bin/python3\", \"-c\", {program:?}]\nclass = \"default\"\n\
             time_limit = \"1m\"\ninputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"X\"]\n"
        )
    };
    let mut field = Field::new(module).await;
    let worker = field.worker(|config| config.free = free).await;
    let outcome = field.outcome("A").await;
    worker.stop();
    worker.ended().await;
    outcome
}

/// Its own write is refused first, and it says so in its own way: only store and host can tell whose fault that was, also when
/// they are well again.
#[tokio::test]
async fn a_module_that_fails_while_the_store_is_away_or_full_is_not_blamed() {
    let unmount = |store: &Path| format!("os.rename({:?}, {:?})", store.join("store.json"), store.join("away.json"));
    let briefly = |store: &Path| {
        let (there, away) = (store.join("store.json"), store.join("away.json"));
        format!("os.rename({there:?}, {away:?}); threading.Event().wait(3); os.rename({away:?}, {there:?})")
    };
    let nothing = |_: &Path| "pass".to_owned();
    let outcomes = [
        (exits(unmount, bytesize::ByteSize(0)).await, "store.json"),
        (exits(briefly, bytesize::ByteSize(0)).await, "not any more"),
        (exits(nothing, bytesize::ByteSize(1 << 60)).await, "less than 1.0 EiB of free space"),
    ];
    for (outcome, words) in outcomes {
        let Outcome::Errored(error) = outcome else { panic!("{outcome}") };
        assert_eq!(error.kind, PlatformErrorKind::Store, "{}", error.message);
        assert!(error.message.contains(words) && error.message.contains("exit code 70"), "{}", error.message);
    }
    let failure = failed(exits(nothing, bytesize::ByteSize(0)).await);
    assert_eq!((failure.kind, failure.exit_code), (FailureKind::Exit, Some(70)), "{}", failure.message);
}

/// LC → A → X → B → Y, with A's result committed and its worker gone; returns the result.
async fn with_a_done() -> (Field, PathBuf) {
    let b = |dir: &Path| light(dir, "B", QUIET, "inputs.mandatory = [\"X\"]\noutputs.mandatory = [\"Y\"]");
    let mut field = Field::new(|dir| [one(dir, "{}", ""), b(dir)].concat()).await;
    let first = field.worker(|config| config.grace = PATIENCE).await;
    wait_until(PATIENCE, "A is under way", async || !field.attempts(&first).is_empty()).await.unwrap();
    first.stop();
    first.ended().await;
    let key = succeeded(field.outcome("A").await).key;
    let file = product(&field, "A", &key);
    (field, file)
}

/// How B ends, which reads A's result.
async fn outcome_of_b(field: &mut Field) -> PlatformError {
    let worker = field.worker(|_| {}).await;
    let outcome = field.outcome("B").await;
    worker.stop();
    worker.ended().await;
    let Outcome::Errored(error) = outcome else { panic!("{outcome}") };
    error
}

#[tokio::test]
async fn an_input_that_cannot_be_looked_at_is_the_stores_trouble_and_not_lost() {
    let (mut field, file) = with_a_done().await;
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let error = outcome_of_b(&mut field).await;
    assert_eq!(error.kind, PlatformErrorKind::Store, "{}", error.message);
    assert!(error.message.contains("symbolic links"), "{}", error.message);
}

/// As on a host whose store is unmounted: the directory is there, and empty.
#[tokio::test]
async fn an_input_of_a_store_that_is_not_there_is_not_lost() {
    let (mut field, file) = with_a_done().await;
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(field.store.at("store.json"), field.store.at("no-store.json")).unwrap();
    let error = outcome_of_b(&mut field).await;
    assert_eq!(error.kind, PlatformErrorKind::Store, "{}", error.message);
    assert!(error.message.contains("is in no store now"), "{}", error.message);
}

/// The store is unmounted while a module runs that needs nothing from it: the directory that is left is not taken for it.
#[tokio::test]
async fn in_the_place_of_a_store_that_went_away_nothing_is_made() {
    let rest = "inputs.optional = [\"NEVER\"]\noutputs.mandatory = [\"X\"]";
    let mut field = Field::new(|dir| light(dir, "A", &script("{ seconds = 2 }"), rest)).await;
    let worker = field.worker(|_| {}).await;
    wait_until(PATIENCE, "A is under way", async || !field.attempts(&worker).is_empty()).await.unwrap();
    let root = field.store.root().to_owned();
    std::fs::rename(&root, root.with_extension("away")).unwrap();
    std::fs::create_dir(&root).unwrap();
    for _ in 0..2 {
        let outcome = field.outcome("A").await;
        let Outcome::Errored(error) = outcome else { panic!("{outcome}") };
        assert_eq!(error.kind, PlatformErrorKind::Store, "{}", error.message);
    }
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    worker.stop();
    worker.ended().await;
}

/// Overwrites a file in place, as a disk may.
fn damage(file: &Path) {
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(file, "no HDF5 any more").unwrap();
}

/// The files that stand beside a damaged one's place, and what is in them.
fn set_aside(file: &Path) -> Vec<String> {
    let beside = std::fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let prefix = format!("{}.damaged-", file.display());
    let ours = beside.filter(|path| path.to_str().is_some_and(|path| path.starts_with(&prefix)));
    ours.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[tokio::test]
async fn a_damaged_result_is_computed_anew_and_kept_for_whoever_wants_to_know() {
    let mut field = Field::new(|dir| one(dir, "{}", "")).await;
    let worker = field.worker(|_| {}).await;
    let first = succeeded(field.outcome("A").await);
    let file = product(&field, "A", &first.key);
    damage(&file);
    field.begin("second").await;
    assert_eq!(succeeded(field.outcome("A").await), first, "computed anew, and not reused");
    field.agent().manifest(&file).await.unwrap();
    assert_eq!(set_aside(&file), ["no HDF5 any more"]);
    worker.stop();
    worker.ended().await;
}

#[tokio::test]
async fn a_damaged_input_makes_room_for_its_producer_and_no_module_sees_it() {
    let (mut field, file) = with_a_done().await;
    damage(&file);
    let error = outcome_of_b(&mut field).await;
    assert_eq!(error.kind, PlatformErrorKind::InputLost, "{}", error.message);
    assert!(error.message.contains(".damaged-"), "{}", error.message);
    assert!(!file.exists());
    assert_eq!(set_aside(&file), ["no HDF5 any more"]);
}

/// Nobody can make it again: it is for operators to deliver.
#[tokio::test]
async fn a_damaged_external_is_lost_and_stays_where_it_is() {
    let mut field = Field::new(|dir| one(dir, "{}", "")).await;
    let [external] = &field.files("externals")[..] else { panic!("one external is delivered") };
    damage(external);
    let worker = field.worker(|_| {}).await;
    let outcome = field.outcome("A").await;
    let Outcome::Errored(error) = outcome else { panic!("{outcome}") };
    assert_eq!(error.kind, PlatformErrorKind::InputLost, "{}", error.message);
    assert_eq!(std::fs::read_to_string(external).unwrap(), "no HDF5 any more");
    worker.stop();
    worker.ended().await;
}

#[tokio::test]
async fn a_directory_that_a_module_nested_too_deep_is_its_failure_and_goes_away() {
    let program = "import os; os.chdir(os.path.dirname(os.environ['SAS_OUTPUT']))\n\
                   for n in range(500): os.mkdir('d' * 200); os.chdir('d' * 200)\n\
                   os.chmod('.', 0)";
    let mut field = Field::new(|_| {
        format!(
            "[modules.A]\nimage = \"none\"\ncommand = [\"/usr/bin/python3\", \"-c\", {program:?}]\n\
             time_limit = \"1m\"\ninputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"X\"]\n"
        )
    })
    .await;
    let worker = field.worker(|_| {}).await;
    let failure = failed(field.outcome("A").await);
    assert_eq!(failure.kind, FailureKind::OutputCorrupt, "{}", failure.message);
    assert!(failure.message.contains("cannot be looked into"), "{}", failure.message);
    assert!(field.attempts(&worker).is_empty(), "nothing is left of the attempt");
    worker.stop();
    worker.ended().await;
}

/// As a host without memory does it, or `docker kill`.
#[tokio::test]
async fn a_module_that_somebody_kills_is_tried_again_and_not_blamed() {
    let mut field = Field::new(|dir| one(dir, "{ fail = \"signal KILL\", attempts = 1 }", "")).await;
    let worker = field.worker(|_| {}).await;
    let outcome = field.outcome("A").await;
    let Outcome::Errored(error) = outcome else { panic!("{outcome}") };
    assert_eq!(error.kind, PlatformErrorKind::Killed);
    assert!(error.message.contains("SIGKILL"), "{}", error.message);
    succeeded(field.outcome("A").await);
    worker.stop();
    worker.ended().await;
}
