//! Settled stars: the newest word counts, before and after batches are made one file; damage is found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use domain::id::{Attempt, EventId, Generation};
use domain::outcome::{FailureWords, Outcome, PlatformError, PlatformErrorKind};

fn store() -> (TempDir, Store, RunId) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path()).unwrap();
    (dir, store, RunId::of(EventId::of("a", "1"), "SAS-PIP", "1"))
}

fn line(star: u32, word: u8) -> SettledStar {
    let keys = (0..star % 4).map(|module| (ModuleIndex(module as u8), Key::from_bytes([word; 32]))).collect();
    SettledStar {
        star: StarIndex(star),
        row: vec![0x30, word, 0x61],
        keys,
        generation: (!star.is_multiple_of(3)).then_some(Generation(star % 3)),
        end: Some(if star.is_multiple_of(5) { StarEnd::Failed } else { StarEnd::Complete }),
        reason: star.is_multiple_of(5).then(|| format!("it wäs so {star}")),
        fingerprint: (!star.is_multiple_of(7)).then(|| Fingerprint::from_bytes([word; 32])),
    }
}

fn reopened(star: u32) -> SettledStar {
    SettledStar {
        row: Vec::new(),
        keys: BTreeMap::new(),
        generation: None,
        end: None,
        reason: None,
        fingerprint: None,
        ..line(star, 0)
    }
}

/// Everything that can be asked gives the same answer.
fn check(store: &Store, run: RunId, expected: &BTreeMap<u32, SettledStar>, stars: u32) {
    for star in 0..stars {
        assert_eq!(store.settled_star(run, StarIndex(star)).unwrap().as_ref(), expected.get(&star), "star {star}");
    }
    for range in [0..stars, stars / 3..stars / 2, 7..8] {
        let rows = store.settled_rows(run, range.clone(), 3).unwrap();
        for (star, row) in range.zip(rows.chunks(3)) {
            assert_eq!(row, expected.get(&star).map_or(&[0; 3][..], |line| &line.row), "star {star}");
        }
    }
    let mut rows = BTreeMap::new();
    store
        .each_settled_row(run, |row| {
            assert_eq!(rows.insert(row.star.0, row), None, "each star once");
        })
        .unwrap();
    for (star, row) in rows {
        let known = expected.get(&star);
        assert_eq!(row.end, known.and_then(|line| line.end));
        if let Some(line) = known {
            assert_eq!(
                (row.row, row.generation, row.fingerprint),
                (line.row.clone(), line.generation, line.fingerprint)
            );
        }
    }
}

#[test]
fn the_newest_word_about_a_star_counts_before_and_after_its_batches_are_one_file() {
    let (_dir, store, run) = store();
    assert!(!store.has_settled(run).unwrap());
    check(&store, run, &BTreeMap::new(), 3);
    let mut expected = BTreeMap::new();
    // 60 batches of stars in no order, some of them settled again and some reopened; the range is read in two parts.
    for batch in 0..60_u32 {
        let lines: Vec<SettledStar> = (0..100)
            .map(|at| (batch * 97 + at * 61) % 5000)
            .map(|star| if (star + batch).is_multiple_of(11) { reopened(star) } else { line(star, batch as u8) })
            .collect();
        for line in &lines {
            match line.end {
                Some(_) => expected.insert(line.star.0, line.clone()),
                None => expected.remove(&line.star.0),
            };
        }
        store.append_settled(run, &lines).unwrap();
        if batch == 40 {
            check(&store, run, &expected, 5000);
            assert!(store.compact_settled(run).unwrap());
            check(&store, run, &expected, 5000);
            assert!(!store.compact_settled(run).unwrap(), "there is nothing to do");
        }
    }
    check(&store, run, &expected, 5000);
    assert!(store.compact_settled(run).unwrap());
    check(&store, run, &expected, 5000);
    let mut lines = 0;
    store.each_settled(run, |_| lines += 1).unwrap();
    assert!(lines > 5000, "every batch is still there: {lines}");
    assert!(store.has_settled(run).unwrap());
    store.append_settled(run, &[line(1, 99)]).unwrap();
    expected.insert(1, line(1, 99));
    check(&store, run, &expected, 5000);
}

#[test]
fn few_batches_stay_as_they_are_and_a_batch_may_be_empty() {
    let (_dir, store, run) = store();
    store.append_settled(run, &[]).unwrap();
    store.append_settled(run, &[line(3, 1), line(2, 1), line(3, 2)]).unwrap();
    assert!(!store.compact_settled(run).unwrap());
    check(&store, run, &[(2, line(2, 1)), (3, line(3, 2))].into(), 9);
}

