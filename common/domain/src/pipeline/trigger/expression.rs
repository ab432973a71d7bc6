//! Expressions over datasets: `l1/lightcurve & (exo/flag | exo/none)`.
//!
//! `&` binds more than `|`; brackets as usual. Read once, in one pass; what is wrong is said with its place.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::id::DatasetName;

/// Most datasets that an expression may name, each as often as it stands there.
pub const MOST_DATASETS: usize = 64;

/// Deepest nesting of brackets: reading recurses.
const DEEPEST: usize = 32;

/// An expression over datasets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TriggerExpression {
    text: String,
    tree: TriggerTree,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TriggerTree {
    Dataset(DatasetName),
    All(Vec<TriggerTree>),
    Any(Vec<TriggerTree>),
}

/// Why a text is no expression over datasets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTrigger {
    /// At this character, counted from 1.
    #[error("at character {at}: {reason}")]
    At {
        /// The character, counted from 1.
        at: usize,
        /// What is there, and what was expected.
        reason: String,
    },
    /// As a whole.
    #[error("{0}")]
    Whole(String),
}

impl TriggerExpression {
    /// The datasets that it names, in their order; one that stands there twice is named twice.
    pub fn datasets(&self) -> impl Iterator<Item = &DatasetName> {
        let mut found = Vec::new();
        self.tree.collect(&mut found);
        found.into_iter()
    }

    /// The dataset, where it is a single one.
    pub fn only(&self) -> Option<&DatasetName> {
        match &self.tree {
            TriggerTree::Dataset(dataset) => Some(dataset),
            TriggerTree::All(_) | TriggerTree::Any(_) => None,
        }
    }

    /// The dataset that it names first.
    pub fn first(&self) -> &DatasetName {
        self.tree.first()
    }

    /// Whether what it asks for is there.
    pub fn holds(&self, is_there: &dyn Fn(&DatasetName) -> bool) -> bool {
        self.tree.holds(is_there)
    }

    /// What is missing, as an expression over what is not there; `None` where it holds.
    pub fn missing(&self, is_there: &dyn Fn(&DatasetName) -> bool) -> Option<String> {
        self.tree.missing(is_there)
    }
}

impl TriggerTree {
    fn collect<'a>(&'a self, found: &mut Vec<&'a DatasetName>) {
        match self {
            Self::Dataset(dataset) => found.push(dataset),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.collect(found)),
        }
    }

    fn first(&self) -> &DatasetName {
        match self {
            Self::Dataset(dataset) => dataset,
            // Both have two parts or more: the reader makes no others.
            Self::All(parts) | Self::Any(parts) => parts[0].first(),
        }
    }

    fn holds(&self, is_there: &dyn Fn(&DatasetName) -> bool) -> bool {
        match self {
            Self::Dataset(dataset) => is_there(dataset),
            Self::All(parts) => parts.iter().all(|part| part.holds(is_there)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(is_there)),
        }
    }

    fn missing(&self, is_there: &dyn Fn(&DatasetName) -> bool) -> Option<String> {
        if self.holds(is_there) {
            return None;
        }
        Some(match self {
            Self::Dataset(dataset) => dataset.to_string(),
            Self::All(parts) => {
                let missing: Vec<(&Self, String)> =
                    parts.iter().filter_map(|part| Some((part, part.missing(is_there)?))).collect();
                let is_alone = missing.len() == 1;
                let worded = |(part, text): (&Self, String)| match part {
                    Self::Any(_) if !is_alone => format!("({text})"),
                    Self::Any(_) | Self::All(_) | Self::Dataset(_) => text,
                };
                missing.into_iter().map(worded).collect::<Vec<_>>().join(" & ")
            }
            Self::Any(parts) => parts.iter().filter_map(|part| part.missing(is_there)).collect::<Vec<_>>().join(" | "),
        })
    }
}

impl FromStr for TriggerExpression {
    type Err = InvalidTrigger;

