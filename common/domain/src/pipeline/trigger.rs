//! What starts a pipeline: a dataset, or an expression over datasets that is weighed for each star and quarter.
//!
//! Pure. A dataset is *there* for a star and quarter when an event named both. [`Trigger::weigh`] tells from what is there, and
//! from when it came, whether the star enters a run or what it waits for.

mod expression;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

pub use expression::{InvalidTrigger, MOST_DATASETS, TriggerExpression};
use jiff::Timestamp;

use super::definition::RawTrigger;
use super::names::Names;
use crate::expression::{Expression, InvalidExpression, Scope};
use crate::id::{DatasetName, ProductName};
use crate::product::Origin;

/// What starts a pipeline.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// Which datasets must be there.
    pub on: TriggerExpression,
    /// Datasets that are asked for only where a condition over externals of the star holds; elsewhere they count as there.
    pub only_if: BTreeMap<DatasetName, Expression>,
    /// After this time a star that waits enters anyway.
    pub deadline: Option<Duration>,
    /// A star enters when nothing came for it for this long.
    pub debounce: Option<Duration>,
}

/// When what a star waits with came: what no run covers yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When the last of it was accepted.
    pub last: Timestamp,
    /// When it enters anyway, as was said when the first of it was accepted.
    pub until: Option<Timestamp>,
}

/// What a trigger says of a star for which something came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighed {
    /// It enters a run.
    Enters,
    /// It waits: for what is missing, or for nothing more to come; until then, if it ever ends by itself.
    Waits(Option<Timestamp>),
}

impl Trigger {
    /// The dataset of which every event starts a run at once, where there is nothing to weigh.
    pub fn plain(&self) -> Option<&DatasetName> {
        self.on.only().filter(|_| self.debounce.is_none())
    }

    /// Weighs a star: `is_there` says which datasets are there, or not asked for.
    pub fn weigh(&self, is_there: &dyn Fn(&DatasetName) -> bool, arrived: Arrival, now: Timestamp) -> Weighed {
        let quiet = self.debounce.map(|debounce| after(arrived.last, debounce));
        let ripe = self.on.holds(is_there).then(|| quiet.unwrap_or(arrived.last));
        match [ripe, arrived.until].into_iter().flatten().min() {
            Some(at) if at <= now => Weighed::Enters,
            at => Weighed::Waits(at),
        }
    }

    /// When a star enters anyway for which something was accepted at this time.
    pub fn until(&self, accepted: Timestamp) -> Option<Timestamp> {
        self.deadline.map(|deadline| after(accepted, deadline))
    }

    /// The conditions as they are written.
    pub fn conditions(&self) -> BTreeMap<DatasetName, String> {
        self.only_if.iter().map(|(dataset, condition)| (dataset.clone(), condition.text().to_owned())).collect()
    }
}

fn after(time: Timestamp, wait: Duration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.on.fmt(f)?;
        for (dataset, condition) in &self.only_if {
            write!(f, ", {dataset} only if {}", condition.text())?;
        }
        let waits = [("deadline", self.deadline), ("debounce", self.debounce)];
        for (what, wait) in waits.into_iter().filter_map(|(what, wait)| Some((what, wait?))) {
            write!(f, ", {what} {}", humantime::format_duration(wait))?;
        }
        Ok(())
    }
}

/// Reads the expression of a trigger; a mistake begins with the field.
pub(super) fn read(raw: &RawTrigger, mistakes: &mut Vec<String>) -> Option<TriggerExpression> {
    let field = if raw.is_table { "trigger.on" } else { "trigger" };
    raw.on.parse().map_err(|error| mistakes.push(format!("{field}: {error}"))).ok()
}

/// Checks what else a definition says of its trigger.
pub(super) fn complete(
    expression: Option<TriggerExpression>,
    raw: Option<&RawTrigger>,
    names: &Names,
    mistakes: &mut Vec<String>,
) -> Option<Trigger> {
    let (expression, RawTrigger { only_if, deadline, debounce, .. }) = (expression?, raw?);
    if deadline.is_some() && expression.only().is_some() {
        mistakes.push(
            "trigger.deadline: a single dataset is nothing to wait for, expected an expression over several".to_owned(),
        );
    }
    for (name, wait) in [("deadline", deadline), ("debounce", debounce)] {
        if wait.is_some_and(|wait| wait.is_zero()) {
            mistakes.push(format!("trigger.{name}: must be more than zero"));
        }
    }
    let datasets: BTreeSet<&DatasetName> = expression.datasets().collect();
    let mut conditions = BTreeMap::new();
    for (name, text) in only_if {
        let Some(dataset) = datasets.iter().find(|dataset| dataset.as_str() == name) else {
            mistakes.push(format!("trigger.only_if: `{name}` is not in the expression"));
            continue;
        };
        let compiled = compile(text, names);
        let wrong = |errors: Vec<InvalidExpression>| {
            mistakes.extend(errors.iter().map(|error| format!("trigger.only_if.{name}: {error}")));
        };
        conditions.extend(compiled.map_err(wrong).ok().map(|condition| ((*dataset).clone(), condition)));
    }
    Some(Trigger { on: expression, only_if: conditions, deadline: *deadline, debounce: *debounce })
}

/// A condition over what ingestion delivers for the star: nothing else is there before a run.
fn compile(text: &str, names: &Names) -> Result<Expression, Vec<InvalidExpression>> {
    let products = |product: &ProductName| names.star.contains(product).then_some(Origin::StarExternal);
    let scope = Scope {
        products: &products,
        previous: &|_| false,
        params: &names.params,
        model: &names.model,
        aliases: &names.aliases,
        unknown: "not in `externals.star`",
    };
    Expression::compile(text, &scope)
}

#[cfg(test)]
mod tests;
