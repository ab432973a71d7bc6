//! How far a run is, and when it may be done: its tasks counted by what their modules took so far. Pure.
//!
//! Of each module: tasks to go × the share that ran, and was not skipped or found, × what one took; what a class has to do is
//! divided by its slots, and the class that takes longest decides. Other runs that want the same slots are not counted.

use std::collections::BTreeMap;

use domain::id::{ClassName, ModuleIndex};
use domain::run::TaskState;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use services::state::{Phase, RunView, Spent, WorkerInfo};

/// Results that a module made before what they took says something.
const MEASURED: u64 = 3;

/// Settled tasks none of which ran before a module counts as one that does not run.
const IDLE: u64 = 10;

/// When nothing has ended for longer than this, in seconds, and than twice of what is to go, what is to go says nothing.
const STILL: f64 = 120.0;

/// How far a run is, and when it may be done.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct Expected {
    /// Tasks that are settled.
    pub tasks_done: u64,
    /// All tasks of all stars, also of those that are to come.
    pub tasks: u64,
    /// Slot seconds that results took so far.
    pub work_done: f64,
    /// Slot seconds that are to come, as far as modules are measured.
    pub work_to_go: f64,
    /// Modules with tasks to come, of which so many are measured.
    pub measured: u32,
    /// Modules with tasks to come.
    pub open: u32,
    /// Seconds to go with the slots that live workers have.
    pub seconds: Option<u64>,
    /// Why there is no such number, in words.
    pub unknown: Option<String>,
}

/// What is expected of a run that stands so, with these workers.
pub(crate) fn expected(view: &RunView, workers: &[WorkerInfo], now: Timestamp) -> Expected {
    let mut expected = Expected::default();
    let mut classes: BTreeMap<&ClassName, ClassWork> = BTreeMap::new();
    let nothing = BTreeMap::new();
    for (index, (_, class)) in (0..=u8::MAX).map(ModuleIndex).zip(&view.info.modules) {
        let spent = view.spent.get(&index).copied().unwrap_or_default();
        let module = ModuleWork::of(view.counts.get(&index).unwrap_or(&nothing), spent);
        expected.tasks += module.open + module.settled;
        expected.tasks_done += module.settled;
        expected.work_done += spent.millis as f64 / 1e3;
        if module.open == 0 {
            continue;
        }
        expected.open += 1;
        if let Some(one) = module.seconds() {
            expected.measured += 1;
            expected.work_to_go += one.all(module.open);
            let work = classes.entry(class).or_default();
            work.all += one.all(module.open);
            // However many slots there are, the last task takes its time.
            work.longest = work.longest.max(if one.share > 0.0 { one.seconds } else { 0.0 });
        }
    }
    match to_go(view, workers, now, &expected, &classes) {
        Ok(seconds) => Expected { seconds: Some(seconds.ceil() as u64), ..expected },
        Err(unknown) => Expected { unknown: Some(unknown), ..expected },
    }
}

/// Slot seconds that the tasks of each module which are not settled will take; `None` where the module is not measured yet.
pub(in crate::operate) fn to_do(view: &RunView) -> BTreeMap<ModuleIndex, Option<f64>> {
    let nothing = BTreeMap::new();
    let of = |module: ModuleIndex| {
        let spent = view.spent.get(&module).copied().unwrap_or_default();
        let work = ModuleWork::of(view.counts.get(&module).unwrap_or(&nothing), spent);
        (module, if work.open == 0 { Some(0.0) } else { work.seconds().map(|one| one.all(work.open)) })
    };
    (0..=u8::MAX).map(ModuleIndex).take(view.info.modules.len()).map(of).collect()
}

/// What a class has to do, in seconds.
#[derive(Default)]
struct ClassWork {
    all: f64,
    longest: f64,
}

/// Tasks of a module.
struct ModuleWork {
    settled: u64,
    open: u64,
    /// Those that a worker had: succeeded or failed.
    ended: u64,
    spent: Spent,
}

/// What a task of a module is expected to take.
struct OneTask {
    /// The share that runs.
    share: f64,
    /// What one that runs takes.
    seconds: f64,
}

