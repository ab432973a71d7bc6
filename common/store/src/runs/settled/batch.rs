//! One file of settled stars, read by position.
//!
//! A header of 64 bytes; then, sorted by star, a record of fixed width for each: what a pass over all stars needs; then the
//! keys of their results, 33 bytes each, and the reasons, both in the order of the records; then what failed of them, which
//! files of format 1 do not tell. All numbers are little-endian. Header and records carry a check of themselves, records one
//! of their keys and reason, too, and so does what failed.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::failed::FailedTasks;
use super::record::{KEY, Record, Text, check};
use super::{SettledRow, SettledStar};
use crate::absence::found;
use crate::{StoreError, io_error};
use domain::id::StarIndex;

const MAGIC: [u8; 8] = *b"SASSTARS";

/// Version of the layout of these files. In all of them the header has its magic, format and check in the same places.
const FORMAT: u32 = 2;

pub(super) const HEADER: usize = 64;

/// How many records a pass reads at once.
const BLOCK: u32 = 1024;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Header {
    /// Bytes of a row.
    pub(super) width: u16,
    /// How many records there are.
    pub(super) stars: u32,
    /// The first star.
    pub(super) first: u32,
    /// The last star.
    pub(super) last: u32,
    /// How many keys there are.
    pub(super) keys: u32,
    /// Bytes of the reasons.
    pub(super) reasons: u32,
    /// Bytes of what failed; 0 in format 1.
    pub(super) failed: u32,
}

impl Header {
    pub(super) fn to_bytes(self) -> [u8; HEADER] {
        let mut text = Text::default();
        text.bytes(&MAGIC).u32(FORMAT).u16(self.width).u16(0);
        for number in [self.stars, self.first, self.last, self.keys, self.reasons, self.failed] {
            text.u32(number);
        }
        let mut bytes = [0; HEADER];
        bytes[..text.0.len()].copy_from_slice(&text.0);
        let check = check(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..].copy_from_slice(&check);
        bytes
    }

    fn from_bytes(path: &Path, bytes: &[u8; HEADER]) -> Result<Self, StoreError> {
        let damaged = |reason: &str| StoreError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
        if bytes[..8] != MAGIC {
            return Err(damaged("it does not begin as files of settled stars do"));
        }
        if check(&bytes[..HEADER - 4]) != bytes[HEADER - 4..] {
            return Err(damaged("the check of its header does not hold"));
        }
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        match u32_at(8) {
            1..=FORMAT => {}
            found if found > FORMAT => return Err(StoreError::Newer { path: path.to_owned(), found, reads: FORMAT }),
            found => return Err(damaged(&format!("there is no format {found}"))),
        }
        Ok(Self {
            width: u16::from_le_bytes([bytes[12], bytes[13]]),
            stars: u32_at(16),
            first: u32_at(20),
            last: u32_at(24),
            keys: u32_at(28),
            reasons: u32_at(32),
            failed: u32_at(36),
        })
    }

    /// Where the keys begin.
    pub(super) fn keys_at(&self) -> u64 {
        HEADER as u64 + u64::from(self.stars) * Record::len(self.width) as u64
    }

    /// Where the reasons begin.
    pub(super) fn reasons_at(&self) -> u64 {
        self.keys_at() + u64::from(self.keys) * KEY as u64
    }

    /// Where what failed begins.
    pub(super) fn failed_at(&self) -> u64 {
        self.reasons_at() + u64::from(self.reasons)
    }
}

/// The parts of a file as they grow.
#[derive(Default)]
pub(super) struct BatchParts {
    pub(super) header: Header,
    pub(super) records: Vec<u8>,
    pub(super) keys: Vec<u8>,
    pub(super) reasons: Vec<u8>,
}

impl BatchParts {
    /// BatchParts without stars, for rows of this width.
    pub(super) fn of_width(width: u16) -> Self {
        Self { header: Header { width, ..Header::default() }, ..Self::default() }
    }

