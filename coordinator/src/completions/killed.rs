//! Programs that something killed, nobody knows what: once that is the platform's trouble, as whoever looks after a host kills
//! what is in the way. A program that ends so twice in a row, on two hosts, ends itself; where only one host takes tasks of its
//! class, on that. Workers write failures down and know nothing of this one: it is recorded here.

use std::borrow::Cow;
use std::sync::Arc;

use domain::id::ClassName;
use domain::message::{Completion, Report};
use domain::outcome::{Failure, FailureKind, Outcome, PlatformError, PlatformErrorKind, UsedResources};
use services::state::{Detail, StateError, WorkerInfo};
use store::Store;
use store::course::Course;
use store::failures::FailureRecord;

use crate::advance::News;
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
    let Report::Ended(Outcome::Errored(PlatformError { kind: PlatformErrorKind::Killed, log_tail, .. })) =
        &completion.result
    else {
        return Ok(Cow::Borrowed(completion));
    };
    let view = match services.state.star(course.record.run, completion.task.star).await {
        Ok(view) => view,
        Err(StateError::NoRun(_)) => return Ok(Cow::Borrowed(completion)),
        Err(error) => return Err(error.into()),
    };
    let before = view.details.get(&completion.task.module);
    if let Some(known) = before.filter(|known| is_about(known, completion) && is_own_doing(&known.outcome)) {
        // It was understood before, by a coordinator that ended over it.
        return Ok(Cow::Owned(with_outcome(completion, known.outcome.clone())));
    }
    let Some(before) = before.filter(|before| follows(completion, before)) else {
        return Ok(Cow::Borrowed(completion));
    };
    let here = completion.worker.host();
    let there = before.worker.as_ref().map_or(here, |worker| worker.host());
    let class = &course.pipeline.module(completion.task.module).class;
    let is_elsewhere = |worker: &WorkerInfo| worker.worker.host() != here && takes(worker, class);
    let hosts = if here != there {
        format!("on {there} and on {here}")
    } else if services.state.workers().await?.iter().any(is_elsewhere) {
        return Ok(Cow::Borrowed(completion));
    } else {
        format!("on {here}, the only host that takes tasks of class {class}")
    };
    let message = format!(
        "ended by SIGKILL twice in a row, {hosts}, with memory free and without a word to the engine: it ends itself"
    );
    let failure =
        Failure { kind: FailureKind::Signal, message, exit_code: Some(EXIT_CODE), log_tail: log_tail.clone() };
    Ok(Cow::Owned(with_outcome(completion, Outcome::Failed(failure))))
}

fn with_outcome(completion: &Completion, outcome: Outcome) -> Completion {
    Completion { result: Report::Ended(outcome), ..completion.clone() }
}

/// What is to be written down of a completion that was understood as the module's failure.
pub(super) fn record_of(course: &Course, failed: &Completion) -> Option<FailureRecord> {
    let Report::Ended(outcome @ Outcome::Failed(Failure { log_tail, .. })) = &failed.result else { return None };
    Some(FailureRecord {
        run: failed.run,
        module: course.pipeline.module(failed.task.module).name.clone(),
        key: failed.key,
        attempt: failed.attempt,
        outcome: outcome.clone(),
        worker: failed.worker.clone(),
        started: failed.started,
        millis: failed.millis,
        log: log_tail.clone(),
        used: UsedResources::default(),
    })
}

