//! What a worker shows of itself, and what it is told meanwhile: once in a while, and as soon as operators drain its host.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::id::ClassName;
use services::state::{MOST_SHOWN, StateError, WorkerInfo};
use tokio::time::MissedTickBehavior;

use crate::shared::Worker;

/// How often a worker asks whether its host is drained.
const ASK: Duration = Duration::from_secs(1);

/// How often it shows itself, in times that it asks.
const SHOW: u64 = 3;

/// How long it is shown at least after that.
const SHOWN: Duration = Duration::from_secs(15);

impl Worker {
    /// Shows the worker, and stops and goes on taking tasks as operators say. Never returns.
    pub(crate) async fn show(&self) {
        let mut ticks = tokio::time::interval(ASK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in 0.. {
            ticks.tick().await;
            match tokio::time::timeout(ASK * 2, self.show_and_ask(tick)).await {
                Ok(Ok(())) => {}
                // Whether leases can be renewed is what matters, and the heartbeat says that.
                Ok(Err(error)) => tracing::debug!(%error, "the worker is not shown"),
                Err(_) => tracing::debug!("the worker is not shown: the state does not answer"),
            }
        }
    }

    async fn show_and_ask(&self, tick: u64) -> Result<(), StateError> {
        // A state that was lost says nothing, until coordinators told it again.
        let told = self.state.drained().await?.map(|hosts| hosts.contains(&self.config.host()));
        let is_news = told.is_some_and(|told| told != self.gate.watch().borrow().is_drained());
        if let Some(is_drained) = told {
            self.gate.drain(is_drained);
        }
        if is_news || tick.is_multiple_of(SHOW) {
            self.clock.compare(self.state.clock().await?, jiff::Timestamp::now());
            self.state.show_worker(&self.info(), self.config.lease.max(SHOWN)).await?;
        }
        Ok(())
    }

    fn info(&self) -> WorkerInfo {
        let attempts = self.ledger.attempts();
        let mut busy: BTreeMap<ClassName, u32> = self.slots.keys().map(|class| (class.clone(), 0)).collect();
        for (class, _) in &attempts {
            *busy.entry(class.clone()).or_default() += 1;
        }
        let obstacles = self.gate.watch().borrow().clone();
        WorkerInfo {
            worker: self.name.clone(),
            host: self.config.host(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots: self.slots.clone(),
            busy,
            running: u32::try_from(self.ledger.len()).unwrap_or(u32::MAX),
            seen: jiff::Timestamp::now(),
            began: Some(self.began),
            ended: self.tally.counts(),
            drained: obstacles.is_drained(),
            waits_for: obstacles.words(),
            clock_ahead: self.clock.ahead(),
            attempts: attempts.into_iter().map(|(_, attempt)| attempt).take(MOST_SHOWN).collect(),
        }
    }
}
