//! What the runs of the quarter before settled, as the store has it: read once, then what is new alone.

use std::collections::BTreeSet;

use domain::id::{RunId, StarIndex};
use store::course::Course;
use store::runs::{RunRecord, StarEnd, StarList};
use store::{Store, StoreError};
use tokio::time::{Duration, Instant};

use super::policy::QuarterBefore;
use crate::standing::Remembered;

/// How often all runs are looked through for others of the quarter before; those that are opened meanwhile are seen at once.
const LIST: Duration = Duration::from_secs(1);

/// The runs of the quarter before of the stars of one run.
#[derive(Default)]
pub(super) struct EarlierRuns {
    /// Newest first.
    runs: Vec<EarlierRun>,
    /// Marks of runs that go on, when all were looked through.
    open: BTreeSet<RunId>,
    listed: Option<Instant>,
}

/// One of them.
struct EarlierRun {
    run: RunId,
    goes_on: bool,
    /// Where the stars of the later run are in it.
    places: Vec<Option<StarIndex>>,
    /// How its stars ended.
    ends: Vec<Option<StarEnd>>,
    /// Batches of settled stars that were read.
    read: u64,
}

impl EarlierRuns {
    /// Reads what is new of runs of the pipeline in the quarter before; whether anything is. Blocks on the disk.
    pub(super) fn read(
        &mut self,
        store: &Store,
        remembered: &Remembered,
        course: &Course,
        now: Instant,
    ) -> Result<bool, StoreError> {
        let open: BTreeSet<RunId> = store.open_runs()?.into_iter().collect();
        let mut is_new = false;
        if open != self.open || self.listed.is_none_or(|listed| now.duration_since(listed) >= LIST) {
            is_new = self.list(store, course)?;
            (self.open, self.listed) = (open, Some(now));
        }
        for run in &mut self.runs {
            is_new |= run.read_on(store, remembered, self.open.contains(&run.run))?;
        }
        Ok(is_new)
    }

    /// How the quarter before of a star of the later run stands.
    pub(super) fn before(&self, star: StarIndex) -> QuarterBefore {
        let mut before = QuarterBefore::Unknown;
        for run in &self.runs {
            let Some(place) = run.places.get(star.0 as usize).copied().flatten() else { continue };
            match run.ends.get(place.0 as usize).copied().flatten() {
                None if run.goes_on => return QuarterBefore::GoesOn(run.run),
                // A newer run has it.
                None | Some(StarEnd::Superseded) => {}
                Some(end) if before == QuarterBefore::Unknown => before = QuarterBefore::Ended(run.run, end),
                Some(_) => {}
            }
        }
        before
    }

    /// Looks for runs that are not known yet.
    fn list(&mut self, store: &Store, course: &Course) -> Result<bool, StoreError> {
        let own = &course.record;
        let is_meant = |run: &RunRecord| {
            run.pipeline == own.pipeline && own.quarter.previous() == Some(run.quarter) && run.only_group.is_none()
        };
        let mut found = store.runs()?;
        found.retain(is_meant);
        let mut known = std::mem::take(&mut self.runs);
        let mut is_new = false;
        for record in found {
            let run = match known.iter().position(|known| known.run == record.run) {
                Some(at) => known.swap_remove(at),
                None => {
                    is_new = true;
                    EarlierRun::of(store, record.run, &course.stars)?
                }
            };
            self.runs.push(run);
        }
        Ok(is_new)
    }
}

impl EarlierRun {
    fn of(store: &Store, run: RunId, later: &StarList) -> Result<Self, StoreError> {
        let stars = store.stars(run)?;
        let mut of = Self {
            run,
            goes_on: true,
            places: places(later, &stars)?,
            ends: vec![None; stars.len() as usize],
            // What comes meanwhile is read again.
            read: store.settled_batches(run, 0)?,
        };
        store.each_settled_row(run, |row| of.note(row.star, row.end))?;
        Ok(of)
    }

    /// Reads what it settled since; `is_marked` says that it may go on.
    fn read_on(&mut self, store: &Store, remembered: &Remembered, is_marked: bool) -> Result<bool, StoreError> {
        let went_on = self.goes_on;
        self.goes_on = is_marked && !remembered.orders(store, self.run)?.is_over;
        if !went_on && !self.goes_on {
            return Ok(false);
        }
        let last = store.settled_batches(self.run, self.read)?;
        for number in self.read + 1..=last {
            for line in store.settled_batch(self.run, number)? {
                self.note(line.star, line.end);
            }
        }
        let is_new = last > self.read || went_on != self.goes_on;
        self.read = last;
        Ok(is_new)
    }

    fn note(&mut self, star: StarIndex, end: Option<StarEnd>) {
        if let Some(known) = self.ends.get_mut(star.0 as usize) {
            *known = end;
        }
    }
}

/// Where the stars of one list are in another: both are sorted.
fn places(of: &StarList, within: &StarList) -> Result<Vec<Option<StarIndex>>, StoreError> {
    let mut places = Vec::with_capacity(of.len() as usize);
    let mut others = (0..).map(StarIndex).zip(within.iter()).peekable();
    for star in of.iter() {
        let star = star?;
        while others.next_if(|(_, other)| other.as_ref().is_ok_and(|other| *other < star)).is_some() {}
        match others.peek() {
            Some((place, Ok(other))) => places.push((*other == star).then_some(*place)),
            Some((_, Err(_))) => {
                if let Some((_, Err(error))) = others.next() {
                    return Err(error);
                }
            }
            None => places.push(None),
        }
    }
    Ok(places)
}