/// Writes down what is the module's failure in the state, too: who did not claim the task is not believed there.
pub(super) async fn record(services: &Services, news: &mut News) -> Result<(), Trouble> {
    let (course, run) = (news.course.clone(), news.course.record.run);
    while let Some((star, record)) = news.failures.last() {
        let view = match services.state.star(run, *star).await {
            Ok(view) => Some(view),
            Err(StateError::NoRun(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let is_believed = |known: &Detail| {
            let said = (&record.outcome, record.attempt, Some(&record.worker), Some(record.started));
            (&known.outcome, known.attempt, known.worker.as_ref(), known.started) == said
        };
        let module = course.pipeline.index_of(&record.module);
        let known = module.and_then(|module| view.as_ref()?.details.get(&module));
        if known.is_some_and(is_believed) {
            let (course, star, record) = (course.clone(), *star, record.clone());
            let write =
                move |store: &Store| store.record_failure(course.stars.star(star)?, course.record.quarter, &record);
            services.store.ask(write).await?;
        }
        news.failures.pop();
    }
    Ok(())
}

/// Whether this is what is known of that very attempt.
fn is_about(known: &Detail, completion: &Completion) -> bool {
    let said = (completion.attempt, Some(&completion.worker), Some(completion.started));
    (known.attempt, known.worker.as_ref(), known.started) == said
}

/// Whether it is what is said here and nowhere else.
fn is_own_doing(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(Failure { kind: FailureKind::Signal, exit_code: Some(EXIT_CODE), .. }))
}

/// Whether a worker may be given a task of this class.
fn takes(worker: &WorkerInfo, class: &ClassName) -> bool {
    !worker.drained && worker.slots.get(class).is_some_and(|slots| *slots > 0)
}

/// Whether the attempt before it was killed as well.
fn follows(completion: &Completion, before: &Detail) -> bool {
    is_killed(&before.outcome) && before.attempt.next() == completion.attempt
}

fn is_killed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Errored(error) if error.kind == PlatformErrorKind::Killed)
}

#[cfg(test)]
mod tests {
    use domain::id::{Attempt, Epoch, EventId, ModuleIndex, Nonce, RunId, StarIndex, Task};
    use domain::message::WIRE_VERSION;

    use super::*;

    #[test]
    fn what_was_understood_of_an_attempt_is_so_understood_again_and_of_no_other() {
        let outcome = Outcome::Errored(PlatformError::new(PlatformErrorKind::Killed, ""));
        let completion = Completion {
            v: WIRE_VERSION,
            epoch: Epoch(1),
            run: RunId::of(EventId::of("a", "b"), "P", "1"),
            task: Task { star: StarIndex(0), module: ModuleIndex(0) },
            attempt: Attempt(2),
            nonce: Nonce::random(),
            worker: "a-1".parse().unwrap(),
            started: jiff::Timestamp::UNIX_EPOCH,
            millis: 1,
            claim: None,
            key: None,
            result: Report::Ended(outcome),
        };
        let known = Detail::of(&completion).unwrap();
        assert!(is_about(&known, &completion));
        let failed = |kind, exit_code| {
            is_own_doing(&Outcome::Failed(Failure { kind, message: String::new(), exit_code, log_tail: String::new() }))
        };
        assert!(failed(FailureKind::Signal, Some(EXIT_CODE)) && !is_own_doing(&known.outcome));
        assert!(!failed(FailureKind::Exit, Some(EXIT_CODE)) && !failed(FailureKind::Signal, Some(139)));
        let others = [
            Completion { attempt: Attempt(3), ..completion.clone() },
            Completion { worker: "b-1".parse().unwrap(), ..completion },
        ];
        assert!(!others.iter().any(|other| is_about(&known, other)));
    }

    #[test]
    fn a_host_that_is_drained_or_has_no_slot_of_the_class_takes_nothing_of_it() {
        let class = |name: &str| name.parse::<ClassName>().unwrap();
        let slots = [(class("default"), 2), (class("heavy"), 0)].into();
        let worker = WorkerInfo::new("a-1".parse().unwrap(), slots, jiff::Timestamp::UNIX_EPOCH);
        let is_taken = |name| takes(&worker, &class(name));
        assert_eq!(["default", "heavy", "fetch"].map(is_taken), [true, false, false]);
        assert!(!takes(&WorkerInfo { drained: true, ..worker.clone() }, &class("default")));
    }
}
