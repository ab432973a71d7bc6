//! What came for the stars of a pipeline whose trigger is weighed, quarter by quarter, as the events of the store say it.
//!
//! Pure, and the same whatever the order in which events are shown to it: sequence numbers decide what a run covers.

use std::collections::{BTreeMap, HashMap};

use domain::id::{DatasetName, PipelineName, Quarter, Sequence, StarId};
use domain::pipeline::{Arrival, Trigger};
use jiff::Timestamp;
use store::events::{DisposedEvent, Disposition};

/// Datasets by their places in a list, a bit each.
pub(crate) type DatasetSet = u64;

/// What came for the stars of one pipeline.
pub(crate) struct Book {
    pipeline: PipelineName,
    datasets: Vec<DatasetName>,
    quarters: BTreeMap<Quarter, QuarterBook>,
}

/// The same of one quarter.
#[derive(Default)]
struct QuarterBook {
    /// Of every star that was ever named: its datasets, and up to which number a run covers what came for it.
    known: HashMap<StarId, (DatasetSet, Sequence)>,
    waiting: BTreeMap<StarId, WaitingStar>,
}

/// A star for which something came that no run covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitingStar {
    /// The first and the last number of it.
    numbers: (Sequence, Sequence),
    /// When it came.
    pub(crate) arrived: Arrival,
    /// What is said of the last of it alone.
    last_until: Option<Timestamp>,
    /// Datasets of which is known that they are not asked for; none while nobody looked.
    pub(crate) spared: Option<DatasetSet>,
}

impl Book {
    /// An empty one.
    pub(crate) fn of(pipeline: &PipelineName, trigger: &Trigger) -> Self {
        let mut datasets: Vec<DatasetName> = trigger.on.datasets().cloned().collect();
        datasets.sort_unstable();
        datasets.dedup();
        Self { pipeline: pipeline.clone(), datasets, quarters: BTreeMap::new() }
    }

    /// Whether an event says anything that belongs here.
    pub(crate) fn wants(&self, event: &DisposedEvent) -> bool {
        let data = &event.record.event.data;
        match &data.start {
            Some(start) => start.pipeline == self.pipeline && start.only_group.is_none() && has_run(event),
            None => self.datasets.contains(&data.dataset),
        }
    }

    /// Writes an event down that is wanted: a start covers what came before it, any other is something that came.
    pub(crate) fn add(&mut self, event: &DisposedEvent, stars: &[StarId]) {
        let (data, number) = (&event.record.event.data, event.record.sequence);
        let place = self.datasets.iter().position(|dataset| *dataset == data.dataset);
        let book = self.quarters.entry(data.quarter).or_default();
        if data.start.is_some() {
            stars.iter().for_each(|star| book.cover(*star, number));
            return;
        }
        let until = event.dispositions.iter().flatten().find_map(|disposition| match disposition {
            Disposition::Waits { pipeline, until, .. } if *pipeline == self.pipeline => Some(*until),
            Disposition::Waits { .. } | Disposition::Run { .. } | Disposition::NoPipeline => None,
            Disposition::Rejected { .. } => None,
        });
        let bit = place.map_or(0, |place| 1 << place);
        for star in stars {
            book.arrive(*star, bit, number, until.map(|until| (event.record.accepted, until)));
        }
    }

    /// The quarters that something came for.
    pub(crate) fn quarters(&self) -> Vec<Quarter> {
        self.quarters.keys().copied().collect()
    }

    /// The stars of a quarter that wait, in the order of their ids, each with the datasets that are there.
    pub(crate) fn waiting(&self, quarter: Quarter) -> impl Iterator<Item = (StarId, DatasetSet, &WaitingStar)> {
        let book = self.quarters.get(&quarter);
        book.into_iter().flat_map(|book| {
            book.waiting
                .iter()
                .map(|(star, waiting)| (*star, book.known.get(star).map_or(0, |(there, _)| *there), waiting))
        })
    }

    /// Keeps in mind what a star need not wait for, until something comes for it.
    pub(crate) fn spare(&mut self, quarter: Quarter, star: StarId, spared: DatasetSet) {
        if let Some(waiting) = self.quarters.get_mut(&quarter).and_then(|book| book.waiting.get_mut(&star)) {
            waiting.spared = Some(spared);
        }
    }

    /// The bit of a dataset.
    pub(crate) fn bit(&self, dataset: &DatasetName) -> DatasetSet {
        self.datasets.iter().position(|known| known == dataset).map_or(0, |place| 1 << place)
    }
}

impl QuarterBook {
    /// A dataset came for a star; `asks` says when, and until when it waits, where the trigger weighs it.
    fn arrive(
        &mut self,
        star: StarId,
        bit: DatasetSet,
        number: Sequence,
        asks: Option<(Timestamp, Option<Timestamp>)>,
    ) {
        let (there, covered) = self.known.entry(star).or_default();
        *there |= bit;
        let Some((at, until)) = asks.filter(|_| number > *covered) else {
            // What it brings may be what a condition reads.
            if let Some(waiting) = self.waiting.get_mut(&star) {
                waiting.spared = None;
            }
            return;
        };
        let new = WaitingStar {
            numbers: (number, number),
            arrived: Arrival { last: at, until },
            last_until: until,
            spared: None,
        };
        self.waiting.entry(star).and_modify(|known| *known = known.with(new)).or_insert(new);
    }