impl OneTask {
    /// What so many are expected to take, in seconds.
    fn all(&self, tasks: u64) -> f64 {
        self.share * self.seconds * tasks as f64
    }
}

impl ModuleWork {
    fn of(counts: &BTreeMap<TaskState, u64>, spent: Spent) -> Self {
        let sum = |is: fn(TaskState) -> bool| counts.iter().filter(|(state, _)| is(**state)).map(|(_, n)| n).sum();
        Self {
            settled: sum(TaskState::is_settled),
            open: sum(|state| !state.is_settled()),
            ended: sum(|state| matches!(state, TaskState::Succeeded | TaskState::Failed)),
            spent,
        }
    }

    /// `None` where the module is not measured yet.
    fn seconds(&self) -> Option<OneTask> {
        let Spent { tasks, millis, found, .. } = self.spent;
        if tasks >= MEASURED {
            let made = tasks as f64 / (tasks + found) as f64;
            let share = made * self.ended as f64 / self.settled.max(1) as f64;
            return Some(OneTask { share: share.min(1.0), seconds: millis as f64 / 1e3 / tasks as f64 });
        }
        let ran = self.ended.saturating_sub(found);
        (self.settled >= IDLE && ran == 0).then_some(OneTask { share: 0.0, seconds: 0.0 })
    }
}

/// Seconds to go, or why nobody can tell.
fn to_go(
    view: &RunView,
    workers: &[WorkerInfo],
    now: Timestamp,
    expected: &Expected,
    classes: &BTreeMap<&ClassName, ClassWork>,
) -> Result<f64, String> {
    match view.info.phase {
        Phase::Active => {}
        Phase::Paused => return Err("the run is paused".to_owned()),
        Phase::Cancelling => return Err("the run is being cancelled".to_owned()),
    }
    if view.on_hold > 0 {
        return Err(format!("operators hold {} tasks back", view.on_hold));
    }
    let mut longest: f64 = 0.0;
    for (class, work) in classes.iter().filter(|(_, work)| work.all > 0.0) {
        let slots = workers.iter().filter(|worker| !worker.drained).filter_map(|worker| worker.slots.get(*class));
        let slots: u64 = slots.map(|slots| u64::from(*slots)).sum();
        if slots == 0 {
            return Err(format!("no worker has slots of class {class}"));
        }
        longest = longest.max(work.longest).max(work.all / slots as f64);
    }
    if expected.measured < expected.open {
        let Expected { measured, open, .. } = expected;
        return Err(format!("too early to tell: of {open} modules with tasks to come {measured} are measured"));
    }
    let still = view.moved.map(|moved| now.duration_since(moved).as_secs_f64()).unwrap_or_default();
    if still > STILL.max(2.0 * longest) {
        let still = humantime::format_duration(std::time::Duration::from_secs(still as u64));
        return Err(format!("that cannot be told: nothing ended for {still}"));
    }
    Ok(longest)
}

#[cfg(test)]
mod tests {
    use services::state::RunInfo;

    use super::*;

    /// A run of 100 stars over two modules: A of class `default`, B of class `heavy`.
    fn view(a: &[(TaskState, u64)], b: &[(TaskState, u64)], spent: [(u64, u64); 2]) -> RunView {
        let [default, heavy] = ["default", "heavy"].map(|name| name.parse().unwrap());
        let info = RunInfo {
            run: domain::id::RunId::of(domain::id::EventId::of("t", "1"), "P", "1"),
            pipeline: "P".parse().unwrap(),
            version: "1".to_owned(),
            quarter: 1.try_into().unwrap(),
            stars: 100,
            modules: vec![("A".parse().unwrap(), default), ("B".parse().unwrap(), heavy)],
            horizon: domain::id::Sequence(1),
            accepted: Timestamp::UNIX_EPOCH,
            phase: Phase::Active,
            weight: 1,
            cursor: 50,
            held: Vec::new(),
            amended: 0,
        };
        let counts = [a, b].map(|counts| counts.iter().copied().collect());
        let spent = spent.map(|(tasks, seconds)| Spent { tasks, millis: seconds * 1000, ..Spent::default() });
        RunView {
            moved: None,
            info,
            counts: (0..).map(ModuleIndex).zip(counts).collect(),
            in_flight: 10,
            running: 4,
            ready: BTreeMap::new(),
            on_hold: 0,
            is_moving: false,
            spent: (0..).map(ModuleIndex).zip(spent).collect(),
        }
    }

