//! Runs that go on, and their tasks by module and state.

use std::time::Duration;

use domain::id::ModuleIndex;
use jiff::Timestamp;
use services::state::{Phase, RunView, WorkerInfo};
use tokio::time::timeout;

use crate::metrics::list::List;
use crate::operate::view::{Expected, expected};
use crate::running::Coordinator;
use crate::trouble::Trouble;

/// Runs that have numbers of their own, the newest of those that go on: each name of a run is kept for long by who scrapes.
const MOST_RUNS: usize = 100;

/// How long the state has to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the state says.
#[derive(Default)]
pub(super) struct RunsSeen {
    runs: Vec<(RunView, Expected)>,
    /// `None` where the state does not say.
    workers: Option<Vec<WorkerInfo>>,
}

impl RunsSeen {
    pub(super) async fn look(running: &Coordinator) -> Self {
        let look = async {
            let state = &running.services.state;
            let (mut runs, workers) = (Vec::new(), state.workers().await?);
            for info in state.runs().await? {
                runs.extend(running.view(info.run).await?.map(|view| {
                    let expected = expected(&view, &workers, Timestamp::now());
                    (view, expected)
                }));
            }
            Ok::<_, Trouble>(Self { runs, workers: Some(workers) })
        };
        match timeout(PATIENCE, look).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(_)) | Err(_) => Self::default(),
        }
    }
}

pub(super) fn add(list: &mut List, seen: &RunsSeen) {
    let workers = seen.workers.as_deref();
    let count = |is: fn(&WorkerInfo) -> bool| workers.map(|all| all.iter().filter(|worker| is(worker)).count() as f64);
    list.gauge("workers", "Workers that live", count(|_| true));
    list.gauge("workers_drained", "Workers that live on hosts that operators drain", count(|worker| worker.drained));
    list.gauge(
        "workers_waiting",
        "Workers that take no tasks, for a service of theirs is away",
        count(|worker| worker.waits_for.is_some()),
    );
    tasks(list, &seen.runs);
    let newest = &seen.runs[seen.runs.len().saturating_sub(MOST_RUNS)..];
    let named: Vec<(String, &RunView, &Expected)> =
        newest.iter().map(|(view, expected)| (view.info.run.to_string(), view, expected)).collect();
    type Number = fn(&RunView, &Expected) -> Option<f64>;
    let numbers: [(&str, &str, Number); 10] = [
        ("stars_in_flight", "Stars admitted and not closed", |view, _| Some(view.in_flight.into())),
        ("stars_to_come", "Stars not admitted yet", |view, _| Some(view.to_come().into())),
        ("attempts_running", "Attempts with a live lease", |view, _| Some(view.running.into())),
        (
            "run_active",
            "1 where tasks of the run are handed out, 0 where it is paused or being cancelled",
            |view, _| Some(f64::from(u8::from(view.info.phase == Phase::Active))),
        ),
        ("run_moved_timestamp_seconds", "When a task of the run was settled last", |view, _| {
            view.moved.map(|moved| moved.as_millisecond() as f64 / 1e3)
        }),
        ("run_tasks", "All tasks of the run", |_, expected| Some(expected.tasks as f64)),
        ("run_tasks_settled", "Tasks of the run that are settled", |_, expected| Some(expected.tasks_done as f64)),
        ("run_work_done_seconds", "Slot time that results of the run took", |_, expected| Some(expected.work_done)),
        ("run_work_to_go_seconds", "Slot time that is to come, as far as modules are measured", |_, expected| {
            Some(expected.work_to_go)
        }),
        (
            "run_to_go_seconds",
            "Time to go with the slots that there are; left out where nobody can tell",
            |_, expected| expected.seconds.map(|seconds| seconds as f64),
        ),
    ];
    for (name, help, number) in numbers {
        let of_runs = named.iter().filter_map(|(run, view, expected)| {
            Some(([("run", run.as_str()), ("pipeline", view.info.pipeline.as_str())], number(view, expected)?))
        });
        list.gauges(name, help, of_runs);
    }
}

/// Tasks of all runs that go on.
fn tasks(list: &mut List, runs: &[(RunView, Expected)]) {
    let mut all = Vec::new();
    for (view, _) in runs {
        for (index, (module, _)) in (0..=u8::MAX).map(ModuleIndex).zip(&view.info.modules) {
            let counts = view.counts.get(&index).into_iter().flatten();
            all.extend(
                counts.map(|(state, count)| (view.info.pipeline.as_str(), module.as_str(), state.to_string(), *count)),
            );
        }
    }
    let numbers = all.iter().map(|(pipeline, module, state, count)| {
        ([("pipeline", *pipeline), ("module", *module), ("state", state.as_str())], *count as f64)
    });
    list.gauges("tasks", "Tasks of runs that go on, by state", numbers);
}
