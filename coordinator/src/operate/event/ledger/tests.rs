//! Ledgers of a small store.

use domain::id::StarIndex;
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection, Start};
use store::events::EventRecord;
use store::runs::SettledStar;

use super::*;

const PIPELINE: &str = "name = 'P'\nversion = '1'\ntrigger = 'l1/lc'\n[classes.default]\ncpus = 1\nmemory = '1GB'\n\
    [modules.M]\nimage = 'i'\nclass = 'default'\ntime_limit = '1m'\noutputs.mandatory = ['X']\n";

struct LedgerCase {
    _folder: tempfile::TempDir,
    store: Store,
    stars: Vec<StarId>,
}

impl LedgerCase {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::init(folder.path()).unwrap();
        let mut stars: Vec<StarId> = (0..4).map(StarId::of_simulator).collect();
        stars.sort_unstable();
        Self { _folder: folder, store, stars }
    }

    fn accept(&self, id: &str) -> EventRecord {
        let stars = StarSelection::Inline(self.stars.iter().rev().chain(&self.stars).copied().collect());
        let update = DatasetUpdate { dataset: "l1/lc".parse().unwrap(), quarter: Quarter::FIRST, stars, start: None };
        self.store.accept_event(&DatasetEvent::new("t", id, "2030-01-01T00:00:00Z".to_owned(), update)).unwrap()
    }

    /// A run of an event over these of its stars, which end so, with fingerprints of this byte.
    fn run(&self, event: &EventRecord, stars: &[StarId], ends: &[(StarEnd, u8)]) -> RunId {
        let run = RunId::of(event.id, "P", "1");
        let record = RunRecord {
            run,
            event: event.id,
            publisher: None,
            pipeline: "P".parse().unwrap(),
            version: "1".to_owned(),
            quarter: Quarter::FIRST,
            horizon: event.sequence,
            accepted: event.accepted,
            stars: stars.len() as u32,
            only_group: None,
            replay: None,
            definition: PIPELINE.to_owned(),
            data_model: String::new(),
        };
        self.store.create_run(&record, stars).unwrap();
        let line = |(at, (end, print)): (u32, &(StarEnd, u8))| SettledStar {
            star: StarIndex(at),
            row: vec![0x31],
            end: Some(*end),
            fingerprint: Some(Fingerprint::from_bytes([*print; 32])),
            ..SettledStar::default()
        };
        let lines: Vec<SettledStar> = (0..).zip(ends).map(line).collect();
        self.store.append_settled(run, &lines).unwrap();
        self.store.dispose_event(event.id, &[Disposition::Run { run }]).unwrap();
        run
    }

    fn accepted(&self, event: EventId) -> DisposedEvent {
        let KnownEvent::Accepted(found) = disposed(&self.store, event).unwrap() else { panic!("it was accepted") };
        *found
    }

    /// Counts of what became of the stars, whether the sums balance, and why there is no run.
    fn counts(&self, event: EventId) -> (String, bool, Option<String>) {
        let ledger = of(&self.store, &self.accepted(event)).unwrap();
        assert_eq!(ledger.stars, Some(4), "each star counts once");
        let [line] = &ledger.lines[..] else { panic!("{ledger:?}") };
        let counts: Vec<String> =
            line.stars.iter().map(|(became, count)| format!("{} {became}", count.unwrap())).collect();
        (counts.join(", "), ledger.balances, line.reason.clone())
    }
}

#[test]
fn every_star_of_an_event_is_in_one_line_and_the_sums_balance() {
    use StarEnd::{Complete, Failed, Superseded};
    let case = LedgerCase::new();
    let first = case.accept("1");
    let (said, balances, reason) = case.counts(first.id);
    assert_eq!((said.as_str(), balances), ("4 waiting_for", true));
    assert!(reason.unwrap().contains("coordinator"));
    case.run(&first, &case.stars, &[(Complete, 1), (Complete, 1), (Superseded, 1)]);
    let second = case.accept("2");
    let by = case.run(&second, &case.stars, &[(Complete, 1), (Failed, 2), (Complete, 3)]);
    assert_eq!(case.counts(first.id), ("3 expanded, 1 superseded_by".to_owned(), true, None), "one has not ended yet");
    assert_eq!(case.counts(second.id), ("3 expanded, 1 no_change".to_owned(), true, None));
    let found = lines(&case.store, &case.accepted(first.id)).unwrap().1;
    assert_eq!((found[0].1[2].star, found[0].1[2].by), (case.stars[2], Some(by)));

    let third = case.accept("3");
    case.store.dispose_event(third.id, &[Disposition::NoPipeline]).unwrap();
    assert_eq!(
        case.counts(third.id),
        ("4 rejected".to_owned(), true, Some("no pipeline is started by l1/lc".to_owned()))
    );
    let fourth = case.accept("4");
    case.run(&fourth, &case.stars[1..], &[]);
    assert_eq!(case.counts(fourth.id), ("3 expanded".to_owned(), false, None), "a star is missing");
}

#[test]
fn what_stars_were_before_is_known_however_many_runs_of_others_came_since() {
    let case = LedgerCase::new();
    let first = case.accept("first");
    case.run(&first, &case.stars, &[(StarEnd::Complete, 1); 4]);
    for number in 0..18 {
        let event = case.accept(&number.to_string());
        case.run(&event, &case.stars[..1], &[(StarEnd::Complete, 1)]);
    }
    let last = case.accept("last");
    case.run(&last, &case.stars, &[(StarEnd::Complete, 1); 4]);
    assert_eq!(case.counts(last.id).0, "4 no_change");
}

