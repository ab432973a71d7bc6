//! Where in a pipeline file a mistake is.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Serialize;
use toml::de::{DeTable, DeValue};

/// A place in a text, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// One thing that is wrong with a pipeline file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Where, if it is anywhere: what is missing is nowhere.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// Module, field and product, and what was expected; on one line.
    pub message: String,
}

impl Place {
    /// The place of a byte.
    pub(super) fn of(text: &str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { line: before.matches('\n').count() + 1, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Where everything in a file is, under the words with which messages about it begin: `module A: inputs.mandatory`.
pub(super) struct Places<'a> {
    text: &'a str,
    fields: BTreeMap<String, Range<usize>>,
}

impl<'a> Places<'a> {
    /// The places of a file's tables and fields.
    pub(super) fn of(text: &'a str, table: &DeTable<'_>) -> Self {
        let mut places = Self { text, fields: BTreeMap::new() };
        places.add("", table);
        places
    }

    fn add(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = match prefix {
                "modules." => format!("module {}", key.get_ref()),
                "classes." => format!("class {}", key.get_ref()),
                _ => format!("{prefix}{}", key.get_ref()),
            };
            let start = key.span().start;
            if let DeValue::Table(table) = value.get_ref() {
                let below = if matches!(prefix, "modules." | "classes.") { ": " } else { "." };
                self.add(&format!("{name}{below}"), table);
            }
            self.fields.insert(name, start..value.span().end.max(key.span().end));
        }
    }

    /// A message with its place: that of the name that it quotes, else of the field or table that it begins with.
    pub(super) fn locate(&self, message: String) -> Mistake {
        let place = self.find(&message).map(|at| Place::of(self.text, at));
        Mistake { place, message }
    }

    fn find(&self, message: &str) -> Option<usize> {
        let ends = message.match_indices(": ").map(|(at, _)| at);
        let known = |end: usize| message.get(..end).filter(|path| self.fields.contains_key(*path));
        let path = ends.filter_map(known).last()?;
        let quoted = quoted(&message[path.len()..]);
        let named = quoted.and_then(|name| match path {
            "modules" => self.fields.get(&format!("module {name}")).map(|range| range.start),
            "classes" => self.fields.get(&format!("class {name}")).map(|range| range.start),
            _ => self.within(path, name),
        });
        named.or_else(|| self.fields.get(path).map(|range| range.start))
    }

    /// Where a field, or a field of a table, has this text as a value.
    fn within(&self, path: &str, name: &str) -> Option<usize> {
        let is_meant = |known: &str| {
            known
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with(": "))
        };
        let ranges = self.fields.iter().filter(|(known, _)| is_meant(known)).map(|(_, range)| range.clone());
        let find = |range: Range<usize>| {
            let part = self.text.get(range.clone())?;
            let at = [format!("'{name}'"), format!("\"{name}\"")]
                .iter()
                .filter_map(|text| part.find(text.as_str()))
                .min()?;
            Some(range.start + at)
        };
        ranges.filter_map(find).min()
    }
}

/// The first name that a message quotes.
fn quoted(message: &str) -> Option<&str> {
    let start = message.find(['`', '"'])?;
    let (quote, rest) = message[start..].split_at(1);
    rest.split(quote).next()
}
