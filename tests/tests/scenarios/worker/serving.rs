//! Modules that serve: what a worker keeps warm, and for how long; and that an attempt ends as it would alone.

use std::path::PathBuf;
use std::time::Duration;

use domain::id::Attempt;
use domain::message::Report;
use domain::outcome::{FailureKind, Outcome};
use domain::run::Event;
use harness::wait_until;
use services::state::{Change, State};

use super::field::{PATIENCE, RunningWorker};
use super::{Field, QUIET, failed, light, one, run_one, succeeded};

const SERVE: &str = "mode = \"serve\"\n";

/// Directories of the sessions that a worker has.
fn sessions(field: &Field, worker: &RunningWorker) -> Vec<PathBuf> {
    let folder = field.store.at("scratch").join(worker.name.as_str()).join("sessions");
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

async fn wait_for_sessions(field: &Field, worker: &RunningWorker, count: usize) {
    let there = async || sessions(field, worker).len() == count;
    wait_until(PATIENCE, &format!("{count} sessions are kept"), there).await.unwrap();
}

/// Two modules, one after the other.
async fn two(mode: &str) -> Field {
    Field::new(|dir| {
        let a = format!("{mode}inputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"X\"]");
        let b = format!("{mode}inputs.mandatory = [\"X\"]\noutputs.mandatory = [\"Y\"]");
        [light(dir, "A", QUIET, &a), light(dir, "B", QUIET, &b)].concat()
    })
    .await
}

#[tokio::test]
async fn served_or_alone_keys_and_digests_are_the_same() {
    let (mut served, mut alone) = (two(SERVE).await, two("").await);
    let (one, other) = (served.worker(|_| {}).await, alone.worker(|_| {}).await);
    for module in ["A", "B"] {
        let (served, alone) = (succeeded(served.outcome(module).await), succeeded(alone.outcome(module).await));
        // The contract's file is another, so keys are, too; values follow from what was read alone.
        assert_eq!(served.products, alone.products);
        assert!(!served.reused && !alone.reused);
    }
    assert_eq!((sessions(&served, &one).len(), sessions(&alone, &other).len()), (2, 0));
    served.cleaned_up(&one).await;
    for worker in [one, other] {
        let folder = served.store.at("scratch").join(worker.name.as_str());
        worker.stop();
        worker.ended().await;
        assert!(!folder.exists(), "nothing is left of it");
    }
}

#[tokio::test]
async fn what_is_asked_for_most_recently_stays_warm_until_it_is_not_asked_for() {
    let mut field = two(SERVE).await;
    let worker = field.worker(|config| (config.warm, config.warm_idle) = (1, Duration::from_secs(3600))).await;
    succeeded(field.outcome("A").await);
    let first = sessions(&field, &worker);
    succeeded(field.outcome("B").await);
    wait_for_sessions(&field, &worker, 1).await;
    assert_ne!(sessions(&field, &worker), first);
    worker.stop();
    worker.ended().await;

    let mut field = two(SERVE).await;
    let worker = field.worker(|config| config.warm_idle = Duration::from_millis(1)).await;
    succeeded(field.outcome("A").await);
    succeeded(field.outcome("B").await);
    wait_for_sessions(&field, &worker, 0).await;
    worker.stop();
    worker.ended().await;
}

#[tokio::test]
async fn a_session_ends_after_its_last_request_and_when_it_uses_too_much_memory() {
    let mut field = two(SERVE).await;
    let worker = field.worker(|config| config.warm_requests = 1).await;
    succeeded(field.outcome("A").await);
    succeeded(field.outcome("B").await);
    wait_for_sessions(&field, &worker, 0).await;
    worker.stop();
    worker.ended().await;

    // Python with h5py has more than 80 % of this; processes are not held to it.
    let mut field = Field::new(|dir| one(dir, "{}", &format!("{SERVE}memory = \"16MB\""))).await;
    let worker = field.worker(|_| {}).await;
    succeeded(field.outcome("A").await);
    wait_for_sessions(&field, &worker, 0).await;
    worker.stop();
    worker.ended().await;
}

#[tokio::test]
async fn a_worker_that_keeps_nothing_warm_runs_modules_star_by_star() {
    let mut field = two(SERVE).await;
    let worker = field.worker(|config| config.warm = 0).await;
    succeeded(field.outcome("A").await);
    assert!(sessions(&field, &worker).is_empty());
    worker.stop();
    worker.ended().await;
}

async fn check_served_failure(act: &str, rest: &str, expected: FailureKind, word: &str) {
    let (field, outcome) = run_one(act, &format!("{SERVE}{rest}")).await;
    let failure = failed(outcome);
    assert_eq!(failure.kind, expected, "{}", failure.message);
    assert!(failure.message.contains(word), "{:?} does not name {word:?}", failure.message);
    assert!(field.files("products").is_empty());
}

#[tokio::test]
async fn attempts_that_are_served_end_as_they_would_alone() {
    check_served_failure("{ fail = \"exit 3 no peaks\" }", "", FailureKind::Exit, "exit code 3: ").await;
    check_served_failure("{ fail = \"exit 3 no peaks\" }", "", FailureKind::Exit, "no peaks").await;
    check_served_failure("{ fail = \"signal SEGV\" }", "", FailureKind::Signal, "signal 11").await;
    check_served_failure("{ fail = \"no_output\" }", "", FailureKind::OutputMissing, "output.h5").await;
    check_served_failure("{ fail = \"corrupt\" }", "", FailureKind::OutputCorrupt, "").await;
    check_served_failure("{ fail = \"hang\" }", "time_limit = \"4s\"", FailureKind::TimeLimit, "4s").await;
}

#[tokio::test]
async fn a_served_attempt_whose_lease_is_lost_is_stopped_and_the_next_has_a_session_of_its_own() {
    let mut field = Field::new(|dir| one(dir, "{ fail = \"hang\", attempts = 1 }", SERVE)).await;
    let worker = field.worker(|_| {}).await;
    wait_for_sessions(&field, &worker, 1).await;
    let first = sessions(&field, &worker);
    let module = field.index("A");
    wait_until(PATIENCE, "the claim is in the state", async || {
        field.state.star(field.run, domain::id::StarIndex(0)).await.is_ok_and(|view| !view.running.is_empty())
    })
    .await
    .unwrap();
    field.apply(Event::LeaseLost { module, attempt: Attempt(1) }, Change::default()).await;
    let completion = field.completion().await;
    assert_eq!(completion.attempt, Attempt(2), "the first attempt reports nothing");
    assert!(matches!(completion.result, Report::Ended(Outcome::Succeeded(_))), "{:?}", completion.result);
    wait_for_sessions(&field, &worker, 1).await;
    assert_ne!(sessions(&field, &worker), first);
    worker.stop();
    worker.ended().await;
}
