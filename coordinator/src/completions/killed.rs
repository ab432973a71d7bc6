//! Programs that something killed, nobody knows what: once that is the platform's trouble, as whoever looks after a host kills
//! what is in the way. A program that ends so twice in a row, on two hosts, ends itself; where there is only one host, on that.

use std::borrow::Cow;
use std::sync::Arc;

use domain::message::{Completion, Report};
use domain::outcome::{Failure, FailureKind, Outcome, PlatformErrorKind};
use services::state::{Detail, StateError};
use store::course::Course;

use crate::running::Services;
use crate::trouble::Trouble;

/// As a shell has it: 128 and the signal's number.
const EXIT_CODE: i64 = 137;

/// The completion as it is to be understood, in the light of how the attempt before it ended.
pub(super) async fn understood<'a>(
    services: &Services,
    course: &Arc<Course>,
    completion: &'a Completion,
) -> Result<Cow<'a, Completion>, Trouble> {
    if !matches!(&completion.result, Report::Ended(outcome) if is_killed(outcome)) {
        return Ok(Cow::Borrowed(completion));
    }
    let view = match services.state.star(course.record.run, completion.task.star).await {
        Ok(view) => view,
        Err(StateError::NoRun(_)) => return Ok(Cow::Borrowed(completion)),
        Err(error) => return Err(error.into()),
    };
    let before = view.details.get(&completion.task.module);
    let Some(before) = before.filter(|before| follows(completion, before)) else {
        return Ok(Cow::Borrowed(completion));
    };
    let here = completion.worker.host();
    let there = before.worker.as_ref().map_or(here, |worker| worker.host());
    if here == there && services.state.workers().await?.iter().any(|worker| worker.worker.host() != here) {
        return Ok(Cow::Borrowed(completion));
    }
    let message = format!(
        "ended by SIGKILL twice in a row, on {there} and on {here}, with memory free and without a word to the engine: it ends \
         itself"
    );
    let failure = Failure { kind: FailureKind::Signal, message, exit_code: Some(EXIT_CODE), log_tail: String::new() };
    Ok(Cow::Owned(Completion { result: Report::Ended(Outcome::Failed(failure)), ..completion.clone() }))
}

/// Whether the attempt before it was killed as well.
fn follows(completion: &Completion, before: &Detail) -> bool {
    is_killed(&before.outcome) && before.attempt.next() == completion.attempt
}

fn is_killed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Errored(error) if error.kind == PlatformErrorKind::Killed)
}
