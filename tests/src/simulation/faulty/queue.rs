//! A broker that loses, repeats and delays messages, and confirms late or never.

use std::time::Duration;

use async_trait::async_trait;
use domain::id::{ClassName, Nonce};
use domain::message::{Completion, Report, TaskMessage, WIRE_VERSION, parse_task, to_json};
use domain::outcome::{Failure, FailureKind, Outcome};
use services::queue::{Consumer, Depth, Outgoing, Queue, QueueError, QueueName};

use super::Surroundings;
use super::consumer::FaultyConsumer;
use crate::simulation::FaultKind;
use crate::simulation::life::Life;

/// How long a confirm is waited for, as on RabbitMQ.
const CONFIRM: Duration = Duration::from_secs(30);

/// A broker that loses, repeats and delays messages, and confirms late or never.
pub(super) struct FaultyQueue {
    pub(super) around: Surroundings,
    pub(super) life: Life,
}

impl FaultyQueue {
    fn later(&self, message: Outgoing) {
        let broker = self.around.broker.clone();
        let delay = self.around.faults.between(Duration::ZERO, Duration::from_secs(3));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            drop(broker.publish(vec![message]).await);
        });
    }

    async fn publish_one(&self, message: Outgoing) -> Result<(), QueueError> {
        let faults = &self.around.faults;
        let unconfirmed =
            || QueueError::Unconfirmed { queue: message.queue.to_string(), reason: "simulated".to_owned() };
        if faults.happens(FaultKind::MessageLost, 0.01) {
            return Ok(());
        }
        if faults.happens(FaultKind::MessageRefused, 0.02) {
            return Err(unconfirmed());
        }
        if let QueueName::Tasks(_) = message.queue
            && faults.happens(FaultKind::CompletionForged, 0.005)
            && let Ok(task) = parse_task(&message.body)
        {
            self.later(forged(&task));
        }
        if faults.happens(FaultKind::MessageDelayed, 0.1) {
            self.later(message);
            return Ok(());
        }
        if faults.happens(FaultKind::MessageRepeated, 0.05) {
            self.later(message.clone());
        }
        if message.queue == QueueName::Completions && faults.happens(FaultKind::CompletionRepeated, 0.05) {
            drop(self.around.broker.publish(vec![message.clone()]).await);
        }
        let lies = faults.happens(FaultKind::ConfirmLost, 0.02).then(unconfirmed);
        let mut answers = self.around.broker.publish(vec![message]).await;
        lies.map_or_else(|| answers.remove(0), Err)
    }
}

/// What somebody says of a task who never claimed it.
fn forged(task: &TaskMessage) -> Outgoing {
    let failure =
        Failure { kind: FailureKind::Exit, message: "forged".to_owned(), exit_code: Some(1), log_tail: String::new() };
    let completion = Completion {
        v: WIRE_VERSION,
        epoch: task.epoch,
        run: task.run,
        task: task.task,
        attempt: task.attempt,
        nonce: Nonce::random(),
        worker: "nobody-0".parse().expect("a worker name"),
        started: jiff::Timestamp::UNIX_EPOCH,
        millis: 1,
        claim: None,
        key: None,
        result: Report::Ended(Outcome::Failed(failure)),
    };
    Outgoing { queue: QueueName::Completions, body: to_json(&completion), trace: None }
}

#[async_trait]
impl Queue for FaultyQueue {
    async fn declare(&self, classes: &[ClassName]) -> Result<(), QueueError> {
        self.around.broker.declare(classes).await
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        self.life.awake().await;
        let faults = &self.around.faults;
        for message in messages.iter().filter(|message| message.queue == QueueName::Completions) {
            self.around.witness.reports(&message.body).await;
        }
        tokio::time::sleep(faults.between(Duration::ZERO, Duration::from_millis(5))).await;
        let mut confirms = faults.broker();
        let of_tasks = messages.iter().any(|message| matches!(message.queue, QueueName::Tasks(_)));
        let confirmed = confirms.wait_for(|confirms| *confirms || !of_tasks);
        let silent = tokio::time::timeout(CONFIRM, confirmed).await.is_err();
        if silent || faults.happens(FaultKind::BrokerUnreachable, 0.01) {
            return messages.iter().map(|_| Err(QueueError::Unreachable("simulated".to_owned()))).collect();
        }
        let mut answers = Vec::new();
        for message in messages {
            answers.push(self.publish_one(message).await);
        }
        self.life.awake().await;
        answers
    }

    async fn consume(&self, queue: QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        self.life.awake().await;
        let inner = self.around.broker.consume(queue.clone(), prefetch).await?;
        let (around, life) = (self.around.clone(), self.life.clone());
        Ok(Box::new(FaultyConsumer::new(inner, (queue, prefetch), around, life)))
    }

    async fn probe(&self) -> Result<(), QueueError> {
        self.around.broker.probe().await
    }

    async fn depths(&self, queues: &[QueueName]) -> Result<Vec<Depth>, QueueError> {
        self.life.awake().await;
        self.around.broker.depths(queues).await
    }
}
