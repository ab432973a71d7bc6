//! What is said of workers that showed themselves, and of those that do no more.

use super::*;

fn worker(name: &str, seen: Timestamp) -> WorkerInfo {
    WorkerInfo::new(name.parse().unwrap(), [].into(), seen)
}

fn found() -> FoundWorkers {
    let ago = |seconds: i64| Timestamp::now().checked_sub(SignedDuration::from_secs(seconds)).unwrap();
    let behind = WorkerInfo { clock_ahead: Some(-3600), ..worker("host-b", ago(3600)) };
    FoundWorkers { living: vec![behind, worker("host-a", ago(60))], lost: vec![worker("host-c", ago(100))] }
}

#[test]
fn who_shows_himself_no_more_is_silent_or_lost() {
    let all = found().told(Vec::new(), None);
    let [a, b] = &all.workers[..] else { panic!("two live: {all:?}") };
    assert!(a.host == "host-a" && a.odd.iter().any(|odd| odd.contains("has not shown itself for")), "{a:?}");
    assert_eq!((b.host.as_str(), b.clock_ahead), ("host-b", Some(-3600)));
    assert_eq!(b.odd.len(), 1, "only its clock is odd: {b:?}");
    assert_eq!(all.lost.iter().map(|lost| lost.host.as_str()).collect::<Vec<_>>(), ["host-c"]);
}

#[test]
fn nobody_is_lost_or_silent_while_redis_takes_no_writes() {
    let all = found().told(Vec::new(), Some("Redis refuses: OOM".to_owned()));
    assert!(all.lost.is_empty() && all.workers[0].odd.is_empty(), "{all:?}");
    assert_eq!(all.writes_refused.as_deref(), Some("Redis refuses: OOM"));
}
