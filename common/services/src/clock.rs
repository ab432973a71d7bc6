//! This host's clock beside the state's, by which leases are counted: times that a host with a wrong clock writes down are wrong,
//! and whoever reads them is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// By how much a clock may be off: as much as answers take, and more than clocks differ that anybody sets.
const TOLERATED: SignedDuration = SignedDuration::from_secs(5);

/// How far this host's clock is ahead of the state's; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct HostClock(Arc<AtomicI64>);

impl HostClock {
    /// Learns what the state's clock shows now; one line when it begins to differ, and one when it does no more.
    pub fn compare(&self, state: Timestamp, here: Timestamp) {
        let apart = here.duration_since(state);
        let ahead = if apart.abs() < TOLERATED { 0 } else { apart.as_secs_f64().round() as i64 };
        let seconds = ahead.unsigned_abs();
        match (self.0.swap(ahead, Ordering::Relaxed), ahead) {
            (0, 0) => {}
            (0, 1..) => tracing::warn!(
                seconds,
                "this host's clock is ahead of the state's by so many seconds: times in logs, provenance and pages are wrong"
            ),
            (0, _) => tracing::warn!(
                seconds,
                "this host's clock is behind the state's by so many seconds: times in logs, provenance and pages are wrong"
            ),
            (_, 0) => tracing::info!("this host's clock is right again"),
            (_, _) => {}
        }
    }

    /// Seconds by which it is ahead, negative where it is behind; `None` where it is right, as far as is known.
    pub fn ahead(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|seconds| *seconds != 0)
    }
}

/// How far a clock is off that is ahead by so many seconds, in words: `7200 s ahead`, `12 s behind`.
pub fn off_words(ahead: i64) -> String {
    let way = if ahead < 0 { "behind" } else { "ahead" };
    format!("{} s {way}", ahead.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_hours_off_is_known_until_it_is_right() {
        let (clock, now) = (HostClock::default(), Timestamp::from_second(1_000_000).unwrap());
        let at = |millis: i64| Timestamp::from_millisecond(1_000_000_000 + millis).unwrap();
        for (here, ahead) in [
            (1_000, None),
            (7_200_000, Some(7200)),
            (-7_200_000, Some(-7200)),
            (4_999, None),
            (-10_799_600, Some(-10_800)),
            (-4_000, None),
        ] {
            clock.compare(now, at(here));
            assert_eq!(clock.ahead(), ahead);
        }
    }

    #[test]
    fn how_far_a_clock_is_off_is_never_said_with_a_negative_number() {
        assert_eq!([off_words(7200), off_words(-12)], ["7200 s ahead", "12 s behind"]);
    }
}
