//! The store's plain files: durable creation, numbers, events, runs, generations, paths. No HDF5 here.

use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::time::Instant;

use jiff::Timestamp;
use tempfile::TempDir;

use super::events::Disposition;
use super::failures::FailureRecord;
use super::generations::ChoiceBasis;
use super::runs::{Decided, Decision, RunEnd, RunRecord, Selection, SettledStar, StarEnd};
use super::*;
use domain::id::{Attempt, EventId, Generation, Key, Quarter, RunId, Sequence, StarId, StarIndex};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection};
use domain::outcome::{Failure, FailureKind, Outcome, UsedResources};

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path()).unwrap();
    (dir, store)
}

fn star(number: u64) -> StarId {
    StarId::of_simulator(number)
}

fn quarter() -> Quarter {
    3.try_into().unwrap()
}

/// Runs `work` in this many threads at once.
fn together<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(threads);
    let (barrier, work) = (&barrier, &work);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    barrier.wait();
                    work(thread)
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

#[test]
fn what_is_no_store_is_not_opened_and_a_store_of_another_format_neither() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::NotAStore(_))));
    assert!(matches!(Store::open(&dir.path().join("missing")), Err(StoreError::NotAStore(_))));
    std::fs::write(dir.path().join("store.json"), r#"{"format": 9, "created": "2026-01-01T00:00:00Z"}"#).unwrap();
    let error = Store::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("format 9") && error.contains("format 2") && error.contains("newer program"), "{error}");
    assert!(Store::init(dir.path()).is_err(), "init does not take over what it cannot read");
}

#[test]
fn init_twice_is_one_store_and_the_probe_leaves_nothing_behind() {
    let (dir, store) = store();
    assert_eq!(Store::init(dir.path()).unwrap(), store);
    store.probe().unwrap();
    assert_eq!(std::fs::read_dir(store.at("scratch/probe")).unwrap().count(), 0);
    assert!(matches!(store.scratch("../x"), Err(StoreError::BadPath { .. })));
}

#[test]
fn the_first_of_many_creates_and_the_file_is_whole_and_read_only() {
    let (dir, _) = store();
    let path = dir.path().join("a/b/c");
    let bodies: Vec<Vec<u8>> = (0..8).map(|thread| vec![thread; 100_000]).collect();
    let made = together(8, |thread| durable::create(&path, dir.path(), &bodies[thread]).unwrap());
    assert_eq!(made.iter().filter(|commit| **commit == Commit::Created).count(), 1);
    let winner = made.iter().position(|commit| *commit == Commit::Created).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bodies[winner]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
}

#[test]
fn a_damaged_file_is_set_aside_once_and_what_took_its_place_stays() {
    let (dir, _) = store();
    let path = dir.path().join("A-key.h5");
    durable::create(&path, dir.path(), b"damaged").unwrap();
    let seen = durable::inode(&path).unwrap().expect("it is there");
    let moved = together(8, |_| durable::set_aside(&path, seen).unwrap());
    let [aside] = &moved.into_iter().flatten().collect::<Vec<_>>()[..] else { panic!("one moves it") };
    assert!(aside.file_name().unwrap().to_string_lossy().starts_with("A-key.h5.damaged-"), "{}", aside.display());
    assert_eq!(std::fs::read(aside).unwrap(), b"damaged");
    assert_eq!(durable::inode(&path).unwrap(), None);

    durable::create(&path, dir.path(), b"made again").unwrap();
    assert_eq!(durable::set_aside(&path, seen).unwrap(), None, "it was another file that was found damaged");
    assert_eq!(std::fs::read(&path).unwrap(), b"made again");
}

#[test]
fn numbers_are_given_once_without_gaps_in_growing_order() {
    let (_dir, store) = store();
    assert_eq!(store.newest_sequence().unwrap(), Sequence(0));
    let given = together(4, |_| (0..300).map(|_| store.next_sequence().unwrap()).collect::<Vec<_>>());
    assert!(given.iter().all(|numbers| numbers.is_sorted()));
    let mut all: Vec<Sequence> = given.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=1200).map(Sequence).collect::<Vec<_>>());
    std::fs::create_dir(store.at("control/sequence/2")).unwrap();
    assert_eq!(
        store.next_sequence().unwrap(),
        Sequence(2000),
        "after a shard that a crash left empty, numbers still grow"
    );
}

fn event(id: &str) -> DatasetEvent {
    let stars = StarSelection::Inline(vec![star(1)]);
    let data = DatasetUpdate { dataset: "l1/lightcurve".parse().unwrap(), quarter: quarter(), stars, start: None };
    DatasetEvent::new("ingest", id, "2026-01-01T00:00:00Z".to_owned(), data)
}

