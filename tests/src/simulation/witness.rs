//! Sees every claim and every report of the workers: what must hold of them is checked here, and the faults begin here that
//! need to know which attempt they are of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use domain::id::{Nonce, RunId, Task, WorkerName};
use domain::message::{Completion, Report, parse_completions};
use domain::outcome::Outcome;
use domain::run::{Cell, Ruling, TaskState, Tries, decide};
use services::state::{ClaimWish, Grant};
use store::{Store, paths};

use super::life::Life;
use super::{Faults, Script, quarter};

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
    violations: Mutex<Vec<String>>,
}

/// A claim that was granted.
#[derive(Clone)]
pub(super) struct Claimed {
    pub(super) script: Arc<Script>,
    pub(super) task: Task,
    /// What was spent on the task before.
    pub(super) tries: Tries,
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
    pub(super) fn granted(&self, run: RunId, wish: &ClaimWish, grant: &Grant) {
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
        let claimed = Claimed { script, task, tries: grant.tries };
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
            && let Some(script) = self.script(completion.run)
            && let Ok(star) = self.store.stars(completion.run).and_then(|stars| stars.star(completion.task.star))
        {
            let module = &script.pipeline.module(completion.task.module).name;
            let file = self.store.at(paths::product(star, quarter(), module, &success.key));
            if !file.exists() && !self.lost.lock().unwrap().contains(&file) {
                self.note(format!("W1: {:?} is reported, and `{}` is not there", completion.task, file.display()));
            }
            if self.faults.happens(0.01) && std::fs::remove_file(&file).is_ok() {
                self.lost.lock().unwrap().insert(file);
            }
        }
        self.may_die(&completion.worker).await;
    }

    fn script(&self, run: RunId) -> Option<Arc<Script>> {
        let record = self.store.run(run).ok()??;
        self.scripts.iter().find(|script| script.pipeline.name == record.pipeline).cloned()
    }
}
