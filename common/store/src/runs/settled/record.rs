//! The record of one settled star in a file of them: as bytes, and back. Pure.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use strum::VariantArray;

use super::{SettledRow, SettledStar, StarEnd};
use domain::id::{Fingerprint, Generation, Key, ModuleIndex, StarIndex};

/// Bytes of a record besides its row.
const FIXED: usize = 66;

/// Bytes of a key: the module, then its 32 bytes.
pub(super) const KEY: usize = 33;

/// What flags of a record say to be there.
const GENERATION: u8 = 1;
const FINGERPRINT: u8 = 2;
const REASON: u8 = 4;

/// What is kept of a star at its place: what a pass needs, and where the rest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) row: SettledRow,
    /// Position of its first key among all.
    pub(super) keys_at: u32,
    /// How many keys it has.
    pub(super) keys: u16,
    /// Where its reason begins among all.
    pub(super) reason_at: u32,
    /// Bytes of its reason, if it has one.
    pub(super) reason: Option<u32>,
    /// Check of keys and reason.
    pub(super) check: [u8; 4],
}

impl Record {
    /// Bytes of a record with rows of this width.
    pub(super) fn len(width: u16) -> usize {
        FIXED + usize::from(width)
    }

    pub(super) fn write(&self, width: u16, to: &mut Vec<u8>) {
        let row = &self.row;
        let flag = |is_there: bool, flag| if is_there { flag } else { 0 };
        let flags = flag(row.generation.is_some(), GENERATION)
            | flag(row.fingerprint.is_some(), FINGERPRINT)
            | flag(self.reason.is_some(), REASON);
        let mut text = Text::default();
        text.u32(row.star.0).bytes(&[end_to_byte(row.end), flags]).u16(row.row.len() as u16);
        text.u32(row.generation.unwrap_or_default().0).u32(self.keys_at).u16(self.keys);
        text.u32(self.reason_at).u32(self.reason.unwrap_or(0));
        let fingerprint = row.fingerprint.map_or([0; 32], |fingerprint| *fingerprint.as_bytes());
        text.bytes(&fingerprint).bytes(&self.check);
        text.bytes(&row.row);
        text.0.resize(Self::len(width) - 4, 0);
        let check = check(&text.0);
        text.bytes(&check);
        to.extend(text.0);
    }

    /// Reads what [`Record::write`] wrote; `bytes` have the length of a record.
    pub(super) fn read(width: u16, bytes: &[u8]) -> Result<Self, String> {
        let (body, own_check) = bytes.split_at(Self::len(width) - 4);
        let mut from = Cursor(body);
        let star = from.u32();
        let wrong = |what: &str| format!("{what} of the record of star {star} does not hold");
        if check(body) != own_check {
            return Err(wrong("the check"));
        }
        let [end, flags] = from.take();
        let row_len = from.u16();
        let generation = from.u32();
        let (keys_at, keys, reason_at, reason) = (from.u32(), from.u16(), from.u32(), from.u32());
        let fingerprint = Fingerprint::from_bytes(from.take());
        let check = from.take();
        let row = from.0.get(..row_len.into()).ok_or_else(|| wrong("the row"))?.to_vec();
        let has = |flag| flags & flag != 0;
        Ok(Self {
            row: SettledRow {
                star: StarIndex(star),
                row,
                generation: has(GENERATION).then_some(Generation(generation)),
                end: end_of_byte(end).ok_or_else(|| wrong("the end"))?,
                fingerprint: has(FINGERPRINT).then_some(fingerprint),
            },
            keys_at,
            keys,
            reason_at,
            reason: has(REASON).then_some(reason),
            check,
        })
    }

    /// The whole line; `None` when keys and reason are not those that were written.
    pub(super) fn into_line(self, key_bytes: &[u8], reason: Vec<u8>) -> Option<SettledStar> {
        if check(&[key_bytes, &reason].concat()) != self.check {
            return None;
        }
        let SettledRow { star, row, generation, end, fingerprint } = self.row;
        let reason = match self.reason {
            Some(_) => Some(String::from_utf8(reason).ok()?),
            None => None,
        };
        Some(SettledStar { star, row, keys: keys(key_bytes), generation, end, reason, fingerprint })
    }
}

/// The keys in these bytes.
fn keys(bytes: &[u8]) -> BTreeMap<ModuleIndex, Key> {
    let (keys, _) = bytes.as_chunks::<KEY>();
    let key = |bytes: &[u8; KEY]| {
        let mut key = [0; 32];
        key.copy_from_slice(&bytes[1..]);
        (ModuleIndex(bytes[0]), Key::from_bytes(key))
    };
    keys.iter().map(key).collect()
}

/// The first four bytes of the SHA-256.
pub(super) fn check(bytes: &[u8]) -> [u8; 4] {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// 0 for none; these numbers are in files and never change.
fn end_to_byte(end: Option<StarEnd>) -> u8 {
    match end {
        None => 0,
        Some(StarEnd::Complete) => 1,
        Some(StarEnd::Incomplete) => 2,
        Some(StarEnd::Failed) => 3,
        Some(StarEnd::Cancelled) => 4,
        Some(StarEnd::Superseded) => 5,
    }
}

fn end_of_byte(byte: u8) -> Option<Option<StarEnd>> {
    let ends = StarEnd::VARIANTS.iter().map(|end| Some(*end));
    std::iter::once(None).chain(ends).find(|end| end_to_byte(*end) == byte)
}

/// Bytes that are written one after the other.
#[derive(Default)]
pub(super) struct Text(pub(super) Vec<u8>);

impl Text {
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    pub(super) fn u16(&mut self, number: u16) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }

    pub(super) fn u32(&mut self, number: u32) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }
}

/// Bytes that are read one after the other; there are enough of them.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk::<N>().expect("a record has its length");
        self.0 = rest;
        *taken
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }
}