    /// Adds a star, which comes after those that are there.
    pub(super) fn push(&mut self, line: &SettledStar) {
        let mut keys = Vec::with_capacity(line.keys.len() * KEY);
        for (module, key) in &line.keys {
            keys.push(module.0);
            keys.extend(key.as_bytes());
        }
        let reason = line.reason.as_deref().unwrap_or_default().as_bytes();
        let record = Record {
            row: SettledRow {
                star: line.star,
                row: line.row.clone(),
                generation: line.generation,
                end: line.end,
                fingerprint: line.fingerprint,
            },
            keys_at: self.header.keys,
            keys: line.keys.len() as u16,
            reason_at: self.header.reasons,
            reason: line.reason.is_some().then_some(reason.len() as u32),
            check: check(&[&keys, reason].concat()),
        };
        record.write(self.header.width, &mut self.records);
        let header = &mut self.header;
        if header.stars == 0 {
            header.first = line.star.0;
        }
        header.last = line.star.0;
        header.stars += 1;
        header.keys += u32::from(record.keys);
        header.reasons += reason.len() as u32;
        self.keys.extend(keys);
        self.reasons.extend(reason);
    }
}

/// A file's bytes: the lines sorted, of several about one star the last.
pub(super) fn encode(lines: &[SettledStar], failed: &FailedTasks) -> Vec<u8> {
    let newest: BTreeMap<StarIndex, &SettledStar> = lines.iter().map(|line| (line.star, line)).collect();
    let width = lines.iter().map(|line| line.row.len()).max().unwrap_or(0) as u16;
    let mut parts = BatchParts::of_width(width);
    newest.into_values().for_each(|line| parts.push(line));
    let failed = failed.encode();
    parts.header.failed = failed.len() as u32;
    [&parts.header.to_bytes()[..], &parts.records, &parts.keys, &parts.reasons, &failed].concat()
}

/// A file of settled stars, open to be asked.
#[derive(Debug)]
pub(super) struct Batch {
    path: PathBuf,
    file: File,
    pub(super) header: Header,
}

