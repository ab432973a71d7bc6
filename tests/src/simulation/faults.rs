//! What goes wrong between the processes: a broker and a state that fail now and then.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::id::{ClassName, ModuleIndex, RunId, StarIndex};
use domain::run::{Row, Star};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use services::queue::{Consumer, Delivery, Depth, Outgoing, Queue, QueueError, QueueName, Receipt, SharedQueue};
use services::state::{
    Change, Claim, ClaimRequest, CursorMove, Due, Lease, Phase, Ready, RunInfo, RunView, SharedState, StarView, State,
    StateError, WorkerInfo, Written,
};
use tokio::sync::watch;

/// How long a confirm is waited for, as on RabbitMQ.
const CONFIRM: Duration = Duration::from_secs(30);

/// A source of misfortune; the same seed draws the same.
pub struct Faults {
    draws: Mutex<(StdRng, f64)>,
    /// Whether the state, and the broker, answer.
    answering: [watch::Sender<bool>; 2],
}

impl Faults {
    /// Faults drawn from `seed`, none yet.
    pub fn new(seed: u64) -> Self {
        let answering = [(); 2].map(|()| watch::Sender::new(true));
        Self { draws: Mutex::new((StdRng::seed_from_u64(seed), 0.0)), answering }
    }

    /// Whether the state is within reach.
    pub fn set_state(&self, answers: bool) {
        self.answering[0].send_replace(answers);
    }

    /// Whether the broker confirms task messages; while it does not, their publishers wait, and then fail.
    pub fn set_broker(&self, confirms: bool) {
        self.answering[1].send_replace(confirms);
    }

    /// How much goes wrong: 0 nothing, 1 the usual measure.
    pub fn set_level(&self, level: f64) {
        self.draws.lock().unwrap().1 = level;
    }

    /// Whether something that happens with this probability happens now.
    pub fn happens(&self, probability: f64) -> bool {
        let (rng, level) = &mut *self.draws.lock().unwrap();
        rng.random_bool((probability * *level).clamp(0.0, 1.0))
    }

    /// A number below `end`.
    pub fn below(&self, end: usize) -> usize {
        self.draws.lock().unwrap().0.random_range(0..end)
    }

    /// A time between two.
    pub fn between(&self, least: Duration, most: Duration) -> Duration {
        least + (most - least).mul_f64(self.draws.lock().unwrap().0.random_range(0.0..1.0))
    }
}

/// A broker that loses, repeats and delays messages, and confirms late or never.
pub(super) struct FaultyQueue {
    inner: SharedQueue,
    faults: Arc<Faults>,
}

impl FaultyQueue {
    pub(super) fn new(inner: SharedQueue, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }

    fn later(&self, message: Outgoing) {
        let (inner, delay) = (self.inner.clone(), self.faults.between(Duration::ZERO, Duration::from_secs(3)));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            drop(inner.publish(vec![message]).await);
        });
    }

    async fn publish_one(&self, message: Outgoing) -> Result<(), QueueError> {
        let unconfirmed =
            || QueueError::Unconfirmed { queue: message.queue.to_string(), reason: "simulated".to_owned() };
        if self.faults.happens(0.01) {
            // Confirmed and lost all the same, as by a broker that forgets.
            return Ok(());
        }
        if self.faults.happens(0.02) {
            return Err(unconfirmed());
        }
        if self.faults.happens(0.1) {
            self.later(message);
            return Ok(());
        }
        if self.faults.happens(0.05) {
            self.later(message.clone());
        }
        let lies = self.faults.happens(0.02).then(unconfirmed);
        let mut answers = self.inner.publish(vec![message]).await;
        lies.map_or_else(|| answers.remove(0), Err)
    }
}

#[async_trait]
impl Queue for FaultyQueue {
    async fn declare(&self, classes: &[ClassName]) -> Result<(), QueueError> {
        self.inner.declare(classes).await
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        tokio::time::sleep(self.faults.between(Duration::ZERO, Duration::from_millis(5))).await;
        let mut confirms = self.faults.answering[1].subscribe();
        let of_tasks = messages.iter().any(|message| matches!(message.queue, QueueName::Tasks(_)));
        let confirmed = confirms.wait_for(|confirms| *confirms || !of_tasks);
        let silent = tokio::time::timeout(CONFIRM, confirmed).await.is_err();
        if silent || self.faults.happens(0.01) {
            return messages.iter().map(|_| Err(QueueError::Unreachable("simulated".to_owned()))).collect();
        }
        let mut answers = Vec::new();
        for message in messages {
            answers.push(self.publish_one(message).await);
        }
        answers
    }

    async fn consume(&self, queue: QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        let inner = self.inner.consume(queue.clone(), prefetch).await?;
        let (broker, faults) = (self.inner.clone(), self.faults.clone());
        Ok(Box::new(FaultyConsumer { inner, broker, queue, prefetch, faults }))
    }

