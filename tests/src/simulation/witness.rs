//! Sees every claim and every report of the workers: what must hold of them is checked here, and the faults begin here that
//! need to know which attempt they are of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::id::{Attempt, Nonce, RunId, Task, WorkerName};
use domain::message::{Completion, DatasetEvent, Report, TaskMessage, parse_completions, parse_task};
use domain::outcome::{Outcome, Success};
use domain::run::{Cell, Graph, Ruling, TaskState, Tries, decide};
use services::queue::QueueName;
use services::state::{Claim, ClaimRequest, ClaimWish, Grant};
use store::{Store, paths};

use super::files::{Committed, read};
use super::life::Life;
use super::mutant::Mutant;
use super::{FaultKind, Faults, Script, quarter};

/// How long after its report a product is committed, where that is broken on purpose.
const LATE: Duration = Duration::from_secs(2);

/// Who sees it all.
pub(super) struct Witness {
    store: Store,
    faults: Arc<Faults>,
    scripts: Vec<Arc<Script>>,
    claimed: Mutex<BTreeMap<Nonce, Claimed>>,
    hanging: Mutex<BTreeSet<Nonce>>,
    /// Results that the disk lost.
    lost: Mutex<BTreeSet<PathBuf>>,
    /// Workers that live, by name.
    lives: Mutex<BTreeMap<WorkerName, Life>>,
    /// Attempts whose claims were decided, one way or the other.
    decided: Mutex<BTreeSet<(RunId, Task, Attempt)>>,
    /// How often a program ran to its end.
    executions: AtomicU64,
    /// What runs now, with its claims.
    running: Mutex<BTreeMap<(RunId, Task), BTreeSet<Nonce>>>,
    /// Where nothing but the state gets lost: how long programs take at most.
    slow: Mutex<Option<Duration>>,
    violations: Mutex<Vec<String>>,
}

/// A claim that was granted.
#[derive(Clone)]
pub(super) struct Claimed {
    pub(super) script: Arc<Script>,
    pub(super) run: RunId,
    pub(super) task: Task,
    /// What was spent on the task before.
    pub(super) tries: Tries,
}

/// A program that runs until this is dropped.
pub(super) struct RunningProgram {
    witness: Arc<Witness>,
    task: (RunId, Task),
    nonce: Option<Nonce>,
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        if let (Some(all), Some(nonce)) = (self.witness.running.lock().unwrap().get_mut(&self.task), self.nonce) {
            all.remove(&nonce);
        }
    }
}

