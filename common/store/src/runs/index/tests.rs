//! Lists of runs: open ones by their marks, ended ones by the index, damage of one named and the others there.

use std::fs;

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::runs::{Decided, Decision, Selection};
use domain::id::{EventId, Sequence};

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path()).unwrap();
    (dir, store)
}

fn run(store: &Store, number: u64) -> RunId {
    let event = EventId::of("a", &number.to_string());
    let record = RunRecord {
        run: RunId::of(event, "P", "1"),
        event,
        publisher: None,
        pipeline: "P".parse().unwrap(),
        version: "1".to_owned(),
        quarter: 3.try_into().unwrap(),
        horizon: Sequence(number),
        accepted: Timestamp::UNIX_EPOCH,
        stars: 1,
        only_group: None,
        replay: None,
        definition: String::new(),
        data_model: String::new(),
    };
    store.create_run(&record, &[StarId::of_simulator(number % 7)]).unwrap();
    record.run
}

fn end(store: &Store, run: RunId, decisions: u64) {
    let ended = Timestamp::from_second(decisions as i64).unwrap();
    let end = RunEnd {
        ended,
        decisions,
        counts: Default::default(),
        stars: Default::default(),
        remarks: Default::default(),
        took: Default::default(),
    };
    store.end_run(run, &end).unwrap();
}

fn retry(store: &Store, run: RunId) -> u64 {
    let what = Decided::Retry { selection: Selection::default() };
    store.decide(run, &Decision { at: Timestamp::UNIX_EPOCH, by: "ada".to_owned(), what }).unwrap()
}

fn listed(store: &Store) -> Vec<(RunId, Option<u64>)> {
    let list = store.list_runs().unwrap();
    assert!(list.damaged.is_empty(), "{:?}", list.damaged);
    list.runs.iter().map(|listed| (listed.record.run, listed.end.as_ref().map(|end| end.decisions))).collect()
}

#[test]
fn a_run_is_open_until_it_is_put_away_and_again_when_a_retry_is_asked_for() {
    let (_dir, store) = store();
    let (first, second) = (run(&store, 1), run(&store, 2));
    assert_eq!(listed(&store), [(second, None), (first, None)]);
    store.put_away(first).unwrap();
    assert_eq!(store.open_runs().unwrap().len(), 2, "one that goes on stays");
    end(&store, first, 0);
    assert_eq!(listed(&store), [(second, None), (first, None)], "its own folder counts until it is put away");
    store.put_away(first).unwrap();
    assert_eq!(store.open_runs().unwrap(), [second]);
    assert_eq!(listed(&store), [(second, None), (first, Some(0))]);

    let number = retry(&store, first);
    assert_eq!(store.open_runs().unwrap().len(), 2);
    assert_eq!(listed(&store), [(second, None), (first, None)]);
    store.put_away(first).unwrap();
    assert_eq!(listed(&store), [(second, None), (first, None)]);
    end(&store, first, number);
    store.put_away(first).unwrap();
    store.put_away(first).unwrap();
    assert_eq!(listed(&store), [(second, None), (first, Some(number))]);
    assert_eq!(numbered::last(&store.at(paths::run_index()), "json", 0).unwrap(), 2, "a line for each end");
    // Accepted again, as after a lost acknowledgement.
    assert_eq!(run(&store, 1), first);
    assert_eq!(store.open_runs().unwrap(), [second], "one that ended is not opened by that");
}

#[test]
fn many_runs_are_few_files_and_the_newest_with_a_star_is_found() {
    let (_dir, store) = store();
    let runs: Vec<RunId> = (1..=200).map(|number| run(&store, number)).collect();
    for run in &runs {
        end(&store, *run, 0);
        store.put_away(*run).unwrap();
    }
    let expected: Vec<(RunId, Option<u64>)> = runs.iter().rev().map(|run| (*run, Some(0))).collect();
    assert_eq!(listed(&store), expected);
    let whole = wholes(&store.at(paths::run_index())).unwrap();
    assert_eq!(whole, [192, 176], "the last two");
    // Nobody reads folders of runs that ended.
    for run in &runs {
        fs::write(store.at(paths::decisions(*run)).join("000001.json"), "{").unwrap();
        fs::remove_file(store.at(paths::run_record(*run))).unwrap();
    }
    assert_eq!(listed(&store), expected);
    let (found, index) = store.newest_run_of(StarId::of_simulator(3)).unwrap().unwrap();
    assert_eq!((found, index), (runs[198], StarIndex(0)), "199 is 3 of 7");
    assert_eq!(store.newest_run_of(StarId::of_simulator(70)).unwrap(), None);
}

