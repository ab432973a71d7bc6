//! Whether a worker may take tasks: a host that fails alone, or that cannot reach the state, stops claiming and asks again
//! until everything that an attempt needs answers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytesize::ByteSize;
use domain::outcome::{Outcome, PlatformErrorKind};
use services::state::SharedState;
use store::Store;
use tokio::sync::watch;

use crate::runner::SharedRunner;
use crate::runner::folder::lacks_space;

/// Attempts that may fail for this host's trouble, one after another, before it stops claiming.
const PATIENCE: u32 = 3;

/// Longest wait between two probes.
const LONGEST: Duration = Duration::from_secs(60);

/// How long one probe may take.
const PROBE: Duration = Duration::from_secs(20);

/// Open: tasks may be taken.
#[derive(Debug)]
pub(crate) struct Gate {
    open: watch::Sender<bool>,
    /// Attempts in a row that failed for this host's trouble.
    failures: AtomicU32,
    /// Times that it closed since an attempt last went well.
    closed: AtomicU32,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { open: watch::Sender::new(true), failures: AtomicU32::new(0), closed: AtomicU32::new(0) }
    }

    /// Whether tasks may be taken, and a way to wait for a change of it.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.open.subscribe()
    }

    /// Takes no more tasks until a probe goes well.
    pub(crate) fn close(&self, reason: &str) {
        if self.open.send_replace(false) {
            self.closed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(reason, "no more tasks are taken until this host's services answer");
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
                | PlatformErrorKind::Interrupted => {}
            },
            // Neither the engine nor the disk had much to do.
            Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } => {}
            Outcome::Succeeded(_) | Outcome::Failed(_) => {
                self.failures.store(0, Ordering::Relaxed);
                self.closed.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Opens the gate whenever it is closed and everything answers. Never returns.
    pub(crate) async fn tend(&self, state: &SharedState, runner: &SharedRunner, store: &Store, free: ByteSize) {
        let mut watch = self.watch();
        loop {
            // The sender lives as long as this does.
            let _ = watch.wait_for(|open| !open).await;
            let doublings = self.closed.load(Ordering::Relaxed).saturating_sub(1).min(6);
            let mut pause = Duration::from_secs(1 << doublings).min(LONGEST);
            loop {
                tokio::time::sleep(pause).await;
                match tokio::time::timeout(PROBE, probe(state, runner, store, free)).await {
                    Ok(Ok(())) => break,
                    Ok(Err(reason)) => tracing::warn!(reason, "still no tasks are taken"),
                    Err(_) => tracing::warn!("still no tasks are taken: a probe got no answer"),
                }
                pause = (pause * 2).min(LONGEST);
            }
            self.failures.store(0, Ordering::Relaxed);
            self.open.send_replace(true);
            tracing::info!("tasks are taken again");
        }
    }
}

/// Asks everything that an attempt needs.
async fn probe(state: &SharedState, runner: &SharedRunner, store: &Store, free: ByteSize) -> Result<(), String> {
    state.epoch().await.map_err(|error| error.to_string())?;
    runner.check().await.map_err(|error| error.to_string())?;
    ask_store(store).await?;
    let root = store.root().to_owned();
    let lacks = tokio::task::spawn_blocking(move || lacks_space(&root, free.as_u64())).await;
    match lacks.map_err(|error| error.to_string())? {
        true => Err(format!("the store has less than {free} of free space ([worker] free)")),
        false => Ok(()),
    }
}

/// Whether the store is there and can be written to; if not, why, in words. Where it is unmounted its directory is empty, and
/// may well be writable: that it is the store says `store.json` alone.
pub(crate) async fn ask_store(store: &Store) -> Result<(), String> {
    let root = store.root().to_owned();
    let probed = tokio::task::spawn_blocking(move || Store::open(&root)?.probe());
    match tokio::time::timeout(PROBE, probed).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(format!("{:#}", anyhow::Error::from(error))),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("store `{}` did not answer within {} s", store.root().display(), PROBE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use domain::outcome::{Failure, FailureKind, PlatformError};

    use super::*;

    fn errored(kind: PlatformErrorKind) -> Outcome {
        Outcome::Errored(PlatformError { kind, message: "no".to_owned() })
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
            assert!(*gate.watch().borrow(), "a module that runs shows that the host is well");
        }
        gate.learn(&errored(PlatformErrorKind::InputLost));
        assert!(*gate.watch().borrow());
        gate.learn(&errored(PlatformErrorKind::Engine));
        assert!(!*gate.watch().borrow());
    }
}
