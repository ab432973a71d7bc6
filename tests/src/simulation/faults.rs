//! What goes wrong: a source of misfortune.

use std::sync::Mutex;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

/// A source of misfortune; the same seed draws the same.
pub struct Faults {
    draws: Mutex<(StdRng, f64)>,
    /// Whether the state, and the broker, answer.
    answering: [watch::Sender<bool>; 2],
}

impl Faults {
    /// Faults drawn from `seed`, none yet.
    pub fn new(seed: u64) -> Self {
        let answering = [(); 2].map(|()| watch::Sender::new(true));
        Self { draws: Mutex::new((StdRng::seed_from_u64(seed), 0.0)), answering }
    }

    /// Whether the state is within reach.
    pub fn set_state(&self, answers: bool) {
        self.answering[0].send_replace(answers);
    }

    /// Whether the broker confirms task messages; while it does not, their publishers wait, and then fail.
    pub fn set_broker(&self, confirms: bool) {
        self.answering[1].send_replace(confirms);
    }

    /// Whether the state is within reach.
    pub(super) fn state_answers(&self) -> bool {
        *self.answering[0].borrow()
    }

    /// Whether the broker confirms, as it changes.
    pub(super) fn broker(&self) -> watch::Receiver<bool> {
        self.answering[1].subscribe()
    }

    /// How much goes wrong: 0 nothing, 1 the usual measure.
    pub fn set_level(&self, level: f64) {
        self.draws.lock().unwrap().1 = level;
    }

    /// Whether something that happens with this probability happens now.
    pub fn happens(&self, probability: f64) -> bool {
        let (rng, level) = &mut *self.draws.lock().unwrap();
        rng.random_bool((probability * *level).clamp(0.0, 1.0))
    }

    /// A number below `end`.
    pub fn below(&self, end: usize) -> usize {
        self.draws.lock().unwrap().0.random_range(0..end)
    }

    /// A time between two.
    pub fn between(&self, least: Duration, most: Duration) -> Duration {
        least + (most - least).mul_f64(self.draws.lock().unwrap().0.random_range(0.0..1.0))
    }
}
