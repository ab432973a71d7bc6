//! What is said of what was found.

use domain::id::{Attempt, EventId, Quarter, RunId, StarId};
use services::queue::QueueName;

use super::*;
use crate::operate::view::Expected;
use crate::operate::workers::LostWorker;
use crate::operate::{ErrorKind, OperateError};

fn nothing() -> Findings {
    Findings {
        at: Timestamp::UNIX_EPOCH,
        runs: Vec::new(),
        damaged: Vec::new(),
        queues: Ok(Vec::new()),
        workers: Ok(Vec::new()),
        unwritable: None,
        store: Ok(()),
        held: Vec::new(),
        drained: Vec::new(),
        hanging: Vec::new(),
        waiting: Vec::new(),
        lost: Vec::new(),
        failures: Vec::new(),
    }
}

fn check(findings: Findings, question: Question, level: Level, words: &str) {
    let status = findings.status();
    let answer = status.answers.iter().find(|answer| answer.question == question).expect("all are answered");
    assert!(answer.level == level && answer.lines.join("\n").contains(words), "{answer:?}");
}

#[test]
fn a_task_hangs_when_its_like_take_far_less() {
    for (seconds, usual, expected) in [
        (50.0, Some(1.0), false),
        (70.0, Some(1.0), true),
        (400.0, Some(100.0), false),
        (600.0, Some(100.0), true),
        (1000.0, None, false),
        (2000.0, None, true),
    ] {
        assert_eq!(hangs(seconds, usual), expected, "{seconds} {usual:?}");
    }
}

#[test]
fn where_nothing_goes_on_all_is_well() {
    for question in [Question::Moving, Question::Red, Question::Stuck, Question::Done, Question::Act] {
        check(nothing(), question, Level::Well, "");
    }
}

#[test]
fn what_is_lost_and_what_cannot_be_run_is_red_and_somebody_must_act() {
    let lost = LostWorker {
        host: "host-b".to_owned(),
        worker: "host-b-1".parse().unwrap(),
        seen: Timestamp::UNIX_EPOCH,
        running: 3,
        attempts: Vec::new(),
    };
    let findings = || Findings { lost: vec![lost.clone()], ..nothing() };
    check(findings(), Question::Red, Level::Bad, "host-b is lost");
    check(findings(), Question::Stuck, Level::Bad, "host-b-1 was last seen 0.0 s ago; it ran 3 attempts");
    check(findings(), Question::Act, Level::Bad, "look at host-b and start its worker again");
    let waiting = WaitingTasks {
        run: RunId::of(EventId::of("test", "1"), "P", "1"),
        module: "M".parse().unwrap(),
        count: 2,
        star: StarId::of_simulator(1),
        attempt: Attempt(10),
        reason: "errored (image_missing)".to_owned(),
    };
    let findings = || Findings { waiting: vec![waiting.clone()], ..nothing() };
    check(findings(), Question::Red, Level::Bad, "2 × M could not be run yet: errored (image_missing)");
    check(findings(), Question::Act, Level::Bad, "make M run");
}

#[test]
fn a_service_that_is_away_is_red_and_somebody_must_act() {
    let away = || OperateError::new(ErrorKind::OutOfReach, "Redis is away");
    let findings = || Findings { workers: Err(away()), ..nothing() };
    check(findings(), Question::Red, Level::Bad, "workers: which of them live is not known: Redis does not say");
    check(findings(), Question::Red, Level::Bad, "redis: Redis is away");
    check(findings(), Question::Act, Level::Bad, "bring Redis back");
    let dead = Depth {
        queue: QueueName::Dead.to_string(),
        ready: 2,
        unacknowledged: None,
        unknown: None,
        silent: None,
        consumers: 0,
    };
    let findings = Findings { queues: Ok(vec![dead]), ..nothing() };
    check(findings, Question::Act, Level::Attention, "2 messages could not be read");
}

/// A worker of this host that was seen so many seconds before.
fn worker(host: &str, seconds: i64, clock_ahead: Option<i64>) -> WorkerSummary {
    WorkerSummary {
        host: host.to_owned(),
        worker: host.parse().unwrap(),
        version: String::new(),
        slots: [].into(),
        seen: Timestamp::from_second(-seconds).unwrap(),
        began: None,
        ended: Default::default(),
        median: Default::default(),
        odd: Vec::new(),
        drained: false,
        waits_for: None,
        clock_ahead,
        attempts: Vec::new(),
    }
}

