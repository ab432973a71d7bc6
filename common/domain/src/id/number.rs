//! Numbers that count one kind of thing each, so that none is taken for another.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::InvalidName;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $of:ty, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub $of);

        impl $name {
            /// The one after it; the last one is its own successor.
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                text.parse().map(Self).map_err(|_| InvalidName::new($what, "a whole number", text))
            }
        }
    };
}

number!(
    /// A try of a task, counted from 1.
    Attempt,
    u32,
    "attempt"
);
number!(
    /// A life of the state in Redis, counted from 1; a rebuild begins the next.
    Epoch,
    u64,
    "epoch"
);
number!(
    /// What a star ended with in one run, counted from 1 in each quarter of the star.
    Generation,
    u32,
    "generation"
);
number!(
    /// The place of an event or of a delivered version among all of a store; a horizon is one of these.
    Sequence,
    u64,
    "sequence number"
);
