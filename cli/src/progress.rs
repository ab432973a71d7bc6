//! Watching a run until it ends: a bar on a terminal, plain lines elsewhere, JSON lines with `-o json`.

mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use coordinator::operate::failures::RunReport;
use coordinator::operate::view::{self, RunPhase, RunSummary, StarsOutside, unserved_words};
use coordinator::operate::{Context, ErrorKind, OperateError};
use domain::id::{ClassName, RunId};
use domain::run::TaskState;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use store::runs::StarEnd;
use waiting::{SaidReasons, reasons};

use crate::exit::Incomplete;
use crate::output::{self, Format, note};
use crate::words::{counted, done, lasting};

/// How often the state is asked.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often a line is printed where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Over how long a rate is taken.
const RATE_OVER: Duration = Duration::from_secs(60);
/// How long a run may be on its way into the store.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a run stands, in few numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Snapshot {
    run: RunId,
    stars: u32,
    stars_done: u32,
    tasks_done: u64,
    tasks_all: u64,
    in_flight: u32,
    /// Tasks by state; `running` are queued ones that a worker has.
    tasks: BTreeMap<String, u64>,
    /// Stars that may not enter yet, for the sake of their quarter before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outside: Vec<StarsOutside>,
    /// Whether operators paused it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    paused: bool,
    /// Classes of tasks to come that no worker has slots of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unserved: Vec<ClassName>,
    /// Settled tasks a second, over the last minute of the watch.
    rate: f64,
    /// Seconds to go, by what tasks took so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_seconds: Option<u64>,
    /// Why nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_unknown: Option<String>,
}

