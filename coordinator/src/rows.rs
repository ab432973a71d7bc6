//! Rows of stars in flight as this coordinator wrote them last, so that what happens to a star next need not read them first.
//!
//! A copy like any other: others may have changed the star since. Whoever decides on one writes with compare-and-set, and looks
//! at the state itself before it calls anything stale.

use domain::id::{RunId, StarIndex};
use domain::run::Star;
use quick_cache::sync::Cache;

/// Most stars whose rows are kept: more than are in flight by default.
const KEPT: usize = 16_384;

/// Rows of stars in flight, by run and star.
pub(crate) struct Rows(Cache<(RunId, StarIndex), Star>);

impl Default for Rows {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl Rows {
    /// A star as it was written here last.
    pub(crate) fn of(&self, run: RunId, star: StarIndex) -> Option<Star> {
        self.0.get(&(run, star))
    }

    /// Keeps what was written of a star; one whose tasks are all settled is not asked for again.
    pub(crate) fn keep(&self, run: RunId, star: StarIndex, written: Star) {
        match written.is_settled() || written.row.is_fresh() {
            true => self.forget(run, star),
            false => self.0.insert((run, star), written),
        }
    }

    /// Somebody else changed the star.
    pub(crate) fn forget(&self, run: RunId, star: StarIndex) {
        self.0.remove(&(run, star));
    }
}

#[cfg(test)]
mod tests {
    use domain::id::{Attempt, EventId, ModuleIndex};
    use domain::run::{Cell, Row, TaskState};

    use super::*;

    #[test]
    fn rows_of_stars_in_flight_are_kept_and_no_others() {
        let (rows, run, star) = (Rows::default(), RunId::of(EventId::of("test", "1"), "P", "1"), StarIndex(3));
        let mut now = Star { row: Row::fresh(1), ..Star::default() };
        now.row.set(ModuleIndex(0), Cell::queued(Attempt(1)));
        rows.keep(run, star, now.clone());
        assert_eq!((rows.of(run, star), rows.of(run, StarIndex(4))), (Some(now.clone()), None));
        now.row.set(ModuleIndex(0), Cell { state: TaskState::Succeeded, tag: 1 });
        rows.keep(run, star, now);
        assert_eq!(rows.of(run, star), None, "it is settled");
    }
}
