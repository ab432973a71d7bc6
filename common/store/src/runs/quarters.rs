//! What was found of the quarter before of stars that could not simply enter a run, by the policy of its pipeline.
//!
//! `quarters/<n>.json` is what was found at one look; a later word on a star counts before an earlier one. It is there before
//! anything follows from it, so that a state that lost everything decides as before.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StarEnd;
use crate::{Store, StoreError, numbered, paths, read_json, to_json};
use domain::id::{RunId, StarId, StarIndex};

/// What becomes of a star for the sake of its quarter before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum QuarterVerdict {
    /// It waits until a run has settled its quarter before.
    Waits {
        /// The run.
        run: RunId,
    },
    /// Its quarter before did not end well: it waits for an operator.
    Held {
        /// The run in which that ended.
        run: RunId,
        /// How.
        end: StarEnd,
        /// The newest decision about its own run then: one to resume that is newer lets it in.
        decisions: u64,
    },
    /// It enters as if there were no quarter before.
    Without {
        /// The run in which its quarter before goes on, or ended.
        run: RunId,
        /// How it ended there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<StarEnd>,
    },
    /// It waits no more.
    Enters,
}

/// What became of some stars of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarterNote {
    /// What.
    #[serde(flatten)]
    pub verdict: QuarterVerdict,
    /// The stars.
    pub stars: Vec<StarIndex>,
}

impl Store {
    /// Writes down what becomes of stars, before anything follows from it.
    pub fn note_quarters(&self, run: RunId, notes: &[QuarterNote]) -> Result<(), StoreError> {
        let folder = self.at(paths::quarter_notes(run));
        crate::durable::make_dir(&folder)?;
        self.append(&folder, "json", &to_json(&notes)).map(drop)
    }

    /// What became of stars of a run, in its order, after the note with the number `known`; and the number of the last one.
    pub fn quarter_notes(&self, run: RunId, known: u64) -> Result<(Vec<QuarterNote>, u64), StoreError> {
        let folder = self.at(paths::quarter_notes(run));
        let last = numbered::last(&folder, "json", known)?;
        let mut notes = Vec::new();
        for number in known + 1..=last {
            notes.extend(read_json::<Vec<QuarterNote>>(&numbered::path(&folder, "json", number))?.unwrap_or_default());
        }
        Ok((notes, last))
    }

    /// The last word on a star of a run, if there is any.
    pub fn quarter_verdict(&self, run: RunId, star: StarId) -> Result<Option<QuarterVerdict>, StoreError> {
        let (notes, _) = self.quarter_notes(run, 0)?;
        if notes.is_empty() {
            return Ok(None);
        }
        let Some(star) = self.stars(run)?.position(star)? else { return Ok(None) };
        Ok(notes.iter().rev().find(|note| note.stars.contains(&star)).map(|note| note.verdict))
    }

    /// The stars of a run that have not entered it for the sake of their quarter before, each with why.
    pub fn stars_outside(&self, run: RunId) -> Result<BTreeMap<StarIndex, QuarterVerdict>, StoreError> {
        let mut outside = BTreeMap::new();
        for note in self.quarter_notes(run, 0)?.0 {
            outside.extend(note.stars.into_iter().map(|star| (star, note.verdict)));
        }
        outside.retain(|_, verdict| match verdict {
            QuarterVerdict::Waits { .. } | QuarterVerdict::Held { .. } => true,
            QuarterVerdict::Without { .. } | QuarterVerdict::Enters => false,
        });
        if !outside.is_empty() {
            // Who was cancelled or taken over never enters.
            self.each_settled_row(run, |row| {
                if row.end.is_some() {
                    outside.remove(&row.star);
                }
            })?;
        }
        Ok(outside)
    }
}

#[cfg(test)]
mod tests {
    use domain::id::EventId;

    use super::*;
    use crate::runs::SettledStar;

    #[test]
    fn the_last_word_on_a_star_counts_until_it_settles() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path()).unwrap();
        let run = RunId::of(EventId::of("a", "1"), "P", "1");
        let before = RunId::of(EventId::of("a", "0"), "P", "1");
        let (waits, held) = (
            QuarterVerdict::Waits { run: before },
            QuarterVerdict::Held { run: before, end: StarEnd::Failed, decisions: 3 },
        );
        let note = |verdict, stars: &[u32]| {
            let stars = stars.iter().copied().map(StarIndex).collect();
            store.note_quarters(run, &[QuarterNote { verdict, stars }]).unwrap();
        };
        assert!(store.stars_outside(run).unwrap().is_empty(), "nobody noted anything");
        note(waits, &[0, 1, 2, 3]);
        note(QuarterVerdict::Enters, &[0]);
        note(held, &[1]);
        note(QuarterVerdict::Without { run: before, end: None }, &[4]);
        crate::durable::make_dir(&store.at(paths::settled(run))).unwrap();
        let cancelled = SettledStar { star: StarIndex(3), end: Some(StarEnd::Cancelled), ..SettledStar::default() };
        store.append_settled(run, &[cancelled]).unwrap();
        let expected = BTreeMap::from([(StarIndex(1), held), (StarIndex(2), waits)]);
        assert_eq!(store.stars_outside(run).unwrap(), expected);
        let (later, last) = store.quarter_notes(run, 2).unwrap();
        assert_eq!((later.len(), last), (2, 4));
        assert_eq!(store.quarter_notes(run, last).unwrap(), (Vec::new(), 4));
    }
}
