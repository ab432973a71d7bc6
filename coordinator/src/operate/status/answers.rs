//! From what was found to the five answers. Pure.

use std::collections::BTreeSet;
use std::iter::once;

use domain::run::TaskState;
use jiff::Timestamp;
use services::queue::Depth;

use super::{Answer, FailureGroup, Findings, HangingTask, Level, Light, Question, Status, WaitingTasks, WorkerSummary};
use crate::operate::view::{RunPhase, RunSummary, unserved_words};
use crate::operate::workers::SILENT;

/// A task hangs when it runs for so many times as long as its like,
const TIMES_USUAL: f64 = 5.0;
/// and for so many seconds more,
const AT_LEAST: f64 = 60.0;
/// or for so many seconds where none of its like has ended yet.
const UNKNOWN: f64 = 1800.0;
/// So soon after the last task ended the next one may not have begun, in seconds.
const BETWEEN: f64 = 10.0;
/// For how long nothing may end before that is said, in seconds.
const STILL: f64 = 120.0;

/// Whether a task that runs for so many seconds hangs, when its like take `usual`.
pub(super) fn hangs(seconds: f64, usual: Option<f64>) -> bool {
    usual.map_or(seconds > UNKNOWN, |usual| seconds > usual * TIMES_USUAL && seconds > usual + AT_LEAST)
}