#[test]
fn an_event_is_accepted_once_and_disposed_of_once() {
    let (_dir, store) = store();
    let ingested = store.next_sequence().unwrap();
    let records = together(6, |_| store.accept_event(&event("1")).unwrap());
    assert!(records.iter().all(|record| *record == records[0]), "all see the same record");
    assert!(records[0].sequence > ingested, "an ingest before it is within its horizon");
    let second = store.accept_event(&event("2")).unwrap();
    assert!(second.sequence > records[0].sequence);

    assert_eq!(store.undisposed_events().unwrap().len(), 2);
    let run = Disposition::Run { run: RunId::of(records[0].id, "P", "1") };
    let (first, made) = store.dispose_event(records[0].id, std::slice::from_ref(&run)).unwrap();
    let (later, again) = store.dispose_event(records[0].id, &[Disposition::NoPipeline]).unwrap();
    assert_eq!((&first, &later), (&vec![run], &first), "the first word counts");
    assert_eq!((made, again), (Commit::Created, Commit::Exists));
    assert_eq!(store.undisposed_events().unwrap(), [second.id]);
    let ids: Vec<EventId> = store.events().unwrap().iter().map(|record| record.id).collect();
    assert_eq!(ids, [records[0].id, second.id], "oldest first");
}

fn record(event: EventId, horizon: u64, stars: u32) -> RunRecord {
    RunRecord {
        run: RunId::of(event, "SAS-PIP", "1"),
        event,
        publisher: None,
        pipeline: "SAS-PIP".parse().unwrap(),
        version: "1".to_owned(),
        quarter: quarter(),
        horizon: Sequence(horizon),
        accepted: Timestamp::UNIX_EPOCH,
        stars,
        only_group: None,
        replay: None,
        definition: "name = \"SAS-PIP\"\n".to_owned(),
        data_model: String::new(),
    }
}

#[test]
fn a_run_is_made_once_and_read_back_whole() {
    let (_dir, store) = store();
    let first = record(EventId::of("a", "1"), 1, 3);
    assert_eq!(store.run(first.run).unwrap(), None);
    let stars = [star(3), star(1), star(2), star(1)];
    assert_eq!(store.create_run(&first, &stars).unwrap(), Commit::Created);
    let other = RunRecord { accepted: Timestamp::MAX, ..first.clone() };
    assert_eq!(store.create_run(&other, &stars).unwrap(), Commit::Exists);
    assert_eq!(store.run(first.run).unwrap().unwrap(), first);
    let second = record(EventId::of("a", "2"), 2, 3);
    store.create_run(&second, &stars).unwrap();
    let runs: Vec<RunId> = store.runs().unwrap().iter().map(|record| record.run).collect();
    assert_eq!(runs, [second.run, first.run], "newest first");

    let list = store.stars(first.run).unwrap();
    let mut sorted = vec![star(1), star(2), star(3)];
    sorted.sort();
    assert_eq!(list.iter().collect::<Result<Vec<_>, _>>().unwrap(), sorted);
    assert!(list.star(StarIndex(3)).is_err());
    assert_eq!(list.position(star(4)).unwrap(), None);
}

#[test]
fn a_list_of_300_000_stars_is_written_in_a_moment_and_searched_without_being_read() {
    let (_dir, store) = store();
    let record = record(EventId::of("a", "1"), 1, 300_000);
    let stars: Vec<StarId> = (0..300_000).map(star).collect();
    let start = Instant::now();
    store.create_run(&record, &stars).unwrap();
    assert!(start.elapsed().as_secs_f64() < 5.0, "{:?} in a debug build", start.elapsed());
    let list = store.stars(record.run).unwrap();
    assert_eq!(list.len(), 300_000);
    for star in stars.iter().step_by(9973) {
        let index = list.position(*star).unwrap().unwrap();
        assert_eq!(list.star(index).unwrap(), *star);
    }
    let all: Vec<StarId> = list.iter().collect::<Result<_, _>>().unwrap();
    assert!(all.len() == 300_000 && all.is_sorted());
}

#[test]
fn a_damaged_list_of_stars_is_said_to_be_damaged() {
    let (_dir, store) = store();
    let record = record(EventId::of("a", "1"), 1, 1);
    let folder = store.at(paths::run(record.run));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("stars.bin"), [0; 17]).unwrap();
    assert!(matches!(store.stars(record.run), Err(StoreError::Damaged { .. })));
}