impl Witness {
    pub(super) fn new(store: Store, faults: Arc<Faults>, scripts: Vec<Arc<Script>>) -> Self {
        Self {
            store,
            faults,
            scripts,
            claimed: Mutex::default(),
            hanging: Mutex::default(),
            lost: Mutex::default(),
            lives: Mutex::default(),
            decided: Mutex::default(),
            executions: AtomicU64::new(0),
            running: Mutex::default(),
            slow: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    /// Notes what must never happen.
    pub(super) fn note(&self, what: String) {
        self.violations.lock().unwrap().push(what);
    }

    /// What was noted so far.
    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    /// A worker begins to live under this name.
    pub(super) fn is_born(&self, worker: &WorkerName, life: Life) {
        self.lives.lock().unwrap().insert(worker.clone(), life);
    }

    /// A worker that lives, by chance.
    pub(super) fn some_worker(&self) -> Option<Life> {
        let lives = self.lives.lock().unwrap();
        let living: Vec<&Life> = lives.values().filter(|life| life.is_alive()).collect();
        (!living.is_empty()).then(|| living[self.faults.below(living.len())].clone())
    }

    /// From now on nothing but the state gets lost: programs, which take up to so long, are begun once, and end (W4).
    pub(super) fn expect_all_to_end(&self, most: Duration) {
        *self.slow.lock().unwrap() = Some(most);
    }

    /// How long programs take at most, where nothing but the state gets lost.
    pub(super) fn slow(&self) -> Option<Duration> {
        *self.slow.lock().unwrap()
    }

    /// A program begins; it runs until what is returned is dropped.
    pub(super) fn begins(self: &Arc<Self>, claimed: &Claimed, nonce: &str) -> RunningProgram {
        let (task, nonce) = ((claimed.run, claimed.task), nonce.parse().ok());
        let mut running = self.running.lock().unwrap();
        let all = running.entry(task).or_default();
        if self.slow().is_some() && !all.is_empty() {
            self.note(format!("W4: {:?} is begun, and runs already", claimed.task));
        }
        all.extend(nonce);
        RunningProgram { witness: self.clone(), task, nonce }
    }

    /// A program is stopped before its end.
    pub(super) fn stopped(&self, claimed: &Claimed) {
        if self.slow().is_some() {
            self.note(format!("W4: {:?} is stopped, and only the state was lost", claimed.task));
        }
    }

    /// A program ran to its end.
    pub(super) fn executed(&self) {
        self.executions.fetch_add(1, Ordering::Relaxed);
    }

    /// How often programs ran to their ends.
    pub(super) fn executions(&self) -> u64 {
        self.executions.load(Ordering::Relaxed)
    }

    /// A delivery is acknowledged: whatever it was about is on record, or decided (R4).
    pub(super) fn acknowledges(&self, queue: &QueueName, body: &[u8]) {
        match queue {
            QueueName::Events => {
                let Ok(event) = DatasetEvent::from_json(body) else { return };
                if !self.store.dispositions(event.event_id()).is_ok_and(|found| found.is_some()) {
                    self.note(format!("R4: event {} is acknowledged, and not in the store", event.event_id()));
                }
            }
            QueueName::Tasks(_) => {
                let Ok(TaskMessage { run, task, attempt, .. }) = parse_task(body) else { return };
                if !self.decided.lock().unwrap().contains(&(run, task, attempt)) {
                    self.note(format!("R4: {task:?} of run {run} is acknowledged, and its claim is not decided"));
                }
            }
            QueueName::Completions | QueueName::Dead | QueueName::Probe => {}
        }
    }

    /// The graph of a run.
    pub(super) fn graph(&self, run: RunId) -> Option<Graph> {
        self.script(run).map(|script| script.graph.clone())
    }

    /// Claims are answered.
    pub(super) fn decided(&self, request: &ClaimRequest, claims: &[Claim]) {
        for (wish, claim) in request.wishes.iter().zip(claims) {
            self.decided.lock().unwrap().insert((request.run, wish.task, wish.attempt));
            if let Claim::Granted(grant) = claim {
                self.granted(request.run, wish, grant);
            }
        }
    }

    /// Every worker that lives dies.
    pub(super) fn kill_all(&self) {
        self.lives.lock().unwrap().values().for_each(Life::kill);
    }

    /// A worker claims; sometimes it dies before that, and sometimes before it hears the answer.
    pub(super) async fn claims<T>(&self, worker: &WorkerName, claim: impl Future<Output = T> + Send) -> T {
        self.may_die(worker).await;
        let answer = claim.await;
        self.may_die(worker).await;
        answer
    }

    async fn may_die(&self, worker: &WorkerName) {
        let life = self.lives.lock().unwrap().get(worker).cloned();
        if let Some(life) = life {
            life.may_die(0.01).await;
        }
    }

    /// A claim is granted: R1, and that whoever runs knows what its producers made.
    fn granted(&self, run: RunId, wish: &ClaimWish, grant: &Grant) {
        let task = wish.task;
        let Some(script) = self.script(run) else { return };
        let mut before = grant.row.clone();
        before.set(task.module, Cell { state: TaskState::Blocked, tag: 0 });
        if decide(&script.graph.nodes[task.module.at()], &before) != Ruling::Run {
            self.note(format!("R1: {task:?} of run {} was queued on {:?}", run, grant.row));
        }
        let read = script.read_by(task.module);
        for up in read.iter().filter(|up| grant.row.cell(**up).state == TaskState::Succeeded) {
            match grant.upstream.get(up).map(|detail| &detail.outcome) {
                Some(Outcome::Succeeded(_)) => {}
                other => self.note(format!("{task:?}: nothing is known of {up:?}, but {other:?}")),
            }
        }
        let claimed = Claimed { script, run, task, tries: grant.tries };
        self.claimed.lock().unwrap().insert(wish.nonce, claimed);
    }

    /// The claim with this nonce, as labels have it.
    pub(super) fn claimed(&self, nonce: &str) -> Option<Claimed> {
        self.claimed.lock().unwrap().get(&nonce.parse().ok()?).cloned()
    }

    /// From now on this claim is not renewed, and its worker does not know.
    pub(super) fn hang(&self, nonce: &str) {
        self.hanging.lock().unwrap().extend(nonce.parse::<Nonce>().ok());
    }

    /// Whether a claim is not renewed.
    pub(super) fn hangs(&self, nonce: Nonce) -> bool {
        self.hanging.lock().unwrap().contains(&nonce)
    }

    /// A worker reports: its product is there before anybody hears of it (W1), and sometimes the disk loses it then; or the
    /// worker dies with the report in its hands.
    pub(super) async fn reports(&self, body: &[u8]) {
        let Ok(completions) = parse_completions(body) else {
            return self.note("a completion that cannot be read".to_owned());
        };
        for completion in completions {
            self.reports_one(completion).await;
        }
    }

    async fn reports_one(&self, completion: Completion) {
        if let Report::Ended(Outcome::Succeeded(success)) = &completion.result
            && let Some(file) = self.product(&completion, success)
        {
            if self.faults.breaks(Mutant::UnlockWithoutCommit) && !success.reused {
                commit_late(&file);
            }
            self.look_at(&completion, success, &file);
            if self.faults.happens(FaultKind::ResultLost, 0.01) && std::fs::remove_file(&file).is_ok() {
                self.lost.lock().unwrap().insert(file);
            }
        }
        self.may_die(&completion.worker).await;
    }

    /// The file of a result.
    fn product(&self, completion: &Completion, success: &Success) -> Option<PathBuf> {
        let script = self.script(completion.run)?;
        let star = self.store.stars(completion.run).and_then(|stars| stars.star(completion.task.star)).ok()?;
        let module = &script.pipeline.module(completion.task.module).name;
        Some(self.store.at(paths::product(star, quarter(), module, &success.key)))
    }

    /// What is reported is in the store.
    fn look_at(&self, completion: &Completion, success: &Success, file: &Path) {
        let task = completion.task;
        if self.lost.lock().unwrap().contains(file) {
            return;
        }
        let Ok(Committed { manifest, .. }) = read(file) else {
            return self.note(format!("W1: {task:?} is reported, and `{}` is not there", file.display()));
        };
        let digest = |name| manifest.products.get(name).map(|entry| entry.digest);
        if success.products.iter().any(|(name, reported)| digest(name) != Some(*reported)) {
            self.note(format!("S1: {task:?} is reported with other digests than those of `{}`", file.display()));
        }
    }

    fn script(&self, run: RunId) -> Option<Arc<Script>> {
        let record = self.store.run(run).ok()??;
        self.scripts.iter().find(|script| script.pipeline.name == record.pipeline).cloned()
    }
}

/// Takes a committed file away for a while.
fn commit_late(file: &Path) {
    let late = file.with_extension("late");
    if std::fs::rename(file, &late).is_ok() {
        let file = file.to_owned();
        tokio::spawn(async move {
            tokio::time::sleep(LATE).await;
            // Somebody may have committed it meanwhile.
            _ = std::fs::hard_link(&late, &file);
            _ = std::fs::remove_file(&late);
        });
    }
}
