//! Runs and stars as operators call them: by their ids, by the first digits of these, or `newest`.

use std::collections::BTreeSet;
use std::str::FromStr;

use domain::id::{RunId, StarId};
use domain::text::moment;
use serde::Deserialize;
use store::Store;

use super::view::{OneStar, newest_run};
use super::{Context, ErrorKind, OperateError, look_up};

/// Digits of an id that must be given at least.
const LEAST: usize = 4;

/// How many of those that begin alike are named.
const NAMED: usize = 5;

/// A run as somebody calls it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CalledRun {
    /// The newest.
    Newest,
    /// This one.
    Id(RunId),
    /// The one whose id begins so.
    Begins(String),
}

/// A star as somebody calls it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CalledStar {
    /// This one.
    Id(StarId),
    /// The one whose UUID begins so.
    Begins(String),
}

impl FromStr for CalledRun {
    type Err = OperateError;

    fn from_str(text: &str) -> Result<Self, OperateError> {
        if text == "newest" {
            return Ok(Self::Newest);
        }
        if let Ok(run) = text.parse() {
            return Ok(Self::Id(run));
        }
        digits(text).map(Self::Begins).ok_or_else(|| {
            let reason =
                format!("{text:?} is no run: expected its id, {LEAST} or more of its first digits, or `newest`");
            OperateError::new(ErrorKind::Invalid, reason)
        })
    }
}

impl FromStr for CalledStar {
    type Err = OperateError;

    fn from_str(text: &str) -> Result<Self, OperateError> {
        if let Ok(star) = text.parse() {
            return Ok(Self::Id(star));
        }
        digits(text.strip_prefix("PLATO_").unwrap_or(text)).map(Self::Begins).ok_or_else(|| {
            let reason =
                format!("{text:?} is no star: expected PLATO_ and a UUID, or {LEAST} or more of its first digits");
            OperateError::new(ErrorKind::Invalid, reason)
        })
    }
}

impl TryFrom<String> for CalledRun {
    type Error = OperateError;

    fn try_from(text: String) -> Result<Self, OperateError> {
        text.parse()
    }
}

impl TryFrom<String> for CalledStar {
    type Error = OperateError;

    fn try_from(text: String) -> Result<Self, OperateError> {
        text.parse()
    }
}

/// The first digits of a UUID, in lower case.
fn digits(text: &str) -> Option<String> {
    let is_digit =
        |(at, c): (usize, char)| if matches!(at, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_hexdigit() };
    ((LEAST..36).contains(&text.len()) && text.chars().enumerate().all(is_digit)).then(|| text.to_lowercase())
}

/// The run that is meant.
pub async fn find_run(context: &Context, called: &CalledRun) -> Result<RunId, OperateError> {
    match called {
        CalledRun::Newest => newest_run(context).await,
        CalledRun::Id(run) => Ok(*run),
        CalledRun::Begins(digits) => {
            let digits = digits.clone();
            context.ask(move |store| run_beginning(store, &digits)).await
        }
    }
}

/// The run that is meant, if one is named.
pub async fn find_named_run(context: &Context, called: Option<&CalledRun>) -> Result<Option<RunId>, OperateError> {
    match called {
        Some(called) => find_run(context, called).await.map(Some),
        None => Ok(None),
    }
}

/// The star that is meant, in this run; without a run in the newest that has such a star.
pub async fn find_star(
    context: &Context,
    called: &CalledStar,
    run: Option<&CalledRun>,
) -> Result<OneStar, OperateError> {
    let run = find_named_run(context, run).await?;
    match called {
        CalledStar::Id(star) => Ok(OneStar { star: *star, run }),
        CalledStar::Begins(digits) => {
            let digits = digits.clone();
            context.ask(move |store| star_beginning(store, &digits, run)).await
        }
    }
}

/// The stars that are meant, in this run; without a run each in the newest that has such a star.
pub async fn find_stars(
    context: &Context,
    called: &[CalledStar],
    run: Option<&CalledRun>,
) -> Result<Vec<StarId>, OperateError> {
    let mut stars = Vec::new();
    for called in called {
        stars.push(find_star(context, called, run).await?.star);
    }
    Ok(stars)
}

