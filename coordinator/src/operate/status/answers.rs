//! From what was found to the five answers. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::once;

use domain::id::ClassName;
use domain::run::TaskState;
use jiff::Timestamp;
use services::clock::off_words;
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
        match (self.runs.is_empty(), self.damaged.is_empty()) {
            (true, true) => return answer(question, Level::Well, "no run goes on"),
            (true, false) => return answer(question, Level::Attention, "no run goes on; what is damaged stands still"),
            (false, _) => {}
        }
        let Ok(workers) = &self.workers else {
            return answer(question, Level::Bad, "that cannot be told: Redis does not say");
        };
        if self.unwritable.is_some() {
            return answer(question, Level::Bad, "no: Redis takes no writes, so that nothing begins and nothing ends");
        }
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
        let clocks = self.clocks();
        let is_bad = !(bad.is_empty() && failed + errored == 0 && self.waiting.is_empty() && self.damaged.is_empty());
        let level = match (is_bad, &clocks) {
            (true, _) => Level::Bad,
            (false, Some(_)) => Level::Attention,
            (false, None) => Level::Well,
        };
        let first = match (failed, errored) {
            (0, 0) if level == Level::Well => "no".to_owned(),
            (0, 0) if !self.damaged.is_empty() => {
                let damaged = counted(self.damaged.len() as u64, "thing is", "things are");
                format!("{damaged} damaged, no task failed")
            }
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
        let clocks = clocks.map(|hosts| format!("clocks differ from Redis', which makes times wrong: {hosts}"));
        let more = bad.into_iter().chain(self.damaged.iter().cloned()).chain(waiting).chain(groups).chain(clocks);
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
            stuck.extend(unserved_words(self.unserved(run)).map(|words| format!("run {name}: {words}")));
        }
        if self.unwritable.is_some() {
            stuck.push("Redis takes no writes: no task is claimed, and the end of none is noted".to_owned());
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
        let is_bad = !self.hanging.is_empty() || !self.lost.is_empty() || self.unwritable.is_some();
        lines(Question::Stuck, if is_bad { Level::Bad } else { Level::Attention }, once(first).chain(stuck))
    }

    /// Workers that live as far as is known, but have been silent for longer than they should, and for how many seconds. While
    /// Redis takes no writes none can show itself.
    pub(super) fn silent(&self) -> impl Iterator<Item = (&WorkerSummary, f64)> {
        let silent = |worker: &'_ WorkerSummary| self.seconds_since(worker.seen);
        let can_show = self.unwritable.is_none();
        self.workers
            .iter()
            .flatten()
            .filter(move |_| can_show)
            .map(move |worker| (worker, silent(worker)))
            .filter(|(_, seconds)| *seconds >= SILENT as f64)
    }

    /// Classes of a run's tasks that no worker has slots of; none where it is not known which workers live.
    pub(super) fn unserved<'a>(&self, run: &'a RunSummary) -> &'a [ClassName] {
        if self.unwritable.is_none() { &run.unserved } else { &[] }
    }

    /// Hosts whose clocks are wrong, and by how much; `None` where all are right.
    pub(super) fn clocks(&self) -> Option<String> {
        let wrong = |worker: &'_ WorkerSummary| Some((worker.host.clone(), worker.clock_ahead?));
        let wrong: BTreeMap<String, i64> = self.workers.iter().flatten().filter_map(wrong).collect();
        let hosts: Vec<String> = wrong.iter().map(|(host, ahead)| format!("{host} {}", off_words(*ahead))).collect();
        (!hosts.is_empty()).then(|| hosts.join(", "))
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
        match (self.runs.is_empty(), self.damaged.is_empty()) {
            (true, true) => return answer(Question::Done, Level::Well, "all is done"),
            (true, false) => return answer(Question::Done, Level::Attention, "all is done, but not what is damaged"),
            (false, _) => {}
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
            let words = expected_words(run, self.unwritable.is_none());
            format!("run {} of {} {}: {words}{unless}", short(run), run.pipeline, run.quarter)
        };
        let first = match (self.unwritable.is_some(), self.damaged.is_empty()) {
            (true, true) => Some("not before Redis takes writes again"),
            (true, false) => Some("not before Redis takes writes again, and what is damaged not before it is mended"),
            (false, true) => None,
            (false, false) => Some("as each run says, but what is damaged not before it is mended"),
        };
        let is_sure = self.hanging.is_empty() && self.waiting.is_empty() && first.is_none();
        let is_told = self.runs.iter().all(|run| run.expected.is_some());
        let level = if is_sure && is_told { Level::Well } else { Level::Attention };
        lines(Question::Done, level, first.map(str::to_owned).into_iter().chain(self.runs.iter().map(of_run)))
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

/// How far a run is and how long it takes, on a line. While it does not go on, only how far.
fn expected_words(run: &RunSummary, goes_on: bool) -> String {
    let Some(expected) = &run.expected else {
        return run.stored_only.clone().unwrap_or_else(|| "that cannot be told now".to_owned());
    };
    let done = format!("{} of {} tasks are done", expected.tasks_done, expected.tasks);
    if !goes_on {
        return done;
    }
    let to_go = match (expected.seconds, &expected.unknown) {
        (Some(seconds), _) => format!("about {} to go", duration(seconds as f64)),
        (None, Some(unknown)) => unknown.clone(),
        (None, None) => "that cannot be told".to_owned(),
    };
    format!("{done}; {to_go}")
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
mod tests;