#[test]
fn a_damaged_record_is_named_and_the_others_are_listed() {
    let (_dir, store) = store();
    let (first, second, third) = (run(&store, 1), run(&store, 2), run(&store, 3));
    let damage = |path: &Path| {
        fs::remove_file(path).unwrap();
        fs::write(path, "{").unwrap();
    };
    damage(&store.at(paths::run_record(second)));
    let list = store.list_runs().unwrap();
    assert_eq!(list.runs.iter().map(|listed| listed.record.run).collect::<Vec<_>>(), [third, first]);
    let [error] = &list.damaged[..] else { panic!("{:?}", list.damaged) };
    assert!(error.to_string().contains(&second.to_string()), "{error}");
    // Once it is over a record is of no consequence: the index has it. A damaged entry of that costs itself.
    for run in [first, third] {
        end(&store, run, 0);
        store.put_away(run).unwrap();
    }
    damage(&store.at(paths::run_record(first)));
    damage(&numbered::path(&store.at(paths::run_index()), "json", 2));
    let list = store.list_runs().unwrap();
    assert_eq!(list.runs.iter().map(|listed| listed.record.run).collect::<Vec<_>>(), [first]);
    assert_eq!(list.damaged.len(), 2);
}

#[test]
fn an_index_that_is_gone_is_made_again() {
    let (_dir, store) = store();
    let runs: Vec<RunId> = (1..=3).map(|number| run(&store, number)).collect();
    end(&store, runs[0], 0);
    store.put_away(runs[0]).unwrap();
    let before = listed(&store);
    fs::remove_dir_all(store.at(paths::run_index())).unwrap();
    fs::remove_dir_all(store.at(paths::open_runs())).unwrap();
    assert!(!store.has_run_index().unwrap());
    assert_eq!(store.index_all_runs().unwrap(), 3);
    assert!(store.has_run_index().unwrap());
    assert_eq!(listed(&store), before);
    assert_eq!(store.index_all_runs().unwrap(), 3, "again, and nothing changes");
    assert_eq!(listed(&store), before);
}

/// So many runs that ended and are in the index, oldest first.
fn ended(store: &Store, count: u64) -> Vec<RunId> {
    let runs: Vec<RunId> = (1..=count).map(|number| run(store, number)).collect();
    for run in &runs {
        end(store, *run, 0);
        store.put_away(*run).unwrap();
    }
    runs
}

/// Puts these bytes where a file was.
fn write_over(path: &Path, body: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, body).unwrap();
}

/// The newest file of the whole index, and its lines.
fn whole_file(store: &Store) -> (PathBuf, Vec<String>) {
    let folder = store.at(paths::run_index());
    let path = whole_path(&folder, wholes(&folder).unwrap()[0]);
    let lines = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    (path, lines)
}

#[test]
fn what_is_older_than_the_answer_is_not_read() {
    let (_dir, store) = store();
    let runs = ended(&store, 70);
    let (path, mut lines) = whole_file(&store);
    assert_eq!(lines.len(), 64);
    assert!(lines[0].contains(&runs[63].to_string()) && lines[63].contains(&runs[0].to_string()), "newest first");
    lines[10] = "{".to_owned();
    write_over(&path, lines.join("\n").as_bytes());
    let newest = store.newest_runs(8).unwrap();
    let listed: Vec<RunId> = newest.runs.iter().map(|listed| listed.record.run).collect();
    assert_eq!(listed, runs.iter().rev().take(8).copied().collect::<Vec<_>>());
    assert!(newest.damaged.is_empty() && newest.runs.iter().all(|listed| listed.end.is_some()));
    assert_eq!(store.find_run(|record| Ok(Some(record.run))).unwrap(), Some(runs[69]));
}

#[test]
fn a_star_of_an_old_run_is_found() {
    let (_dir, store) = store();
    let first = run(&store, 0);
    let old = write_stars(&store, first, 5000);
    end(&store, first, 0);
    store.put_away(first).unwrap();
    let runs: Vec<RunId> = ended(&store, 199);
    assert_eq!(store.newest_run_of(old).unwrap(), Some((first, StarIndex(0))));
    // A damaged line of the newest file hides neither its own run nor another.
    let (path, mut lines) = whole_file(&store);
    let at = lines.iter().position(|line| line.contains(&runs[2].to_string())).unwrap();
    lines[at] = "{".to_owned();
    write_over(&path, lines.join("\n").as_bytes());
    let list = store.list_runs().unwrap();
    assert_eq!((list.runs.len(), list.damaged.len()), (200, 1));
    assert!(list.runs.is_sorted_by_key(Line::rank));
    assert_eq!(store.newest_run_of(old).unwrap(), Some((first, StarIndex(0))));
    // Nor does one out of place.
    lines.swap(0, 1);
    write_over(&path, lines.join("\n").as_bytes());
    assert_eq!(store.list_runs().unwrap().runs.len(), 200);
}

/// Gives a run one other star.
fn write_stars(store: &Store, run: RunId, number: u64) -> StarId {
    let star = StarId::of_simulator(number);
    write_over(&store.at(paths::star_list(run)), star.as_bytes());
    star
}

#[test]
fn a_run_that_was_tried_again_is_shown_once_as_it_ended_last() {
    let (_dir, store) = store();
    let runs = ended(&store, 64);
    let number = retry(&store, runs[5]);
    end(&store, runs[5], number);
    store.put_away(runs[5]).unwrap();
    let all = listed(&store);
    assert_eq!(all.len(), 64);
    assert_eq!(all[58], (runs[5], Some(number)));
}
