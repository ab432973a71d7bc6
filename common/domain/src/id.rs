//! Names of things, parsed once into types that are safe in paths, keys and messages.
//!
//! Pure: no clock, no file, no log. Ids that two processes must agree on are computed (UUIDv5), never drawn.

mod hash;
mod name;
mod number;
mod position;
mod trace;

use std::fmt;
use std::str::FromStr;

pub use hash::{Digest, Fingerprint, Key, ReplayId};
pub use name::{
    ClassName, DatasetName, GroupName, HostName, ImageIdentity, ImageName, ModuleName, PipelineName, ProductName,
    WorkerName,
};
pub use number::{Attempt, Epoch, Generation, Sequence};
pub use position::{ModuleIndex, StarIndex, Task};
pub use trace::{SpanId, TraceContext, TraceId};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::{Uuid, uuid};

/// Namespace of every UUIDv5 that this project computes.
const NAMESPACE: Uuid = uuid!("6f0ea1d2-5a35-5c0e-9d0c-2f6f4b1f7a10");

/// Why a text is not the name that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}: expected {expected}")]
pub struct InvalidName {
    what: &'static str,
    expected: &'static str,
    text: String,
}

impl InvalidName {
    fn new(what: &'static str, expected: &'static str, text: &str) -> Self {
        Self { what, expected, text: text.chars().take(120).collect() }
    }
}

/// Writes a name as its text, and reads it by parsing that.
macro_rules! as_text {
    ($name:ident, $pattern:literal) => {
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}
use as_text;

/// A star: `PLATO_` and a lower-case hyphenated UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StarId(Uuid);

as_text!(StarId, "^PLATO_[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$");

impl StarId {
    /// The star that PLATO's simulator names by an integer: UUIDv5 of `psls/<number>`, the same everywhere.
    pub fn of_simulator(number: u64) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("psls/{number}").as_bytes()))
    }

    /// The star with this UUID, 16 bytes in network order as lists of stars hold it.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The UUID's 16 bytes; their order is the order of stars in a run.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for StarId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PLATO_{}", self.0)
    }
}

impl FromStr for StarId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName::new("star id", "PLATO_ and a UUID", text);
        let uuid = text.strip_prefix("PLATO_").ok_or_else(invalid)?;
        if uuid.len() != 36 {
            return Err(invalid());
        }
        Uuid::parse_str(uuid).map(Self).map_err(|_| invalid())
    }
}

/// `QUARTER_NUMBER` of the data: 0 to 999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schemars(extend("maximum" = 999))]
pub struct Quarter(u16);

impl Quarter {
    /// Quarter 0.
    pub const FIRST: Self = Self(0);

    /// The quarter before, if there is one.
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl fmt::Display for Quarter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Q{:03}", self.0)
    }
}

impl TryFrom<u32> for Quarter {
    type Error = InvalidName;

    fn try_from(number: u32) -> Result<Self, InvalidName> {
        match u16::try_from(number) {
            Ok(n) if n < 1000 => Ok(Self(n)),
            Ok(_) | Err(_) => Err(InvalidName::new("quarter", "a number from 0 to 999", &number.to_string())),
        }
    }
}

impl From<Quarter> for u32 {
    fn from(quarter: Quarter) -> Self {
        quarter.0.into()
    }
}

impl FromStr for Quarter {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits = text.strip_prefix('Q').unwrap_or(text);
        let number: u32 = digits.parse().map_err(|_| InvalidName::new("quarter", "a number from 0 to 999", text))?;
        Self::try_from(number)
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| InvalidName::new(stringify!($name), "a UUID", text))
            }
        }
    };
}

uuid_id!(
    /// A dataset event: UUIDv5 of its CloudEvents source and id, so a repeated delivery is the same event.
    EventId
);
uuid_id!(
    /// A run: UUIDv5 of the event and of the pipeline's name and version.
    RunId
);
uuid_id!(
    /// The fence of one claim, drawn at random by the worker: the same nonce is granted again.
    Nonce
);

impl EventId {
    /// The id of the event that `source` calls `id`.
    pub fn of(source: &str, id: &str) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("event\n{}\n{source}\n{id}", source.len()).as_bytes()))
    }
}

impl RunId {
    /// The run of this pipeline over the stars of this event.
    pub fn of(event: EventId, pipeline: &str, version: &str) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("run\n{event}\n{pipeline}\n{version}").as_bytes()))
    }
}

impl Nonce {
    /// A nonce that nobody else holds.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_id_is_plato_and_a_uuid_and_nothing_else() {
        let text = "PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7";
        assert_eq!(text.parse::<StarId>().unwrap().to_string(), text);
        for bad in ["", "PLATO_", "PLATO_../../etc", "c4b4688e-4165-592a-9c05-f0e7a6f839c7", "PLATO_7"] {
            assert!(bad.parse::<StarId>().is_err(), "{bad}");
        }
        assert!("PLATO_c4b4688e4165592a9c05f0e7a6f839c7".parse::<StarId>().is_err(), "one spelling only");
    }

    #[test]
    fn a_simulated_star_has_the_same_id_everywhere() {
        assert_eq!(StarId::of_simulator(12_069_449), StarId::of_simulator(12_069_449));
        assert_ne!(StarId::of_simulator(1), StarId::of_simulator(2));
    }

    #[test]
    fn product_names_may_be_messy_but_stay_one_link() {
        for good in ["IDP_SAS_[FE_H]_SAPP", "a b", "trailing ", "*"] {
            assert!(good.parse::<ProductName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "X@previous", "new\nline"] {
            assert!(bad.parse::<ProductName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn event_and_run_ids_are_computed() {
        let event = EventId::of("ingest", "1");
        assert_eq!(event, EventId::of("ingest", "1"));
        assert_ne!(EventId::of("ingest", "1\n2"), EventId::of("ingest\n1", "2"), "source and id cannot be confused");
        assert_eq!(RunId::of(event, "SAS-PIP", "1"), RunId::of(event, "SAS-PIP", "1"));
    }
}