    async fn depths(&self, queues: &[QueueName]) -> Result<Vec<Depth>, QueueError> {
        self.inner.depths(queues).await
    }
}

struct FaultyConsumer {
    inner: Box<dyn Consumer>,
    broker: SharedQueue,
    queue: QueueName,
    prefetch: u16,
    faults: Arc<Faults>,
}

#[async_trait]
impl Consumer for FaultyConsumer {
    async fn next(&mut self) -> Delivery {
        if self.faults.happens(0.005) {
            // The connection breaks: everything that is not answered is back.
            let again = self.broker.consume(self.queue.clone(), self.prefetch).await;
            self.inner = again.expect("the queue exists");
        }
        let delivery = self.inner.next().await;
        let receipt = FaultyReceipt { inner: delivery.receipt, faults: self.faults.clone() };
        Delivery { receipt: Box::new(receipt), ..delivery }
    }
}

struct FaultyReceipt {
    inner: Box<dyn Receipt>,
    faults: Arc<Faults>,
}

#[async_trait]
impl Receipt for FaultyReceipt {
    async fn ack(self: Box<Self>) -> Result<(), QueueError> {
        if self.faults.happens(0.02) {
            return Err(QueueError::Unreachable("simulated".to_owned()));
        }
        self.inner.ack().await
    }

    async fn requeue(self: Box<Self>) -> Result<(), QueueError> {
        self.inner.requeue().await
    }

    async fn bury(self: Box<Self>, reason: &str) -> Result<(), QueueError> {
        self.inner.bury(reason).await
    }
}

/// A state that sometimes does not answer, before or after it did what it was asked to.
pub(super) struct FaultyState {
    inner: Mutex<SharedState>,
    faults: Arc<Faults>,
}

impl FaultyState {
    pub(super) fn new(inner: SharedState, faults: Arc<Faults>) -> Self {
        Self { inner: Mutex::new(inner), faults }
    }

    /// The state itself, which always answers.
    pub(super) fn inner(&self) -> SharedState {
        self.inner.lock().unwrap().clone()
    }

    /// Goes on with another one, as after a flush.
    pub(super) fn replace(&self, inner: SharedState) {
        *self.inner.lock().unwrap() = inner;
    }
}

/// Every method of the port, with a fault before or after it.
macro_rules! delegate {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl State for FaultyState {
            $(async fn $name(&self, $($argument: $kind),*) -> Result<$answer, StateError> {
                self.faults_before().await?;
                let answer = self.inner().$name($($argument),*).await;
                self.faults_after(answer)
            })*
        }
    };
}

impl FaultyState {
    async fn faults_before(&self) -> Result<(), StateError> {
        tokio::task::yield_now().await;
        if self.faults.happens(0.005) || !*self.faults.answering[0].borrow() {
            return Err(StateError::Unreachable("simulated".to_owned()));
        }
        Ok(())
    }

    fn faults_after<T>(&self, answer: Result<T, StateError>) -> Result<T, StateError> {
        if self.faults.happens(0.005) {
            Err(StateError::Unreachable("simulated, after it was done".to_owned()))
        } else {
            answer
        }
    }
}

delegate! {
    check() -> ();
    epoch() -> u64;
    begin_epoch(epoch: u64) -> u64;
    open_run(info: &RunInfo) -> ();
    close_run(run: RunId) -> ();
    run_ids() -> Vec<RunId>;
    runs() -> Vec<RunInfo>;
    run(run: RunId) -> Option<RunView>;
    set_phase(run: RunId, phase: Phase, weight: u32) -> ();
    hold(run: RunId, modules: &[ModuleIndex]) -> ();
    amend(run: RunId, number: u64) -> ();
    load(run: RunId, stars: &[StarIndex]) -> Vec<Star>;
    star(run: RunId, star: StarIndex) -> StarView;
    write(run: RunId, epoch: u64, cursor: Option<CursorMove>, changes: &[Change]) -> Vec<Written>;
    closed(run: RunId, star: StarIndex, row: &Row) -> Written;
    outbox(run: RunId, age: Duration, limit: u32) -> Vec<Ready>;
    published(run: RunId, tasks: &[Ready]) -> ();
    republish(run: RunId, class: &ClassName, age: Duration, limit: u32) -> u32;
    claim(request: &ClaimRequest) -> Claim;
    renew(leases: &[Lease], lease: Duration) -> Vec<bool>;
    due(run: RunId, limit: u32, silence: Duration) -> Due;
    show_worker(worker: &WorkerInfo, lives: Duration) -> ();
    forget_worker(worker: &str) -> ();
    workers() -> Vec<WorkerInfo>;
    in_flight(run: RunId, limit: u32) -> Vec<StarIndex>;
}
