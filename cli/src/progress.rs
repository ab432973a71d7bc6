//! Watching a run until it ends: a bar on a terminal, plain lines elsewhere, JSON lines with `-o json`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use coordinator::operate::view::{self, RunPhase, RunSummary};
use coordinator::operate::{Context, ErrorKind, OperateError};
use domain::id::{ClassName, RunId};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use store::runs::StarEnd;

use crate::exit::Incomplete;
use crate::output::{self, Format, note};
use crate::words::{done, unserved};

/// How often the state is asked.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often a line is printed where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a run may be on its way into the store.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a run stands, in few numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Snapshot {
    run: RunId,
    stars: u32,
    stars_done: u32,
    in_flight: u32,
    /// Tasks by state; `running` are queued ones that a worker has.
    tasks: BTreeMap<String, u64>,
    /// Whether operators paused it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    paused: bool,
    /// Classes of tasks to come that no worker has slots of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unserved: Vec<ClassName>,
    /// Settled tasks a second, since the watch began.
    rate: f64,
    /// Seconds until the last star is done, at the pace since the watch began.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_seconds: Option<u64>,
}

/// Shows how a run stands until it ends; returns how.
pub(crate) async fn watch(
    context: &Context,
    run: RunId,
    timeout: Option<Duration>,
    format: Format,
) -> anyhow::Result<RunSummary> {
    let begin = Instant::now();
    let (mut screen, mut pace) = (Screen::new(format), Pace::default());
    loop {
        match view::run(context, run).await {
            Ok(summary) if summary.phase == RunPhase::Ended => {
                screen.close();
                return Ok(summary);
            }
            Ok(summary) => screen.show(&pace.snapshot(&summary, begin.elapsed())),
            // Its event may still be on the way.
            Err(error) if error.kind == ErrorKind::NotFound && begin.elapsed() < PATIENCE => {}
            Err(error) => return Err(error.into()),
        }
        if timeout.is_some_and(|timeout| begin.elapsed() > timeout) {
            screen.close();
            let waited = humantime::format_duration(Duration::from_secs(begin.elapsed().as_secs()));
            let reason = format!("run {run} did not end within {waited}");
            return Err(OperateError::new(ErrorKind::TimedOut, reason).into());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// An error when stars of a run that ended are not complete.
/// `store` is named where no configuration names it.
pub(crate) fn require_complete(run: &RunSummary, store: Option<&str>) -> anyhow::Result<()> {
    let wrong: Vec<String> =
        run.ends.iter().filter(|(end, _)| **end != StarEnd::Complete).map(|(end, n)| format!("{n} {end}")).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let store = store.map(|store| format!(" --store {store}")).unwrap_or_default();
    let wrong = wrong.join(", ");
    Err(Incomplete(format!("of {} stars {wrong}; `sas star explain STAR{store}` tells why", run.stars)).into())
}

/// Where a run stood when the watch began.
#[derive(Default)]
struct Pace {
    first: Option<(u64, u32)>,
}

impl Pace {
    fn snapshot(&mut self, run: &RunSummary, elapsed: Duration) -> Snapshot {
        let settled: u64 = run.tasks.iter().filter(|(state, _)| state.is_settled()).map(|(_, count)| count).sum();
        let stars_done = done(run);
        let (settled_before, done_before) = *self.first.get_or_insert((settled, stars_done));
        let seconds = elapsed.as_secs_f64().max(1e-3);
        let star_rate = f64::from(stars_done.saturating_sub(done_before)) / seconds;
        let mut tasks: BTreeMap<String, u64> = run.tasks.iter().map(|(state, n)| (state.to_string(), *n)).collect();
        if let Some(queued) = tasks.get_mut("queued") {
            *queued = queued.saturating_sub(run.running.into());
        }
        tasks.insert("running".to_owned(), run.running.into());
        tasks.retain(|_, count| *count > 0);
        Snapshot {
            run: run.run,
            stars: run.stars,
            stars_done,
            in_flight: run.in_flight,
            tasks,
            paused: run.phase == RunPhase::Paused,
            unserved: run.unserved.clone(),
            rate: settled.saturating_sub(settled_before) as f64 / seconds,
            eta_seconds: (star_rate > 0.0).then(|| (f64::from(run.stars - stars_done) / star_rate) as u64),
        }
    }
}

/// Where progress goes.
enum Screen {
    Bar(ProgressBar),
    Lines(Option<Instant>),
    Json(Option<Snapshot>),
}

impl Screen {
    fn new(format: Format) -> Self {
        match format {
            Format::Json => Self::Json(None),
            Format::Table | Format::Csv if std::io::stderr().is_terminal() => {
                let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
                let style = ProgressStyle::with_template("{elapsed:>5} [{bar:30}] {pos}/{len} stars  {msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
                Self::Bar(bar)
            }
            Format::Table | Format::Csv => Self::Lines(None),
        }
    }

    fn show(&mut self, snapshot: &Snapshot) {
        match self {
            Self::Bar(bar) => {
                bar.set_length(snapshot.stars.into());
                bar.set_position(snapshot.stars_done.into());
                bar.set_message(describe_tasks(snapshot));
            }
            Self::Lines(last) if last.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) => {
                *last = Some(Instant::now());
                note(&format!("{}/{} stars  {}", snapshot.stars_done, snapshot.stars, describe_tasks(snapshot)));
            }
            Self::Lines(_) => {}
            Self::Json(last) => {
                let changed = last.as_ref().is_none_or(|last| last.tasks != snapshot.tasks);
                if changed {
                    output::json_line(snapshot);
                    *last = Some(snapshot.clone());
                }
            }
        }
    }

    fn close(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Counts of tasks by state, the rate and the time to go, on one line.
fn describe_tasks(snapshot: &Snapshot) -> String {
    let mut parts: Vec<String> = snapshot.tasks.iter().map(|(state, count)| format!("{count} {state}")).collect();
    parts.push(format!("{:.1} tasks/s", snapshot.rate));
    parts.extend(
        snapshot
            .eta_seconds
            .map(|seconds| format!("{} to go", humantime::format_duration(Duration::from_secs(seconds)))),
    );
    parts.extend(snapshot.paused.then(|| "paused".to_owned()));
    parts.extend(unserved(&snapshot.unserved));
    parts.join(", ")
}
