//! What addresses and forms say: pairs of names and values, read and written the same way everywhere.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, RawQuery};
use axum::http::request::Parts;
use domain::id::RunId;
use form_urlencoded::{Serializer, parse};
use store::audit::Target;

use super::Site;
use crate::operate::selection::{ShownState, TaskSelection};
use crate::operate::stars::StarStage;
use crate::operate::{ErrorKind, OperateError};

/// Names and values, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl FromRequestParts<Site> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Self::Rejection> {
        let RawQuery(query) = RawQuery::from_request_parts(parts, site).await?;
        Ok(Self::read(query.unwrap_or_default().as_bytes()))
    }
}

impl Query {
    /// Of a query, or of a form that was sent.
    pub(super) fn read(text: &[u8]) -> Self {
        Self(parse(text).map(|(name, value)| (name.into_owned(), value.trim().to_owned())).collect())
    }

    /// What is said under a name; empty values say nothing.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// The same, read.
    pub(super) fn value<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, OperateError> {
        self.one(name).map(|value| read(name, value)).transpose()
    }

    /// All that is said under a name, read.
    fn all<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Vec<T>, OperateError> {
        let values = self.0.iter().filter(|(known, value)| known == name && !value.is_empty());
        values.map(|(_, value)| read(name, value)).collect()
    }

    /// The tasks of a run that it selects.
    pub(super) fn selection(&self, run: RunId) -> Result<TaskSelection, OperateError> {
        let older = self.one("older").map(|value| {
            humantime::parse_duration(value).map_err(|error| {
                invalid(format!("`older` is {value:?}: {error}; expected a duration such as `10m` or `2h`"))
            })
        });
        Ok(TaskSelection {
            run: Some(run),
            modules: self.all("module")?,
            groups: self.all("group")?,
            states: self.all("state")?,
            reasons: self.all("reason")?,
            hosts: self.all("host")?,
            stars: self.all("star")?,
            older: older.transpose()?,
        })
    }
}

fn read<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, OperateError> {
    value.parse().map_err(|error: T::Err| invalid(format!("`{name}` is {value:?}: {error}")))
}

fn invalid(message: String) -> OperateError {
    OperateError::new(ErrorKind::Invalid, message)
}

/// What a selection says besides its run: names and values, as in an address and on a command line.
fn said(selection: &TaskSelection) -> Vec<(&'static str, String)> {
    fn each<'a, T: Display>(name: &'static str, values: &'a [T]) -> impl Iterator<Item = (&'static str, String)> + 'a {
        values.iter().map(move |value| (name, value.to_string()))
    }
    let older = selection.older.map(|older| ("older", humantime::format_duration(older).to_string().replace(' ', "")));
    each("state", &selection.states)
        .chain(each("module", &selection.modules))
        .chain(each("group", &selection.groups))
        .chain(each("reason", &selection.reasons))
        .chain(each("host", &selection.hosts))
        .chain(each("star", &selection.stars))
        .chain(older)
        .collect()
}

/// What a selection is in an address, without its run: empty, or a query with its question mark.
pub(super) fn query_of(selection: &TaskSelection) -> String {
    let query = Serializer::new(String::new()).extend_pairs(said(selection)).finish();
    if query.is_empty() { query } else { format!("?{query}") }
}

/// The list of a run's tasks in a state, of one module or of all.
pub(super) fn tasks_href(run: RunId, module: Option<&str>, states: &[ShownState]) -> String {
    let mut pairs = Serializer::new(String::new());
    states.iter().for_each(|state| _ = pairs.append_pair("state", &state.to_string()));
    module.iter().for_each(|module| _ = pairs.append_pair("module", module));
    format!("/runs/{run}/tasks?{}", pairs.finish())
}

/// The list of a run's stars that are at a stage.
pub(super) fn stars_href(run: RunId, stage: StarStage) -> String {
    format!("/runs/{run}/stars?stage={stage}")
}

/// The lines of the audit about one thing.
pub(super) fn audit_href(target: &Target) -> String {
    match target {
        Target::Event { event } => format!("/audit?event={event}"),
        Target::Run { run } => format!("/audit?run={run}"),
        Target::Module { pipeline, module } => format!("/audit?pipeline={pipeline}&module={module}"),
        Target::Host { host } => format!("/audit?host={host}"),
        Target::Store => "/audit?".to_owned(),
        Target::Star { star, quarter } => format!("/audit?star={star}&quarter={}", u32::from(*quarter)),
    }
}

/// What happens on a host.
pub(super) fn host_href(host: &str) -> String {
    format!("/workers?{}", host_query(host))
}

/// What failed on a host.
pub(super) fn failures_href(host: &str) -> String {
    format!("/failures?{}", host_query(host))
}

fn host_query(host: &str) -> String {
    Serializer::new(String::new()).append_pair("host", host).finish()
}

/// The command of `sas` that selects the same.
pub(super) fn arguments_of(selection: &TaskSelection) -> String {
    let run = selection.run.map(|run| ("run", run.to_string()));
    run.into_iter().chain(said(selection)).map(|(name, value)| format!(" --{name} {}", quoted(&value))).collect()
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@".contains(c);
    if word.chars().all(is_plain) && !word.is_empty() {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_the_same_after_it_was_an_address() {
        let run: RunId = "00000000-0000-5000-8000-000000000000".parse().unwrap();
        let query =
            "state=failed&state=upstream_failed&module=A&group=G+1%26&reason=out_of_memory&host=h%C3%A4&older=10m";
        let selection = Query::read(query.as_bytes()).selection(run).unwrap();
        assert_eq!(
            (selection.states.len(), selection.groups[0].as_str(), selection.hosts[0].as_str()),
            (2, "G 1&", "hä")
        );
        let again = Query::read(query_of(&selection).trim_start_matches('?').as_bytes()).selection(run).unwrap();
        assert_eq!(again, selection);
        let line = arguments_of(&selection);
        assert!(line.contains("--group 'G 1&'") && line.contains("--older 10m"), "{line}");
        assert_eq!(query_of(&TaskSelection::default()), "");
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_name() {
        let run = "00000000-0000-5000-8000-000000000000".parse().unwrap();
        for (query, words) in
            [("state=dead", "`state` is \"dead\""), ("older=soon", "such as `10m`"), ("star=x", "`star` is")]
        {
            let error = Query::read(query.as_bytes()).selection(run).unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.message.contains(words), "{error}");
        }
        assert!(Query::read(b"state=&module=").selection(run).unwrap().states.is_empty(), "empty fields say nothing");
    }
}
