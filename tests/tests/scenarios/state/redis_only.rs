//! What only Redis can do wrong: be set up badly, be away, be killed, be asked for too much memory.

use domain::id::Attempt;
use std::sync::Arc;
use std::time::Instant;

use super::*;
use domain::run::{Row, Star};
use harness::{Redis, wait_until};
use services::address::Address;
use services::state::State;
use services::state::redis::{RedisConfig, RedisState};

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_is_refused_with_the_lines_to_change() -> Result<()> {
    let redis = Redis::start_with("maxmemory-policy allkeys-lru\nappendonly no")?;
    let state = RedisState::connect(&redis.database()?).await?;
    let error = state.check().await.unwrap_err();
    assert!(matches!(error, StateError::Misconfigured(_)), "{error:?}");
    let text = error.to_string();
    for part in ["allkeys-lru", "`maxmemory-policy noeviction`", "`appendonly yes`", "redis.conf"] {
        assert!(text.contains(part), "{text} does not say {part}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_not_taken_for_an_outage() -> Result<()> {
    let redis = Redis::start_with("requirepass right")?;
    let address = |user: &str, database: u32| RedisConfig {
        url: Address::new(format!("redis://{user}127.0.0.1:{}/{database}", redis.port())),
    };
    redis.cli(&["-a", "right", "acl", "setuser", "reader", "on", ">right", "~*", "+@all", "-select"])?;
    // Another database is asked for as the connection is made.
    for (user, database) in [("", 0), (":wrong@", 0), ("", 3), (":wrong@", 3), ("reader:right@", 3), (":right@", 999)] {
        let error = RedisState::connect(&address(user, database)).await.err().expect("refused");
        assert!(matches!(error, StateError::Misconfigured(_)), "{user}, {database}: {error:?}");
        assert!(!error.to_string().contains("wrong@"), "{error}");
    }
    for database in [0, 3] {
        RedisState::connect(&address(":right@", database)).await?.check().await?;
    }
    let error = RedisState::connect(&RedisConfig { url: Address::new("http://x") }).await.err().expect("refused");
    assert!(matches!(error, StateError::Misconfigured(_)), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_survives_a_restart_and_a_kill() -> Result<()> {
    let redis = Redis::start_with("appendfsync always")?;
    let f = StateFixture::with(Arc::new(RedisState::connect(&redis.database()?).await?)).await?;
    for star in 0..STARS {
        f.admit(star).await?;
        if star % 2 == 0 {
            redis.kill()?;
        } else {
            redis.stop()?;
        }
        let error = f.state.load(f.run, &[StarIndex(0)]).await.unwrap_err();
        assert!(matches!(error, StateError::Unreachable(_)), "{error:?}");
        redis.restart()?;
        // A failed connection is not tried again for a moment, and Redis may be back sooner.
        wait_until(Duration::from_secs(5), "a call connects anew", async || f.row(star).await.is_ok()).await?;
        assert_eq!(f.row(star).await?.cell(ModuleIndex(0)), Cell::queued(Attempt(1)));
    }
    f.granted(task(0, 0), 1).await?;
    assert_eq!(f.state.epoch().await?, EPOCH);
    assert_eq!(f.state.outbox(f.run, Duration::ZERO, 10).await?.len(), STARS as usize - 1);
    f.counts_equal_rows().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_is_given_up_and_asked_again() -> Result<()> {
    let redis = Redis::start()?;
    let config = redis.database()?;
    let f = StateFixture::with(Arc::new(RedisState::connect(&config).await?)).await?;
    let pause = RedisState::connect(&config).await?;
    drop(pause);
    redis.freeze()?;
    let begin = Instant::now();
    let error = f.state.load(f.run, &[StarIndex(0)]).await.unwrap_err();
    assert!(matches!(error, StateError::Unreachable(_)), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    redis.thaw()?;
    wait_until(Duration::from_secs(10), "Redis answers again", async || f.row(0).await.is_ok()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_refuses_a_claim_whole() -> Result<()> {
    let redis = Redis::start()?;
    let f = StateFixture::with(Arc::new(RedisState::connect(&redis.database()?).await?)).await?;
    f.admit(0).await?;
    redis.cli(&["config", "set", "maxmemory", "1"])?;
    let error = f.state.claim(&f.request(task(0, 0), 1, Nonce::random())).await.unwrap_err();
    assert!(matches!(error, StateError::Refuses { .. }), "{error:?}");
    assert_eq!(f.state.outbox(f.run, Duration::ZERO, 10).await?.len(), 1, "reading goes on, nothing was half done");
    let error = f.write(&[f.admission_of(1)]).await.unwrap_err();
    assert!(matches!(error, StateError::Refuses { .. }), "{error:?}");
    redis.cli(&["config", "set", "maxmemory", "0"])?;
    f.granted(task(0, 0), 1).await?;
    f.counts_equal_rows().await
}

/// Within a script Redis says so in other words.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_redis_forbids_is_no_damage() -> Result<()> {
    let redis = Redis::start()?;
    let f = StateFixture::with(Arc::new(RedisState::connect(&redis.database()?).await?)).await?;
    f.admit(0).await?;
    for command in ["hset", "zadd", "getrange", "setrange", "zscan", "zunionstore", "unlink", "pttl"] {
        redis.cli(&["acl", "setuser", "default", &format!("-{command}")])?;
        let refused = f.state.probe().await;
        assert!(matches!(refused, Err(StateError::Misconfigured(_))), "{command}: {refused:?}");
        redis.cli(&["acl", "setuser", "default", &format!("+{command}")])?;
    }
    redis.cli(&["acl", "setuser", "default", "-getrange"])?;
    let error = f.state.load(f.run, &[StarIndex(0)]).await.unwrap_err();
    assert!(matches!(error, StateError::Misconfigured(_)), "{error:?}");
    redis.cli(&["acl", "setuser", "default", "+getrange"])?;
    f.state.probe().await?;
    f.granted(task(0, 0), 1).await?;
    f.counts_equal_rows().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_for_one_star_has_one_winner() -> Result<()> {
    let config = Redis::shared()?.database()?;
    let f = Arc::new(StateFixture::with(Arc::new(RedisState::connect(&config).await?)).await?);
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (f, config) = (f.clone(), config.clone());
        racers.spawn(async move {
            let own = RedisState::connect(&config).await?;
            let wrote = own.write(f.run, EPOCH, None, &[f.admission_of(0)]).await?;
            let claim = own.claim(&f.request(task(0, 0), 1, Nonce::random())).await?;
            anyhow::Ok((wrote == [Written::Done], matches!(claim[..], [Claim::Granted(_)])))
        });
    }
    let (mut wrote, mut granted) = (0, 0);
    while let Some(racer) = racers.join_next().await {
        let (first, second) = racer??;
        wrote += usize::from(first);
        granted += usize::from(second);
    }
    assert_eq!((wrote, granted), (1, 1));
    f.counts_equal_rows().await
}

/// So many that no single step may move them: whoever moved them may die between two steps.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_was_cut_short_is_known_and_ends_all_the_same() -> Result<()> {
    const MANY: u32 = 9_000;
    let redis = Redis::start()?;
    let state = RedisState::connect(&redis.database()?).await?;
    state.begin_epoch(EPOCH).await?;
    let info = RunInfo { stars: MANY, ..run_info() };
    state.open_run(&info, Duration::ZERO).await?;
    let fresh = Star { row: Row::fresh(MODULES), ..Star::default() };
    for first in (0..MANY).step_by(500) {
        let queued = |star: u32| Change {
            star: StarIndex(star),
            expected: fresh.clone(),
            after: StateFixture::with_cell(&fresh, 0, Cell::queued(Attempt(1))),
            queue: vec![(ModuleIndex(0), Attempt(1))],
            ..Change::default()
        };
        let changes: Vec<Change> = (first..first + 500).map(queued).collect();
        state.write(info.run, EPOCH, None, &changes).await?;
    }
    let ready = state.outbox(info.run, Duration::ZERO, MANY / 2).await?;
    state.published(info.run, &ready).await?;
    let look = async || -> Result<_> {
        let view = state.run(info.run).await?.expect("the run is in the state");
        Ok((view.ready[&class(DEFAULT)], view.on_hold, view.is_moving))
    };
    let first = [ModuleIndex(0)];
    state.hold(info.run, &first).await?;
    assert_eq!(look().await?, (0, MANY.into(), false));

    // As if who released it had died before the first entry moved.
    let key = format!("sas:{{{}}}:info", info.run);
    redis.cli(&["hset", &key, "held", "", "moving", "1"])?;
    assert_eq!(look().await?, (0, MANY.into(), true));
    state.hold(info.run, &[]).await?;
    assert_eq!(look().await?, (MANY.into(), 0, false));
    let back = state.outbox(info.run, Duration::from_secs(3600), MANY).await?;
    assert_eq!(back.len(), MANY as usize, "older than any age");
    Ok(())
}

/// The real pipeline has 34 modules; a run of 300,000 stars takes as much a star (46 bytes, measured by hand).
#[tokio::test(flavor = "multi_thread")]
async fn a_settled_run_takes_less_than_64_bytes_a_star() -> Result<()> {
    const RUN_STARS: u32 = 24_000;
    const RUN_MODULES: u8 = 34;
    let redis = Redis::start()?;
    let state = RedisState::connect(&redis.database()?).await?;
    state.begin_epoch(EPOCH).await?;
    // What the keys take; the server's own buffers come and go.
    let used = || -> Result<u64> {
        let mut sum = 0;
        for key in redis.cli(&["keys", "*"])?.lines() {
            sum += redis.cli(&["memory", "usage", key, "samples", "0"])?.trim().parse::<u64>()?;
        }
        Ok(sum)
    };
    let modules = (0..RUN_MODULES).map(|m| (format!("MSAP_{m}").parse().expect("a valid module"), class(DEFAULT)));
    let info = RunInfo { stars: RUN_STARS, modules: modules.collect(), ..run_info() };
    let before = used()?;
    state.open_run(&info, Duration::ZERO).await?;

    let fresh = Star { row: Row::fresh(RUN_MODULES.into()), ..Star::default() };
    let mut after = fresh.clone();
    for module in 0..RUN_MODULES {
        after.row.set(ModuleIndex(module), Cell { state: TaskState::Succeeded, tag: 1 });
    }
    for first in (0..RUN_STARS).step_by(500) {
        let settled = |star: u32| {
            let mut after = after.clone();
            if star.is_multiple_of(20) {
                after.tries.insert(ModuleIndex(7), Tries { attempt: Attempt(2), science: 1, platform: 0 });
            }
            Change {
                star: StarIndex(star),
                expected: fresh.clone(),
                after,
                details: vec![(ModuleIndex(0), detail("worker"))],
                admission: Some(admission()),
                close: true,
                ..Change::default()
            }
        };
        let changes: Vec<Change> = (first..first + 500).map(settled).collect();
        assert_eq!(state.write(info.run, EPOCH, None, &changes).await?, vec![Written::Done; 500]);
        let stars: Vec<_> = changes.iter().map(|change| (change.star, &change.after.row)).collect();
        assert_eq!(state.closed(info.run, &stars).await?, vec![Written::Done; 500]);
    }
    let a_star = (used()? - before) as f64 / f64::from(RUN_STARS);
    assert!(a_star < 64.0, "{a_star:.1} bytes a star");
    assert!(a_star > 34.0, "{a_star:.1} bytes a star are less than a row");
    state.close_run(info.run).await?;
    assert_eq!(redis.cli(&["keys", "*MSAP*"])?.trim(), "");
    assert_eq!(redis.cli(&["dbsize"])?.trim(), "1", "a closed run leaves nothing but the epoch");
    Ok(())
}

/// What an hour ahead looks like in Redis once the clock is set right: everything was timed by it, the last sweep, too.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_clock_timed_that_was_ahead_goes_off_as_if_it_had_not_been() -> Result<()> {
    const HOUR: u64 = 3_600_000;
    let redis = Redis::start()?;
    let f = StateFixture::with(Arc::new(RedisState::connect(&redis.database()?).await?)).await?;
    for star in 0..3 {
        f.admit(star).await?;
    }
    f.granted(task(0, 0), 1).await?;
    f.wait_for(1, Duration::from_secs(300)).await?;
    f.state.due(f.run, 10, 10, SILENCE).await?;
    let named = |name: &str| -> Result<String> {
        let keys = redis.cli(&["--scan", "--pattern", &format!("sas:*:{name}")])?;
        Ok(keys.lines().next().expect("there is such a key").to_owned())
    };
    let (info, leases, waits, outbox) = (named("info")?, named("leases")?, named("waits")?, named("outbox:*")?);
    let score = |set: &str, member: &str| -> Result<u64> { Ok(redis.cli(&["zscore", set, member])?.trim().parse()?) };
    let before = [score(&leases, "0:0")?, score(&waits, "1:0")?, score(&outbox, "2:0")?];
    for (set, member) in [(&leases, "0:0"), (&waits, "1:0"), (&outbox, "2:0")] {
        redis.cli(&["zincrby", set, &HOUR.to_string(), member])?;
    }
    redis.cli(&["hincrby", &info, "swept", &HOUR.to_string()])?;
    let due = f.state.due(f.run, 10, 10, SILENCE).await?;
    assert!(due.leases.is_empty() && due.waits.is_empty(), "{due:?}");
    let after = [score(&leases, "0:0")?, score(&waits, "1:0")?, score(&outbox, "2:0")?];
    for (before, after) in before.into_iter().zip(after) {
        assert!(after.abs_diff(before) < 60_000, "{before} became {after}, an hour ahead it was {}", before + HOUR);
    }
    // A step that clocks make all the time changes nothing.
    redis.cli(&["hincrby", &info, "swept", "500"])?;
    f.state.due(f.run, 10, 10, SILENCE).await?;
    assert_eq!([score(&leases, "0:0")?, score(&waits, "1:0")?, score(&outbox, "2:0")?], after);
    Ok(())
}
