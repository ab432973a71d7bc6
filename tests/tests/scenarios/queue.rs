//! What the queue port promises, asserted on both adapters; and what only a broker across a network can do.

mod fixture;
mod rabbitmq_only;
mod silent;

use std::time::Duration;

use anyhow::Result;
use fixture::{Fixture, SOON, body, class, outgoing, tasks};
use services::queue::{Consumer, Death, Delivery, Depth, Outgoing, Queue, QueueError, QueueName, Receipt, SharedQueue};

/// Runs every check on both adapters.
macro_rules! on_both_adapters {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() -> anyhow::Result<()> {
                super::$name(super::Fixture::memory().await?).await
            })*
        }
        mod rabbitmq {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() -> anyhow::Result<()> {
                super::$name(super::Fixture::rabbitmq().await?).await
            })*
        }
    };
}

on_both_adapters!(
    what_is_published_arrives_and_is_gone_when_acknowledged,
    a_queue_can_be_declared_again_with_more_classes,
    a_queue_that_is_not_there_is_reported_per_message,
    deliveries_that_are_there_are_taken_together,
    acknowledgements_that_go_together_pass_nothing_undecided,
    what_is_given_back_comes_again,
    a_receipt_that_is_dropped_gives_the_delivery_back,
    a_consumer_that_is_dropped_gives_everything_back,
    an_answer_after_the_consumer_is_dropped_is_an_error,
    a_consumer_that_is_given_up_while_it_begins_takes_nothing,
    no_more_than_the_prefetch_is_unanswered,
    two_consumers_share_a_queue,
    what_cannot_be_read_is_kept_with_its_reason,
    a_wait_for_a_delivery_can_be_given_up,
    depths_count_ready_messages_and_consumers,
    thousands_are_confirmed_and_none_is_lost,
);

async fn what_is_published_arrives_and_is_gone_when_acknowledged(f: Fixture) -> Result<()> {
    f.publish(&tasks("default"), 0..3).await?;
    let mut consumer = f.queue.consume(tasks("default"), 10).await?;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let delivery = f.next(&mut consumer).await?;
        assert!(!delivery.redelivered && delivery.death.is_none());
        seen.push(delivery.body);
        delivery.receipt.ack().await?;
    }
    seen.sort();
    assert_eq!(seen, [body(0), body(1), body(2)]);
    drop(consumer);
    f.wait_for_ready(&tasks("default"), 0).await?;
    f.publish(&tasks("default"), 7..8).await?;
    let mut consumer = f.queue.consume(tasks("default"), 10).await?;
    assert_eq!(f.next(&mut consumer).await?.body, body(7), "nothing else came back");
    Ok(())
}

async fn a_queue_can_be_declared_again_with_more_classes(f: Fixture) -> Result<()> {
    f.queue.declare(&[class("default"), class("heavy")]).await?;
    f.queue.declare(&[]).await?;
    f.publish(&tasks("heavy"), 0..1).await?;
    f.wait_for_ready(&tasks("heavy"), 1).await
}

async fn a_queue_that_is_not_there_is_reported_per_message(f: Fixture) -> Result<()> {
    let (there, nowhere) = (tasks("default"), tasks("nowhere"));
    let messages = (0..50).map(|n| outgoing(if n % 7 == 3 { &nowhere } else { &there }, n)).collect();
    let answers = f.queue.publish(messages).await;
    assert_eq!(answers.len(), 50);
    for (n, answer) in answers.iter().enumerate() {
        match answer {
            Ok(()) => assert_ne!(n % 7, 3, "message {n} went nowhere and was confirmed"),
            Err(QueueError::Unconfirmed { queue, .. }) => {
                assert_eq!((n % 7, queue.as_str()), (3, "sas.tasks.nowhere"), "message {n}");
            }
            Err(error) => panic!("message {n}: {error}"),
        }
    }
    f.wait_for_ready(&there, 43).await?;
    assert!(f.queue.publish(vec![outgoing(&there, 0)]).await[0].is_ok(), "the next ones are not disturbed");
    assert!(f.queue.publish(Vec::new()).await.is_empty());
    Ok(())
}

async fn deliveries_that_are_there_are_taken_together(f: Fixture) -> Result<()> {
    let mut consumer = f.queue.consume(tasks("default"), 100).await?;
    f.publish(&tasks("default"), 0..20).await?;
    let mut taken = Vec::new();
    while taken.len() < 20 {
        let batch = tokio::time::timeout(SOON, consumer.next_batch(7)).await?;
        assert!((1..=7).contains(&batch.len()), "{} deliveries", batch.len());
        taken.extend(batch);
    }
    let bodies: Vec<Vec<u8>> = taken.iter().map(|delivery| delivery.body.clone()).collect();
    assert_eq!(bodies, (0..20).map(body).collect::<Vec<_>>());
    f.nothing_comes(&mut consumer).await;
    Ok(())
}

