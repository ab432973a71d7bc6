//! Watching a run until it ends: a bar on a terminal, plain lines elsewhere, JSON lines with `-o json`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use coordinator::view::{self, RunPhase, RunSummary, ViewError};
use domain::id::{ClassName, RunId};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use services::state::SharedState;
use store::Store;
use store::runs::StarEnd;

use crate::command::run;
use crate::exit::Stop;
use crate::output::{self, Format, note};

/// How often the state is asked.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often a line is printed where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a run may be on its way into the store.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a run stands, in few numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Standing {
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
    store: &Store,
    state: &SharedState,
    run: RunId,
    timeout: Option<Duration>,
    format: Format,
) -> anyhow::Result<RunSummary> {
    let begin = Instant::now();
    let (mut screen, mut pace) = (Screen::new(format), Pace::default());
    loop {
        match view::run(store, state, run).await {
            Ok(summary) if summary.phase == RunPhase::Ended => {
                screen.close();
                return Ok(summary);
            }
            Ok(summary) => screen.show(&pace.standing(&summary, begin.elapsed())),
            // Its event may still be on the way.
            Err(ViewError::NotFound(_)) if begin.elapsed() < PATIENCE => {}
            Err(error) => return Err(error.into()),
        }
        if timeout.is_some_and(|timeout| begin.elapsed() > timeout) {
            screen.close();
            let waited = humantime::format_duration(Duration::from_secs(begin.elapsed().as_secs()));
            return Err(Stop::TimedOut(format!("run {run} did not end within {waited}")).into());
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
    Err(Stop::Incomplete(format!("of {} stars {wrong}; `sas star explain STAR{store}` tells why", run.stars)).into())
}

/// Where a run stood when the watch began.
#[derive(Default)]
struct Pace {
    first: Option<(u64, u32)>,
}

impl Pace {
    fn standing(&mut self, run: &RunSummary, elapsed: Duration) -> Standing {
        let settled: u64 = run.tasks.iter().filter(|(state, _)| state.is_settled()).map(|(_, count)| count).sum();
        let stars_done = run::done(run);
        let (settled_before, done_before) = *self.first.get_or_insert((settled, stars_done));
        let seconds = elapsed.as_secs_f64().max(1e-3);
        let star_rate = f64::from(stars_done.saturating_sub(done_before)) / seconds;
        let mut tasks: BTreeMap<String, u64> = run.tasks.iter().map(|(state, n)| (state.to_string(), *n)).collect();
        if let Some(queued) = tasks.get_mut("queued") {
            *queued = queued.saturating_sub(run.running.into());
        }
        tasks.insert("running".to_owned(), run.running.into());
        tasks.retain(|_, count| *count > 0);
        Standing {
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
    Json(Option<Standing>),
}

impl Screen {
    fn new(format: Format) -> Self {
        match format {
            Format::Json => Self::Json(None),
            Format::Text if std::io::stderr().is_terminal() => {
                let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
                let style = ProgressStyle::with_template("{elapsed:>5} [{bar:30}] {pos}/{len} stars  {msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
                Self::Bar(bar)
            }
            Format::Text => Self::Lines(None),
        }
    }

    fn show(&mut self, standing: &Standing) {
        match self {
            Self::Bar(bar) => {
                bar.set_length(standing.stars.into());
                bar.set_position(standing.stars_done.into());
                bar.set_message(describe_tasks(standing));
            }
            Self::Lines(last) if last.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) => {
                *last = Some(Instant::now());
                note(&format!("{}/{} stars  {}", standing.stars_done, standing.stars, describe_tasks(standing)));
            }
            Self::Lines(_) => {}
            Self::Json(last) => {
                let changed = last.as_ref().is_none_or(|last| last.tasks != standing.tasks);
                if changed && let Ok(line) = serde_json::to_string(standing) {
                    output::line(&line);
                    *last = Some(standing.clone());
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
fn describe_tasks(standing: &Standing) -> String {
    let mut parts: Vec<String> = standing.tasks.iter().map(|(state, count)| format!("{count} {state}")).collect();
    parts.push(format!("{:.1} tasks/s", standing.rate));
    parts.extend(
        standing
            .eta_seconds
            .map(|seconds| format!("{} to go", humantime::format_duration(Duration::from_secs(seconds)))),
    );
    parts.extend(standing.paused.then(|| "paused".to_owned()));
    parts.extend(run::unserved(&standing.unserved));
    parts.join(", ")
}
