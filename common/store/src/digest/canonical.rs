//! How types, extents, counts and texts enter a digest: the parent module says what comes where.

use sha2::{Digest as _, Sha256};

use crate::h5::{Shape, Type};

/// Adds a type.
pub(super) fn hash_type(hash: &mut Sha256, dtype: &Type) {
    match dtype {
        Type::Int { size, signed, .. } => hash.update([if *signed { b'i' } else { b'u' }, *size as u8]),
        Type::Float { size, .. } => hash.update([b'f', *size as u8]),
        Type::Bool { .. } => hash.update(b"b"),
        Type::Enum { size, signed, members, .. } => {
            hash.update([b'e', if *signed { b'i' } else { b'u' }, *size as u8]);
            count(hash, members.len() as u64);
            for (name, value) in members {
                text(hash, name);
                hash.update(value.to_le_bytes());
            }
        }
        Type::Bitfield { size, .. } => hash.update([b't', *size as u8]),
        Type::FixedText { .. } | Type::Text => hash.update(b"s"),
        Type::Compound { members, .. } => {
            hash.update(b"c");
            count(hash, members.len() as u64);
            for (name, _, member) in members {
                text(hash, name);
                hash_type(hash, member);
            }
        }
        Type::Array { dims, base } => {
            hash.update(b"a");
            count(hash, dims.len() as u64);
            dims.iter().for_each(|dim| count(hash, *dim));
            hash_type(hash, base);
        }
        Type::List(base) => {
            hash.update(b"l");
            hash_type(hash, base);
        }
    }
}

/// Adds an extent.
pub(super) fn hash_shape(hash: &mut Sha256, shape: &Shape) {
    match shape {
        Shape::Null => hash.update(b"N"),
        Shape::Scalar => hash.update(b"S"),
        Shape::Array(dims) => {
            hash.update(b"A");
            count(hash, dims.len() as u64);
            dims.iter().for_each(|dim| count(hash, *dim));
        }
    }
}

/// Adds a length or count.
pub(super) fn count(hash: &mut Sha256, number: u64) {
    hash.update(number.to_le_bytes());
}

/// Adds a text.
pub(super) fn text(hash: &mut Sha256, text: &str) {
    count(hash, text.len() as u64);
    hash.update(text.as_bytes());
}
