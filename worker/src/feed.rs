//! The feed of one class: takes deliveries while its slots can use them, claims what they ask for together, and gives each
//! free slot its next attempt.
//!
//! Results are committed beside the next attempts, so many at once. Where attempts are short some are claimed ahead (`pace`). One
//! that waited too long for a slot goes back, and so do all when the worker stops or may take no tasks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use domain::id::ClassName;
use services::queue::{Consumer, Delivery, QueueError, QueueName};
use tokio::sync::Mutex;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attempt::Desk;
use crate::claim::{DecidedClaims, acknowledge};
use crate::gate::Obstacles;
use crate::pace::{Pace, prefetch};
use crate::shared::Worker;
use crate::slot::{HeldAttempt, SealedAttempt, work};

/// How long deliveries may wait here while every slot is busy, and claims for a slot, before they go back for other workers.
/// Long enough that short tasks do not cost a new consumer each.
const HOLD: Duration = Duration::from_millis(500);

/// Commits that may be under way for each slot before it waits for them: a disk syncs many files in the time of one, and what
/// this host cannot commit it should not go on making.
const COMMITS: usize = 4;

/// Wait before a queue that could not be consumed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a class has under way.
struct Feed {
    worker: Arc<Worker>,
    class: ClassName,
    slots: usize,
    pace: Pace,
    idle: Vec<Desk>,
    /// Slots at work.
    busy: JoinSet<FreedSlot>,
    /// Commits that are under way.
    committing: JoinSet<()>,
    /// Where they read what was committed before them.
    reading: Arc<Mutex<Desk>>,
    /// Claims that are being asked for.
    claiming: JoinSet<DecidedClaims>,
    /// Acknowledgements on their way.
    acknowledging: JoinSet<()>,
    /// Claims that wait for a slot, and since when.
    waiting: VecDeque<(Instant, HeldAttempt)>,
    /// Claims on their way back.
    returning: JoinSet<()>,
    /// Number of the next slot that takes the place of one that panicked.
    next: u32,
}

/// A slot whose attempt needs it no longer.
struct FreedSlot {
    desk: Desk,
    /// How long the attempt needed it.
    took: Duration,
    /// What is to be committed.
    sealed: Option<SealedAttempt>,
}

/// Serves the slots of a class until `stop`; then waits until all of them are idle.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    class: ClassName,
    slots: u32,
    stop: CancellationToken,
) -> Result<(), QueueError> {
    let mut feed = Feed {
        idle: (0..slots).map(|slot| worker.desk(&class, slot)).collect(),
        reading: Arc::new(Mutex::new(worker.desk(&class, slots))),
        slots: slots as usize,
        pace: Pace::default(),
        busy: JoinSet::new(),
        committing: JoinSet::new(),
        claiming: JoinSet::new(),
        acknowledging: JoinSet::new(),
        waiting: VecDeque::new(),
        returning: JoinSet::new(),
        next: slots + 1,
        worker,
        class,
    };
    let served = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        Err(error) = feed.work() => Err(error),
    };
    feed.end().await;
    served
}

impl Feed {
    /// Consumes whenever there is room; returns only where that is not allowed. Cancel safe.
    async fn work(&mut self) -> Result<(), QueueError> {
        loop {
            while self.room() == 0 {
                self.step().await;
            }
            self.consume().await?;
        }
    }

