//! Redis' clock goes ahead, and is set right again: whatever was timed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use harness::Redis;
use harness::clock::SteppedClock;
use services::state::RESERVE;
use services::state::redis::RedisState;

use super::fixture::other_run;
use super::*;

const HOUR: i64 = 3600;

/// Longer than anything that is timed here, and much less than an hour.
const FAR: u64 = 1_800_000;

/// Everything that has a time in Redis, by set or field, without the name of its run: the latest time, in milliseconds.
fn times(redis: &Redis) -> Result<BTreeMap<String, u64>> {
    let mut latest = BTreeMap::new();
    let mut add = |name: &str, at: &str| -> Result<()> {
        let held: &mut u64 = latest.entry(name.to_owned()).or_default();
        *held = (*held).max(at.trim().parse()?);
        Ok(())
    };
    for key in redis.cli(&["--scan", "--pattern", "sas:{*"])?.lines() {
        let name = key.split("}:").nth(1).unwrap_or(key);
        match redis.cli(&["type", key])?.trim() {
            "zset" => {
                let newest = redis.cli(&["zrange", key, "0", "0", "rev", "withscores"])?;
                add(name, newest.lines().nth(1).unwrap_or("0"))?;
            }
            "hash" if name == "info" => {
                for field in ["swept", "mercy", "moved", "reserve"] {
                    let at = redis.cli(&["hget", key, field])?;
                    add(field, if at.trim().is_empty() { "0" } else { &at })?;
                }
            }
            "hash" if name == "announced" => {
                let entry = redis.cli(&["hvals", key])?;
                add(name, entry.split(' ').next().unwrap_or("0"))?;
            }
            _ => {}
        }
    }
    Ok(latest)
}

/// Those of them that are far ahead of the right time.
fn far_ahead(redis: &Redis) -> Result<Vec<String>> {
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond())?;
    Ok(times(redis)?.into_iter().filter(|(_, at)| *at > now + FAR).map(|(name, _)| name).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stands_for_as_long_as_the_clock_was_ahead() -> Result<()> {
    let clock = SteppedClock::new()?;
    let redis = Redis::start_by(&clock)?;
    let state: SharedState = Arc::new(RedisState::connect(&redis.database()?).await?);
    let f = StateFixture::with(state.clone()).await?;
    f.state.due(f.run, 10, 10, SILENCE).await?;
    assert_eq!(far_ahead(&redis)?, Vec::<String>::new());

    clock.set(HOUR)?;
    f.state.due(f.run, 10, 10, SILENCE).await?;
    let other = RunInfo { run: other_run(), ..f.info.clone() };
    state.open_run(&other, Duration::from_secs(60)).await?;
    state.due(other.run, 10, 10, SILENCE).await?;
    for star in 0..STARS {
        f.admit(star).await?;
    }
    f.granted(task(0, 0), 1).await?;
    f.wait_for(1, Duration::from_secs(300)).await?;
    let ready = f.state.outbox(f.run, Duration::ZERO, 10).await?;
    let published: Vec<Ready> = ready.into_iter().filter(|ready| ready.task == task(2, 0)).collect();
    f.state.published(f.run, &published).await?;
    f.settle(3).await?;
    f.state.hold(f.run, &[ModuleIndex(1)]).await?;
    let on_hold = Change {
        star: StarIndex(4),
        expected: f.star(4).await?,
        after: StateFixture::with_cell(&f.star(4).await?, 1, Cell::queued(Attempt(1))),
        queue: vec![(ModuleIndex(1), Attempt(1))],
        ..Change::default()
    };
    assert_eq!(f.write(&[on_hold]).await?, [Written::Done]);
    let runs = Lease { run: f.run, task: task(4, 2), attempt: Attempt(1), nonce: Nonce::random() };
    f.state.announce(&[runs], LEASE).await?;
    let all = [
        "announced",
        "closing",
        "leases",
        "mercy",
        "moved",
        "on_hold",
        "outbox:default",
        "published:default",
        "reserve",
        "swept",
        "waits",
    ];
    assert_eq!(far_ahead(&redis)?, all);

    clock.set(0)?;
    let due = f.state.due(f.run, 10, 10, SILENCE).await?;
    state.due(other.run, 10, 10, SILENCE).await?;
    assert_eq!(far_ahead(&redis)?, Vec::<String>::new(), "it stands for an hour");
    assert!(due.leases.is_empty() && due.waits.is_empty(), "{due:?}");
    f.wait_until("the star is to be closed", |due| due.closing == [StarIndex(3)]).await?;
    harness::wait_until(Duration::from_secs(10), "what was published is old", async || {
        f.state.republish(f.run, &class(DEFAULT), Duration::ZERO, 10).await.is_ok_and(|count| count == 1)
    })
    .await?;
    f.counts_equal_rows().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_entered_while_the_clock_was_ahead_and_was_not_swept_stands_no_longer_for_it() -> Result<()> {
    let clock = SteppedClock::new()?;
    let redis = Redis::start_by(&clock)?;
    let state: SharedState = Arc::new(RedisState::connect(&redis.database()?).await?);
    clock.set(HOUR)?;
    let f = StateFixture::with(state.clone()).await?;
    let other = RunInfo { run: other_run(), ..f.info.clone() };
    state.open_run(&other, RESERVE).await?;
    f.admit(0).await?;
    state.begin_epoch(EPOCH.next()).await?;
    let published: Vec<Ready> = f.state.outbox(f.run, Duration::ZERO, 10).await?;
    f.state.published(f.run, &published).await?;
    assert_eq!(far_ahead(&redis)?, ["published:default", "reserve"]);

    clock.set(0)?;
    let grant_nonce = Nonce::random();
    let request = ClaimRequest { epoch: EPOCH.next(), ..f.request(task(0, 0), 1, grant_nonce) };
    let Claim::Granted(grant) = f.state.claim(&request).await?.remove(0) else { panic!("it is free") };
    assert!(grant.reserve <= RESERVE, "it begins after {:?}", grant.reserve);
    for run in [f.run, other.run] {
        f.state.due(run, 10, 10, SILENCE).await?;
    }
    assert_eq!(far_ahead(&redis)?, Vec::<String>::new(), "it stands for an hour");
    let request = ClaimRequest { epoch: EPOCH.next(), ..f.request(task(0, 0), 1, grant_nonce) };
    let Claim::Granted(again) = f.state.claim(&request).await?.remove(0) else { panic!("it is its own") };
    assert!(again.reserve > Duration::ZERO && again.reserve <= RESERVE, "as at the beginning: {:?}", again.reserve);
    f.counts_equal_rows().await
}
