//! Claims: what a worker asks for, what it is granted, why it is refused, what it renews.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::id::{Attempt, Digest, Epoch, Key, ModuleIndex, Nonce, ProductName, RunId, Task, WorkerName};
use domain::outcome::Outcome;
use domain::run::{Row, Tries};

use super::{Admission, Detail};

/// How long claims are granted under reserve in a run that entered the state again: workers look every second whether the state
/// still knows what they run, and say so where it does not.
pub const RESERVE: Duration = Duration::from_secs(5);

/// A worker's wish to run attempts of one run.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The run.
    pub run: RunId,
    /// The epoch in the task messages.
    pub epoch: Epoch,
    /// Who asks.
    pub worker: WorkerName,
    /// How long the leases live without renewal.
    pub lease: Duration,
    /// The attempts; at most about a hundred, for nobody else is served meanwhile.
    pub wishes: Vec<ClaimWish>,
}

/// An attempt that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimWish {
    /// The task.
    pub task: Task,
    /// The attempt in the task message.
    pub attempt: Attempt,
    /// The fence; asking again with the same one is granted again.
    pub nonce: Nonce,
    /// Modules whose details come with the grant: those whose products the task's module reads.
    pub reads: Vec<ModuleIndex>,
}

/// The answer to a wish.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// Run it.
    Granted(Box<Grant>),
    /// Acknowledge the message and forget it.
    Refused(ClaimRefusal),
}

/// What a worker needs to know of an attempt that it was granted.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The star's row.
    pub row: Row,
    /// What is known of the tasks that it reads from.
    pub upstream: BTreeMap<ModuleIndex, Detail>,
    /// What was fixed when the star was admitted.
    pub admission: Admission,
    /// Tries of this task so far.
    pub tries: Tries,
    /// Number of the newest decision that amends the run's images: this attempt must know of it.
    pub amended: u64,
    /// How long it was ready before it was claimed; `None` where that was forgotten, or it was granted before.
    pub waited: Option<Duration>,
    /// How long the claim is under reserve: until then another may say that it runs the task already, and gets it. Nothing may begin
    /// before that, and before the claim was renewed then.
    pub reserve: Duration,
}

impl Grant {
    /// Whether who reads from these modules reads the same by both grants.
    pub fn reads_like(&self, other: &Self, reads: &[ModuleIndex]) -> bool {
        let (mine, theirs) = (&self.admission, &other.admission);
        (&mine.externals, mine.previous) == (&theirs.externals, theirs.previous)
            && reads.iter().all(|module| self.made_by(*module) == other.made_by(*module))
    }

    /// Key and digests of what a module upstream made.
    fn made_by(&self, module: ModuleIndex) -> Option<(&Key, &BTreeMap<ProductName, Digest>)> {
        match &self.upstream.get(&module)?.outcome {
            Outcome::Succeeded(success) => Some((&success.key, &success.products)),
            Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Failed(_) | Outcome::Errored(_) => None,
        }
    }
}

/// Why a claim is not granted. None of these is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum ClaimRefusal {
    /// The task moved on: settled, or another attempt, or the message is of an older epoch.
    Stale,
    /// Another worker holds it.
    Held,
    /// The run is paused or being cancelled; the task stays queued.
    NotActive,
    /// Operators hold the module; the task stays queued.
    OnHold,
    /// The run is over, or unknown to this state.
    NoRun,
}

/// A lease that a worker renews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: Task,
    /// The attempt.
    pub attempt: Attempt,
    /// The fence.
    pub nonce: Nonce,
}

/// The answer to who runs what the state does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnouncedTask {
    /// It is kept for this nonce, and not queued yet.
    Kept,
    /// It is kept for this nonce, and queued as this attempt: a claim of that is granted.
    Queued(Attempt),
    /// The task has moved on, or another has it: the attempt must be stopped.
    Lost,
    /// The run is not in the state: it is over, or was not entered again yet.
    NoRun,
}

#[cfg(test)]
mod tests {
    use domain::id::Generation;
    use domain::outcome::Success;

    use super::*;

    fn grant(digest: u8, previous: Option<Generation>) -> Grant {
        let products = [("X".parse().expect("a product"), Digest::from_bytes([digest; 32]))];
        let outcome = Outcome::Succeeded(Success::new(Key::from_bytes([1; 32]), products.into()));
        let detail = Detail { outcome, attempt: Attempt(1), worker: None, started: None, millis: 0 };
        Grant {
            row: Row::fresh(2),
            upstream: [(ModuleIndex(0), detail)].into(),
            admission: Admission { previous, ..Admission::default() },
            tries: Tries { attempt: Attempt(1), science: 0, platform: 0 },
            amended: 0,
            waited: None,
            reserve: Duration::ZERO,
        }
    }

    #[test]
    fn other_digests_and_another_generation_before_are_something_else_to_read() {
        let reads = [ModuleIndex(0)];
        assert!(grant(1, None).reads_like(&Grant { amended: 3, ..grant(1, None) }, &reads));
        assert!(!grant(1, None).reads_like(&grant(2, None), &reads));
        assert!(grant(1, None).reads_like(&grant(2, None), &[]), "nobody reads it");
        assert!(!grant(1, None).reads_like(&grant(1, Some(Generation(1))), &reads));
        assert!(!grant(1, None).reads_like(&Grant { upstream: BTreeMap::new(), ..grant(1, None) }, &reads));
    }
}
