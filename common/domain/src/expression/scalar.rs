//! A scalar column's value, as conditions, keys and the store agent know it.
//!
//! Pure.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A scalar column's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scalar {
    /// A boolean: HDF5 enum of FALSE and TRUE, or bitfield.
    Bool(bool),
    /// An integer; one beyond 63 bits is a float.
    Int(i64),
    /// A number; NaN and infinities survive the wire.
    Float(
        #[serde(with = "float")]
        #[schemars(with = "Either")]
        f64,
    ),
    /// Text.
    Text(String),
}

impl Scalar {
    /// The value as a number; `None` for text, 0 or 1 for a boolean.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Bool(value) => Some(f64::from(u8::from(*value))),
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(_) => None,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => write!(f, "{value:?}"),
        }
    }
}

/// A float on the wire: a number, or `"NaN"`, `"inf"`, `"-inf"`.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Either {
    Number(f64),
    Text(String),
}

/// Floats on the wire.
mod float {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Either;

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.serialize_str(&value.to_string()) }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(number),
            Either::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}
