//! What happened to a star between two of its rows, in words that hooks wait for.
//!
//! Pure.

use domain::id::GroupName;
use std::collections::BTreeSet;

use domain::pipeline::Pipeline;
use domain::run::Row;
use serde::{Deserialize, Serialize};

/// What a hook can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Moment {
    /// A run was accepted.
    RunStarted,
    /// All stars of a run are on record.
    RunEnded,
    /// The first task of a star is handed out.
    StarStarted,
    /// A star's end is on record, its star file is whole.
    StarEnded,
    /// The first task of a group of a star is handed out.
    GroupStarted,
    /// The last task of a group of a star is settled, of which at least one was handed out.
    GroupEnded,
}

/// What happened to a star between `before` and `after`, with the group where it is one's; star ends are not here: they are
/// over when they are on record.
pub(crate) fn between<'a>(pipeline: &'a Pipeline, before: &Row, after: &Row) -> Vec<(Moment, Option<&'a GroupName>)> {
    let mut moments = Vec::new();
    if !was_tried(pipeline, before, None) && was_tried(pipeline, after, None) {
        moments.push((Moment::StarStarted, None));
    }
    let groups: BTreeSet<&GroupName> = pipeline.groups();
    for group in groups {
        let is_tried = was_tried(pipeline, after, Some(group));
        if is_tried && !was_tried(pipeline, before, Some(group)) {
            moments.push((Moment::GroupStarted, Some(group)));
        }
        if is_tried && !is_settled(pipeline, before, group) && is_settled(pipeline, after, group) {
            moments.push((Moment::GroupEnded, Some(group)));
        }
    }
    moments
}

/// Whether a task of a group, or any, was handed out. Every sixteenth attempt has the tag of none.
fn was_tried(pipeline: &Pipeline, row: &Row, group: Option<&GroupName>) -> bool {
    let mut cells = pipeline.modules.iter().zip(row.cells());
    cells.any(|(module, cell)| group.is_none_or(|group| module.group.as_ref() == Some(group)) && cell.tag != 0)
}

fn is_settled(pipeline: &Pipeline, row: &Row, group: &GroupName) -> bool {
    let mut cells = pipeline.modules.iter().zip(row.cells());
    cells.all(|(module, cell)| module.group.as_ref() != Some(group) || cell.state.is_settled())
}

#[cfg(test)]
mod tests {
    use domain::pipeline::load;
    use domain::run::TaskState;

    use super::*;

    /// A and B of group G, C of none.
    fn pipeline() -> Pipeline {
        let mut text =
            "name = 'P'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[classes.default]\ncpus = 1\nmemory = '1GB'\n"
                .to_owned();
        for (module, group) in [("A", "group = 'G'\n"), ("B", "group = 'G'\n"), ("C", "")] {
            text += &format!(
                "[modules.{module}]\n{group}image = 'i'\nclass = 'default'\ntime_limit = '1m'\n\
                 outputs.mandatory = ['P{module}']\n"
            );
        }
        load("p.toml", &text, None).unwrap()
    }

    fn check(before: [(TaskState, u8); 3], after: [(TaskState, u8); 3]) -> Vec<String> {
        let row = |cells: [(TaskState, u8); 3]| {
            Row::from_bytes(cells.iter().map(|(state, tag)| (*state as u8) << 4 | tag).collect()).unwrap()
        };
        let pipeline = pipeline();
        let moments = between(&pipeline, &row(before), &row(after));
        moments.iter().map(|(moment, group)| format!("{moment} {}", group.map_or("-", GroupName::as_str))).collect()
    }

    use TaskState::{Blocked, Failed, Queued, Skipped, Succeeded};

    #[test]
    fn a_star_and_its_groups_start_when_the_first_task_is_handed_out() {
        let fresh = [(Blocked, 0); 3];
        assert_eq!(check(fresh, [(Blocked, 0), (Blocked, 0), (Queued, 1)]), ["star_started -"]);
        let all = [(Queued, 1), (Blocked, 0), (Queued, 1)];
        assert_eq!(check(fresh, all), ["star_started -", "group_started G"]);
        assert!(check(all, [(Queued, 2), (Queued, 1), (Succeeded, 1)]).is_empty());
    }

    #[test]
    fn a_group_ends_with_its_last_task_and_one_that_ran_nothing_never_was() {
        let before = [(Queued, 1), (Skipped, 0), (Queued, 1)];
        assert_eq!(check(before, [(Failed, 1), (Skipped, 0), (Queued, 1)]), ["group_ended G"]);
        let before = [(Blocked, 0), (Blocked, 0), (Queued, 1)];
        assert!(check(before, [(Skipped, 0), (Skipped, 0), (Succeeded, 1)]).is_empty());
    }
}
