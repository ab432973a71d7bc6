//! Complete: completions are published with confirms, in batches, and kept and repeated until they are confirmed. A claim
//! is held until then, and renewed until the completion has settled it; one that does not for long is published again.
//!
//! Those that wait together go together, several in a message: where tasks are short, half of what the broker has to do for them
//! is their completions.

use std::time::Duration;

use domain::id::TraceContext;
use domain::message::{Completion, Report, completions_together, to_json};
use domain::outcome::{Failure, FailureKind, Outcome};
use services::queue::{Outgoing, QueueName, SharedQueue};
use store::crash::CrashPoint;
use tokio::sync::mpsc;

use crate::ledger::{EndedAttempt, HeldClaim, Ledger};

/// Completions published at once at most: where confirms take long, many go out together.
const BATCH: usize = 1_000;

/// Most completions in one message, and most bytes of several: whoever reads them holds thousands of messages.
const TOGETHER: usize = 16;
const TOGETHER_BYTES: usize = 64 * 1024;

/// Most bytes of an outcome in a completion: a quarter of what RabbitMQ takes by default.
const LARGEST: usize = 4 << 20;

/// Longest wait before unconfirmed completions are published again.
const LONGEST: Duration = Duration::from_secs(10);

/// A completion on its way, with the claim that it settles.
pub(crate) struct PendingReport {
    pub(crate) completion: Completion,
    /// The span of its attempt.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) held: HeldClaim,
}

impl PendingReport {
    /// The broker has it, as this message. Where the state was lost meanwhile, and knows the attempt anew, it is to be published once
    /// more.
    fn confirmed(self, message: Outgoing) -> Option<Self> {
        let ended = EndedAttempt { completion: self.completion, trace: message.trace };
        let (held, EndedAttempt { completion, trace }) = self.held.reported(ended, message)?;
        Some(Self { completion, trace, held })
    }
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
    let message = |mut report: PendingReport| {
        let mut body = to_json(&report.completion);
        if body.len() > LARGEST {
            report.completion.result = too_large(&report.completion.result, body.len());
            body = to_json(&report.completion);
        }
        let message = Outgoing { queue: QueueName::Completions, body, trace: report.trace };
        (report, message)
    };
    let packed = pack(batch.into_iter().map(message).collect(), |(_, message)| message);
    let messages = packed.iter().map(|together| in_one(together.iter().map(|(_, message)| message))).collect();
    let answers = queue.publish(messages).await;
    CrashPoint::CompletionConfirmed.reached();
    let mut rest = Vec::new();
    for (together, answer) in packed.into_iter().zip(answers) {
        for (report, message) in together {
            match &answer {
                Ok(()) => rest.extend(report.confirmed(message)),
                Err(error) => {
                    let Completion { run, task, .. } = &report.completion;
                    tracing::warn!(%run, ?task, %error, "a completion is published again");
                    rest.push(report);
                }
            }
        }
    }
    CrashPoint::CompletionReported.reached();
    rest
}

/// What is said in place of a result that no broker takes: a message that is refused for its size would be sent again for ever.
fn too_large(result: &Report, bytes: usize) -> Report {
    let what = match result {
        Report::Ended(outcome) => outcome.to_string(),
        Report::GivenBack => "it is given back".to_owned(),
    };
    let message = format!("what is to be told of its end has {bytes} bytes, at most {LARGEST} can be: {what}");
    Report::Ended(Outcome::Failed(Failure {
        kind: FailureKind::OutputTooLarge,
        message: message.chars().take(1_000).collect(),
        exit_code: None,
        log_tail: String::new(),
    }))
}

/// What goes in one message each, in order. What is traced goes alone, for the message's header is its own.
fn pack<T>(all: Vec<T>, message: impl Fn(&T) -> &Outgoing) -> Vec<Vec<T>> {
    let mut packed: Vec<Vec<T>> = Vec::new();
    let (mut bytes, mut is_open) = (0, false);
    for one in all {
        let Outgoing { body, trace, .. } = message(&one);
        let (length, is_alone) = (body.len(), trace.is_some());
        match packed.last_mut() {
            Some(last) if is_open && !is_alone && last.len() < TOGETHER && bytes + length <= TOGETHER_BYTES => {
                bytes += length;
                last.push(one);
            }
            Some(_) | None => {
                (bytes, is_open) = (length, !is_alone);
                packed.push(vec![one]);
            }
        }
    }
    packed
}

/// The one message that has all these.
fn in_one<'a>(mut messages: impl ExactSizeIterator<Item = &'a Outgoing>) -> Outgoing {
    match (messages.len(), messages.next()) {
        (1, Some(alone)) => alone.clone(),
        (_, first) => {
            let bodies = first.into_iter().chain(messages).map(|message| message.body.as_slice());
            Outgoing { queue: QueueName::Completions, body: completions_together(bodies), trace: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::id::{EventId, Key};
    use domain::outcome::Success;

    use super::*;

    fn message(length: usize, is_traced: bool) -> Outgoing {
        let trace = is_traced.then(|| TraceContext::of_event(EventId::of("test", "1"), None));
        Outgoing { queue: QueueName::Completions, body: vec![b'1'; length], trace }
    }

    #[test]
    fn completions_that_wait_together_go_together_unless_they_are_many_large_or_traced() {
        let lengths = |all: Vec<Outgoing>| {
            let packed = pack(all, |message| message);
            packed
                .iter()
                .map(|together| together.iter().map(|message| message.body.len()).collect())
                .collect::<Vec<Vec<_>>>()
        };
        assert!(lengths(Vec::new()).is_empty());
        let many = lengths((0..TOGETHER + 3).map(|_| message(1, false)).collect());
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [TOGETHER, 3]);
        let large = TOGETHER_BYTES - 1;
        assert_eq!(
            lengths(vec![message(large, false), message(1, false), message(1, false)]),
            [vec![large, 1], vec![1]]
        );
        let traced = vec![message(1, false), message(2, true), message(3, false), message(4, false)];
        assert_eq!(lengths(traced), [vec![1], vec![2], vec![3, 4]]);
    }

    #[test]
    fn a_result_that_no_broker_takes_is_the_modules_failure() {
        let mut success = Success::new(Key::from_bytes([1; 32]), BTreeMap::new());
        for number in 0..20_000 {
            success = success.without(format!("X{number}").parse().unwrap(), &"wide ".repeat(100));
        }
        let result = Report::Ended(Outcome::Succeeded(success));
        let bytes = to_json(&result).len();
        assert!(bytes > LARGEST);
        let Report::Ended(Outcome::Failed(failure)) = too_large(&result, bytes) else {
            panic!("it would be sent for ever")
        };
        assert_eq!(failure.kind, FailureKind::OutputTooLarge);
        assert!(failure.message.len() < 2_000 && failure.message.contains(&bytes.to_string()), "{}", failure.message);
    }

    #[test]
    fn one_is_a_message_by_itself_and_several_are_a_list() {
        let one = message(1, true);
        assert_eq!((in_one([&one].into_iter()).body, in_one([&one].into_iter()).trace), (b"1".to_vec(), one.trace));
        assert_eq!(in_one([&one, &message(2, false)].into_iter()).body, b"[1,11]");
    }
}
