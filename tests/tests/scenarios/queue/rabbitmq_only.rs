//! What only RabbitMQ can do: refuse, die in the middle, lose a queue, return a message, be full.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;

use super::fixture::SOON;
use super::*;
use anyhow::Context;
use axum::{Json, Router};
use domain::id::ClassName;
use harness::{RabbitMq, Redis, wait_until};
use serde_json::json;
use services::address::Address;
use services::queue::amqp::{AmqpConfig, AmqpQueue, differences};

async fn refusal(config: &AmqpConfig) -> String {
    match AmqpQueue::connect(config, "tests").await {
        Err(QueueError::Refused(reason)) => reason,
        Err(error) => panic!("not taken for a refusal: {error}"),
        Ok(_) => panic!("let in"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_and_virtual_hosts_are_refusals_that_say_so() -> Result<()> {
    let right = RabbitMq::shared()?.vhost()?;
    let wrong = |from, to| AmqpConfig::at(right.url.secret().replace(from, to));
    let reason = refusal(&wrong("guest:guest", "guest:secret")).await;
    assert!(reason.contains("user guest") && reason.contains("ACCESS"), "{reason}");
    assert!(!reason.contains("secret"), "{reason}");
    let reason = refusal(&wrong("/test", "/no-such-")).await;
    assert!(reason.contains("no-such-"), "{reason}");
    refusal(&wrong("amqp://", "http://")).await;
    let hasty = AmqpConfig { silent_for: Duration::from_secs(1), ..right.clone() };
    let reason = refusal(&hasty).await;
    assert!(reason.contains("`[queue] silent_for` is 1s, expected 4s or more"), "{reason}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_an_outage() -> Result<()> {
    let config = AmqpConfig::at("amqp://guest:guest@127.0.0.1:1/%2f");
    let error = AmqpQueue::connect(&config, "tests").await.err().expect("nothing listens there");
    assert!(matches!(error, QueueError::Unreachable(_)), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_declared_otherwise_is_a_refusal() -> Result<()> {
    let rabbit = RabbitMq::start_with_management()?;
    let config = rabbit.vhost()?;
    let classic = |name: &str, how: &str| {
        rabbit.api(how, &format!("/api/queues/test0/{name}"), r#"{"durable":true,"arguments":{}}"#)
    };
    let assert_says = |reason: &str, name: &str| {
        for words in [name, "inequivalent arg", "current is", "rabbitmqctl delete_queue", "sas init"] {
            assert!(reason.contains(words), "{words}: {reason}");
        }
    };
    let queue = AmqpQueue::connect(&config, "tests").await?;
    let names = [QueueName::Events, QueueName::Completions, tasks("default")];
    assert!(differences(&config, &names).await?.is_empty(), "nothing is there");
    for name in ["sas.completions", "sas.tasks.default"] {
        classic(name, "PUT")?;
    }
    let exchange = |how: &str| {
        rabbit.api(how, "/api/exchanges/test0/sas.dead", r#"{"type":"direct","durable":true,"arguments":{}}"#)
    };
    exchange("PUT")?;
    let found = differences(&config, &names).await?;
    let [dead, completions, of_tasks] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(dead.queue, None);
    for words in ["'type' for exchange 'sas.dead'", "rabbit_exchange:delete", "<<\"test0\">>", "sas init"] {
        assert!(dead.reason.contains(words), "{words}: {}", dead.reason);
    }
    assert_eq!((&completions.queue, &of_tasks.queue), (&Some(QueueName::Completions), &Some(tasks("default"))));
    assert_says(&completions.reason, "sas.completions");
    assert_says(&of_tasks.reason, "sas.tasks.default");
    assert!(queue.depths(&[QueueName::Events]).await?.is_empty(), "nothing is made");

    exchange("DELETE")?;
    match queue.declare(&["default", "other"].map(class)).await {
        Err(QueueError::Refused(reason)) => assert_says(&reason, "sas.completions"),
        other => panic!("{other:?}"),
    }
    assert_eq!(queue.depths(&[tasks("other")]).await?.len(), 1, "a refusal keeps no other from being declared");
    let right = config.management.as_ref().context("this broker has one")?.secret();
    let said = initialised(&config, right)?;
    for (verdict, words) in [("problem", "for queue 'sas.completions'"), ("ok", "sas.events"), ("ok", "sas.dead")] {
        assert!(said.lines().any(|line| line.starts_with(verdict) && line.contains(words)), "{words}: {said}");
    }

    classic("sas.completions", "DELETE")?;
    classic("sas.tasks.default", "DELETE")?;
    let f = Fixture::with(Arc::new(queue)).await?;
    f.publish(&tasks("default"), 0..3).await?;
    let mut consumer = f.queue.consume(tasks("default"), 2).await?;
    let _held = [f.next(&mut consumer).await?, f.next(&mut consumer).await?];
    wait_until(SOON, "the management API counts unacknowledged messages", async || {
        let depth = f.depth(&tasks("default")).await;
        depth.is_some_and(|depth| (depth.ready, depth.unacknowledged) == (1, Some(2)))
    })
    .await?;

    let wrong = right.replace("guest:guest@", "guest:S3cret@");
    for (management, verdict, words) in
        [(right, "ok", "it answers"), (&wrong, "problem", "does not let us in: user and password of its address")]
    {
        let mut said = String::new();
        // On a busy machine the API may take longer than it is waited for.
        let told = wait_until(SOON, "the management API is told as it is", async || {
            said = initialised(&config, management).unwrap_or_else(|error| error.to_string());
            let line = said.lines().find(|line| line.contains("management API")).unwrap_or_default();
            line.starts_with(verdict) && line.contains(words)
        });
        assert!(told.await.is_ok() && !said.contains("S3cret"), "{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_management_api_that_does_not_count_hides_nothing_else() -> Result<()> {
    // One accepts and never answers, one is another server.
    let hangs = std::net::TcpListener::bind("127.0.0.1:0")?;
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let (hanging, another) = (hangs.local_addr()?, other.local_addr()?);
    let routes = Router::new().fallback(async || Json(json!({ "a": 1, "messages_unacknowledged": 7 })));
    tokio::spawn(axum::serve(other, routes).into_future());
    for (at, words) in [
        ("127.0.0.1:1".to_owned(), "does not answer"),
        (hanging.to_string(), "does not answer"),
        (another.to_string(), "may be another server's"),
    ] {
        let management = Some(Address::new(format!("http://guest:S3cret@{at}")));
        let config = AmqpConfig { management, ..RabbitMq::shared()?.vhost()? };
        let f = Fixture::with(Arc::new(AmqpQueue::connect(&config, "tests").await?)).await?;
        f.publish(&tasks("default"), 0..2).await?;
        // All are asked at once, and not for longer than people wait.
        let classes: Vec<ClassName> = (0..12).map(|number| class(&format!("c{number}"))).collect();
        f.queue.declare(&classes).await?;
        let asked: Vec<QueueName> = classes.into_iter().chain([class("default")]).map(QueueName::Tasks).collect();
        let depths = tokio::time::timeout(Duration::from_secs(10), f.queue.depths(&asked)).await??;
        let depth = depths.into_iter().find(|depth| depth.queue == "sas.tasks.default").context("it is there")?;
        assert_eq!((depth.ready, depth.unacknowledged), (2, None));
        let why = depth.unknown.context("it says why")?;
        assert!(why.contains(&at) && why.contains(words) && !why.contains("S3cret"), "{why}");
    }
    Ok(())
}

/// What `sas init` says of this broker and management API.
fn initialised(config: &AmqpConfig, management: &str) -> Result<String> {
    let store = tempfile::tempdir()?;
    let mut command = Command::new(harness::program("sas-cli", "sas"));
    command.args(["init", "--no-docker", "--store"]).arg(store.path().join("store"));
    command.env("SAS_QUEUE_URL", config.url.secret()).env("SAS_QUEUE_MANAGEMENT", management);
    let done = command.env("SAS_STATE_URL", Redis::shared()?.database()?.url.secret()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(text(&done.stdout) + &text(&done.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_and_consumed_again() -> Result<()> {
    let rabbit = RabbitMq::shared()?;
    let config = rabbit.vhost()?;
    let vhost = config.url.secret().rsplit('/').next().expect("the address ends with the virtual host").to_owned();
    let f = Fixture::with(Arc::new(AmqpQueue::connect(&config, "tests").await?)).await?;
    let mut consumer = f.queue.consume(tasks("default"), 10).await?;
    f.publish(&tasks("default"), 0..1).await?;
    let held = f.next(&mut consumer).await?;

    rabbit.ctl(&["delete_queue", "-p", &vhost, "sas.tasks.default"])?;
    wait_until(SOON, "the queue is there again, with its consumer", async || {
        f.depth(&tasks("default")).await.is_some_and(|depth| depth.consumers == 1)
    })
    .await?;
    f.publish(&tasks("default"), 1..2).await?;
    let delivery = f.next(&mut consumer).await?;
    assert_eq!(delivery.body, body(1), "what was in the queue is gone; its owner publishes it again");
    delivery.receipt.ack().await?;
    assert!(held.receipt.ack().await.is_err(), "an old receipt acknowledges nothing of the new queue");
    f.wait_for_ready(&tasks("default"), 0).await
}

/// Publishes and consumes while the broker is killed and comes back, twice.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_a_killed_broker() -> Result<()> {
    let rabbit = RabbitMq::start()?;
    let f = Arc::new(Fixture::with(Arc::new(AmqpQueue::connect(&rabbit.vhost()?, "tests").await?)).await?);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let publishing = tokio::spawn(publish_until(f.clone(), stopped));
    let consumer = f.queue.consume(tasks("default"), 50).await?;
    let consuming = tokio::spawn(consume_until_the_last(f.clone(), consumer));
    for _ in 0..2 {
        rabbit.kill()?;
        rabbit.restart()?;
    }
    wait_until(Duration::from_secs(60), "messages are published again", async || {
        f.queue.publish(vec![outgoing(&tasks("default"), 0)]).await[0].is_ok()
    })
    .await?;
    stop.send(true)?;
    let published = publishing.await?;
    wait_until(SOON, "the last message is published", async || {
        f.queue.publish(vec![outgoing(&tasks("default"), LAST)]).await[0].is_ok()
    })
    .await?;
    let seen = tokio::time::timeout(Duration::from_secs(60), consuming).await???;
    assert!(published.failures > 0, "nothing was published while the broker was away");
    assert!(published.confirmed.len() > 100, "{}", published.confirmed.len());
    let lost = published.confirmed.difference(&seen).count();
    assert_eq!(lost, 0, "of {} confirmed messages", published.confirmed.len());
    Ok(())
}

const LAST: u32 = u32::MAX;

struct ConfirmedMessages {
    confirmed: BTreeSet<Vec<u8>>,
    failures: usize,
}

/// Every message has an answer, outage or not.
async fn publish_until(f: Arc<Fixture>, stopped: tokio::sync::watch::Receiver<bool>) -> ConfirmedMessages {
    let mut published = ConfirmedMessages { confirmed: BTreeSet::new(), failures: 0 };
    let mut first = 1;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    while !*stopped.borrow() {
        pace.tick().await;
        let numbers = first..first + 20;
        first += 20;
        let messages = numbers.clone().map(|n| outgoing(&tasks("default"), n)).collect();
        let answers = f.queue.publish(messages).await;
        assert_eq!(answers.len(), 20);
        for (n, answer) in numbers.zip(answers) {
            match answer {
                Ok(()) => _ = published.confirmed.insert(body(n)),
                Err(_) => published.failures += 1,
            }
        }
    }
    published
}

async fn consume_until_the_last(f: Arc<Fixture>, mut consumer: Box<dyn Consumer>) -> Result<BTreeSet<Vec<u8>>> {
    let mut seen = BTreeSet::new();
    while !seen.contains(&body(LAST)) || f.depth(&tasks("default")).await.is_none_or(|depth| depth.ready > 0) {
        if let Ok(delivery) = tokio::time::timeout(Duration::from_secs(1), consumer.next()).await {
            seen.insert(delivery.body);
            // An acknowledgement that is lost brings the delivery again.
            _ = delivery.receipt.ack().await;
        }
    }
    while let Ok(delivery) = tokio::time::timeout(Duration::from_secs(1), consumer.next()).await {
        seen.insert(delivery.body);
        _ = delivery.receipt.ack().await;
    }
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_publisher_does_not_block_acknowledgements() -> Result<()> {
    let rabbit = RabbitMq::start()?;
    let f = Fixture::with(Arc::new(AmqpQueue::connect(&rabbit.vhost()?, "tests").await?)).await?;
    f.publish(&tasks("default"), 0..3).await?;
    let mut consumer = f.queue.consume(tasks("default"), 1).await?;
    rabbit.ctl(&["set_vm_memory_high_watermark", "0.000001"])?;
    let queue = f.queue.clone();
    let publishing = tokio::spawn(async move { queue.publish(vec![outgoing(&tasks("default"), 9)]).await });
    for _ in 0..3 {
        f.next(&mut consumer).await?.receipt.ack().await?;
    }
    f.nothing_comes(&mut consumer).await;
    assert!(!publishing.is_finished(), "the broker is full");
    rabbit.ctl(&["set_vm_memory_high_watermark", "0.6"])?;
    assert!(publishing.await?[0].is_ok());
    assert_eq!(f.next(&mut consumer).await?.body, body(9));
    Ok(())
}
