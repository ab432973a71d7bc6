//! Whether a worker may take tasks: a host that fails alone, or that cannot reach the state, stops claiming and asks again
//! until everything that an attempt needs answers; one that operators drain stops until they resume it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytesize::ByteSize;
use domain::outcome::{Outcome, PlatformErrorKind};
use services::state::SharedState;
use store::{Store, StoreError};
use tokio::sync::watch;

use crate::runner::SharedRunner;
use crate::runner::folder::lacks_space;

/// Attempts that may fail for this host's trouble, one after another, before it stops claiming.
const PATIENCE: u32 = 3;

/// Longest wait between two probes.
const LONGEST: Duration = Duration::from_secs(60);

/// How long one probe may take.
const PROBE: Duration = Duration::from_secs(20);

/// What keeps a worker from taking tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Obstacles {
    /// What does not answer, in words.
    trouble: Option<String>,
    /// Whether operators drain the host.
    drained: bool,
}

impl Obstacles {
    /// Whether there are none: tasks may be taken.
    pub(crate) fn is_open(&self) -> bool {
        self.trouble.is_none() && !self.drained
    }

    /// Whether operators drain the host.
    pub(crate) fn is_drained(&self) -> bool {
        self.drained
    }

    /// What the worker waits for, in words; `None` where there are no obstacles.
    pub(crate) fn words(&self) -> Option<String> {
        let drained = self.drained.then_some("drained");
        let words: Vec<&str> = drained.into_iter().chain(self.trouble.as_deref()).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

/// Open where it has no obstacles.
#[derive(Debug)]
pub(crate) struct Gate {
    obstacles: watch::Sender<Obstacles>,
    /// Attempts in a row that failed for this host's trouble.
    failures: AtomicU32,
    /// Times that it closed since an attempt last went well.
    closed: AtomicU32,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { obstacles: watch::Sender::default(), failures: AtomicU32::new(0), closed: AtomicU32::new(0) }
    }

    /// Whether tasks may be taken, and a way to wait for a change of it.
    pub(crate) fn watch(&self) -> watch::Receiver<Obstacles> {
        self.obstacles.subscribe()
    }

    /// Whether tasks may be taken.
    pub(crate) fn is_open(&self) -> bool {
        self.obstacles.borrow().is_open()
    }

    /// Takes no more tasks until a probe goes well.
    pub(crate) fn close(&self, reason: &str) {
        let mut is_news = false;
        self.obstacles.send_modify(|obstacles| {
            is_news = obstacles.trouble.is_none();
            obstacles.trouble = Some(reason.to_owned());
        });
        if is_news {
            self.closed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(reason, "no more tasks are taken until this host's services answer");
        }
    }

    /// Takes no more tasks, or takes them again, as operators said.
    pub(crate) fn drain(&self, is_drained: bool) {
        let is_news = self.obstacles.send_if_modified(|obstacles| {
            let is_news = obstacles.drained != is_drained;
            obstacles.drained = is_drained;
            is_news
        });
        match (is_news, is_drained) {
            (true, true) => tracing::info!("operators drain this host: no more tasks are taken until they resume it"),
            (true, false) => tracing::info!("operators resumed this host"),
            (false, _) => {}
        }
    }

    /// Learns from how an attempt ended.
    pub(crate) fn learn(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Errored(error) => match error.kind {
                PlatformErrorKind::Engine | PlatformErrorKind::Store => {
                    if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= PATIENCE {
                        self.close(&error.message);
                    }
                }
                // The trouble of one image, one input or one attempt.
                PlatformErrorKind::ImageMissing
                | PlatformErrorKind::Refused
                | PlatformErrorKind::InputLost
                | PlatformErrorKind::Interrupted
                | PlatformErrorKind::Killed => {}
            },
            // Neither the engine nor the disk had much to do.
            Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } => {}
            Outcome::Succeeded(_) | Outcome::Failed(_) => {
                self.failures.store(0, Ordering::Relaxed);
                self.closed.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Takes trouble out of the way whenever everything answers again. Never returns.
    pub(crate) async fn tend(&self, state: &SharedState, runner: &SharedRunner, store: &Store, free: ByteSize) {
        let mut watch = self.watch();
        loop {
            // The sender lives as long as this does.
            let _ = watch.wait_for(|obstacles| obstacles.trouble.is_some()).await;
            let doublings = self.closed.load(Ordering::Relaxed).saturating_sub(1).min(6);
            let mut pause = Duration::from_secs(1 << doublings).min(LONGEST);
            loop {
                tokio::time::sleep(pause).await;
                match tokio::time::timeout(PROBE, probe(state, runner, store, free)).await {
                    Ok(Ok(())) => break,
                    Ok(Err(reason)) => {
                        // What was said already is not said again.
                        match self.obstacles.borrow().trouble.as_ref() == Some(&reason) {
                            true => tracing::debug!(reason, "still no tasks are taken"),
                            false => tracing::warn!(reason, "still no tasks are taken"),
                        }
                        self.obstacles.send_modify(|obstacles| obstacles.trouble = Some(reason));
                    }
                    Err(_) => tracing::debug!("still no tasks are taken: a probe got no answer"),
                }
                pause = (pause * 2).min(LONGEST);
            }
            self.failures.store(0, Ordering::Relaxed);
            self.obstacles.send_modify(|obstacles| obstacles.trouble = None);
            tracing::info!("tasks are taken again");
        }
    }
}

/// Asks everything that an attempt needs: a claim writes to the state, an attempt to the store.
async fn probe(state: &SharedState, runner: &SharedRunner, store: &Store, free: ByteSize) -> Result<(), String> {
    state.probe().await.map_err(|error| error.to_string())?;
    runner.check().await.map_err(|error| error.to_string())?;
    ask_store(store).await?;
    let lacks = store.ask(move |store| Ok(lacks_space(store.root(), free.as_u64()))).await;
    match lacks.map_err(|error| error.to_string())? {
        true => Err(format!("the store has less than {free} of free space ([worker] free)")),
        false => Ok(()),
    }
}

/// Whether the store is there and can be written to; if not, why, in words. Where it is unmounted its directory is empty, and
/// may well be writable: that it is the store says `store.json` alone.
pub(crate) async fn ask_store(store: &Store) -> Result<(), String> {
    answers(store, |store| Store::open(store.root())?.probe()).await
}

/// Whether the store is there, without writing to it: cheap enough to be asked by all workers every second.
pub(crate) async fn look_at_store(store: &Store) -> Result<(), String> {
    answers(store, |store| Store::open(store.root()).map(drop)).await
}

async fn answers(store: &Store, ask: fn(&Store) -> Result<(), StoreError>) -> Result<(), String> {
    match tokio::time::timeout(PROBE, store.ask(ask)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{:#}", anyhow::Error::from(error))),
        Err(_) => Err(format!("store `{}` did not answer within {} s", store.root().display(), PROBE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use domain::outcome::{Failure, FailureKind, PlatformError};

    use super::*;

    fn errored(kind: PlatformErrorKind) -> Outcome {
        Outcome::Errored(PlatformError::new(kind, "no"))
    }

    #[test]
    fn a_host_that_fails_three_times_in_a_row_takes_no_more_tasks() {
        let gate = Gate::new();
        let failed = Outcome::Failed(Failure {
            kind: FailureKind::Exit,
            message: String::new(),
            exit_code: Some(1),
            log_tail: String::new(),
        });
        let store = errored(PlatformErrorKind::Store);
        for outcome in [&store, &store, &failed, &store, &store] {
            gate.learn(outcome);
            assert!(gate.watch().borrow().is_open(), "a module that runs shows that the host is well");
        }
        gate.learn(&errored(PlatformErrorKind::InputLost));
        assert!(gate.watch().borrow().is_open());
        gate.learn(&errored(PlatformErrorKind::Engine));
        assert!(!gate.watch().borrow().is_open());
    }

    #[test]
    fn a_drained_host_waits_for_operators_and_says_so() {
        let gate = Gate::new();
        gate.drain(true);
        assert_eq!(gate.watch().borrow().words().as_deref(), Some("drained"));
        gate.close("the engine does not answer");
        gate.drain(false);
        assert!(!gate.watch().borrow().is_open(), "operators cannot resume what does not answer");
        assert_eq!(gate.watch().borrow().words().as_deref(), Some("the engine does not answer"));
    }
}
