//! This host's clock beside the state's, by which leases are counted: times that a host with a wrong clock writes down are wrong,
//! and whoever reads them is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Seconds by which a clock may be off: as much as answers take, and more than clocks differ that anybody sets.
const TOLERATED: i64 = 5;

/// How far this host's clock is ahead of the state's; clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostClock(Arc<AtomicI64>);

impl HostClock {
    /// Learns what the state's clock shows now; one line when it begins to differ, and one when it does no more.
    pub(crate) fn compare(&self, state: Timestamp, here: Timestamp) {
        let ahead = here.duration_since(state).as_secs();
        let ahead = if ahead.abs() < TOLERATED { 0 } else { ahead };
        match (self.0.swap(ahead, Ordering::Relaxed), ahead) {
            (0, 0) => {}
            (0, seconds) => tracing::warn!(
                seconds,
                "this host's clock is ahead of the state's by so many seconds: times in logs, provenance and pages are wrong"
            ),
            (_, 0) => tracing::info!("this host's clock is right again"),
            (_, _) => {}
        }
    }

    /// Seconds by which it is ahead, negative where it is behind; `None` where it is right, as far as is known.
    pub(crate) fn ahead(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|seconds| *seconds != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_hours_off_is_known_until_it_is_right() {
        let (clock, now) = (HostClock::default(), Timestamp::from_second(1_000_000).unwrap());
        let at = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).unwrap();
        for (here, ahead) in [(1, None), (7200, Some(7200)), (-7200, Some(-7200)), (-4, None)] {
            clock.compare(now, at(here));
            assert_eq!(clock.ahead(), ahead);
        }
    }
}
