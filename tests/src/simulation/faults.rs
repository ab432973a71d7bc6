//! What goes wrong: a source of misfortune that keeps count, and can bring the same misfortune again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::mutant::Mutant;

/// What can go wrong.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::Display, strum::EnumString, strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum FaultKind {
    /// A message is confirmed and lost.
    MessageLost,
    /// A message is not taken.
    MessageRefused,
    /// A message comes seconds later, behind others.
    MessageDelayed,
    /// A message comes again, seconds later.
    MessageRepeated,
    /// A worker says at once twice how an attempt ended.
    CompletionRepeated,
    /// Somebody who did not claim a task says that it failed.
    CompletionForged,
    /// A message is taken, and its sender hears the opposite.
    ConfirmLost,
    /// The broker is out of reach for one call.
    BrokerUnreachable,
    /// The broker confirms no task for a while.
    BrokerSilent,
    /// A consumer's connection breaks: what it has not answered is back.
    ConnectionBroken,
    /// An acknowledgement gets lost.
    AckLost,
    /// The state is out of reach for one call.
    StateUnreachable,
    /// The state did what it was asked to, and nobody hears.
    StateAnswerLost,
    /// The state is out of reach for a while.
    StateAway,
    /// The state is empty.
    StateFlushed,
    /// The state is what it was a while ago.
    StateRolledBack,
    /// A worker dies in the middle of a step.
    WorkerDies,
    /// A worker is killed at a moment that has nothing to do with what it does.
    WorkerKilled,
    /// A worker is told to stop.
    WorkerDrained,
    /// A coordinator dies in the middle of a step.
    CoordinatorDies,
    /// A coordinator is killed at a moment that has nothing to do with what it does.
    CoordinatorKilled,
    /// A coordinator or worker stands still for a while, then goes on.
    ProcessFrozen,
    /// A slot panics.
    SlotPanics,
    /// An attempt's lease is not renewed, and it reports all the same.
    AttemptHangs,
    /// An attempt takes longer than its lease.
    AttemptIsLong,
    /// A store agent dies over a request.
    AgentDies,
    /// A result is lost by the disk.
    ResultLost,
    /// A module writes something else than the last time.
    ResultDiffers,
    /// All clocks go on by many seconds at once.
    ClockSteps,
    /// An operator pauses the run, and resumes it.
    RunPaused,
}

/// One thing that went wrong: the so-and-so-many-th occasion for its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// At which occasion for it.
    pub occasion: u64,
}

/// A source of misfortune; the same seed draws the same.
pub struct Faults {
    draws: Mutex<Draws>,
    /// What of the protocol is broken on purpose.
    mutant: Option<Mutant>,
    /// Whether the state, and the broker, answer.
    answering: [watch::Sender<bool>; 2],
}

struct Draws {
    seed: u64,
    level: f64,
    /// For times and choices.
    rng: StdRng,
    by_kind: BTreeMap<FaultKind, (StdRng, u64)>,
    happened: Vec<Fault>,
    /// Where given, these happen and no others.
    only: Option<BTreeSet<Fault>>,
    trace: DefaultHasher,
}

impl Faults {
    /// Faults drawn from `seed`, none yet.
    pub fn new(seed: u64) -> Self {
        Self::given(seed, None, None)
    }

    /// Faults drawn from `seed`, or `only` these, in a protocol that is broken so.
    pub(super) fn given(seed: u64, only: Option<BTreeSet<Fault>>, mutant: Option<Mutant>) -> Self {
        let answering = [(); 2].map(|()| watch::Sender::new(true));
        let draws = Draws {
            seed,
            level: 0.0,
            rng: StdRng::seed_from_u64(seed),
            by_kind: BTreeMap::new(),
            happened: Vec::new(),
            only,
            trace: DefaultHasher::new(),
        };
        Self { draws: Mutex::new(draws), mutant, answering }
    }

    /// Whether the protocol is broken so.
    pub(super) fn breaks(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
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
        self.draws.lock().unwrap().level = level;
    }

    /// Whether something that happens with this probability happens now.
    pub fn happens(&self, kind: FaultKind, probability: f64) -> bool {
        let draws = &mut *self.draws.lock().unwrap();
        let seed = draws.seed;
        let fresh = || (StdRng::seed_from_u64(seed ^ (kind as u64 + 1).rotate_left(40)), 0);
        let (rng, occasions) = draws.by_kind.entry(kind).or_insert_with(fresh);
        let fault = Fault { kind, occasion: *occasions };
        *occasions += 1;
        let drawn = rng.random_bool((probability * draws.level).clamp(0.0, 1.0));
        let happens = draws.only.as_ref().map_or(drawn, |only| only.contains(&fault));
        (kind, happens).hash(&mut draws.trace);
        if happens {
            draws.happened.push(fault);
        }
        happens
    }

    /// The same where nothing else goes wrong.
    pub(super) fn strikes(&self, kind: FaultKind, probability: f64) -> bool {
        let before = std::mem::replace(&mut self.draws.lock().unwrap().level, 1.0);
        let happens = self.happens(kind, probability);
        self.set_level(before);
        happens
    }

    /// What went wrong so far.
    pub fn happened(&self) -> Vec<Fault> {
        self.draws.lock().unwrap().happened.clone()
    }

    /// A digest of everything that was drawn so far, in its order: equal for equal histories.
    pub fn trace(&self) -> u64 {
        self.draws.lock().unwrap().trace.finish()
    }

    /// A number below `end`.
    pub fn below(&self, end: usize) -> usize {
        self.draws.lock().unwrap().rng.random_range(0..end)
    }

    /// A time between two.
    pub fn between(&self, least: Duration, most: Duration) -> Duration {
        least + (most - least).mul_f64(self.draws.lock().unwrap().rng.random_range(0.0..1.0))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.kind, self.occasion)
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (kind, occasion) = text.split_once('@').with_context(|| format!("`{text}` is not KIND@NUMBER"))?;
        let kind = kind.parse().with_context(|| format!("`{kind}` is no kind of fault"))?;
        Ok(Self { kind, occasion: occasion.parse().with_context(|| format!("`{occasion}` is no number"))? })
    }
}

impl TryFrom<String> for Fault {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error:#}"))
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}
