//! The heartbeat: renews what the worker holds, and adopts what it runs where the state has forgotten that.
//!
//! A state that was lost is rebuilt from the store, which does not know who runs what. What runs goes on: its worker announces it,
//! so that nobody else may claim it, and claims it anew, with the nonce that it has, when the task is queued in the state's new
//! life. An attempt that ends before that is reported then.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::error::chain;
use domain::id::{Epoch, RunId};
use domain::message::{Completion, Report, WIRE_VERSION, to_json};
use services::queue::{Outgoing, QueueName};
use services::state::{AnnouncedTask, Claim, ClaimRequest, ClaimWish, Lease, StateError};
use store::crash::CrashPoint;
use store::runs::is_called_off;
use tokio::time::{Instant, MissedTickBehavior};

use crate::ledger::{EndedAttempt, ForgottenClaim};
use crate::report::{PendingReport, publish_again};
use crate::shared::Worker;

/// How often is looked whether the state knows what runs, and how soon one is asked again that did not answer.
const LOOK: Duration = Duration::from_secs(1);

impl Worker {
    /// Renews what runs every second, and all leases in time. While the state does not answer what runs goes on: a lease lives
    /// again unless somebody acted upon its end. Never returns.
    pub(crate) async fn heartbeat(&self) {
        let every = self.config.lease / 3;
        let mut ticks = tokio::time::interval(LOOK.min(every));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut full, mut fails) = (Instant::now(), false);
        loop {
            ticks.tick().await;
            let is_full = Instant::now() >= full;
            let renewed = tokio::time::timeout(every, self.renew(is_full)).await;
            let failed = std::mem::replace(&mut fails, !matches!(renewed, Ok(Ok(()))));
            match renewed {
                Ok(Ok(())) => {
                    if failed {
                        tracing::info!("leases are renewed again");
                    }
                    if is_full {
                        full = Instant::now() + every;
                        // What it has settled is no longer among them.
                        _ = tokio::time::timeout(every, publish_again(&self.queue, &self.ledger)).await;
                    }
                }
                // Said once, not every second.
                Ok(Err(_)) | Err(_) if failed => {}
                Ok(Err(error)) => tracing::warn!(%error, "leases cannot be renewed"),
                Err(_) => tracing::warn!("leases cannot be renewed: the state does not answer"),
            }
        }
    }

    /// Renews leases in one call, all or those of what runs; stops attempts whose lease is lost, and adopts what was forgotten.
    async fn renew(&self, all: bool) -> Result<(), StateError> {
        let (leases, asked) = (self.ledger.leases(all), Instant::now());
        if !leases.is_empty() {
            let alive = self.state.renew(&leases, self.config.lease).await?;
            CrashPoint::LeasesRenewed.reached();
            for (lease, alive) in leases.iter().zip(alive) {
                match alive {
                    true => self.ledger.lives(lease, asked),
                    false => self.ledger.misses(lease),
                }
            }
        }
        let claims = self.ledger.forgotten();
        if claims.is_empty() {
            return Ok(());
        }
        let called_off = self.called_off(claims.clone()).await;
        let mut forgotten = Vec::new();
        for (ForgottenClaim { lease, .. }, is_called_off) in claims.into_iter().zip(called_off) {
            match is_called_off {
                true => self.lose(&lease),
                false => forgotten.push(lease),
            }
        }
        let answers = self.state.announce(&forgotten, self.config.lease).await?;
        for (lease, answer) in forgotten.into_iter().zip(answers) {
            match answer {
                AnnouncedTask::Kept => {}
                AnnouncedTask::Queued(attempt) => self.adopt(Lease { attempt, ..lease }).await?,
                AnnouncedTask::Lost => self.lose(&lease),
                AnnouncedTask::NoRun if self.is_over(lease.run).await => self.lose(&lease),
                AnnouncedTask::NoRun => {}
            }
        }
        Ok(())
    }

    fn lose(&self, lease: &Lease) {
        self.ledger.lose(lease);
        tracing::debug!(run = %lease.run, task = ?lease.task, attempt = lease.attempt.0, "a lease is lost");
    }

    /// Whether a run that the state does not hold has ended; one that the store cannot tell of goes on.
    async fn is_over(&self, run: RunId) -> bool {
        self.store.ask(move |store| store.is_over(run)).await.unwrap_or(false)
    }

    /// Of each whether the store has it on record that nobody waits for the attempt any more: the state forgets that, too, when a
    /// run is opened again. What the store cannot tell goes on.
    async fn called_off(&self, claims: Vec<ForgottenClaim>) -> Vec<bool> {
        let count = claims.len();
        let asked = self.store.ask(move |store| {
            let mut known = BTreeMap::new();
            let is_off = |ForgottenClaim { lease: Lease { run, .. }, begun }: &ForgottenClaim| {
                let Some((star, module, began)) = begun else { return Ok(false) };
                if !known.contains_key(run) {
                    known.insert(*run, (store.decisions(*run)?, store.run_end(*run)?));
                }
                let (decisions, end) = &known[run];
                Ok(is_called_off(decisions, end.as_ref(), *began, (*star, module)))
            };
            claims.iter().map(is_off).collect()
        });
        asked.await.unwrap_or_else(|_| vec![false; count])
    }

    /// Claims anew what runs here and is queued as this attempt. What would read something else by now is stopped, and given back.
    async fn adopt(&self, lease: Lease) -> Result<(), StateError> {
        let Lease { run, task, attempt, nonce } = lease.clone();
        let (Some(before), Ok(here)) = (self.ledger.grant(nonce), self.claims.runs.find(run).await) else {
            return Ok(());
        };
        let reads = here.reads(task.module).to_vec();
        let wish = ClaimWish { task, attempt, nonce, reads: reads.clone() };
        let (epoch, worker) = (self.state.epoch().await?, self.name.clone());
        let request = ClaimRequest { run, epoch, worker, lease: self.config.lease, wishes: vec![wish] };
        let claim = match self.state.claim(&request).await {
            Ok(mut claims) => claims.pop(),
            // It is rebuilt at this moment.
            Err(StateError::Epoch { .. } | StateError::NoRun(_)) => None,
            Err(error) => return Err(error),
        };
        let Some(Claim::Granted(grant)) = claim else { return Ok(()) };
        if !before.reads_like(&grant, &reads) {
            tracing::warn!(%run, ?task, "what it reads is another by now: stopped");
            self.ledger.lose(&lease);
            self.give_back(&lease, epoch).await;
            return Ok(());
        }
        tracing::info!(%run, ?task, attempt = attempt.0, "adopted: the state had forgotten it");
        if let Some((held, EndedAttempt { completion, trace })) = self.ledger.adopt(nonce, epoch, attempt) {
            self.report(PendingReport { completion, trace, held }).await;
        }
        Ok(())
    }

    /// Gives back what was claimed and is not to go on; where nobody hears of it the lease runs out.
    async fn give_back(&self, lease: &Lease, epoch: Epoch) {
        let Lease { run, task, attempt, nonce } = *lease;
        let completion = Completion {
            v: WIRE_VERSION,
            epoch,
            run,
            task,
            attempt,
            nonce,
            worker: self.name.clone(),
            started: jiff::Timestamp::now(),
            millis: 0,
            claim: None,
            key: None,
            result: Report::GivenBack,
        };
        let message = Outgoing { queue: QueueName::Completions, body: to_json(&completion), trace: None };
        for error in self.queue.publish(vec![message]).await.into_iter().filter_map(Result::err) {
            tracing::debug!(error = chain(&error), "not given back");
        }
    }
}