    fn from_str(text: &str) -> Result<Self, InvalidTrigger> {
        let mut reader = TriggerReader { text, at: 0, datasets: 0 };
        let tree = reader.any(0)?;
        match reader.peek() {
            None => Ok(Self { text: text.trim().to_owned(), tree }),
            Some(')') => Err(reader.wrong("`)` closes nothing")),
            Some(_) => {
                Err(reader.wrong(&format!("{} follows a dataset, expected `&`, `|` or the end", reader.found())))
            }
        }
    }
}

/// Reads a text from its beginning.
struct TriggerReader<'a> {
    text: &'a str,
    /// Bytes that were read.
    at: usize,
    datasets: usize,
}

impl TriggerReader<'_> {
    /// Parts with `|` between them.
    fn any(&mut self, depth: usize) -> Result<TriggerTree, InvalidTrigger> {
        self.joined('|', TriggerTree::Any, |reader| reader.joined('&', TriggerTree::All, |reader| reader.part(depth)))
    }

    fn joined(
        &mut self,
        by: char,
        join: fn(Vec<TriggerTree>) -> TriggerTree,
        mut part: impl FnMut(&mut Self) -> Result<TriggerTree, InvalidTrigger>,
    ) -> Result<TriggerTree, InvalidTrigger> {
        let first = part(self)?;
        let mut parts = vec![first];
        while self.peek() == Some(by) {
            self.at += 1;
            parts.push(part(self)?);
        }
        if parts.len() > 1 {
            return Ok(join(parts));
        }
        // There is exactly one.
        Ok(parts.remove(0))
    }

    /// A dataset, or an expression in brackets.
    fn part(&mut self, depth: usize) -> Result<TriggerTree, InvalidTrigger> {
        match self.peek() {
            Some('(') if depth == DEEPEST => Err(self.wrong(&format!("brackets are nested deeper than {DEEPEST}"))),
            Some('(') => {
                let opened = self.character();
                self.at += 1;
                let inner = self.any(depth + 1)?;
                if self.peek() != Some(')') {
                    return Err(self.wrong(&format!(
                        "{} is here, expected the `)` of the `(` at character {opened}",
                        self.found()
                    )));
                }
                self.at += 1;
                Ok(inner)
            }
            Some(c) if is_of_name(c) => self.dataset(),
            Some('&' | '|') => {
                Err(self.wrong(&format!("{} is here, expected a dataset; `&` and `|` are written once", self.found())))
            }
            Some(_) | None => Err(self.wrong(&format!("{} is here, expected a dataset", self.found()))),
        }
    }

    fn dataset(&mut self) -> Result<TriggerTree, InvalidTrigger> {
        let rest = &self.text[self.at..];
        let length = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        // One that is no expression at all is told as what it is.
        let is_all = self.text.trim().len() == length;
        let dataset = rest[..length].parse().map_err(|error: crate::id::InvalidName| {
            if is_all { InvalidTrigger::Whole(error.to_string()) } else { self.wrong(&error.to_string()) }
        })?;
        self.datasets += 1;
        if self.datasets > MOST_DATASETS {
            return Err(self.wrong(&format!("more than {MOST_DATASETS} datasets")));
        }
        self.at += length;
        Ok(TriggerTree::Dataset(dataset))
    }

    /// The next character that is no blank.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    /// What is next, in words.
    fn found(&self) -> String {
        self.text[self.at..].chars().next().map_or_else(|| "the end".to_owned(), |c| format!("`{c}`"))
    }

    fn character(&self) -> usize {
        self.text[..self.at].chars().count() + 1
    }

    fn wrong(&self, reason: &str) -> InvalidTrigger {
        InvalidTrigger::At { at: self.character(), reason: reason.to_owned() }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-/".contains(c)
}

impl fmt::Display for TriggerExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl JsonSchema for TriggerExpression {
    fn schema_name() -> Cow<'static, str> {
        "TriggerExpression".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

impl TryFrom<String> for TriggerExpression {
    type Error = InvalidTrigger;

    fn try_from(text: String) -> Result<Self, InvalidTrigger> {
        text.parse()
    }
}

impl From<TriggerExpression> for String {
    fn from(expression: TriggerExpression) -> Self {
        expression.text
    }
}
