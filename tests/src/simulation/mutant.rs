//! A protocol that is broken on purpose, to see that the simulation notices.
//!
//! Nothing of this is in any program: what a mutant does otherwise, the simulated services do in the program's place.

use serde::{Deserialize, Serialize};

/// What is broken.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// A task is unlocked when a counter of what it waits for, decremented by each completion, is zero.
    CountersInsteadOfRows,
    /// An event is acknowledged before its run is in the store.
    EventAcknowledgedFirst,
    /// Nothing is published a second time.
    NoRepublication,
    /// Whoever says how a task ended is believed.
    NoNonce,
    /// A success is reported before its product is committed.
    UnlockWithoutCommit,
    /// Outbox entries are written after their row, not with it.
    OutboxApart,
    /// Who loses the race to commit reports the digests of its own output.
    DigestsOfTheMessage,
    /// What the store says and the state has lost is not taken up again.
    NoComparison,
    /// A row that is kept is written over one that only looks the same: tries are not compared.
    TriesNotCompared,
    /// An acknowledgement is one of all deliveries that wait for one, as AMQP means it by tag 0 and `multiple`.
    AcknowledgementPasses,
    /// What runs is stopped where the state has forgotten it.
    NoAdoption,
    /// What is claimed after the state was lost begins at once, before others could say that they run it.
    NoReserve,
}
