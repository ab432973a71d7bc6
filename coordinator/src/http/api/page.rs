//! Lists a page at a time, and several values of a parameter.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, IntoDeserializer, value};
use serde::{Deserialize, Deserializer};

use crate::http::problem::Problem;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// How many lines: 1 to 200, 50 unless given.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u16>,
    /// Where to go on: `next` of the page before.
    #[serde(default)]
    next: Option<String>,
}

/// How many lines a page has.
const USUAL: u16 = 50;

/// How many lines a page may have.
const MOST: u16 = 200;

impl PageQuery {
    /// How many lines.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        within("limit", self.limit.unwrap_or(USUAL).into(), MOST.into())
    }

    /// Where to go on, as `next` of this list says it.
    pub(super) fn next<T>(&self, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        let Some(next) = &self.next else { return Ok(None) };
        let wrong = || Problem::invalid(format!("`next` is {next:?}, expected what the page before says"));
        read(next).map(Some).ok_or_else(wrong)
    }
}

/// A number of lines that is asked for, within its bounds.
pub(super) fn within(name: &str, asked: u64, most: u64) -> Result<usize, Problem> {
    if (1..=most).contains(&asked) {
        return Ok(usize::try_from(asked).unwrap_or(usize::MAX));
    }
    Err(Problem::invalid(format!("`{name}` is {asked}, expected 1 to {most}")))
}

/// Several values of a parameter, separated by commas.
#[derive(Debug)]
pub(super) struct Listed<T>(pub(super) Vec<T>);

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = |value: &str| {
            let value: value::StringDeserializer<value::Error> = value.to_owned().into_deserializer();
            T::deserialize(value).map_err(D::Error::custom)
        };
        text.split(',').filter(|value| !value.is_empty()).map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl<T> JsonSchema for Listed<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Listed".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// As `next` of a list that goes by numbers.
pub(super) fn number(next: &str) -> Option<u64> {
    next.parse().ok()
}

/// A number as `next`.
pub(super) fn as_next(number: Option<impl fmt::Display>) -> Option<String> {
    number.map(|number| number.to_string())
}