impl Batch {
    /// Opens a file; `None` when it is not there.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        let Some(file) = found("open", path, || File::open(path))? else { return Ok(None) };
        let mut batch = Self { path: path.to_owned(), file, header: Header::default() };
        let mut bytes = [0; HEADER];
        batch.read(&mut bytes, 0)?;
        batch.header = Header::from_bytes(path, &bytes)?;
        Ok(Some(batch))
    }

    /// The line of a star; `None` when the file has none.
    pub(super) fn find(&self, star: StarIndex) -> Result<Option<SettledStar>, StoreError> {
        if self.header.stars == 0 || star.0 < self.header.first || star.0 > self.header.last {
            return Ok(None);
        }
        let at = self.position(star)?;
        if at == self.header.stars {
            return Ok(None);
        }
        let found = self.records(at, at + 1)?;
        if found[0].row.star != star {
            return Ok(None);
        }
        Ok(self.lines(found)?.pop())
    }

    /// The position of the first record of this star or a later one.
    pub(super) fn position(&self, star: StarIndex) -> Result<u32, StoreError> {
        let (mut low, mut high) = (0, self.header.stars);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut bytes = [0; 4];
            self.read(&mut bytes, HEADER as u64 + u64::from(middle) * self.record_len() as u64)?;
            if u32::from_le_bytes(bytes) < star.0 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The records from one position to before another.
    pub(super) fn records(&self, from: u32, to: u32) -> Result<Vec<Record>, StoreError> {
        let len = self.record_len();
        let mut bytes = vec![0; (to - from) as usize * len];
        self.read(&mut bytes, HEADER as u64 + u64::from(from) * len as u64)?;
        bytes
            .chunks_exact(len)
            .map(|bytes| Record::read(self.header.width, bytes).map_err(|reason| self.damaged(reason)))
            .collect()
    }

    /// What a pass needs of those of these stars that it has, in order.
    pub(super) fn between(&self, stars: &Range<u32>) -> Result<Vec<SettledRow>, StoreError> {
        let Header { stars: count, first, last, .. } = self.header;
        if count == 0 || stars.is_empty() || last < stars.start || first >= stars.end {
            return Ok(Vec::new());
        }
        let (from, to) = (self.position(StarIndex(stars.start))?, self.position(StarIndex(stars.end))?);
        let mut rows: Vec<SettledRow> = self.records(from, to)?.into_iter().map(|record| record.row).collect();
        // A file whose records are not in order is damaged, and no reason to write beside the range.
        rows.retain(|row| stars.contains(&row.star.0));
        Ok(rows)
    }

    /// Shows `visit` what a pass needs of every star, in order.
    pub(super) fn each(&self, mut visit: impl FnMut(SettledRow)) -> Result<(), StoreError> {
        for from in (0..self.header.stars).step_by(BLOCK as usize) {
            let to = self.header.stars.min(from.saturating_add(BLOCK));
            self.records(from, to)?.into_iter().for_each(|record| visit(record.row));
        }
        Ok(())
    }

    /// The lines of records that follow each other in the file.
    pub(super) fn lines(&self, records: Vec<Record>) -> Result<Vec<SettledStar>, StoreError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(Vec::new()) };
        let (keys_from, reasons_from) = (first.keys_at, first.reason_at);
        let count = last.keys_at.checked_add(last.keys.into()).and_then(|end| end.checked_sub(keys_from));
        let length = last.reason_at.checked_add(last.reason.unwrap_or(0)).and_then(|end| end.checked_sub(reasons_from));
        let (Some(count), Some(length)) = (count, length) else {
            return Err(self.damaged("its keys are not in order".to_owned()));
        };
        let mut keys = vec![0; count as usize * KEY];
        self.read(&mut keys, self.header.keys_at() + u64::from(keys_from) * KEY as u64)?;
        let mut reasons = vec![0; length as usize];
        self.read(&mut reasons, self.header.reasons_at() + u64::from(reasons_from))?;
        let line = |record: Record| {
            let slice = |bytes: &[u8], from: u32, len: usize, width: usize| {
                let from = from as usize * width;
                bytes.get(from..from + len).map(<[u8]>::to_vec)
            };
            let keys = slice(&keys, record.keys_at.checked_sub(keys_from)?, usize::from(record.keys) * KEY, KEY)?;
            let reason = record.reason.unwrap_or(0) as usize;
            let reason = slice(&reasons, record.reason_at.checked_sub(reasons_from)?, reason, 1)?;
            record.into_line(&keys, reason)
        };
        let damaged = || self.damaged("the check of the keys of a star does not hold".to_owned());
        records.into_iter().map(|record| line(record).ok_or_else(damaged)).collect()
    }

    /// Shows `visit` which stars it has, in order; their records are not checked.
    pub(super) fn each_star(&self, mut visit: impl FnMut(StarIndex)) -> Result<(), StoreError> {
        let len = self.record_len();
        for from in (0..self.header.stars).step_by(BLOCK as usize) {
            let mut bytes = vec![0; (self.header.stars.min(from.saturating_add(BLOCK)) - from) as usize * len];
            self.read(&mut bytes, HEADER as u64 + u64::from(from) * len as u64)?;
            let star = |record: &[u8]| record.first_chunk().map(|star| StarIndex(u32::from_le_bytes(*star)));
            bytes.chunks_exact(len).filter_map(star).for_each(&mut visit);
        }
        Ok(())
    }

    /// What failed of its stars.
    pub(super) fn failed(&self) -> Result<FailedTasks, StoreError> {
        let mut bytes = vec![0; self.header.failed as usize];
        self.read(&mut bytes, self.header.failed_at())?;
        FailedTasks::decode(&bytes).ok_or_else(|| self.damaged("what it says of failures does not hold".to_owned()))
    }

    fn record_len(&self) -> usize {
        Record::len(self.header.width)
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> Result<(), StoreError> {
        match self.file.read_exact_at(bytes, at) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("it is cut short".to_owned()))
            }
            Err(source) => Err(io_error("read", &self.path, source)),
        }
    }

    fn damaged(&self, reason: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), reason }
    }
}
