//! Complete: completions are published with confirms, in batches, and kept and repeated until they are confirmed. A claim
//! is held until then, and renewed until the completion has settled it; one that does not for long is published again.

use std::time::Duration;

use domain::id::TraceContext;
use domain::message::{Completion, to_json};
use services::queue::{Outgoing, QueueName, SharedQueue};
use tokio::sync::mpsc;

use crate::ledger::{HeldClaim, Ledger};

/// Completions published at once at most: where confirms take long, many go out together.
const BATCH: usize = 1_000;

/// Longest wait before unconfirmed completions are published again.
const LONGEST: Duration = Duration::from_secs(10);

/// A completion on its way, with the claim that it settles.
pub(crate) struct PendingReport {
    pub(crate) completion: Completion,
    /// The span of its attempt.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) held: HeldClaim,
}

/// Publishes what arrives until the last sender is gone and everything is confirmed.
pub(crate) async fn publish_all(queue: &SharedQueue, mut reports: mpsc::Receiver<PendingReport>) {
    let mut batch = Vec::new();
    while reports.recv_many(&mut batch, BATCH).await > 0 {
        let mut pause = Duration::from_millis(100);
        loop {
            batch = publish(queue, batch).await;
            if batch.is_empty() {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }
}

/// Publishes once more what has not settled its task for long; what is not confirmed now is due again later.
pub(crate) async fn publish_again(queue: &SharedQueue, ledger: &Ledger) {
    let completions = ledger.unsettled();
    if completions.is_empty() {
        return;
    }
    tracing::info!(completions = completions.len(), "have not settled their tasks yet: published again");
    for error in queue.publish(completions).await.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "a completion is not published again");
    }
}

/// Publishes a batch; what was not confirmed comes back.
async fn publish(queue: &SharedQueue, batch: Vec<PendingReport>) -> Vec<PendingReport> {
    let message = |report: &PendingReport| Outgoing {
        queue: QueueName::Completions,
        body: to_json(&report.completion),
        trace: report.trace,
    };
    let messages: Vec<Outgoing> = batch.iter().map(message).collect();
    let answers = queue.publish(messages.clone()).await;
    let mut rest = Vec::new();
    for ((report, message), answer) in batch.into_iter().zip(messages).zip(answers) {
        let PendingReport { completion, trace, held } = report;
        match answer {
            Ok(()) => held.reported(message),
            Err(error) => {
                tracing::warn!(run = %completion.run, task = ?completion.task, %error, "a completion is published again");
                rest.push(PendingReport { completion, trace, held });
            }
        }
    }
    rest
}
