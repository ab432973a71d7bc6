//! The API on real services: what is asked for is done once, is on record, and is done for nobody who may not.

mod client;
mod roles;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use client::{Client, sas};
use domain::id::{EventId, StarId};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection};
use harness::simulation::{Script, World};
use harness::{RabbitMq, Redis, free_address};
use reqwest::Method;
use serde_json::{Value, json};
use services::queue::QueueName;
use services::queue::amqp::AmqpQueue;
use services::state::redis::RedisState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn world(seed: u64) -> Result<World> {
    let broker = AmqpQueue::connect(&RabbitMq::shared()?.vhost()?, "test").await?;
    let state = RedisState::connect(&Redis::shared()?.database()?).await?;
    World::start_on(Arc::new(broker), Arc::new(state), seed, vec![Script::random(seed, "ONE", 3)]).await
}

fn stars(count: u64) -> Vec<StarId> {
    (0..count).map(StarId::of_simulator).collect()
}

/// An event as ingestion writes it.
fn event(id: &str, stars: Vec<StarId>) -> Result<Value> {
    let update = DatasetUpdate {
        dataset: "l1/lightcurve".parse()?,
        quarter: 3.try_into()?,
        stars: StarSelection::Inline(stars),
        start: None,
    };
    Ok(serde_json::to_value(DatasetEvent::new("test", id, "2026-01-01T00:00:00Z".to_owned(), update))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_taken_in_every_form_and_once() -> Result<()> {
    let world = world(61).await?;
    world.deliver(&stars(3))?;
    let listen = free_address()?;
    let _working = world.coordinator_at(client::config(&listen, None), Vec::new());
    let client = Client::new(&listen);
    client.is_up().await?;
    let one = event("1", stars(3))?;
    let structured = async |event: &Value| client.send("/events", "application/cloudevents+json", &[], event).await;

    let first = structured(&one).await?.is(202);
    assert_eq!(
        (&first["is_repeat"], &first["dispositions"][0]["disposition"]),
        (&false.into(), &"run".into()),
        "{first}"
    );
    let again = structured(&one).await?.is(200);
    assert_eq!((&again["event"], &again["is_repeat"]), (&first["event"], &true.into()));
    assert!(structured(&event("1", stars(2))?).await?.is(409)["detail"].to_string().contains("new id"));
    let empty = structured(&event("9", Vec::new())?).await?.is(422);
    assert!(empty["detail"].to_string().contains("data.stars"), "{empty}");

    let attributes =
        [("ce-specversion", "1.0"), ("ce-type", "sas.dataset.updated.v1"), ("ce-source", "k%C3%B6ln"), ("ce-id", "2")];
    let binary = client.send("/events", "application/json", &attributes, &one["data"]).await?.is(202);
    let batch = json!([event("3", stars(1))?, one]);
    let batch = client.send("/events", "application/cloudevents-batch+json", &[], &batch).await?.is(202);
    assert_eq!((&batch[0]["is_repeat"], &batch[1]["is_repeat"]), (&false.into(), &true.into()));
    client.send("/events", "text/plain", &[], &one).await?.is(415);

    // Newest first, a page at a time, and the same by one.
    let (mut listed, mut next) = (Vec::new(), String::new());
    loop {
        let page = client.ask(&format!("/events?limit=1{next}")).await?.is(200);
        let events = page["events"].as_array().context("a list")?;
        listed.extend(events.iter().map(|event| event["event"].clone()));
        let Some(token) = page["next"].as_str() else { break };
        next = format!("&next={token}");
    }
    assert_eq!(listed, [&batch[0]["event"], &binary["event"], &first["event"]].map(Clone::clone));
    let shown = client.ask(&format!("/events/{}", binary["event"].as_str().context("an id")?)).await?.is(200);
    assert_eq!((&shown["source"], &shown["stars"]), (&"köln".into(), &3.into()));

    let audit = client.ask("/audit").await?.is(200);
    let published: Vec<(&Value, &Value)> =
        audit["lines"].as_array().context("lines")?.iter().map(|line| (&line["event"], &line["count"])).collect();
    let expected = [(&batch[0]["event"], &1.into()), (&binary["event"], &3.into()), (&first["event"], &3.into())];
    assert_eq!(published, expected, "a repeat is no change");
    Ok(())
}

/// More stars than are kept in the event itself, and an event that is only on its way.
#[tokio::test(flavor = "multi_thread")]
async fn other_data_under_the_name_of_an_event_are_refused_at_every_door() -> Result<()> {
    let world = world(64).await?;
    let listen = free_address()?;
    let _working = world.coordinator_at(client::config(&listen, None), Vec::new());
    let client = Client::new(&listen);
    client.is_up().await?;
    let post = async |event: &Value| client.send("/events", "application/cloudevents+json", &[], event).await;
    let many = stars(1001);
    post(&event("many", many.clone())?).await?.is(202);
    let is_accepted = async || world.store.event(EventId::of("test", "many")).is_ok_and(|event| event.is_some());
    harness::wait_until(Duration::from_secs(20), "it is accepted", is_accepted).await?;
    let again = post(&event("many", many.iter().rev().copied().collect())?).await?.is(200);
    assert_eq!(again["is_repeat"], true, "{again}");
    post(&event("many", many[1..].to_vec())?).await?.is(409);

    // Somebody else lays an event down and has not published it yet.
    let announced: DatasetEvent = serde_json::from_value(event("on its way", stars(1))?)?;
    world.store.announce_event(&announced)?;
    post(&event("on its way", stars(2))?).await?.is(409);

    for other in [event("many", stars(3))?, event("on its way", stars(3))?] {
        world.send(other.to_string().into_bytes()).await?;
    }
    let mut dead = world.broker.consume(QueueName::Dead, 10).await?;
    for _ in 0..2 {
        let delivery = tokio::time::timeout(Duration::from_secs(20), dead.next()).await?;
        let reason = delivery.death.context("it says why")?.reason;
        assert!(reason.contains("an event with a new id"), "{reason}");
        delivery.receipt.ack().await?;
    }
    // It is published for whoever laid it down, now or later.
    let (waits, on_record) =
        (world.store.announced_event(announced.event_id())?, world.store.event(announced.event_id())?);
    let kept = waits.or(on_record.map(|record| record.event));
    assert_eq!(kept.context("it is not lost")?.data, announced.data);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_done_once_and_is_on_record_with_who_and_why() -> Result<()> {
    let world = world(62).await?;
    let listen = free_address()?;
    let _working = world.coordinator_at(client::config(&listen, None), Vec::new());
    let client = Client::new(&listen);
    client.is_up().await?;
    for id in ["1", "2"] {
        let event = world.publish(id, &stars(300)).await?;
        world.runs_of(&event).await?;
    }
    let runs = client.ask("/runs?limit=1").await?.is(200);
    let run = runs["runs"][0]["run"].as_str().context("a run")?.to_owned();
    let next = runs["next"].as_str().context("there is another")?;
    let older = client.ask(&format!("/runs?limit=1&next={next}")).await?.is(200);
    assert!(older["runs"][0]["run"] != runs["runs"][0]["run"] && older["next"].is_null(), "{older}");

    let pause = format!("/runs/{run}/pause");
    let key = [("idempotency-key", "k1")];
    let why = json!({"reason": "a bad calibration"});
    let paused = client.send(&pause, "application/json", &key, &why).await?.is(200);
    assert_eq!((&paused["number"], &paused["decision"]), (&1.into(), &"pause".into()));
    let again = client.send(&pause, "application/json", &key, &why).await?;
    assert_eq!((again.header("idempotency-replayed"), again.is(200)), ("true".to_owned(), paused.clone()));
    client.send(&pause, "application/json", &key, &json!({"reason": "another"})).await?.is(422);
    let already = client.post(&pause, &why).await?.is(200);
    assert!(already["number"].is_null() && already["audit"].is_null(), "{already}");

    // The terminal leaves lines, too, and shows those of others.
    sas(world.store.root(), &["run", "resume", &run, "--why", "it was mended"])?;
    let audit = sas(world.store.root(), &["audit", "-n", "2"])?;
    let of =
        |at: usize| ["who", "door", "verb", "run", "reason", "decision"].map(|field| audit["lines"][at][field].clone());
    assert_eq!(
        of(1),
        [json!("local"), json!("http"), json!("pause"), json!(run), json!("a bad calibration"), json!(1)]
    );
    assert_eq!(of(0)[1..], [json!("cli"), json!("resume"), json!(run), json!("it was mended"), json!(2)]);
    assert_eq!(audit["lines"][1]["number"], paused["audit"]);

    for (path, body, word) in [
        ("priority", json!({"weight": 0}), "weight"),
        ("priority", json!({"wieght": 2}), "wieght"),
        ("tasks/plan", json!({"verb": "retry", "selection": {"modul": ["M00"]}}), "modul"),
        ("pause", json!([]), "expected an object"),
    ] {
        let refused = client.post(&format!("/runs/{run}/{path}"), &body).await?.is(422);
        assert!(refused["detail"].to_string().contains(word), "{refused}");
    }
    let plan = json!({"verb": "cancel", "selection": {"modules": ["M00"]}});
    client.post(&format!("/runs/{run}/cancel"), &json!({})).await?.is(200);
    client.post(&format!("/runs/{run}/tasks/plan"), &plan).await?.is(409);
    client.ask("/runs?limit=0").await?.is(422);
    client.ask("/runs?next=x").await?.is(422);
    client.ask("/runs/0000").await?.is(404);
    let nowhere = client.ask("/nothing").await?;
    assert!(nowhere.header("content-type") == "application/problem+json", "{nowhere:?}");
    nowhere.is(404);
    client.post("/status", &json!({})).await?.is(405);

    let foreign = [("origin", "http://evil.example")];
    client.send(&pause, "application/json", &foreign, &why).await?.is(403);
    client.send(&pause, "application/json", &[("sec-fetch-site", "same-site")], &why).await?.is(403);
    client.send("/status", "application/json", &[("host", "evil.example")], &Value::Null).await?.is(421);
    client.send(&pause, "text/plain", &[], &why).await?.is(415);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_described_and_a_stream_tells_how_things_stand() -> Result<()> {
    let world = world(63).await?;
    let listen = free_address()?;
    let _working = world.coordinator_at(client::config(&listen, None), Vec::new());
    let client = Client::new(&listen);
    client.is_up().await?;
    // Somebody who begins and never says what it wants.
    let mut idle = tokio::net::TcpStream::connect(&listen).await?;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: ").await?;

    let document = client.ask("/openapi.json").await?.is(200);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    let (mut ids, mut routes) = (BTreeSet::new(), 0);
    for (path, methods) in document["paths"].as_object().context("paths")? {
        let address = path.strip_prefix("/api/v1").context("all are below /api/v1")?;
        for (method, described) in methods.as_object().context("methods")? {
            routes += 1;
            assert!(ids.insert(described["operationId"].to_string()), "{path}: {described}");
            assert!(
                described["summary"].is_string() && described["responses"]["default"].is_object(),
                "{path}: {described}"
            );
            let address = address.replace(['{', '}'], "~");
            if address != "/stream" {
                let method = Method::from_bytes(method.to_uppercase().as_bytes())?;
                let answer = client.request(method, &address).await?;
                assert!(answer.status != 405 && !answer.body.contains("there is nothing at"), "{path}: {answer:?}");
            }
        }
    }
    assert!(routes > 40, "{routes} routes");

    let mut stream = client.open("/stream").await?;
    let mut told = String::new();
    while told.matches("event: status").count() < 2 {
        told += std::str::from_utf8(&stream.chunk().await?.context("it goes on")?)?;
    }
    let data = told.lines().find_map(|line| line.strip_prefix("data: ")).context("data")?;
    assert_eq!(serde_json::from_str::<Value>(data)?["answers"][0]["question"], "moving");

    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(25), idle.read_to_end(&mut rest)).await.context("it is sent away")??;
    Ok(())
}