#[test]
fn a_reader_that_opened_before_misses_nothing_after_all_is_one_file() {
    let (_dir, store, run) = store();
    for star in 0..20 {
        store.append_settled(run, &[line(star, 1)]).unwrap();
    }
    let before = store.settled_files(run).unwrap();
    assert!(store.compact_settled(run).unwrap());
    let mut stars = 0;
    before.each_row(|_| stars += 1).unwrap();
    assert_eq!(stars, 20);
    assert_eq!(store.settled_files(run).unwrap().newest_first().count(), 1);
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    let (_dir, store, run) = store();
    let lines: Vec<SettledStar> = (0..12).map(|star| line(star, 7)).collect();
    store.append_settled_with(run, &lines, &failed(&[3, 7], "lost")).unwrap();
    let path = numbered::path(&store.at(paths::settled(run)), STARS, 1);
    let good = fs::read(&path).unwrap();
    let read = |bytes: &[u8]| {
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        store.settled(run).and_then(|stars| store.failed_tasks(run).map(|_| stars))
    };
    assert_eq!(read(&good).unwrap().len(), 12);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(matches!(read(&bad), Err(StoreError::Damaged { .. })), "byte {at} of {}", good.len());
    }
    assert!(matches!(read(&good[..good.len() - 1]), Err(StoreError::Damaged { .. })));
    assert!(matches!(read(&good[..40]), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_file_of_a_later_format_is_not_damaged() {
    let (_dir, store, run) = store();
    store.append_settled(run, &[line(0, 7)]).unwrap();
    let path = numbered::path(&store.at(paths::settled(run)), STARS, 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] += 1;
    let end = batch::HEADER - 4;
    let check = record::check(&bytes[..end]);
    bytes[end..batch::HEADER].copy_from_slice(&check);
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    let error = store.settled_star(run, StarIndex(0)).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 3, reads: 2, .. }), "{error}");
}

/// What these stars failed with, each with two tasks.
fn failed(stars: &[u32], word: &str) -> FailedTasks {
    let mut failed = FailedTasks::default();
    for (star, module) in stars.iter().flat_map(|star| [(*star, 1), (*star, 2)]) {
        let outcome = Outcome::Errored(PlatformError::new(PlatformErrorKind::Store, word));
        let FailureWords { reason, words, fingerprint } = FailureWords::of(&outcome).unwrap();
        let image = "i".parse().unwrap();
        let alike = Alike { module: ModuleIndex(module), reason, image, host: Some("h".to_owned()), fingerprint };
        failed.add(&alike, &words, (StarIndex(star), Attempt(1), Timestamp::UNIX_EPOCH));
    }
    failed
}

#[test]
fn what_failed_is_told_by_the_newest_line_about_a_star_before_and_after_batches_are_one_file() {
    let (_dir, store, run) = store();
    let stars = |failed: &FailedTasks| {
        let of = |task: &FailedTask| (task.star.0, failed.cluster_of(task).unwrap().1.clone());
        failed.tasks.iter().map(of).collect::<BTreeSet<_>>()
    };
    for batch in 0..12_u32 {
        let lines: Vec<SettledStar> = (0..4).map(|star| line(batch * 3 + star, 1)).collect();
        let first = batch * 3;
        store.append_settled_with(run, &lines, &failed(&[first, first + 3], &format!("batch {batch}"))).unwrap();
    }
    // Star 3 is settled without a failure, star 6 is opened again.
    store.append_settled(run, &[line(3, 2), reopened(6)]).unwrap();
    let before = store.failed_tasks(run).unwrap();
    let expected = (0..=36).step_by(3).filter(|star| ![3, 6].contains(star));
    assert_eq!(stars(&before).into_iter().map(|(star, _)| star).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert!(before.tasks.len() == 22 && before.clusters.len() == 2, "they are alike: {:?}", before.clusters);
    assert!(store.compact_settled(run).unwrap());
    assert_eq!(stars(&store.failed_tasks(run).unwrap()), stars(&before));
    store.append_settled_with(run, &[line(0, 3)], &failed(&[0], "anew")).unwrap();
    let after = stars(&store.failed_tasks(run).unwrap());
    assert_eq!(after.iter().find(|(star, _)| *star == 0), Some(&(0, "anew".to_owned())));
    let files = store.settled_files(run).unwrap();
    let newest = files.failed(1).unwrap();
    assert_eq!((stars(&newest).len(), newest.not_looked_at), (1, 1));
}

#[test]
fn files_of_the_first_format_are_read_and_tell_of_no_failures() {
    let (_dir, store, run) = store();
    store.append_settled(run, &[line(1, 7)]).unwrap();
    let path = numbered::path(&store.at(paths::settled(run)), STARS, 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 1;
    let end = batch::HEADER - 4;
    let check = record::check(&bytes[..end]);
    bytes[end..batch::HEADER].copy_from_slice(&check);
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    assert_eq!(store.settled_star(run, StarIndex(1)).unwrap(), Some(line(1, 7)));
    assert_eq!(store.failed_tasks(run).unwrap(), FailedTasks::default());
}

#[test]
fn a_star_takes_a_hundred_bytes_and_its_keys() {
    let row = |star| SettledStar { row: vec![0x50; 34], reason: None, keys: BTreeMap::new(), ..line(star, 1) };
    let lines: Vec<SettledStar> = (0..1000).map(row).collect();
    assert_eq!(batch::encode(&lines, &FailedTasks::default()).len(), 64 + 1000 * 100);
}
