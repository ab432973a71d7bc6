//! A queue whose leader hangs: the broker takes what is published to it, and confirms nothing.

use std::sync::Arc;

use super::*;
use anyhow::Context;
use harness::{RabbitMq, wait_until};
use services::queue::amqp::{AmqpConfig, AmqpQueue};

/// A virtual host with queues that are silent soon.
struct SilentScene {
    rabbit: &'static RabbitMq,
    vhost: String,
    f: Fixture,
}

impl SilentScene {
    async fn new() -> Result<Self> {
        let rabbit = RabbitMq::shared()?;
        let config = AmqpConfig { silent_for: Duration::from_secs(4), ..rabbit.vhost()? };
        let vhost = config.url.secret().rsplit('/').next().context("an address ends with its virtual host")?.to_owned();
        let queue = AmqpQueue::connect(&config, "tests").await?;
        queue.declare(&[class("default"), class("other")]).await?;
        Ok(Self { rabbit, vhost, f: Fixture { queue: Arc::new(queue) } })
    }

    /// Has the leader of a queue hang, or go on.
    fn tell_leader(&self, queue: &QueueName, what: &str) -> Result<()> {
        let call = format!("sys:{what}(whereis('{}_{queue}')).", self.vhost);
        let said = self.rabbit.ctl(&["eval", &call])?;
        anyhow::ensure!(said.trim() == "ok", "{call}: {said}");
        Ok(())
    }

    async fn publish(&self, queues: &[&QueueName]) -> Vec<Result<(), QueueError>> {
        self.f.queue.publish(queues.iter().map(|queue| outgoing(queue, 7)).collect()).await
    }
}

fn is_silent(answer: &Result<(), QueueError>, of: &QueueName) -> bool {
    matches!(answer, Err(QueueError::Silent { queue, .. }) if *queue == of.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_up_no_other_queue_and_is_made_anew() -> Result<()> {
    let scene = SilentScene::new().await?;
    let (default, other) = (tasks("default"), tasks("other"));
    let f = &scene.f;
    f.publish(&other, 0..1).await?;
    let mut consumer = f.queue.consume(other.clone(), 1).await?;
    f.next(&mut consumer).await?.receipt.ack().await?;
    scene.tell_leader(&other, "suspend")?;

    let answers = scene.publish(&[&other, &default, &other]).await;
    assert!(is_silent(&answers[0], &other) && is_silent(&answers[2], &other), "{answers:?}");
    assert_eq!(answers[1], Ok(()));
    let depth = f.depth(&other).await.context("it is there")?;
    assert!(depth.silent.is_some_and(|seconds| seconds >= 4), "{depth:?}");
    assert_eq!(f.depth(&default).await.and_then(|depth| depth.silent), None);
    // Nobody waits for it as long as it is known to be so.
    let mut told = 0;
    wait_until(SOON * 3, "the queue takes messages", async || {
        let answer = scene.publish(&[&other]).await.remove(0);
        told += u32::from(is_silent(&answer, &other));
        answer.is_ok()
    })
    .await?;
    assert!(told > 2, "{told}");
    f.next(&mut consumer).await?.receipt.ack().await?;
    assert_eq!(f.depth(&other).await.and_then(|depth| depth.silent), None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_may_have_written_is_not_deleted_with_it() -> Result<()> {
    let scene = SilentScene::new().await?;
    let events = QueueName::Events;
    scene.f.publish(&events, 0..1).await?;
    scene.tell_leader(&events, "suspend")?;
    assert!(is_silent(&scene.publish(&[&events]).await[0], &events));
    // Long enough to have made a queue of tasks anew.
    wait_until(SOON, "it was silent for long", async || {
        scene.f.depth(&events).await.and_then(|depth| depth.silent).is_some_and(|seconds| seconds >= 10)
    })
    .await?;
    scene.tell_leader(&events, "resume")?;
    wait_until(SOON, "it goes on", async || scene.publish(&[&events]).await[0].is_ok()).await?;
    let mut consumer = scene.f.queue.consume(events, 1).await?;
    assert_eq!(scene.f.next(&mut consumer).await?.body, body(0), "the first is still there");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_of_the_broker_costs_no_queue_what_it_holds() -> Result<()> {
    let rabbit = RabbitMq::start()?;
    let config = AmqpConfig { silent_for: Duration::from_secs(4), ..rabbit.vhost()? };
    let f = Fixture::with(Arc::new(AmqpQueue::connect(&config, "tests").await?)).await?;
    let default = tasks("default");
    f.publish(&default, 0..1).await?;
    rabbit.ctl(&["set_vm_memory_high_watermark", "0.000001"])?;
    let publish = async || f.queue.publish(vec![outgoing(&default, 7)]).await.remove(0);
    let answer = publish().await;
    assert!(is_silent(&answer, &default), "{answer:?}");
    // Long enough to have made a queue anew that is silent by itself.
    wait_until(SOON, "it was silent for long", async || {
        f.depth(&default).await.and_then(|depth| depth.silent).is_some_and(|seconds| seconds >= 12)
    })
    .await?;
    rabbit.ctl(&["set_vm_memory_high_watermark", "0.6"])?;
    wait_until(SOON, "it goes on", async || publish().await.is_ok()).await?;
    let mut consumer = f.queue.consume(default, 1).await?;
    assert_eq!(f.next(&mut consumer).await?.body, body(0), "the first is still there");
    Ok(())
}
