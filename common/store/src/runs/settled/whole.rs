//! The batches of a run made one file, sorted by star, when the run has ended.
//!
//! Read and written in ranges of stars, so that keys of few stars are in memory at a time.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::batch::{Batch, BatchParts, HEADER, Header};
use super::{FailedTasks, STARS, SettledStar, open};
use crate::durable::{self, Unfinished};
use crate::{Store, StoreError, io_error, numbered, paths};
use domain::id::{RunId, StarIndex};

/// How many batches may stand beside each other: so many are asked in a moment.
const FEW: u64 = 8;

/// How many stars are in memory at once.
const RANGE: usize = 1024;

impl Store {
    /// Makes the batches of a run that ended one file, where there are more than a few; whether it did. May be repeated, by
    /// anyone at any time.
    pub fn compact_settled(&self, run: RunId) -> Result<bool, StoreError> {
        let files = self.settled_files(run)?;
        if files.last - files.whole <= FEW {
            return Ok(false);
        }
        let target = numbered::path(&paths::whole(&files.folder), STARS, files.last);
        let of_file = |path: PathBuf| Ok((open(&path)?.header, path));
        let batches: Vec<(Header, PathBuf)> = files.newest_first().map(of_file).collect::<Result<_, StoreError>>()?;
        let unfinished = Unfinished(self.beside().join(format!("{}.new", uuid::Uuid::new_v4())));
        let mut stars = 0;
        files.each_row(|row| stars += u32::from(row.end.is_some()))?;
        write(&batches, stars, &files.failed(usize::MAX)?, &unfinished.0)?;
        durable::commit_file(&unfinished.0, &target)?;
        Ok(true)
    }
}

/// Writes what the batches, newest first, say of so many stars into one file.
fn write(batches: &[(Header, PathBuf)], stars: u32, failed: &FailedTasks, path: &Path) -> Result<(), StoreError> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let file = file.map_err(|source| io_error("create", path, source))?;
    let write = |bytes: &[u8], at: u64| file.write_all_at(bytes, at).map_err(|source| io_error("write", path, source));
    let width = batches.iter().map(|(header, _)| header.width).max().unwrap_or(0);
    let mut keys_at = Header { width, stars, ..Header::default() }.keys_at();
    let mut records_at = HEADER as u64;
    let mut parts = BatchParts::of_width(width);
    let end = batches.iter().map(|(header, _)| u64::from(header.last) + 1).max().unwrap_or(0);
    for from in (0..end).step_by(RANGE) {
        let lines = newest(batches, from..(from + RANGE as u64).min(end))?;
        lines.values().filter(|line| line.end.is_some()).for_each(|line| parts.push(line));
        write(&parts.records, records_at)?;
        write(&parts.keys, keys_at)?;
        records_at += parts.records.len() as u64;
        keys_at += parts.keys.len() as u64;
        parts.records.clear();
        parts.keys.clear();
    }
    write(&parts.reasons, keys_at)?;
    let failed = failed.encode();
    write(&failed, keys_at + parts.reasons.len() as u64)?;
    parts.header.failed = failed.len() as u32;
    write(&parts.header.to_bytes(), 0)
}

/// The newest line of every star in a range; `batches` are newest first.
fn newest(batches: &[(Header, PathBuf)], range: Range<u64>) -> Result<BTreeMap<StarIndex, SettledStar>, StoreError> {
    let mut lines = BTreeMap::new();
    let touches = |header: &Header| {
        u64::from(header.first) < range.end && u64::from(header.last) >= range.start && header.stars > 0
    };
    for (_, path) in batches.iter().filter(|(header, _)| touches(header)) {
        let batch: Batch = open(path)?;
        let position = |star: u64| match u32::try_from(star) {
            Ok(star) => batch.position(StarIndex(star)),
            Err(_) => Ok(batch.header.stars),
        };
        let records = batch.records(position(range.start)?, position(range.end)?)?;
        for line in batch.lines(records)? {
            lines.entry(line.star).or_insert(line);
        }
    }
    Ok(lines)
}