    /// Takes tasks until there was no room for a while, no tasks may be taken, or deliveries are to come in another step.
    /// Cancel safe: what was delivered and not taken goes back.
    async fn consume(&mut self) -> Result<(), QueueError> {
        let mut gate = self.worker.gate.watch();
        // The gate lives as long as the worker.
        let _ = self.meanwhile(gate.wait_for(Obstacles::is_open)).await;
        let (queue, ahead) = (Arc::clone(&self.worker.queue), self.ahead());
        let consuming = queue.consume(QueueName::Tasks(self.class.clone()), ahead);
        let mut consumer = match self.meanwhile(consuming).await {
            Ok(consumer) => consumer,
            Err(error @ QueueError::Refused(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(class = %self.class, %error, "tasks cannot be consumed");
                self.meanwhile(tokio::time::sleep(AGAIN)).await;
                return Ok(());
            }
        };
        loop {
            // One call at a time: what is delivered meanwhile is claimed together.
            let room = if self.claiming.is_empty() { Some(self.room()) } else { None };
            tokio::select! {
                biased;
                _ = gate.wait_for(|obstacles| !obstacles.is_open()) => {
                    self.give_back(0);
                    return Ok(());
                }
                deliveries = next(&mut consumer, room) => match deliveries {
                    Some(deliveries) => self.claim(deliveries),
                    None => return Ok(()),
                },
                () = self.step() => {}
            }
            // What is not acknowledged when the consumer goes comes again.
            if self.acknowledging.is_empty() && self.is_fed_badly(ahead) {
                return Ok(());
            }
        }
    }

    /// How many claims can be taken: what waits here is missing elsewhere. None until half of those ahead are used up, so that
    /// many are asked for together.
    fn room(&self) -> usize {
        if self.is_behind() {
            return 0;
        }
        let (claims, held) = (self.pace.claims(self.slots), self.busy.len() + self.waiting.len());
        if self.idle.is_empty() && held > claims / 2 { 0 } else { claims.saturating_sub(held) }
    }

    /// Whether so many commits are under way that nothing more is begun.
    fn is_behind(&self) -> bool {
        self.committing.len() >= COMMITS * self.slots
    }

    /// Deliveries that are asked for ahead. Where nothing is claimed ahead, no more than there are free slots.
    fn ahead(&self) -> u16 {
        let claims = self.pace.claims(self.slots);
        let ahead = if claims > self.slots { prefetch(claims, self.slots) } else { self.idle.len().max(1) };
        u16::try_from(ahead).unwrap_or(u16::MAX)
    }

    /// Whether so many deliveries ahead are too few, for attempts are shorter or more slots free than that, or far too many.
    fn is_fed_badly(&self, ahead: u16) -> bool {
        let most = prefetch(2 * self.pace.claims(self.slots), self.slots);
        self.ahead() > 2 * ahead || usize::from(ahead) > most.max(self.slots)
    }

    /// Asks for what was delivered.
    fn claim(&mut self, deliveries: Vec<Delivery>) {
        let worker = Arc::clone(&self.worker);
        self.claiming.spawn(async move { worker.claims.claim(deliveries, &worker.gate).await });
    }

    /// Waits until something that is under way comes to an end, and goes on with what follows. Cancel safe.
    async fn step(&mut self) {
        let overdue = self.waiting.front().map(|(since, _)| *since + HOLD);
        tokio::select! {
            Some(done) = self.busy.join_next(), if !self.busy.is_empty() => self.reclaim(done),
            Some(done) = self.committing.join_next(), if !self.committing.is_empty() => committed(&self.class, done),
            Some(claimed) = self.claiming.join_next(), if !self.claiming.is_empty() => self.take(claimed),
            Some(_) = self.acknowledging.join_next(), if !self.acknowledging.is_empty() => {}
            Some(_) = self.returning.join_next(), if !self.returning.is_empty() => {}
            () = until(overdue) => {
                self.pace.stalled(HOLD);
                let left = self.waiting.iter().filter(|(since, _)| since.elapsed() < HOLD).count();
                self.give_back(left);
            }
        }
        if !self.worker.gate.is_open() {
            // Claims may have been on their way when it closed.
            self.give_back(0);
        }
        while !self.is_behind()
            && let Some(desk) = self.idle.pop()
        {
            let Some((_, attempt)) = self.waiting.pop_front() else {
                self.idle.push(desk);
                break;
            };
            self.busy.spawn(begin(Arc::clone(&self.worker), desk, attempt));
        }
    }

    /// Goes on with what is under way until `end`.
    async fn meanwhile<T>(&mut self, end: impl Future<Output = T>) -> T {
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                ended = &mut end => return ended,
                () = self.step() => {}
            }
        }
    }

    /// Takes back the desk of a slot that became free, and begins the commit that it left.
    fn reclaim(&mut self, done: Result<FreedSlot, JoinError>) {
        let desk = match done {
            Ok(FreedSlot { desk, took, sealed }) => {
                self.pace.ended(took);
                if let Some(sealed) = sealed {
                    self.committing.spawn(sealed.commit(Arc::clone(&self.worker), Arc::clone(&self.reading)));
                }
                desk
            }
            Err(error) => {
                tracing::error!(class = %self.class, %error, "a slot panicked; its claim runs out, another takes its place");
                self.next += 1;
                self.worker.desk(&self.class, self.next)
            }
        };
        self.idle.push(desk);
    }

    /// Takes claims that were granted, and has their deliveries acknowledged meanwhile.
    fn take(&mut self, claimed: Result<DecidedClaims, JoinError>) {
        match claimed {
            Ok(DecidedClaims { granted, decided }) => {
                if !decided.is_empty() {
                    self.acknowledging.spawn(acknowledge(decided));
                }
                let held = granted.into_iter().map(|granted| (Instant::now(), HeldAttempt::of(&self.worker, granted)));
                self.waiting.extend(held);
            }
            Err(error) => tracing::error!(class = %self.class, %error, "claiming panicked; what it claimed runs out"),
        }
    }

    /// Gives back claims that wait for a slot, those that wait longest, all but so many.
    fn give_back(&mut self, left: usize) {
        for (_, attempt) in self.waiting.drain(..self.waiting.len() - left) {
            let worker = Arc::clone(&self.worker);
            self.returning.spawn(async move { attempt.give_back(&worker).await });
        }
    }

    /// Gives back what did not begin, and waits for what did.
    async fn end(&mut self) {
        while let Some(claimed) = self.claiming.join_next().await {
            self.take(claimed);
        }
        self.give_back(0);
        while self.acknowledging.join_next().await.is_some() {}
        while self.returning.join_next().await.is_some() {}
        while let Some(done) = self.busy.join_next().await {
            self.reclaim(done);
        }
        while let Some(done) = self.committing.join_next().await {
            committed(&self.class, done);
        }
    }
}

fn committed(class: &ClassName, done: Result<(), JoinError>) {
    if let Err(error) = done {
        tracing::error!(%class, %error, "a commit panicked; its claim runs out");
    }
}

/// The next deliveries while there is room for them; `None` when there was none for a while. Without a word about room, waits.
async fn next(consumer: &mut Box<dyn Consumer>, room: Option<usize>) -> Option<Vec<Delivery>> {
    match room {
        None => std::future::pending().await,
        Some(0) => {
            tokio::time::sleep(HOLD).await;
            None
        }
        Some(most) => Some(consumer.next_batch(most).await),
    }
}

/// Waits until then; for ever where that is never.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// Runs an attempt in a slot.
async fn begin(worker: Arc<Worker>, mut desk: Desk, attempt: HeldAttempt) -> FreedSlot {
    let began = Instant::now();
    let sealed = work(&worker, &mut desk, attempt).await;
    FreedSlot { desk, took: began.elapsed(), sealed }
}
