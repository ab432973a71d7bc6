//! How many tasks of each class come to their end in a second, as this process sees it: a moving average that is right from
//! the first moment on. The time is an argument.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::id::ClassName;
use tokio::time::Instant;

/// How far back the average reaches, in seconds.
const MEMORY: f64 = 1.0;

/// A flow is not judged by less than this, in seconds.
const LEAST: f64 = 0.05;

/// Ends a second, by class.
#[derive(Default)]
pub(crate) struct Rates(Mutex<BTreeMap<ClassName, Rate>>);

/// Ends of late, each counted the less the longer ago it was.
#[derive(Clone, Copy)]
struct Rate {
    began: Instant,
    at: Instant,
    ends: f64,
}

impl Rates {
    /// So many tasks of a class ended.
    pub(crate) fn ended(&self, class: &ClassName, count: usize, now: Instant) {
        let mut rates = self.lock();
        let rate = rates.entry(class.clone()).or_insert(Rate { began: now, at: now, ends: 0.0 });
        if seconds(rate.at, now) > 2.0 * MEMORY {
            rate.began = now;
        }
        *rate = Rate { began: rate.began, at: now, ends: rate.faded(now) + count as f64 };
    }

    /// Ends a second of a class.
    pub(crate) fn of(&self, class: &ClassName, now: Instant) -> f64 {
        self.lock().get(class).map_or(0.0, |rate| rate.a_second(now))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ClassName, Rate>> {
        // Every change leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rate {
    fn faded(&self, now: Instant) -> f64 {
        self.ends * (-seconds(self.at, now) / MEMORY).exp()
    }

    /// Over as much of the memory as the flow is old.
    fn a_second(&self, now: Instant) -> f64 {
        let age = seconds(self.began, now).max(LEAST);
        self.faded(now) / (MEMORY * (1.0 - (-age / MEMORY).exp()))
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_steady_flow_is_its_rate_and_one_that_stopped_fades() {
        let rates = Rates::default();
        let (fast, slow): (ClassName, ClassName) = ("default".parse().unwrap(), "heavy".parse().unwrap());
        let mut now = Instant::now();
        for step in 1..=500 {
            rates.ended(&fast, 50, now);
            now += Duration::from_millis(10);
            let rate = rates.of(&fast, now);
            assert!(step < 10 || (4_500.0..5_500.0).contains(&rate), "{rate} after {step} steps");
        }
        assert_eq!(rates.of(&slow, now), 0.0);
        assert!(rates.of(&fast, now + Duration::from_secs(10)) < 1.0);
    }
}
