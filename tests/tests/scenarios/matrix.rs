//! The matrix of a run over HTTP, while it goes on and when it is over: what is sent are the rows that state and store have,
//! in every order, and only what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::id::{RunId, StarId, StarIndex};
use harness::simulation::{Script, World};
use harness::{RabbitMq, Redis, ask, ask_bytes, free_address};
use serde_json::Value;
use services::queue::amqp::AmqpQueue;
use services::state::redis::RedisState;

const STARS: u32 = 70;
const MODULES: usize = 3;
const STATES: usize = 10;
static LISTEN: LazyLock<String> = LazyLock::new(|| free_address().expect("a free port"));

/// What was sent: lines by the place of their first star, and the tick to ask from next.
struct Sent {
    lines: BTreeMap<u32, Vec<u8>>,
    tick: i64,
}

/// Asks for a part of the matrix whose lines have so many bytes, for so many stars each.
async fn sent(run: RunId, path: &str, bytes: usize, stars: u32) -> Result<Sent> {
    let (head, body) = ask_bytes(&LISTEN, &format!("/api/v1/runs/{run}/{path}")).await?;
    ensure!(head.starts_with("HTTP/1.1 20"), "{head}{}", String::from_utf8_lossy(&body));
    ensure!(!head.contains("sas-stored-only"), "{head}");
    let tick = head.lines().find_map(|line| line.strip_prefix("sas-tick: ")).context("a tick")?.parse()?;
    let (mut lines, mut rest) = (BTreeMap::new(), body.as_slice());
    while let Some(([from, count], after)) = take(rest) {
        let (part, after) = after.split_at(count as usize * bytes);
        lines.extend(part.chunks(bytes).zip(0..).map(|(line, at)| (from + at * stars, line.to_vec())));
        rest = after;
    }
    ensure!(rest.is_empty() && (head.contains(" 204 ") == lines.is_empty()), "{head}");
    Ok(Sent { lines, tick })
}

fn take(bytes: &[u8]) -> Option<([u32; 2], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    Some(([number(0), number(4)], rest))
}

/// Tasks of each module by state, from lines of counts.
fn added_up(sent: &Sent) -> [[u32; STATES]; MODULES] {
    let mut sums = [[0; STATES]; MODULES];
    for line in sent.lines.values() {
        for (at, count) in line.as_chunks().0.iter().enumerate() {
            sums[at / STATES][at % STATES] += u32::from(u16::from_le_bytes(*count));
        }
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matrix_has_the_rows_of_state_and_store_and_tells_what_changed() -> Result<()> {
    let broker = AmqpQueue::connect(&RabbitMq::shared()?.vhost()?, "test").await?;
    let state = RedisState::connect(&Redis::shared()?.database()?).await?;
    let scripts = vec![Script::random(11, "ONE", MODULES)];
    let world = World::start_on(Arc::new(broker), Arc::new(state), 11, scripts).await?;
    let _working = world.coordinator_with(&LISTEN, Vec::new());
    let stars: Vec<StarId> = (0..u64::from(STARS)).map(StarId::of_simulator).collect();
    let event = world.publish("1", &stars).await?;
    let run = world.runs_of(&event).await?[0];

    // While it goes on: every star is in one state for each module, and who knows all is told what changed.
    let counts = format!("matrix/counts?count={STARS}&stars_per_line=64");
    let look = async || sent(run, &counts, MODULES * STATES * 2, 64).await;
    harness::wait_until(Duration::from_secs(10), "the run is in the state", async || look().await.is_ok()).await?;
    let first = look().await?;
    assert_eq!(first.lines.keys().copied().collect::<Vec<_>>(), [0, 64]);
    assert!(added_up(&first).iter().all(|states| states.iter().sum::<u32>() == STARS));
    world.wait_for_end(&[run]).await?;
    let settled = world.store.settled(run)?;
    let row = |star: u32| settled.get(&StarIndex(star)).map(|line| line.row.clone()).context("it is settled");
    let rows = format!("matrix?from=10&count={STARS}");
    let changed = async |since: i64| sent(run, &format!("{rows}&since={since}"), MODULES, 1).await;
    harness::wait_until(Duration::from_secs(10), "the end is seen", async || {
        changed(first.tick)
            .await
            .is_ok_and(|sent| sent.lines.iter().all(|(star, line)| row(*star).is_ok_and(|row| row == *line)))
    })
    .await?;
    let last = changed(first.tick).await?;
    assert_eq!(last.lines.keys().copied().collect::<Vec<_>>(), (10..STARS).collect::<Vec<_>>());
    assert!(changed(last.tick).await?.lines.is_empty(), "nothing changes after the end");
    let mut expected = [[0; STATES]; MODULES];
    for star in 0..STARS {
        row(star)?.iter().enumerate().for_each(|(module, byte)| expected[module][usize::from(byte >> 4)] += 1);
    }
    assert_eq!(added_up(&look().await?), expected);

    // In another order the same stars have the same rows.
    for order in ["arrival", "state", "progress"] {
        let path = format!("/api/v1/runs/{run}/stars?count={STARS}&order={order}");
        let placed: Vec<Value> = serde_json::from_slice(&ask_bytes(&LISTEN, &path).await?.1)?;
        let sent = sent(run, &format!("matrix?count={STARS}&order={order}"), MODULES, 1).await?;
        let mut named = BTreeSet::new();
        for (star, (place, line)) in placed.iter().zip(&sent.lines) {
            let index = u32::try_from(star["index"].as_u64().context("an index")?)?;
            assert_eq!((star["place"].as_u64(), &row(index)?), (Some(u64::from(*place)), line), "{order}");
            let name = world.store.stars(run)?.star(StarIndex(index))?.to_string();
            assert_eq!(star["star"], name.as_str());
            named.insert(name);
        }
        assert_eq!(named.len(), STARS as usize, "{order}");
    }

    // What makes no sense is refused in words.
    for (path, status, words) in [
        ("matrix?count=0".to_owned(), 422, "1 to 16384"),
        (format!("matrix?from={STARS}&count=1"), 422, "there is none at 70"),
        (format!("matrix/counts?count={STARS}&stars_per_line=65"), 422, "a multiple of 64"),
        ("matrix/counts?from=3&count=64&stars_per_line=64".to_owned(), 422, "begin at a multiple"),
    ] {
        let said = ask(&LISTEN, &format!("/api/v1/runs/{run}/{path}")).await?;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")) && said.contains(words), "{path}: {said}");
    }
    let none = ask(&LISTEN, "/api/v1/runs/00000000-0000-4000-8000-000000000000/matrix/head").await?;
    assert!(none.starts_with("HTTP/1.1 404"), "{none}");
    Ok(())
}