    fn worker(default: u32, heavy: u32) -> WorkerInfo {
        let slots = [("default".parse().unwrap(), default), ("heavy".parse().unwrap(), heavy)];
        WorkerInfo::new("a-1".parse().unwrap(), slots.into(), Timestamp::UNIX_EPOCH)
    }

    fn check(view: &RunView, workers: &[WorkerInfo], seconds: Result<u64, &str>) {
        let found = expected(view, workers, Timestamp::UNIX_EPOCH);
        assert_eq!(found.seconds.ok_or(found.unknown.as_deref().unwrap_or_default()), seconds, "{found:?}");
    }

    const A: &[(TaskState, u64)] = &[(TaskState::Succeeded, 60), (TaskState::Blocked, 40)];
    /// Half of those that are settled ran.
    const B: &[(TaskState, u64)] =
        &[(TaskState::Succeeded, 8), (TaskState::Failed, 2), (TaskState::Skipped, 10), (TaskState::Blocked, 80)];

    #[test]
    fn the_class_that_takes_longest_decides() {
        let run = view(A, B, [(60, 120), (8, 80)]);
        // A: 40 tasks × 2 s on 4 slots; B: 80 tasks × ½ × 10 s on 2.
        check(&run, &[worker(2, 1), worker(2, 1)], Ok(200));
        check(&run, &[worker(1, 1), worker(0, 99)], Ok(80));
        let all = expected(&run, &[worker(4, 2)], Timestamp::UNIX_EPOCH);
        assert_eq!((all.tasks_done, all.tasks, all.work_done, all.work_to_go), (80, 200, 200.0, 480.0));
        check(&run, &[worker(1000, 1000)], Ok(10));
        check(&run, &[worker(4, 0)], Err("no worker has slots of class heavy"));
        check(&run, &[WorkerInfo { drained: true, ..worker(4, 2) }], Err("no worker has slots of class default"));
    }

    #[test]
    fn with_few_results_nobody_can_tell() {
        let young = [(TaskState::Succeeded, 2), (TaskState::Blocked, 98)];
        check(
            &view(A, &young, [(60, 120), (2, 20)]),
            &[worker(4, 2)],
            Err("too early to tell: of 2 modules with tasks to come 1 are measured"),
        );
        let skipped = [(TaskState::Skipped, 60), (TaskState::Blocked, 40)];
        check(&view(A, &skipped, [(60, 120), (0, 0)]), &[worker(4, 2)], Ok(20));
        let done = [(TaskState::Succeeded, 100)];
        check(&view(&done, &done, [(0, 0), (0, 0)]), &[], Ok(0));
    }

    #[test]
    fn what_stands_still_has_no_end() {
        let mut run = view(A, B, [(60, 120), (8, 80)]);
        // 200 seconds are to go; for twice that nothing may end.
        run.moved = Timestamp::from_second(-400).ok();
        check(&run, &[worker(4, 2)], Ok(200));
        run.moved = Timestamp::from_second(-401).ok();
        check(&run, &[worker(4, 2)], Err("that cannot be told: nothing ended for 6m 41s"));
        run.on_hold = 7;
        check(&run, &[worker(4, 2)], Err("operators hold 7 tasks back"));
        run.info.phase = Phase::Paused;
        check(&run, &[worker(4, 2)], Err("the run is paused"));
    }

    #[test]
    fn results_that_are_found_take_no_time() {
        let mut run = view(A, &[(TaskState::Succeeded, 100)], [(30, 60), (0, 0)]);
        run.spent.get_mut(&ModuleIndex(0)).unwrap().found = 30;
        check(&run, &[worker(4, 0)], Ok(10));
    }
}