impl Findings {
    /// What there is to say.
    pub(super) fn status(self) -> Status {
        let lights = self.lights();
        let answers = vec![self.moving(), self.red(&lights), self.stuck(), self.done(), self.act()];
        let (workers, state_away) = match self.workers {
            Ok(workers) => (workers, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Status {
            at: self.at,
            answers,
            lights,
            runs: self.runs,
            failures: self.failures,
            hanging: self.hanging,
            waiting: self.waiting,
            lost: self.lost,
            state_away,
            workers,
        }
    }

    fn moving(&self) -> Answer {
        let question = Question::Moving;
        let running: u32 = self.runs.iter().map(|run| run.running).sum();
        if self.runs.is_empty() {
            return answer(question, Level::Well, "no run goes on");
        }
        let Ok(workers) = &self.workers else {
            return answer(question, Level::Bad, "that cannot be told: Redis does not answer");
        };
        let ended = self.runs.iter().filter_map(|run| run.moved).max().map(|moved| self.seconds_since(moved));
        let last = match ended {
            Some(seconds) => format!("the last one ended {} ago", duration(seconds)),
            None => "none has ended yet".to_owned(),
        };
        // Between the end of one task and the beginning of the next none runs.
        let is_between = ended.is_some_and(|seconds| seconds < BETWEEN);
        if running == 0 && !is_between {
            return answer(question, Level::Bad, &format!("no: no task runs; {last}"));
        }
        let hosts: BTreeSet<&str> =
            workers.iter().filter(|worker| !worker.attempts.is_empty()).map(|worker| worker.host.as_str()).collect();
        let words = format!(
            "{} on {}; {last}",
            counted(running.into(), "task runs", "tasks run"),
            counted(hosts.len() as u64, "host", "hosts")
        );
        // What a silent worker has runs perhaps.
        let silent: BTreeSet<_> =
            self.silent().flat_map(|(worker, _)| &worker.attempts).map(|of| (of.run, of.star, &of.module)).collect();
        let hanging = self.hanging.iter().map(|task| (task.run, task.star, &task.module));
        let stands = hanging.chain(silent.iter().copied()).collect::<BTreeSet<_>>().len();
        if u64::from(running) <= stands as u64 && !silent.is_empty() && !is_between {
            return answer(question, Level::Bad, &format!("no: what runs hangs, or is on a silent worker; {words}"));
        }
        if u64::from(running) <= stands as u64 && !is_between {
            return answer(question, Level::Bad, &format!("no: only what hangs runs; {words}"));
        }
        if ended.is_some_and(|seconds| seconds > STILL) {
            return answer(question, Level::Attention, &format!("slowly: {words}"));
        }
        answer(question, Level::Well, &format!("yes: {words}"))
    }

    fn red(&self, lights: &[Light]) -> Answer {
        let count = |state| self.runs.iter().filter_map(|run| run.tasks.get(&state)).sum::<u64>();
        let (failed, errored) = (count(TaskState::Failed), count(TaskState::Errored));
        let bad: Vec<String> = lights
            .iter()
            .filter(|light| light.level > Level::Well)
            .map(|light| format!("{}: {}", light.name, light.words))
            .collect();
        let is_well = bad.is_empty() && failed + errored == 0 && self.waiting.is_empty();
        let level = if is_well { Level::Well } else { Level::Bad };
        let first = match (failed, errored) {
            (0, 0) if is_well => "no".to_owned(),
            (0, 0) => "no task failed".to_owned(),
            (failed, 0) => format!("{} failed", counted(failed, "task", "tasks")),
            (failed, errored) => format!("{} failed, {errored} could not be run", counted(failed, "task", "tasks")),
        };
        let is_partial = self.workers.is_err() && self.runs.iter().any(|run| run.stored_only.is_some());
        let first = if is_partial {
            format!("{first}, of the stars that have ended: Redis knows of the others")
        } else {
            first
        };
        let groups = self.failures.iter().map(FailureGroup::to_string);
        let waiting = self.waiting.iter().map(WaitingTasks::to_string);
        let more = bad.into_iter().chain(waiting).chain(groups).chain(self.damaged.iter().cloned());
        lines(Question::Red, level, once(first).chain(more))
    }

    fn stuck(&self) -> Answer {
        let mut stuck = Vec::new();
        for task in &self.hanging {
            stuck.push(self.hanging_words(task));
        }
        for run in &self.runs {
            let name = short(run);
            match run.phase {
                RunPhase::Paused => stuck.push(format!("run {name} is paused")),
                RunPhase::Accepted => stuck.push(format!("run {name} is accepted, and no coordinator took it up yet")),
                RunPhase::Open => stuck.push(format!("how run {name} goes on is not known: the state does not answer")),
                RunPhase::Active | RunPhase::Cancelling | RunPhase::Ended => {}
            }
            if run.on_hold > 0 {
                let held: Vec<&str> = run.held.iter().map(|module| module.as_str()).collect();
                let tasks = counted(run.on_hold, "task is", "tasks are");
                stuck.push(format!("run {name}: {tasks} held ({})", held.join(", ")));
            }
            stuck.extend(run.outside.iter().map(|outside| format!("run {name}: {}", outside.words())));
            let waiting = run.tasks.get(&TaskState::Waiting).copied().unwrap_or(0);
            if waiting > 0 {
                let of_run = self.waiting.iter().filter(|waiting| waiting.run == run.run);
                let modules: Vec<&str> = of_run.map(|waiting| waiting.module.as_str()).collect();
                let of = if modules.is_empty() { String::new() } else { format!(" ({})", modules.join(", ")) };
                let tasks = counted(waiting, "task waits before its", "tasks wait before their");
                stuck.push(format!("run {name}: {tasks} next try{of}"));
            }
            stuck.extend(unserved_words(&run.unserved).map(|words| format!("run {name}: {words}")));
        }
        stuck.extend(self.full());
        for lost in &self.lost {
            let silent = duration(self.seconds_since(lost.seen));
            let ran = lost.running_words();
            stuck.push(format!("{} is lost: {} was last seen {silent} ago{ran}", lost.host, lost.worker));
        }
        for worker in self.workers.iter().flatten() {
            if let Some(reason) = &worker.waits_for {
                stuck.push(format!("worker {} takes nothing: {reason}", worker.worker));
            }
        }
        for (worker, silent) in self.silent() {
            stuck.push(format!("worker {} has not shown itself for {}", worker.worker, duration(silent)));
        }
        if stuck.is_empty() {
            return answer(Question::Stuck, Level::Well, "nowhere");
        }
        let first = format!("in {}", counted(stuck.len() as u64, "place", "places"));
        let is_bad = !self.hanging.is_empty() || !self.lost.is_empty();
        lines(Question::Stuck, if is_bad { Level::Bad } else { Level::Attention }, once(first).chain(stuck))
    }

    /// Workers that live as far as is known, but have been silent for longer than they should, and for how many seconds.
    pub(super) fn silent(&self) -> impl Iterator<Item = (&WorkerSummary, f64)> {
        let silent = |worker: &'_ WorkerSummary| self.seconds_since(worker.seen);
        self.workers
            .iter()
            .flatten()
            .map(move |worker| (worker, silent(worker)))
            .filter(|(_, seconds)| *seconds >= SILENT as f64)
    }

    /// Classes with ready tasks whose slots are all busy, where nothing ended for long, or what hangs has all of them.
    fn full(&self) -> Vec<String> {
        let moved = self.runs.iter().filter_map(|run| run.moved).max().map(|moved| self.seconds_since(moved));
        let still = moved.filter(|still| *still > STILL);
        let workers = || self.workers.iter().flatten().filter(|worker| !worker.drained);
        let words = |depth: &Depth| {
            let class = depth.queue.strip_prefix("sas.tasks.")?;
            let slots = || workers().flat_map(|worker| &worker.slots).filter(|(known, _)| known.as_str() == class);
            let (busy, of): (u32, u32) = (slots().map(|(_, s)| s.busy).sum(), slots().map(|(_, s)| s.of).sum());
            if depth.ready == 0 || of == 0 || busy < of {
                return None;
            }
            let hang = self.hanging.iter().filter(|task| task.class.as_str() == class).count() as u64;
            let why = match (still, hang) {
                (_, hang) if hang >= u64::from(of) => "what hangs has all of them".to_owned(),
                (Some(still), 0) => format!("nothing ended for {}", duration(still)),
                (Some(still), hang) => format!("{hang} with what hangs, and nothing ended for {}", duration(still)),
                (None, _) => return None,
            };
            let ready = counted(depth.ready, "task is", "tasks are");
            Some(format!("class {class}: {ready} ready, its slots are busy ({of}): {why}"))
        };
        self.queues.iter().flatten().filter_map(words).collect()
    }

    fn done(&self) -> Answer {
        if self.runs.is_empty() {
            return answer(Question::Done, Level::Well, "all is done");
        }
        let of_run = |run: &RunSummary| {
            let hangs = self.hanging.iter().filter(|task| task.run == run.run).count() as u64;
            let lacks: u64 = self.waiting.iter().filter(|task| task.run == run.run).map(|task| task.count).sum();
            let unless = match (hangs, lacks) {
                (0, 0) => String::new(),
                (hangs, 0) => format!(", not before what hangs ends ({})", counted(hangs, "task", "tasks")),
                (0, lacks) => format!(", not before what waits can run ({})", counted(lacks, "task", "tasks")),
                (hangs, lacks) => format!(", not before what hangs ends ({hangs}) and what waits can run ({lacks})"),
            };
            format!("run {} of {} {}: {}{unless}", short(run), run.pipeline, run.quarter, expected_words(run))
        };
        let is_sure = self.hanging.is_empty() && self.waiting.is_empty();
        let is_told = self.runs.iter().all(|run| run.expected.is_some());
        let level = if is_sure && is_told { Level::Well } else { Level::Attention };
        lines(Question::Done, level, self.runs.iter().map(of_run))
    }

    fn hanging_words(&self, task: &HangingTask) -> String {
        let usual = match task.usual {
            Some(usual) => format!("its like take {}", duration(usual)),
            None => "none of its like has ended yet".to_owned(),
        };
        let since = duration(self.seconds_since(task.since));
        format!("{} of {} runs for {since} on {} ({usual})", task.module, task.star, task.host)
    }

    fn seconds_since(&self, then: Timestamp) -> f64 {
        self.at.duration_since(then).as_secs_f64().max(0.0)
    }
}

/// How far a run is and how long it takes, on a line.
fn expected_words(run: &RunSummary) -> String {
    let Some(expected) = &run.expected else {
        return run.stored_only.clone().unwrap_or_else(|| "that cannot be told now".to_owned());
    };
    let to_go = match (expected.seconds, &expected.unknown) {
        (Some(seconds), _) => format!("about {} to go", duration(seconds as f64)),
        (None, Some(unknown)) => unknown.clone(),
        (None, None) => "that cannot be told".to_owned(),
    };
    format!("{} of {} tasks are done; {to_go}", expected.tasks_done, expected.tasks)
}

/// How many there are, in words.
pub(super) fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// As much of a run's id as commands need.
pub(super) fn short(run: &RunSummary) -> String {
    run.run.to_string().chars().take(8).collect()
}

/// Seconds in words, no finer than is of use.
fn duration(seconds: f64) -> String {
    let whole = if seconds < 10.0 { seconds } else { seconds.round() };
    if whole < 1.0 {
        return format!("{seconds:.1} s");
    }
    humantime::format_duration(std::time::Duration::from_secs(whole as u64)).to_string()
}

pub(super) fn answer(question: Question, level: Level, words: &str) -> Answer {
    lines(question, level, [words.to_owned()])
}

pub(super) fn lines(question: Question, level: Level, lines: impl IntoIterator<Item = String>) -> Answer {
    Answer { question, level, lines: lines.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use domain::id::{Attempt, EventId, RunId, StarId};
    use services::queue::QueueName;

    use super::*;
    use crate::operate::workers::LostWorker;
    use crate::operate::{ErrorKind, OperateError};

    fn nothing() -> Findings {
        Findings {
            at: Timestamp::UNIX_EPOCH,
            runs: Vec::new(),
            damaged: Vec::new(),
            queues: Ok(Vec::new()),
            workers: Ok(Vec::new()),
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
        check(findings(), Question::Red, Level::Bad, "workers: Redis is away");
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
}