#[test]
fn a_redis_that_takes_no_writes_is_named_and_no_worker_is_blamed_for_it() {
    let silent = || Ok(vec![worker("host-a", 100, None)]);
    let findings = || Findings { workers: silent(), unwritable: Some("OOM".to_owned()), ..nothing() };
    check(findings(), Question::Red, Level::Bad, "redis: it takes no writes: OOM");
    check(findings(), Question::Stuck, Level::Bad, "Redis takes no writes");
    check(findings(), Question::Act, Level::Bad, "make Redis writable again, nothing goes on before that: OOM");
    let said = findings().status();
    let mut lines = said.answers.iter().flat_map(|answer| &answer.lines);
    assert!(!lines.any(|line| line.contains("host-a") || line.contains("bring Redis back")), "{said:?}");
    let findings = Findings { workers: silent(), ..nothing() };
    check(findings, Question::Act, Level::Attention, "look at host-a, if its worker stays silent");
}

#[test]
fn what_is_damaged_is_red_and_never_taken_for_done() {
    let damaged = || vec!["run 1 is damaged in the state".to_owned()];
    let findings = || Findings { damaged: damaged(), ..nothing() };
    check(findings(), Question::Moving, Level::Attention, "what is damaged stands still");
    check(findings(), Question::Red, Level::Bad, "1 thing is damaged, no task failed\nrun 1 is damaged in the state");
    check(findings(), Question::Done, Level::Attention, "but not what is damaged");
    check(findings(), Question::Act, Level::Bad, "mend what is damaged, it is taken up again then: run 1 is damaged");
}

/// A run that goes on.
fn active() -> RunSummary {
    let unknown = Some("no worker has slots of class default".to_owned());
    RunSummary {
        run: RunId::of(EventId::of("test", "1"), "P", "1"),
        pipeline: "P".parse().unwrap(),
        version: "1".to_owned(),
        quarter: Quarter::FIRST,
        only_group: None,
        phase: RunPhase::Active,
        accepted: Timestamp::UNIX_EPOCH,
        ended: None,
        moved: None,
        stars: 2,
        to_come: 0,
        in_flight: 2,
        stored_only: None,
        ends: [].into(),
        tasks: [].into(),
        running: 0,
        ready: [].into(),
        unserved: vec!["default".parse().unwrap()],
        held: Vec::new(),
        on_hold: 0,
        outside: Vec::new(),
        expected: Some(Expected { tasks_done: 1, tasks: 4, unknown, ..Expected::default() }),
        decisions: Vec::new(),
        modules: Vec::new(),
    }
}

#[test]
fn when_it_is_done_says_first_what_keeps_it_from_that() {
    let findings = || Findings { runs: vec![active()], ..nothing() };
    check(findings(), Question::Done, Level::Well, "1 of 4 tasks are done; no worker has slots of class default");
    let full = || Findings { unwritable: Some("OOM".to_owned()), ..findings() };
    check(full(), Question::Done, Level::Attention, "not before Redis takes writes again\nrun ");
    let said = full().status();
    assert!(!said.answers.iter().flat_map(|answer| &answer.lines).any(|line| line.contains("no worker")), "{said:?}");
    let damaged = vec!["run 1 is damaged".to_owned()];
    let spoilt = Findings { damaged: damaged.clone(), ..findings() };
    check(spoilt, Question::Done, Level::Attention, "says, but what is damaged not before it is mended\nrun ");
    let both = Findings { damaged, ..full() };
    check(both, Question::Done, Level::Attention, "again, and what is damaged not before it is mended\nrun ");
}

#[test]
fn hosts_whose_clocks_are_wrong_are_named_on_a_line() {
    let workers = || Ok(vec![worker("host-a", 0, Some(-10_800)), worker("host-b", 0, Some(12)), worker("c", 0, None)]);
    let findings = || Findings { workers: workers(), ..nothing() };
    check(findings(), Question::Red, Level::Attention, "wrong: host-a 10800 s behind, host-b 12 s ahead");
    check(findings(), Question::Act, Level::Attention, "set the clocks of these hosts right");
}