/// Shows how a run stands until it ends; returns how.
pub(crate) async fn watch(
    context: &Context,
    run: RunId,
    timeout: Option<Duration>,
    format: Format,
) -> anyhow::Result<RunSummary> {
    let begin = Instant::now();
    let (mut screen, mut pace) = (ProgressScreen::new(format), LastMinute::default());
    let (mut outside, mut said) = (Vec::new(), SaidReasons::default());
    // What the store knows goes on whether or not it can be looked at.
    let was_known = view::known_run(context, run).await.is_ok();
    let (mut was_told, mut is_away) = (false, false);
    loop {
        let looked = view::run(context, run).await;
        if looked.is_ok() {
            was_told = true;
            if std::mem::take(&mut is_away) {
                screen.say("it answers again; the watch goes on");
            }
        }
        match looked {
            Ok(summary) if summary.phase == RunPhase::Ended => {
                screen.close();
                return Ok(summary);
            }
            Ok(summary) => {
                let snapshot = pace.snapshot(&summary, begin.elapsed());
                screen.show(&snapshot);
                outside = outside_words(&snapshot);
                if summary.tasks.get(&TaskState::Waiting).is_some_and(|count| *count > 0) {
                    for line in said.news(context, run).await {
                        screen.say(&line);
                    }
                }
            }
            Err(error) if is_waited_for(&error, was_known, was_told) => {
                if !std::mem::replace(&mut is_away, true) {
                    screen.say(&format!("waiting until it answers again: {error}"));
                }
            }
            // Its event may still be on the way.
            Err(error) if error.kind == ErrorKind::NotFound && begin.elapsed() < PATIENCE => {}
            Err(error) => return Err(error.into()),
        }
        if timeout.is_some_and(|timeout| begin.elapsed() > timeout) {
            screen.close();
            let waited = humantime::format_duration(Duration::from_secs(begin.elapsed().as_secs()));
            let reason = format!("run {run} did not end within {waited}");
            let waiting = if is_away { Vec::new() } else { reasons(context, run).await };
            let reason = std::iter::once(reason).chain(outside).chain(waiting).collect::<Vec<_>>().join("; ");
            return Err(OperateError::new(ErrorKind::TimedOut, reason).into());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Whether the watch of a run goes on until a service answers: the store knew the run, or the state told of it before. One that
/// never answered here and forbids it would be waited for in vain: a password is wrong.
fn is_waited_for(error: &OperateError, was_known: bool, was_told: bool) -> bool {
    error.kind == ErrorKind::OutOfReach && (was_told || (was_known && !error.forbids))
}

/// An error when stars of a run that ended are not complete.
/// `store` is named where no configuration names it.
pub(crate) fn require_complete(report: &RunReport, store: Option<&str>) -> anyhow::Result<()> {
    let run = &report.summary;
    let wrong: Vec<String> =
        run.ends.iter().filter(|(end, _)| **end != StarEnd::Complete).map(|(end, n)| format!("{n} {end}")).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let store = store.map(|store| format!(" --store {store}")).unwrap_or_default();
    let wrong = wrong.join(", ");
    let first = report.failures.groups.first().and_then(|group| Some((group.stars.first()?, group)));
    let which = match first {
        Some((star, group)) => format!(
            ": {} × {} ({}), first of {star}; `sas run failures {}{store}` lists all, `sas star explain {star} {}{store}` tells why",
            group.count, group.module, group.reason, run.run, group.module
        ),
        None => format!("; `sas star explain STAR{store}` tells why"),
    };
    Err(Incomplete(format!("of {} stars {wrong}{which}", run.stars)).into())
}

/// How many tasks were settled at the looks of the last minute, and when that was, counted from the begin of the watch.
#[derive(Default)]
struct LastMinute(VecDeque<(Duration, u64)>);

impl LastMinute {
    /// Settled tasks a second since the oldest of these looks.
    fn rate(&mut self, at: Duration, settled: u64) -> f64 {
        self.0.push_back((at, settled));
        while self.0.len() > 2 && self.0[1].0 + RATE_OVER <= at {
            self.0.pop_front();
        }
        let (began, first) = self.0[0];
        settled.saturating_sub(first) as f64 / (at - began).as_secs_f64().max(1e-3)
    }

    fn snapshot(&mut self, run: &RunSummary, elapsed: Duration) -> Snapshot {
        let settled: u64 = run.tasks.iter().filter(|(state, _)| state.is_settled()).map(|(_, count)| count).sum();
        let expected = run.expected.clone().unwrap_or_default();
        let mut tasks: BTreeMap<String, u64> = run.tasks.iter().map(|(state, n)| (state.to_string(), *n)).collect();
        if let Some(queued) = tasks.get_mut("queued") {
            *queued = queued.saturating_sub(run.running.into());
        }
        tasks.insert("running".to_owned(), run.running.into());
        tasks.retain(|_, count| *count > 0);
        Snapshot {
            run: run.run,
            stars: run.stars,
            stars_done: done(run),
            tasks_done: expected.tasks_done,
            tasks_all: expected.tasks,
            in_flight: run.in_flight,
            tasks,
            outside: run.outside.clone(),
            paused: run.phase == RunPhase::Paused,
            unserved: run.unserved.clone(),
            rate: self.rate(elapsed, settled),
            eta_seconds: expected.seconds,
            eta_unknown: expected.unknown,
        }
    }
}

/// Where progress goes.
enum ProgressScreen {
    Bar(ProgressBar),
    Lines(Option<Instant>),
    Json(Option<Snapshot>),
}

impl ProgressScreen {
    fn new(format: Format) -> Self {
        match format {
            Format::Json => Self::Json(None),
            Format::Table | Format::Csv if std::io::stderr().is_terminal() => {
                let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
                let style = ProgressStyle::with_template("{elapsed:>5} [{bar:30}] {pos}/{len} tasks  {wide_msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
                Self::Bar(bar)
            }
            Format::Table | Format::Csv => Self::Lines(None),
        }
    }

    fn show(&mut self, snapshot: &Snapshot) {
        match self {
            Self::Bar(bar) => {
                bar.set_length(snapshot.tasks_all);
                bar.set_position(snapshot.tasks_done);
                bar.set_message(describe(snapshot));
            }
            Self::Lines(last) if last.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) => {
                *last = Some(Instant::now());
                note(&format!("{}/{} tasks  {}", snapshot.tasks_done, snapshot.tasks_all, describe(snapshot)));
            }
            Self::Lines(_) => {}
            Self::Json(last) => {
                let changed =
                    last.as_ref().is_none_or(|last| last.tasks != snapshot.tasks || last.outside != snapshot.outside);
                if changed {
                    output::json_line(snapshot);
                    *last = Some(snapshot.clone());
                }
            }
        }
    }

    /// Says something beside the progress.
    fn say(&self, words: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| note(words)),
            Self::Lines(_) | Self::Json(_) => note(words),
        }
    }

    fn close(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Stars, counts of tasks by state, the rate and the time to go, on one line.
fn describe(snapshot: &Snapshot) -> String {
    let mut parts = vec![format!("{}/{} stars", snapshot.stars_done, snapshot.stars)];
    parts.extend(snapshot.tasks.iter().map(|(state, count)| format!("{count} {state}")));
    parts.extend(outside_words(snapshot));
    parts.push(format!("{:.1} tasks/s", snapshot.rate));
    parts.extend(snapshot.eta_seconds.map(|seconds| format!("{} to go", lasting(seconds))));
    parts.extend(snapshot.eta_unknown.clone());
    // Where that is why nobody can tell, it is said already.
    parts.extend(unserved_words(&snapshot.unserved).filter(|words| snapshot.eta_unknown.as_ref() != Some(words)));
    parts.join(", ")
}

/// How many stars may not enter yet, and what lets them in.
fn outside_words(snapshot: &Snapshot) -> Vec<String> {
    let stars = |is_held: bool| {
        let of = snapshot.outside.iter().filter(|outside| outside.is_held() == is_held);
        of.map(|outside| outside.stars).sum::<u64>()
    };
    let mut words = Vec::new();
    if stars(true) > 0 {
        let (held, run) = (counted(stars(true), "star"), snapshot.run);
        words.push(format!("{held} held, which `sas run resume {run}` from another terminal lets in"));
    }
    if stars(false) > 0 {
        words.push(format!("{} outside until the quarter before is settled", counted(stars(false), "star")));
    }
    words
}

/// A bar that counts what is done of all; none where nobody looks at a terminal.
pub(crate) fn bar(counted: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(&format!("{{elapsed:>5}} [{{bar:30}}] {{pos}}/{{len}} {counted}"));
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "))
}

#[cfg(test)]
mod tests {
    use services::state::StateError;

    use super::*;

    #[test]
    fn a_watch_waits_for_what_may_answer_and_for_what_answered_before() {
        let away = OperateError::from(StateError::Unreachable("x".to_owned()));
        let forbids = OperateError::from(StateError::Misconfigured("a wrong password".to_owned()));
        for (error, was_known, was_told, waits) in [
            (&away, true, false, true),
            (&away, true, true, true),
            (&away, false, false, false),
            (&forbids, true, false, false),
            (&forbids, true, true, true),
            (&OperateError::not_found("x"), true, true, false),
        ] {
            assert_eq!(is_waited_for(error, was_known, was_told), waits, "{error}: {was_known}, {was_told}");
        }
    }
}
