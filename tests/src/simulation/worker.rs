//! A worker without containers: claims, runs for a while, commits, reports; dies, hangs and repeats itself now and then.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::id::{Key, ModuleIndex, Nonce};
use domain::message::{Completion, Report, TaskMessage, WIRE_VERSION, parse_task, to_json};
use domain::outcome::{Outcome, PlatformError, PlatformErrorKind};
use domain::run::{Cell, Decision, TaskState, decide};
use jiff::Timestamp;
use services::queue::{Outgoing, Queue, QueueName};
use services::state::{Claim, ClaimRequest, Grant, Lease, State, WorkerInfo};
use store::{Store, paths};

use super::faults::{FaultyQueue, FaultyState};
use super::{Faults, Script, note};

const LEASE: Duration = Duration::from_secs(5);

const SLOTS: u32 = 4;

/// A simulated worker.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) store: Store,
    pub(super) queue: Arc<FaultyQueue>,
    pub(super) state: Arc<FaultyState>,
    pub(super) faults: Arc<Faults>,
    pub(super) scripts: Vec<Arc<Script>>,
    pub(super) violations: Arc<Mutex<Vec<String>>>,
}

impl Worker {
    /// Works for ever: some slots for each class.
    pub(super) async fn work(self) {
        let mut slots = tokio::task::JoinSet::new();
        for class in ["default", "heavy"] {
            let class = class.parse().expect("a class name");
            drop(self.queue.declare(std::slice::from_ref(&class)).await);
            for _ in 0..SLOTS {
                slots.spawn(self.clone().slot(QueueName::Tasks(class.clone())));
            }
        }
        loop {
            let slots = ["default", "heavy"].map(|class| (class.parse().expect("a class name"), SLOTS)).into();
            let info = WorkerInfo { worker: self.name.clone(), slots, running: 0, seen: Timestamp::UNIX_EPOCH };
            drop(self.state.show_worker(&info, Duration::from_secs(10)).await);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    async fn slot(self, queue: QueueName) {
        let mut consumer = self.queue.consume(queue, 1).await.expect("the queue is declared");
        loop {
            let delivery = consumer.next().await;
            let Ok(message) = parse_task(&delivery.body) else {
                note(&self.violations, "a task message that cannot be read".to_owned());
                continue;
            };
            if self.faults.happens(0.02) {
                continue;
            }
            let nonce = Nonce::random();
            let Some(claim) = self.claim(&message, nonce).await else { continue };
            drop(delivery.receipt.ack().await);
            if let Claim::Granted(grant) = claim {
                self.attempt(&message, nonce, *grant).await;
            }
        }
    }

    /// Claims with the same nonce until there is an answer; `None` gives the delivery back.
    async fn claim(&self, message: &TaskMessage, nonce: Nonce) -> Option<Claim> {
        let script = self.script(message)?;
        for _ in 0..3 {
            let request = ClaimRequest {
                run: message.run,
                epoch: message.epoch,
                task: message.task,
                attempt: message.attempt,
                nonce,
                worker: self.name.clone(),
                lease: LEASE,
                upstream: script.graph.nodes[message.task.module.at()].upstream.clone(),
            };
            if let Ok(claim) = self.state.claim(&request).await {
                return Some(claim);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    async fn attempt(&self, message: &TaskMessage, nonce: Nonce, grant: Grant) {
        let Some(script) = self.script(message) else { return };
        let keys = self.check(&script, message, &grant);
        if self.faults.happens(0.03) {
            return;
        }
        tokio::time::sleep(self.faults.between(Duration::from_millis(5), Duration::from_millis(400))).await;
        if self.faults.happens(0.03) {
            // It hangs longer than its lease lives, and reports all the same.
            tokio::time::sleep(LEASE * 2).await;
        } else if self.faults.happens(0.05) && !self.run_long(message, nonce).await {
            return;
        }
        let result = if self.faults.happens(0.02) {
            Report::GivenBack
        } else {
            Report::Ended(self.run(&script, message, &grant, &keys))
        };
        self.report(message, nonce, result).await;
    }

    /// Runs longer than its lease, renewing it; `false` when the lease was lost and the attempt stops.
    async fn run_long(&self, message: &TaskMessage, nonce: Nonce) -> bool {
        let lease = Lease { run: message.run, task: message.task, attempt: message.attempt, nonce };
        for _ in 0..5 {
            tokio::time::sleep(LEASE / 3).await;
            if let Ok(lives) = self.state.renew(std::slice::from_ref(&lease), LEASE).await
                && lives != [true]
            {
                return false;
            }
        }
        true
    }

    /// R1, and that whoever runs knows what its producers made.
    fn check(&self, script: &Script, message: &TaskMessage, grant: &Grant) -> BTreeMap<ModuleIndex, Key> {
        let module = message.task.module;
        let node = &script.graph.nodes[module.at()];
        let mut before = grant.row.clone();
        before.set(module, Cell { state: TaskState::Blocked, tag: 0 });
        if decide(node, &before) != Decision::Run {
            note(&self.violations, format!("R1: {message} was queued on {:?}", grant.row));
        }
        let mut keys = BTreeMap::new();
        for up in script.read_by(module).iter().filter(|up| grant.row.cell(**up).state == TaskState::Succeeded) {
            match grant.upstream.get(up).map(|detail| &detail.outcome) {
                Some(Outcome::Succeeded(success)) => drop(keys.insert(*up, success.key)),
                other => note(&self.violations, format!("{message}: nothing is known of {up:?}, but {other:?}")),
            }
        }
        keys
    }

    /// Runs and commits (W1): the product is there before anybody hears of it.
    fn run(&self, script: &Script, message: &TaskMessage, grant: &Grant, keys: &BTreeMap<ModuleIndex, Key>) -> Outcome {
        if let Some((lost, _)) = keys.iter().find(|(up, key)| !self.product(script, message, **up, key).exists()) {
            let message = format!("what {lost:?} made is not there");
            return Outcome::Errored(PlatformError { kind: PlatformErrorKind::InputLost, message });
        }
        let outcome = script.outcome(message.name, message.task.module, grant.tries, keys);
        if let Outcome::Succeeded(success) = &outcome {
            let file = self.product(script, message, message.task.module, &success.key);
            std::fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("the store is writable");
            std::fs::write(&file, "made").expect("the store is writable");
            if self.faults.happens(0.01) {
                // The disk loses it afterwards.
                std::fs::remove_file(&file).expect("it was just written");
            }
        }
        outcome
    }

    /// Where a result of this star is.
    fn product(&self, script: &Script, message: &TaskMessage, module: ModuleIndex, key: &Key) -> PathBuf {
        let module = &script.pipeline.module(module).name;
        let quarter = 3.try_into().expect("a quarter");
        self.store.at(paths::product(message.name, quarter, module, key))
    }

    /// Reports until the broker confirms; sometimes twice.
    async fn report(&self, message: &TaskMessage, nonce: Nonce, result: Report) {
        let completion = Completion {
            v: WIRE_VERSION,
            epoch: message.epoch,
            run: message.run,
            task: message.task,
            attempt: message.attempt,
            nonce,
            worker: self.name.clone(),
            started: Timestamp::UNIX_EPOCH,
            millis: 1,
            result,
        };
        let body = to_json(&completion);
        let mut times = if self.faults.happens(0.05) { 2 } else { 1 };
        while times > 0 {
            let message = Outgoing { queue: QueueName::Completions, body: body.clone() };
            match self.queue.publish(vec![message]).await.pop() {
                Some(Ok(())) => times -= 1,
                Some(Err(_)) | None => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn script(&self, message: &TaskMessage) -> Option<Arc<Script>> {
        let record = self.store.run(message.run).ok()??;
        self.scripts.iter().find(|script| script.pipeline.name == record.pipeline).cloned()
    }
}