/// One is undecided, one goes back, one cannot be read: what is acknowledged with them, before and after, is gone, and they
/// are not.
async fn acknowledgements_that_go_together_pass_nothing_undecided(f: Fixture) -> Result<()> {
    f.publish(&tasks("default"), 0..40).await?;
    let mut consumer = f.queue.consume(tasks("default"), 100).await?;
    let mut taken = Vec::new();
    while taken.len() < 40 {
        taken.push(f.next(&mut consumer).await?);
    }
    let (mut done, mut undecided) = (Vec::new(), Vec::new());
    for (n, delivery) in taken.into_iter().enumerate() {
        match n {
            7 => undecided.push(delivery.receipt),
            11 => delivery.receipt.requeue().await?,
            13 => delivery.receipt.bury("no").await?,
            _ => done.push(delivery.receipt),
        }
    }
    let late = done.split_off(30);
    for acks in [done, late] {
        let answers = futures::future::join_all(acks.into_iter().map(Receipt::ack)).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    drop(consumer);
    f.wait_for_ready(&tasks("default"), 2).await?;
    f.wait_for_ready(&QueueName::Dead, 1).await?;
    let mut consumer = f.queue.consume(tasks("default"), 10).await?;
    let mut back = [f.next(&mut consumer).await?.body, f.next(&mut consumer).await?.body];
    back.sort();
    assert_eq!(back, [body(11), body(7)]);
    drop(undecided);
    Ok(())
}

async fn what_is_given_back_comes_again(f: Fixture) -> Result<()> {
    f.publish(&tasks("default"), 0..1).await?;
    let mut consumer = f.queue.consume(tasks("default"), 1).await?;
    for round in 0..30 {
        let delivery = f.next(&mut consumer).await?;
        assert_eq!(delivery.redelivered, round > 0, "round {round}");
        delivery.receipt.requeue().await?;
    }
    f.next(&mut consumer).await?.receipt.ack().await?;
    drop(consumer);
    f.wait_for_ready(&QueueName::Dead, 0).await?;
    f.wait_for_ready(&tasks("default"), 0).await
}

async fn a_receipt_that_is_dropped_gives_the_delivery_back(f: Fixture) -> Result<()> {
    f.publish(&tasks("default"), 0..1).await?;
    let mut consumer = f.queue.consume(tasks("default"), 1).await?;
    for _ in 0..3 {
        drop(f.next(&mut consumer).await?);
    }
    let again = f.next(&mut consumer).await?;
    assert!(again.redelivered);
    assert_eq!(again.body, body(0));
    Ok(())
}

async fn a_consumer_that_is_dropped_gives_everything_back(f: Fixture) -> Result<()> {
    f.publish(&tasks("default"), 0..5).await?;
    let mut consumer = f.queue.consume(tasks("default"), 4).await?;
    let _held = f.next(&mut consumer).await?;
    f.next(&mut consumer).await?.receipt.ack().await?;
    drop(consumer);
    f.wait_for_ready(&tasks("default"), 4).await
}

async fn an_answer_after_the_consumer_is_dropped_is_an_error(f: Fixture) -> Result<()> {
    f.publish(&tasks("default"), 0..1).await?;
    let mut consumer = f.queue.consume(tasks("default"), 4).await?;
    let held = f.next(&mut consumer).await?;
    drop(consumer);
    f.wait_for_ready(&tasks("default"), 1).await?;
    let answer = held.receipt.ack().await;
    assert!(matches!(answer, Err(QueueError::Unreachable(_))), "{answer:?}");
    f.wait_for_ready(&tasks("default"), 1).await
}

/// As when a service is told to end while it starts.
async fn a_consumer_that_is_given_up_while_it_begins_takes_nothing(f: Fixture) -> Result<()> {
    for micros in (0..8_000).step_by(80) {
        let beginning = f.queue.consume(tasks("default"), 10);
        drop(tokio::time::timeout(Duration::from_micros(micros), beginning).await);
    }
    f.publish(&tasks("default"), 0..20).await?;
    let mut consumer = f.queue.consume(tasks("default"), 100).await?;
    for _ in 0..20 {
        f.next(&mut consumer).await?;
    }
    Ok(())
}

async fn no_more_than_the_prefetch_is_unanswered(f: Fixture) -> Result<()> {
    f.publish(&tasks("default"), 0..5).await?;
    let mut consumer = f.queue.consume(tasks("default"), 2).await?;
    let first = f.next(&mut consumer).await?;
    let _second = f.next(&mut consumer).await?;
    f.nothing_comes(&mut consumer).await;
    first.receipt.ack().await?;
    let _third = f.next(&mut consumer).await?;
    f.nothing_comes(&mut consumer).await;
    f.wait_for_ready(&tasks("default"), 2).await?;

    let mut unlimited = f.queue.consume(tasks("default"), 0).await?;
    let _rest = [f.next(&mut unlimited).await?, f.next(&mut unlimited).await?];
    Ok(())
}

async fn two_consumers_share_a_queue(f: Fixture) -> Result<()> {
    let mut one = f.queue.consume(tasks("default"), 1).await?;
    let mut other = f.queue.consume(tasks("default"), 1).await?;
    f.publish(&tasks("default"), 0..2).await?;
    let (first, second) = (f.next(&mut one).await?, f.next(&mut other).await?);
    assert_ne!(first.body, second.body);
    drop(one);
    second.receipt.ack().await?;
    assert_eq!(f.next(&mut other).await?.body, first.body);
    Ok(())
}

async fn what_cannot_be_read_is_kept_with_its_reason(f: Fixture) -> Result<()> {
    f.publish(&QueueName::Events, 0..2).await?;
    let mut consumer = f.queue.consume(QueueName::Events, 1).await?;
    f.next(&mut consumer).await?.receipt.bury("field `x` is \u{2013} missing").await?;
    f.next(&mut consumer).await?.receipt.ack().await?;
    drop(consumer);
    f.wait_for_ready(&QueueName::Events, 0).await?;
    let mut dead = f.queue.consume(QueueName::Dead, 1).await?;
    let letter = f.next(&mut dead).await?;
    assert_eq!(letter.body, body(0));
    let death = Death { queue: "sas.events".to_owned(), reason: "field `x` is \u{2013} missing".to_owned() };
    assert_eq!(letter.death, Some(death));
    Ok(())
}

async fn a_wait_for_a_delivery_can_be_given_up(f: Fixture) -> Result<()> {
    let mut consumer = f.queue.consume(tasks("default"), 10).await?;
    for _ in 0..50 {
        _ = tokio::time::timeout(Duration::from_micros(200), consumer.next()).await;
    }
    f.publish(&tasks("default"), 0..20).await?;
    let mut seen = std::collections::BTreeSet::new();
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while seen.len() < 20 && tokio::time::Instant::now() < end {
        if let Ok(delivery) = tokio::time::timeout(Duration::from_micros(200), consumer.next()).await {
            seen.insert(delivery.body.clone());
            delivery.receipt.ack().await?;
        }
    }
    assert_eq!(seen.len(), 20, "a delivery got lost in a wait that was given up");
    Ok(())
}

async fn depths_count_ready_messages_and_consumers(f: Fixture) -> Result<()> {
    f.publish(&tasks("default"), 0..3).await?;
    let mut consumer = f.queue.consume(tasks("default"), 1).await?;
    let _held = f.next(&mut consumer).await?;
    f.wait_for_ready(&tasks("default"), 2).await?;
    let depths = f.queue.depths(&[QueueName::Events, tasks("nowhere"), tasks("default")]).await?;
    let names: Vec<&str> = depths.iter().map(|depth| depth.queue.as_str()).collect();
    assert_eq!(names, ["sas.events", "sas.tasks.default"]);
    assert_eq!((depths[0].ready, depths[0].consumers), (0, 0));
    assert_eq!((depths[1].ready, depths[1].consumers), (2, 1));
    Ok(())
}

async fn thousands_are_confirmed_and_none_is_lost(f: Fixture) -> Result<()> {
    const EACH: u32 = 1500;
    let mut publishing = tokio::task::JoinSet::new();
    for publisher in 0..4 {
        let queue = f.queue.clone();
        publishing.spawn(async move {
            let messages = (publisher * EACH..(publisher + 1) * EACH).map(|n| outgoing(&tasks("default"), n)).collect();
            queue.publish(messages).await
        });
    }
    let mut consumer = f.queue.consume(tasks("default"), 500).await?;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 4 * EACH as usize {
        let delivery = f.next(&mut consumer).await?;
        seen.insert(delivery.body);
        delivery.receipt.ack().await?;
    }
    while let Some(answers) = publishing.join_next().await {
        assert!(answers?.iter().all(Result::is_ok));
    }
    Ok(())
}
