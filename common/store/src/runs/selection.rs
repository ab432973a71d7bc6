//! Tasks of a run that an operator decided about.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{ModuleName, StarId};
use domain::run::TaskState;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// Tasks of a run; what is not named is not narrowed. Of each it may name one, as decisions of earlier versions do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Selection {
    /// Of these modules.
    #[serde(default, alias = "module", deserialize_with = "one_or_more", skip_serializing_if = "BTreeSet::is_empty")]
    pub modules: BTreeSet<ModuleName>,
    /// Of these stars.
    #[serde(default, alias = "star", deserialize_with = "one_or_more", skip_serializing_if = "BTreeSet::is_empty")]
    pub stars: BTreeSet<StarId>,
    /// In these states.
    #[serde(default, alias = "state", deserialize_with = "one_or_more", skip_serializing_if = "BTreeSet::is_empty")]
    pub states: BTreeSet<TaskState>,
    /// Exactly these: what was selected by anything else was looked up when it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<BTreeMap<StarId, BTreeSet<ModuleName>>>,
}

impl Selection {
    /// Whether a settled task in this state is meant. Without a state named, those that were lost, but not to a newer run:
    /// that has newer data.
    pub fn wants(&self, state: TaskState) -> bool {
        if self.states.is_empty() {
            state.is_lost() && state != TaskState::Superseded
        } else {
            self.states.contains(&state)
        }
    }

    /// Whether a task may be meant, whatever its state.
    pub fn may_mean(&self, star: StarId, module: &ModuleName) -> bool {
        let is_of_star = self.stars.is_empty() || self.stars.contains(&star);
        let is_named = |tasks: &BTreeMap<StarId, BTreeSet<ModuleName>>| {
            tasks.get(&star).is_some_and(|modules| modules.contains(module))
        };
        is_of_star && self.is_of(module) && self.tasks.as_ref().is_none_or(is_named)
    }

    /// Whether tasks of this module may be meant.
    pub fn is_of(&self, module: &ModuleName) -> bool {
        self.modules.is_empty() || self.modules.contains(module)
    }
}

/// One, none, or a list of them.
fn one_or_more<'de, D, T>(deserializer: D) -> Result<BTreeSet<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Ord,
{
    #[derive(Deserialize)]
    #[serde(untagged, bound = "T: Deserialize<'de> + Ord")]
    enum OneOrMore<T> {
        None(()),
        One(T),
        More(BTreeSet<T>),
    }
    Ok(match OneOrMore::deserialize(deserializer)? {
        OneOrMore::None(()) => BTreeSet::new(),
        OneOrMore::One(one) => BTreeSet::from([one]),
        OneOrMore::More(more) => more,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::{Decided, Decision};

    #[test]
    fn decisions_of_earlier_versions_are_read() {
        let star = StarId::of_simulator(1);
        let text = format!(
            r#"{{"at":"1970-01-01T00:00:00Z","by":"ada","decision":"retry","selection":{{"module":"A","star":"{star}","state":"failed"}}}}"#
        );
        let Decision { what: Decided::Retry { selection }, .. } = serde_json::from_str(&text).unwrap() else {
            panic!("{text}")
        };
        let expected = Selection {
            modules: ["A".parse().unwrap()].into(),
            stars: [star].into(),
            states: [TaskState::Failed].into(),
            tasks: None,
        };
        assert_eq!(selection, expected);
        let again: Selection = serde_json::from_str(&serde_json::to_string(&expected).unwrap()).unwrap();
        assert_eq!(again, expected);
        assert_eq!(serde_json::from_str::<Selection>(r#"{"module": null}"#).unwrap(), Selection::default());
        assert!(Selection::default().wants(TaskState::Errored) && !Selection::default().wants(TaskState::Superseded));
    }
}
