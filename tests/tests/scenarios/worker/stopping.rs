//! What becomes of attempts whose worker stops, or loses its claim.

use domain::id::Attempt;
use std::time::Duration;

use domain::message::Report;
use domain::outcome::Outcome;
use domain::run::Event;
use harness::wait_until;
use services::state::{Change, State};

use super::field::PATIENCE;
use super::{Field, one, succeeded};

#[tokio::test]
async fn an_attempt_whose_lease_is_lost_is_stopped_and_reports_nothing() {
    let mut field = Field::new(|dir| one(dir, "{ fail = \"hang\", attempts = 1 }", "")).await;
    let worker = field.worker(|_| {}).await;
    wait_until(PATIENCE, "the first attempt runs", async || !field.attempts(&worker).is_empty()).await.unwrap();
    let module = field.index("A");
    wait_until(PATIENCE, "the claim is in the state", async || {
        field.state.star(field.run, domain::id::StarIndex(0)).await.is_ok_and(|view| !view.running.is_empty())
    })
    .await
    .unwrap();
    // As if this worker had been out of reach: its lease ran out, the next attempt is queued.
    field.apply(Event::LeaseLost { module, attempt: Attempt(1) }, Change::default()).await;
    let completion = field.completion().await;
    assert_eq!(completion.attempt, Attempt(2), "the first attempt reports nothing");
    assert!(matches!(completion.result, Report::Ended(Outcome::Succeeded(_))), "{:?}", completion.result);
    field.cleaned_up(&worker).await;
    worker.stop();
    worker.ended().await;
}

#[tokio::test]
async fn a_worker_that_stops_gives_back_what_does_not_end_in_time() {
    let mut field = Field::new(|dir| one(dir, "{ fail = \"hang\", attempts = 1 }", "")).await;
    let first = field.worker(|_| {}).await;
    wait_until(PATIENCE, "the attempt runs", async || !field.attempts(&first).is_empty()).await.unwrap();
    first.stop();
    let completion = field.completion().await;
    assert_eq!((completion.attempt, completion.result), (Attempt(1), Report::GivenBack));
    first.ended().await;
    let second = field.worker(|_| {}).await;
    let completion = field.completion().await;
    assert_eq!(completion.worker, second.name);
    assert!(matches!(completion.result, Report::Ended(Outcome::Succeeded(_))), "{:?}", completion.result);
    second.stop();
    second.ended().await;
}

#[tokio::test]
async fn a_worker_that_stops_lets_an_attempt_end_within_the_grace() {
    let mut field = Field::new(|dir| one(dir, "{ seconds = 2 }", "")).await;
    let worker = field.worker(|config| config.grace = Duration::from_secs(40)).await;
    wait_until(PATIENCE, "the attempt runs", async || !field.attempts(&worker).is_empty()).await.unwrap();
    worker.stop();
    succeeded(field.outcome("A").await);
    worker.ended().await;
}