    /// A run covers what came for a star up to this number.
    fn cover(&mut self, star: StarId, number: Sequence) {
        let (_, covered) = self.known.entry(star).or_default();
        *covered = number.max(*covered);
        let Some(waiting) = self.waiting.get_mut(&star) else { return };
        let (first, last) = waiting.numbers;
        if last <= number {
            self.waiting.remove(&star);
        } else if first <= number {
            waiting.numbers = (last, last);
            waiting.arrived.until = waiting.last_until;
        }
    }
}

impl WaitingStar {
    fn with(self, other: Self) -> Self {
        let newer = if other.numbers.1 > self.numbers.1 { other } else { self };
        let until = [self.arrived.until, other.arrived.until].into_iter().flatten().min();
        Self {
            numbers: (self.numbers.0.min(other.numbers.0), newer.numbers.1),
            arrived: Arrival { last: self.arrived.last.max(other.arrived.last), until },
            last_until: newer.last_until,
            spared: None,
        }
    }
}

fn has_run(event: &DisposedEvent) -> bool {
    event.dispositions.iter().flatten().any(|disposition| matches!(disposition, Disposition::Run { .. }))
}

#[cfg(test)]
mod tests {
    use domain::id::RunId;
    use domain::message::{DatasetEvent, DatasetUpdate, StarSelection, Start};
    use domain::pipeline::load;
    use store::events::EventRecord;

    use super::*;

    const TEXT: &str =
        "name = 'P'\nversion = '1'\n[trigger]\non = 'a & b'\ndeadline = '10s'\n[modules.M]\nimage = 'i'\n";

    /// An event with this number, accepted at as many seconds; of no dataset: a run of P.
    fn event(number: u64, dataset: Option<&str>) -> DisposedEvent {
        let stars = StarSelection::Inline(vec![StarId::of_simulator(1)]);
        let start = dataset.is_none().then(|| Start {
            pipeline: "P".parse().unwrap(),
            version: None,
            only_group: None,
            replay: None,
        });
        let named = dataset.unwrap_or("a").parse().unwrap();
        let update = DatasetUpdate { dataset: named, quarter: Quarter::FIRST, stars, start };
        let event = DatasetEvent::new("t", &number.to_string(), "2030-01-01T00:00:00Z".to_owned(), update);
        let accepted = Timestamp::from_second(number as i64).unwrap();
        let disposition = match dataset {
            None => Disposition::Run { run: RunId::of(event.event_id(), "P", "1") },
            Some(_) => Disposition::Waits {
                pipeline: "P".parse().unwrap(),
                on: "a & b".parse().unwrap(),
                only_if: BTreeMap::new(),
                until: Some(Timestamp::from_second(number as i64 + 10).unwrap()),
            },
        };
        let record = EventRecord { id: event.event_id(), sequence: Sequence(number), accepted, event };
        DisposedEvent { record, dispositions: Some(vec![disposition]) }
    }

    /// Whether the star waits after these events, in any order: the datasets that are there, and until when.
    fn check(events: &[(u64, Option<&str>)], expected: Option<(DatasetSet, i64)>) {
        let pipeline = load("p.toml", TEXT, None).unwrap();
        let mut orders = vec![events.to_vec(), events.iter().rev().copied().collect()];
        orders.push([&events[1..], &events[..1]].concat());
        for order in orders {
            let mut book = Book::of(&pipeline.name, &pipeline.trigger);
            for (number, dataset) in &order {
                let event = event(*number, *dataset);
                assert!(book.wants(&event));
                book.add(&event, &[StarId::of_simulator(1)]);
            }
            let found = book.waiting(Quarter::FIRST).next();
            let found = found.map(|(_, there, waiting)| (there, waiting.arrived.until.unwrap().as_second()));
            assert_eq!(found, expected, "{order:?}");
        }
    }

    #[test]
    fn what_no_run_covers_waits_whatever_the_order_in_which_events_are_read() {
        check(&[(1, Some("a"))], Some((1, 11)));
        check(&[(1, Some("a")), (2, Some("b"))], Some((3, 11)));
        check(&[(1, Some("a")), (2, Some("b")), (3, None)], None);
        check(&[(1, Some("a")), (3, None), (4, Some("b"))], Some((3, 14)));
        check(&[(1, Some("a")), (2, Some("a")), (3, None), (4, Some("a")), (5, None)], None);
    }

    #[test]
    fn events_of_others_are_not_wanted() {
        let pipeline = load("p.toml", TEXT, None).unwrap();
        let book = Book::of(&pipeline.name, &pipeline.trigger);
        assert!(!book.wants(&event(1, Some("c"))));
        let mut other = event(1, None);
        other.record.event.data.start.as_mut().unwrap().pipeline = "Q".parse().unwrap();
        assert!(!book.wants(&other));
        let mut rejected = event(1, None);
        rejected.dispositions = Some(vec![Disposition::Rejected { reason: "no".to_owned() }]);
        assert!(!book.wants(&rejected), "nothing was started");
    }
}
