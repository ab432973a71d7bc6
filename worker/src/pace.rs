//! Pace: how many claims a class holds at once, from how long its attempts take. Pure.
//!
//! Attempts of milliseconds would wait for messages more than they work, so that as many are claimed ahead as its slots end
//! in a moment. Where attempts take as long as that moment, no more are claimed than there are slots: what is claimed ahead
//! is missing elsewhere, and costs a try each when the worker dies.

use std::time::Duration;

/// How far ahead tasks are claimed.
const AHEAD: Duration = Duration::from_millis(50);

/// Most claims of a class, whatever its pace.
const MOST: usize = 512;

/// How much a new attempt counts in the average: one in so many.
const MEMORY: f64 = 16.0;

/// How long attempts of a class take, as a moving average.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// In seconds; none before the first attempt ended.
    average: Option<f64>,
}

impl Pace {
    /// An attempt ended that took so long.
    pub(crate) fn ended(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.average = Some(self.average.map_or(took, |average| average + (took - average) / MEMORY));
    }

    /// What was claimed ahead had to wait: from here on as if attempts took as long as that.
    pub(crate) fn stalled(&mut self, waited: Duration) {
        self.average = self.average.map(|average| average.max(waited.as_secs_f64()));
    }

    /// How many claims so many slots hold at once, those that run among them.
    pub(crate) fn claims(&self, slots: usize) -> usize {
        let Some(average) = self.average else { return slots };
        let ahead = slots as f64 * AHEAD.as_secs_f64() / average.max(1e-9);
        (ahead as usize).clamp(slots, MOST.max(slots))
    }
}

/// Deliveries that are asked for ahead of so many claims: in coarse steps, for each costs a new consumer.
pub(crate) fn prefetch(claims: usize, slots: usize) -> usize {
    let mut step = slots.max(1);
    while step < claims {
        step *= 4;
    }
    step.min(MOST.max(slots))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(millis: f64) -> Pace {
        Pace { average: Some(millis / 1e3) }
    }

    #[test]
    fn short_attempts_are_claimed_a_moment_ahead_and_long_ones_are_not() {
        assert_eq!(Pace::default().claims(4), 4, "nothing is known yet");
        assert_eq!(pace(1.0).claims(4), 200);
        assert_eq!(pace(10.0).claims(4), 20);
        for millis in [50.0, 1_000.0, 10_800_000.0] {
            assert_eq!(pace(millis).claims(4), 4);
        }
        assert_eq!(pace(0.0).claims(4), MOST);
        assert_eq!(pace(0.0).claims(1_000), 1_000, "slots are never idle for that");
    }

    #[test]
    fn the_average_follows_what_attempts_take() {
        let mut pace = Pace::default();
        pace.ended(Duration::from_millis(1));
        assert_eq!(pace.claims(2), 100);
        (0..100).for_each(|_| pace.ended(Duration::from_secs(2)));
        assert_eq!(pace.claims(2), 2);
        (0..200).for_each(|_| pace.ended(Duration::from_millis(1)));
        assert!(pace.claims(2) > 50);
        pace.stalled(Duration::from_millis(500));
        assert_eq!(pace.claims(2), 2, "what waits too long ends it at once");
    }

    #[test]
    fn prefetch_goes_in_steps_and_never_lacks_what_may_be_claimed() {
        let steps: Vec<usize> = [4, 5, 16, 17, 100, 512].map(|claims| prefetch(claims, 4)).into();
        assert_eq!(steps, [4, 16, 16, 64, 256, 512]);
        assert_eq!(prefetch(1_000, 1_000), 1_000);
        for claims in 1..=MOST {
            assert!(prefetch(claims, 1) >= claims);
        }
    }
}