#[test]
fn the_first_identity_of_an_image_counts_for_the_run() {
    let (_dir, store) = store();
    let run = record(EventId::of("a", "1"), 1, 1).run;
    assert_eq!(store.image_identity(run, "sas/x:1").unwrap(), None);
    let identity = |thread: usize| format!("sha256:{thread}").parse().unwrap();
    let said = together(4, |thread| store.fix_image_identity(run, "sas/x:1", &identity(thread)).unwrap());
    assert!(said.iter().all(|identity| *identity == said[0]));
    assert_eq!(store.image_identity(run, "sas/x:1").unwrap(), Some(said[0].clone()));
    assert_eq!(store.image_identity(run, "sas/x:2").unwrap(), None);
}

#[test]
fn decisions_are_kept_in_order_and_a_later_retry_is_after_the_end() {
    let (_dir, store) = store();
    let run = record(EventId::of("a", "1"), 1, 1).run;
    let decision = |what| Decision { at: Timestamp::UNIX_EPOCH, by: "ada".to_owned(), what };
    assert_eq!(store.run_end(run).unwrap(), None);
    store.decide(run, &decision(Decided::Pause)).unwrap();
    let numbers = together(4, |_| store.decide(run, &decision(Decided::Resume)).unwrap());
    assert_eq!(numbers.iter().sum::<u64>(), 2 + 3 + 4 + 5);
    let end = RunEnd {
        ended: Timestamp::UNIX_EPOCH,
        decisions: 5,
        counts: Default::default(),
        stars: Default::default(),
        remarks: Default::default(),
        took: Default::default(),
    };
    store.end_run(run, &end).unwrap();
    let retry = Decided::Retry { selection: Selection { stars: [star(1)].into(), ..Selection::default() } };
    assert_eq!(store.decide(run, &decision(retry.clone())).unwrap(), 6);
    let (number, last) = store.decisions(run).unwrap().pop().unwrap();
    assert_eq!((number, last.what), (6, retry));
    assert_eq!(store.run_end(run).unwrap(), Some(end));
    store
        .end_run(
            run,
            &RunEnd {
                ended: Timestamp::UNIX_EPOCH,
                decisions: 10,
                counts: Default::default(),
                stars: Default::default(),
                remarks: Default::default(),
                took: Default::default(),
            },
        )
        .unwrap();
    assert_eq!(store.run_end(run).unwrap().unwrap().decisions, 10);
}

#[test]
fn the_newest_word_about_a_settled_star_counts() {
    let (_dir, store) = store();
    let run = record(EventId::of("a", "1"), 1, 1).run;
    let settled = |star, generation| SettledStar {
        star: StarIndex(star),
        row: vec![0x30, 0x61],
        keys: [(domain::id::ModuleIndex(0), Key::from_bytes([1; 32]))].into(),
        generation: Some(Generation(generation)),
        end: Some(StarEnd::Complete),
        reason: None,
        fingerprint: None,
    };
    store.append_settled(run, &[settled(1, 1), settled(0, 1), settled(2, 1)]).unwrap();
    let reopened = SettledStar { end: None, ..settled(2, 1) };
    store.append_settled(run, &[settled(1, 2), reopened]).unwrap();
    let all = store.settled(run).unwrap();
    assert_eq!(all.into_values().collect::<Vec<_>>(), [settled(0, 1), settled(1, 2)]);
}

#[test]
fn batches_are_numbered_without_a_gap() {
    let (_dir, store) = store();
    let run = record(EventId::of("a", "1"), 1, 1).run;
    let decision =
        |weight| Decision { at: Timestamp::UNIX_EPOCH, by: "me".to_owned(), what: Decided::Priority { weight } };
    let numbers: Vec<u64> = (1..40).map(|weight| store.decide(run, &decision(weight)).unwrap()).collect();
    assert_eq!(numbers, (1..40).collect::<Vec<u64>>());
    assert_eq!(store.decisions(run).unwrap().len(), 39);
}

#[test]
fn failures_of_a_star_are_listed_in_time() {
    let (_dir, store) = store();
    let failure = |attempt: Attempt, key| FailureRecord {
        run: record(EventId::of("a", "1"), 1, 1).run,
        module: "MSAP3_04".parse().unwrap(),
        key,
        attempt,
        outcome: Outcome::Failed(Failure {
            kind: FailureKind::Exit,
            message: "exit code 3".to_owned(),
            exit_code: Some(3),
            log_tail: "boom".to_owned(),
        }),
        worker: "host-1".parse().unwrap(),
        started: Timestamp::from_second(100 - i64::from(attempt.0)).unwrap(),
        millis: 5,
        log: String::new(),
        used: UsedResources::default(),
    };
    let (late, early) = (failure(Attempt(1), None), failure(Attempt(2), Some(Key::from_bytes([1; 32]))));
    assert_eq!(store.failures(star(1), quarter()).unwrap(), []);
    store.record_failure(star(1), quarter(), &late).unwrap();
    store.record_failure(star(1), quarter(), &early).unwrap();
    assert_eq!(store.record_failure(star(1), quarter(), &early).unwrap(), Commit::Exists);
    assert_eq!(store.failures(star(1), quarter()).unwrap(), [early, late]);
}

