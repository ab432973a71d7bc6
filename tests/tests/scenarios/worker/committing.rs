//! What becomes of results that are sealed and cannot be committed.

use domain::message::Report;
use domain::outcome::{Outcome, PlatformErrorKind};

use super::field::{Field, QUARTER};
use super::one;

/// A name that leads nowhere stands where the results are to be: all goes well until something is linked there.
#[tokio::test]
async fn a_worker_that_cannot_commit_says_so_and_takes_no_more_tasks_for_a_while() {
    let mut field = Field::new(|dir| one(dir, "{}", "")).await;
    let quarter = field.store.at(store::paths::quarter(field.star, QUARTER.try_into().unwrap()));
    std::os::unix::fs::symlink("/nowhere/at/all", quarter.join("products")).unwrap();
    let worker = field.worker(|_| {}).await;
    let mut times = Vec::new();
    for nth in 1..=4 {
        let completion = field.completion().await;
        let Report::Ended(Outcome::Errored(error)) = completion.result else {
            panic!("{nth}: {:?}", completion.result)
        };
        assert_eq!(error.kind, PlatformErrorKind::Store, "{}", error.message);
        assert!(error.message.contains("products"), "{}", error.message);
        let began = completion.started.as_millisecond();
        times.push([began, began + i64::try_from(completion.millis).unwrap()]);
    }
    let pause = times[3][0] - times[2][1];
    assert!(pause >= 900, "after three such ends the store is asked first: {times:?}");
    field.cleaned_up(&worker).await;
    worker.stop();
    worker.ended().await;
}
