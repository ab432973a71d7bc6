//! The events of the store, each read once, as soon as it is known what became of it.

use std::collections::{BTreeMap, BTreeSet};

use domain::error::chain;
use domain::id::{PipelineName, Sequence};
use store::{Store, StoreError};

use super::book::Book;

/// How far behind the newest number events may still appear: who took a number writes its event in moments.
const BEHIND: u64 = 2000;

/// Which events were read.
#[derive(Default)]
pub(super) struct EventLog {
    /// All up to this one.
    floor: Sequence,
    /// And these beyond it.
    seen: BTreeSet<Sequence>,
}

impl EventLog {
    /// Writes what was not read yet into the books that want it. Blocks on the disk.
    pub(super) fn read(&mut self, store: &Store, books: &mut BTreeMap<PipelineName, Book>) -> Result<(), StoreError> {
        let mut open = None;
        for number in store.event_numbers(self.floor)? {
            if self.seen.contains(&number) {
                continue;
            }
            match store.event_with_number(number) {
                Ok(Some(event)) if event.dispositions.is_some() => {
                    let mut wanting = books.values_mut().filter(|book| book.wants(&event)).peekable();
                    if wanting.peek().is_some() {
                        match store.stars_of(&event.record.event.data.stars)? {
                            Ok(stars) => wanting.for_each(|book| book.add(&event, &stars)),
                            Err(reason) => tracing::warn!(%number, reason, "triggers do not see an event"),
                        }
                    }
                }
                // Others are accepting it.
                Ok(Some(_) | None) => {
                    open = open.or(Some(number));
                    continue;
                }
                Err(error @ (StoreError::Damaged { .. } | StoreError::Newer { .. })) => {
                    tracing::warn!(%number, error = chain(&error), "triggers do not see an event");
                }
                Err(error) => return Err(error),
            }
            self.seen.insert(number);
        }
        self.forget(open);
        Ok(())
    }

    /// Forgets the numbers below which nothing appears any more.
    fn forget(&mut self, open: Option<Sequence>) {
        let newest = self.seen.last().map_or(0, |newest| newest.0);
        let below = open.map_or(u64::MAX, |open| open.0.saturating_sub(1));
        let floor = Sequence(newest.saturating_sub(BEHIND).min(below).max(self.floor.0));
        self.seen = self.seen.split_off(&floor.next());
        self.floor = floor;
    }
}
