//! The stars of a run: 16 bytes each, sorted, so that a position is a seek and a search needs twenty reads.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::absence::found;
use crate::{StoreError, io_error};
use domain::id::{StarId, StarIndex};
use quick_cache::sync::Cache;

const WIDTH: usize = 16;

/// How many stars are read at once.
const BLOCK: u32 = 4096;

/// How many blocks of a list are kept in memory: stars in flight are neighbours, or nearly so.
const KEPT: usize = 8;

/// A run's sorted list of stars, read where it is asked.
#[derive(Debug)]
pub struct StarList {
    path: PathBuf,
    file: File,
    len: u32,
    kept: Cache<u32, Arc<[StarId]>>,
}

/// Writes the bytes of a list: stars in order, each once.
pub(super) fn write(stars: &[StarId], out: &mut dyn io::Write) -> io::Result<()> {
    if !stars.is_sorted_by(|before, after| before < after) {
        return write(&stars.iter().copied().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), out);
    }
    for block in stars.chunks(BLOCK as usize) {
        let bytes: Vec<[u8; WIDTH]> = block.iter().map(|star| *star.as_bytes()).collect();
        out.write_all(bytes.as_flattened())?;
    }
    Ok(())
}

impl StarList {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let opened = found("open", path, || File::open(path))?;
        let file = opened.ok_or_else(|| io_error("open", path, rustix::io::Errno::NOENT.into()))?;
        let bytes = file.metadata().map_err(|source| io_error("open", path, source))?.len();
        let len = u32::try_from(bytes / WIDTH as u64).ok().filter(|_| bytes % WIDTH as u64 == 0);
        match len {
            Some(len) => Ok(Self { path: path.to_owned(), file, len, kept: Cache::new(KEPT) }),
            None => Err(StoreError::Damaged {
                path: path.to_owned(),
                reason: format!("{bytes} bytes are no list of stars"),
            }),
        }
    }

    /// How many stars there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The star at a position, from memory where it was asked for of late, or one near it.
    pub fn star(&self, index: StarIndex) -> Result<StarId, StoreError> {
        let from = index.0 - index.0 % BLOCK;
        let read = || Ok(self.range(StarIndex(from), BLOCK.min(self.len.saturating_sub(from)))?.into());
        let block: Arc<[StarId]> = self.kept.get_or_insert_with(&(from / BLOCK), read)?;
        block.get((index.0 - from) as usize).copied().ok_or_else(|| self.no_star(index))
    }

    /// The star at a position where it can be said without asking the disk.
    pub fn kept(&self, index: StarIndex) -> Option<StarId> {
        self.kept.get(&(index.0 / BLOCK))?.get((index.0 % BLOCK) as usize).copied()
    }

    fn no_star(&self, index: StarIndex) -> StoreError {
        StoreError::NotFound { what: format!("star {} of {}", index.0, self.path.display()) }
    }

    /// `count` stars from a position on; fails beyond the end.
    pub fn range(&self, from: StarIndex, count: u32) -> Result<Vec<StarId>, StoreError> {
        if from.0.checked_add(count).is_none_or(|end| end > self.len) {
            return Err(self.no_star(from));
        }
        let mut bytes = vec![0; count as usize * WIDTH];
        self.file
            .read_exact_at(&mut bytes, u64::from(from.0) * WIDTH as u64)
            .map_err(|source| io_error("read", &self.path, source))?;
        Ok(bytes.as_chunks::<WIDTH>().0.iter().map(|bytes| StarId::from_bytes(*bytes)).collect())
    }

    /// The position of a star; `None` when it is not of this run.
    pub fn position(&self, star: StarId) -> Result<Option<StarIndex>, StoreError> {
        let at = self.first_from(star)?;
        Ok((at.0 < self.len && self.range(at, 1)?[0] == star).then_some(at))
    }

    /// Stars whose UUIDs begin with these digits, at most so many, in order.
    pub fn beginning(&self, digits: &str, most: usize) -> Result<Vec<StarId>, StoreError> {
        const ZERO: &str = "00000000-0000-0000-0000-000000000000";
        let prefix = format!("PLATO_{digits}");
        let Ok(least) = format!("{prefix}{}", ZERO.get(digits.len()..).unwrap_or_default()).parse() else {
            return Ok(Vec::new());
        };
        let from = self.first_from(least)?;
        let count = u32::try_from(most).unwrap_or(u32::MAX).min(self.len - from.0);
        let mut stars = self.range(from, count)?;
        stars.retain(|star| star.to_string().starts_with(&prefix));
        Ok(stars)
    }

    /// The position of the first star that is not before this one.
    fn first_from(&self, star: StarId) -> Result<StarIndex, StoreError> {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low + (high - low) / 2;
            // A search passes through many blocks and stays in none.
            if self.range(StarIndex(middle), 1)?[0] < star { low = middle + 1 } else { high = middle }
        }
        Ok(StarIndex(low))
    }

    /// All stars in order, read in blocks; ends after the first error.
    pub fn iter(&self) -> impl Iterator<Item = Result<StarId, StoreError>> + '_ {
        (0..self.len).step_by(BLOCK as usize).flat_map(move |from| {
            match self.range(StarIndex(from), BLOCK.min(self.len - from)) {
                Ok(stars) => stars.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            }
        })
    }
}