#[test]
fn the_ledger_of_an_event_whose_stars_cannot_be_read_says_why_it_was_refused() {
    let case = LedgerCase::new();
    let (dataset, stars) = ("l1/lc".parse().unwrap(), StarSelection::File("list.txt".to_owned()));
    let update = DatasetUpdate { dataset, quarter: Quarter::FIRST, stars, start: None };
    let event = DatasetEvent::new("t", "1", "2030-01-01T00:00:00Z".to_owned(), update);
    let id = event.event_id();
    assert!(disposed(&case.store, id).is_err_and(|error| error.message.contains("not accepted")));
    case.store.refuse_event(&event, "star list `list.txt`: it is not there").unwrap();
    let KnownEvent::Refused(refused) = disposed(&case.store, id).unwrap() else { panic!("it was refused") };
    let ledger = of_refused(id, *refused);
    assert_eq!((ledger.stars, ledger.sequence, ledger.balances), (None, None, true));
    assert_eq!(ledger.lines[0].stars, [(StarDisposition::Rejected, None)].into());
    assert!(ledger.lines[0].reason.as_ref().unwrap().contains("list.txt"));
    // The list is there by now, and the event is sent again.
    case.store.accept_event(&event).unwrap();
    assert!(matches!(disposed(&case.store, id), Ok(KnownEvent::Accepted(_))));
}

#[test]
fn stars_whose_quarter_before_keeps_them_out_wait_in_the_line_of_their_run() {
    use store::runs::{QuarterNote, QuarterVerdict};
    let case = LedgerCase::new();
    let before = case.accept("0").id;
    let before = RunId::of(before, "P", "1");
    let event = case.accept("1");
    let run = case.run(&event, &case.stars, &[(StarEnd::Complete, 1)]);
    let note = |verdict, star| QuarterNote { verdict, stars: vec![StarIndex(star)] };
    let held = QuarterVerdict::Held { run: before, end: StarEnd::Failed, decisions: 0 };
    let notes =
        [note(QuarterVerdict::Waits { run: before }, 1), note(held, 2), note(QuarterVerdict::Enters, 3), note(held, 0)];
    case.store.note_quarters(run, &notes).unwrap();
    let reason = format!(
        "1 star waits for an operator: its quarter before ended as failed in run {before}; \
         1 star waits for its quarter before, which run {before} has not settled"
    );
    assert_eq!(case.counts(event.id), ("2 expanded, 2 waiting_for".to_owned(), true, Some(reason)));
    case.store.note_quarters(run, &[note(QuarterVerdict::Enters, 2)]).unwrap();
    assert_eq!(case.counts(event.id).0, "3 expanded, 1 waiting_for");
}

#[test]
fn stars_that_wait_are_in_the_line_of_their_trigger_until_they_join_a_later_event() {
    let case = LedgerCase::new();
    let event = |id: &str, dataset: &str, stars: &[StarId]| {
        let stars = StarSelection::Inline(stars.to_vec());
        let update = DatasetUpdate { dataset: dataset.parse().unwrap(), quarter: Quarter::FIRST, stars, start: None };
        let event = DatasetEvent::new("t", id, "2030-01-01T00:00:00Z".to_owned(), update);
        let record = case.store.accept_event(&event).unwrap();
        let waits = Disposition::Waits {
            pipeline: "P".parse().unwrap(),
            on: "l1/lc & exo/flag".parse().unwrap(),
            only_if: BTreeMap::new(),
            until: record.accepted.checked_add(jiff::SignedDuration::from_secs(60)).ok(),
        };
        case.store.dispose_event(record.id, &[waits]).unwrap();
        record
    };
    let curves = event("1", "l1/lc", &case.stars);
    let (said, balances, reason) = case.counts(curves.id);
    assert_eq!((said.as_str(), balances, reason.as_deref()), ("4 waiting_for", true, Some("4 wait for exo/flag")));
    let flags = event("2", "exo/flag", &case.stars[..1]);
    // The trigger lets the first star in.
    let stars = StarSelection::Inline(case.stars[..1].to_vec());
    let start = Start { pipeline: "P".parse().unwrap(), version: None, only_group: None, replay: None };
    let dataset = "l1/lc".parse().unwrap();
    let update = DatasetUpdate { dataset, quarter: Quarter::FIRST, stars, start: Some(start) };
    let fired = DatasetEvent::new("sas trigger", "P/Q000/1", "2030-01-01T00:00:00Z".to_owned(), update);
    let fired = case.store.accept_event(&fired).unwrap();
    let run = case.run(&fired, &case.stars[..1], &[]);
    assert_eq!(
        case.counts(curves.id),
        ("1 joined, 3 waiting_for".to_owned(), true, Some("3 wait for exo/flag".to_owned()))
    );
    let found = lines(&case.store, &case.accepted(curves.id)).unwrap().1;
    let waiting = &found[0].1[1];
    assert!(waiting.reason.as_ref().unwrap().starts_with("exo/flag; enters anyway at 20"), "{waiting:?}");
    assert_eq!(found[0].1[0].run, Some(run));
    let ledger = of(&case.store, &case.accepted(flags.id)).unwrap();
    assert_eq!((ledger.lines[0].stars.clone(), ledger.balances), ([(StarDisposition::Expanded, Some(1))].into(), true));
}