/// The star that is meant, of these, which are sorted; one that is named by its whole id need not be among them.
pub fn star_among(stars: &BTreeSet<StarId>, called: &CalledStar) -> Result<StarId, OperateError> {
    match called {
        CalledStar::Id(star) => Ok(*star),
        CalledStar::Begins(digits) => {
            let prefix = format!("PLATO_{digits}");
            let found: Vec<StarId> =
                stars.iter().filter(|star| star.to_string().starts_with(&prefix)).take(NAMED + 1).copied().collect();
            the_only(&found, digits, "nowhere here is a star")
        }
    }
}

fn run_beginning(store: &Store, digits: &str) -> Result<RunId, OperateError> {
    match store.runs_beginning(digits)?.as_slice() {
        [] => Err(OperateError::not_found(format!("no run begins with `{digits}`; `sas run list` shows them"))),
        [run] => Ok(*run),
        several => {
            let named = several.iter().take(NAMED).map(|run| {
                let record = look_up::record(store, *run)?;
                let (pipeline, quarter, accepted) = (record.pipeline, record.quarter, moment(record.accepted));
                Ok(format!("{run} ({pipeline} {}, {quarter}, accepted {accepted})", record.version))
            });
            let named = named.collect::<Result<Vec<String>, OperateError>>()?;
            Err(ambiguous("runs", digits, &named, several.len()))
        }
    }
}

fn star_beginning(store: &Store, digits: &str, run: Option<RunId>) -> Result<OneStar, OperateError> {
    let of = |run: RunId| store.stars(run)?.beginning(digits, NAMED + 1);
    let found = match run {
        Some(run) => Some((run, of(run)?)),
        None => {
            store.find_run(|record| Ok(Some((record.run, of(record.run)?)).filter(|(_, stars)| !stars.is_empty())))?
        }
    };
    let (run, stars) = found.unzip();
    let nowhere = run.map_or_else(|| "no run has a star".to_owned(), |run| format!("run {run} has no star"));
    Ok(OneStar { star: the_only(&stars.unwrap_or_default(), digits, &nowhere)?, run })
}

/// The star, if these are one.
fn the_only(stars: &[StarId], digits: &str, nowhere: &str) -> Result<StarId, OperateError> {
    match stars {
        [] => Err(OperateError::not_found(format!("{nowhere} that begins with PLATO_{digits}"))),
        [star] => Ok(*star),
        several => {
            let named: Vec<String> = several.iter().take(NAMED).map(ToString::to_string).collect();
            Err(ambiguous("stars", digits, &named, several.len()))
        }
    }
}

fn ambiguous(what: &str, digits: &str, named: &[String], count: usize) -> OperateError {
    let more = if count > named.len() { ", and more" } else { "" };
    let reason = format!("several {what} begin with `{digits}`: {}{more}; give more digits", named.join(", "));
    OperateError::new(ErrorKind::Invalid, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_digits_are_those_of_a_uuid() {
        let begins = |text: &str| Ok(CalledRun::Begins(text.to_owned()));
        assert_eq!("newest".parse(), Ok(CalledRun::Newest));
        assert_eq!("3F2A".parse(), begins("3f2a"));
        assert_eq!("3f2a1b2c-00".parse(), begins("3f2a1b2c-00"));
        for bad in ["", "3f2", "nobody", "3f2a1b2c00", "3f2a-"] {
            assert!(bad.parse::<CalledRun>().unwrap_err().message.contains("4 or more"), "{bad}");
        }
        assert_eq!("PLATO_3f2a".parse(), Ok(CalledStar::Begins("3f2a".to_owned())));
        assert_eq!("3f2a".parse(), Ok(CalledStar::Begins("3f2a".to_owned())));
    }

    #[test]
    fn a_star_is_found_among_others_by_digits_that_only_it_begins_with() {
        let ids =
            ["3f2a1b2c", "3f2a1b2d", "40000000"].map(|first| format!("PLATO_{first}-0000-4000-8000-000000000000"));
        let stars: BTreeSet<StarId> = ids.iter().map(|id| id.parse().unwrap()).collect();
        let among = |called: &str| star_among(&stars, &called.parse().unwrap());
        assert_eq!(among("4000"), Ok(ids[2].parse().unwrap()));
        assert_eq!(among("3f2a1b2d"), Ok(ids[1].parse().unwrap()));
        assert_eq!(among("3f2a").unwrap_err().kind, ErrorKind::Invalid);
        assert_eq!(among("9999").unwrap_err().kind, ErrorKind::NotFound);
        let other = "PLATO_99990000-0000-4000-8000-000000000000";
        assert_eq!(among(other), Ok(other.parse().unwrap()));
    }
}