#[test]
fn each_generation_is_made_once_and_the_star_file_is_another_name_or_a_copy_with_a_record() {
    let (dir, store) = store();
    let mut numbers = together(8, |thread| {
        let built = dir.path().join(format!("built-{thread}"));
        let mut number = Generation::default();
        loop {
            number = store.latest_generation(star(1), quarter()).unwrap().unwrap_or_default().max(number).next();
            std::fs::write(&built, number.to_string()).unwrap();
            if store.commit_generation(star(1), quarter(), number, &built).unwrap() == Commit::Created {
                return number;
            }
            // The file that lost has been made read-only: it is built again under a fresh name, as agents do.
            let _ = std::fs::remove_file(&built);
        }
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).map(Generation).collect::<Vec<_>>());
    let star_file = || std::fs::read_to_string(store.at(paths::star_file(star(1), quarter()))).unwrap();
    let basis = store.choice_basis(star(1), quarter()).unwrap().unwrap();
    store.show_newest(star(1), quarter(), basis).unwrap();
    assert_eq!(
        (star_file(), store.open_generation(star(1), quarter()).unwrap()),
        ("8".to_owned(), Some(Generation(8)))
    );
    store.show_newest(star(1), quarter(), ChoiceBasis { newest: Generation(7), ..basis }).unwrap();
    assert_eq!(star_file(), "8", "who looked before it was there puts nothing older in its place");
    let copy = dir.path().join("copy");
    std::fs::write(&copy, "7, but 8 is newer").unwrap();
    store.show_copy(star(1), quarter(), (basis, Generation(7)), &copy).unwrap();
    assert_eq!(store.open_generation(star(1), quarter()).unwrap(), Some(Generation(7)));
    assert_eq!(star_file(), "7, but 8 is newer");
    for number in 1..=8 {
        let generation =
            std::fs::read_to_string(store.at(paths::generation(star(1), quarter(), Generation(number)))).unwrap();
        assert_eq!(generation, number.to_string());
    }
}

#[test]
fn names_of_externals_are_read_back_as_they_were_made() {
    let dataset = "l1/lightcurve".parse().unwrap();
    let name = paths::external_name(&dataset, Sequence(12));
    assert_eq!(name, "l1.lightcurve@12.h5");
    assert_eq!(paths::parse_external_name(&name), Some(("l1.lightcurve", Sequence(12))));
    for bad in ["l1@.h5", "l1@x.h5", "l1@01.h5", "@1.h5", "l1@1.h4", "l1@1.h5.new", "l1@-1.h5"] {
        assert_eq!(paths::parse_external_name(bad), None, "{bad}");
    }
}

#[test]
fn names_of_a_star_s_files_cannot_lead_elsewhere() {
    let of = |name| paths::of_star(star(1), name).map(|path| path.display().to_string());
    let folder = paths::star(star(1)).display().to_string();
    assert_eq!(of("Q003/externals/a@1.h5"), Some(format!("{folder}/Q003/externals/a@1.h5")));
    assert_eq!(of("externals/a@1.h5"), Some(format!("{folder}/externals/a@1.h5")));
    assert_eq!(of("shared/a@1.h5"), Some("shared/a@1.h5".to_owned()));
    for bad in ["", "/etc/passwd", "../x", "shared/../x", "Q003/externals/../../x", "Q003/other/x", "shared//x", "x"] {
        assert_eq!(of(bad), None, "{bad}");
    }
}

#[test]
fn a_store_that_is_full_or_read_only_may_be_so_for_a_while_and_one_that_forbids_is_not() {
    let told = |kind: ErrorKind| StoreError::Io { doing: "create", path: "store".into(), source: kind.into() };
    assert!(told(ErrorKind::ReadOnlyFilesystem).may_pass());
    assert!(told(ErrorKind::StorageFull).may_pass());
    assert!(!told(ErrorKind::PermissionDenied).may_pass());
}

#[test]
fn nobody_works_in_a_directory_whose_store_is_away() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::init(directory.path()).unwrap();
    assert!(store.scratch("worker").unwrap().is_dir());
    std::fs::remove_dir_all(store.at("scratch")).unwrap();
    assert!(matches!(store.scratch("worker"), Err(StoreError::Away(_))));
    assert!(!store.at("scratch").exists(), "it was made where the store is not");
}
