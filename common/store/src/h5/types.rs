//! Types of values: what of HDF5's types we read, and how their bytes lie.
//!
//! Values are read in the file's own representation and decoded here, so that none of the library's conversions run.

use std::ffi::CStr;

use hdf5_sys::h5::H5free_memory;
use hdf5_sys::h5t::{
    H5T_IEEE_F32BE, H5T_IEEE_F32LE, H5T_IEEE_F64BE, H5T_IEEE_F64LE, H5T_class_t, H5T_order_t, H5T_sign_t, H5T_str_t,
    H5Tequal, H5Tget_array_dims2, H5Tget_array_ndims, H5Tget_class, H5Tget_cset, H5Tget_member_name,
    H5Tget_member_offset, H5Tget_member_type, H5Tget_member_value, H5Tget_nmembers, H5Tget_offset, H5Tget_order,
    H5Tget_precision, H5Tget_sign, H5Tget_size, H5Tget_strpad, H5Tget_super, H5Tis_variable_str,
};

use super::{H5Error, H5ErrorKind, Id, Result, check, handle};

/// How deep types may be nested in each other.
const DEEPEST: u32 = 8;

/// Type of the elements of a dataset or attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    /// An integer of 1, 2, 4 or 8 bytes.
    Int { size: usize, signed: bool, big: bool },
    /// An IEEE number of 4 or 8 bytes.
    Float { size: usize, big: bool },
    /// An enum of FALSE = 0 and TRUE = 1, as h5py writes booleans.
    Bool { size: usize, big: bool },
    /// Another enum, by the values of its members.
    Enum { size: usize, signed: bool, big: bool, members: Vec<(String, i128)> },
    /// Bits.
    Bitfield { size: usize, big: bool },
    /// Text of a fixed number of bytes.
    FixedText { size: usize, pad: Pad },
    /// Text of variable length.
    Text,
    /// A record: name, offset and type of each member.
    Compound { size: usize, members: Vec<(String, usize, Type)> },
    /// A small array.
    Array { dims: Vec<u64>, base: Box<Type> },
    /// A list of variable length.
    List(Box<Type>),
}

/// What fills a text of fixed length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pad {
    /// It ends at the first NUL.
    UntilNul,
    /// NULs at the end.
    Nuls,
    /// Spaces at the end.
    Spaces,
}

impl Type {
    /// Bytes of one element as it is read; for lists and text of variable length, of the reference to them.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Int { size, .. }
            | Self::Float { size, .. }
            | Self::Bool { size, .. }
            | Self::Enum { size, .. }
            | Self::Bitfield { size, .. }
            | Self::FixedText { size, .. }
            | Self::Compound { size, .. } => *size,
            Self::Text => size_of::<*const u8>(),
            Self::List(_) => size_of::<hdf5_sys::h5t::hvl_t>(),
            Self::Array { dims, base } => dims.iter().product::<u64>() as usize * base.size(),
        }
    }

    /// Whether reading it allocates memory that must be given back.
    pub(crate) fn is_variable(&self) -> bool {
        match self {
            Self::Text | Self::List(_) => true,
            Self::Array { base, .. } => base.is_variable(),
            Self::Compound { members, .. } => members.iter().any(|(_, _, member)| member.is_variable()),
            Self::Int { .. }
            | Self::Float { .. }
            | Self::Bool { .. }
            | Self::Enum { .. }
            | Self::Bitfield { .. }
            | Self::FixedText { .. } => false,
        }
    }

    /// Whether its bytes in a file are the canonical ones: nothing needs decoding.
    pub(super) fn is_canonical(&self) -> bool {
        match self {
            Self::Int { big, size, .. } | Self::Enum { big, size, .. } | Self::Bitfield { big, size } => {
                !big || *size == 1
            }
            Self::Array { base, .. } => base.is_canonical(),
            Self::Float { .. }
            | Self::Bool { .. }
            | Self::FixedText { .. }
            | Self::Text
            | Self::Compound { .. }
            | Self::List(_) => false,
        }
    }

    /// The type in words, as messages have it: `float64`, `int8`, `bool`, `text`.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Int { size, signed: true, .. } => format!("int{}", size * 8),
            Self::Int { size, signed: false, .. } => format!("uint{}", size * 8),
            Self::Float { size, .. } => format!("float{}", size * 8),
            Self::Bool { .. } => "bool".to_owned(),
            Self::Enum { .. } => "enum".to_owned(),
            Self::Bitfield { size, .. } => format!("bitfield{}", size * 8),
            Self::FixedText { .. } | Self::Text => "text".to_owned(),
            Self::Compound { .. } => "compound".to_owned(),
            Self::Array { base, .. } => format!("array of {}", base.word()),
            Self::List(base) => format!("list of {}", base.word()),
        }
    }
}

/// Reads a type of the library; one that we do not read is an error that names it.
pub(super) fn parse(id: &Id) -> Result<Type> {
    parse_below(id, 0)
}

fn parse_below(id: &Id, depth: u32) -> Result<Type> {
    if depth > DEEPEST {
        return Err(unsupported("types nested that deep"));
    }
    // SAFETY: plain calls on live handles, here and in the functions below.
    let (class, size) = unsafe { (H5Tget_class(id.0), H5Tget_size(id.0)) };
    if size == 0 {
        return Err(unsupported("a type without size"));
    }
    match class {
        H5T_class_t::H5T_INTEGER => integer(id, size),
        H5T_class_t::H5T_FLOAT => float(id),
        H5T_class_t::H5T_BITFIELD => Ok(Type::Bitfield { size: whole(id, size)?, big: is_big(id)? }),
        H5T_class_t::H5T_ENUM => enumeration(id, size),
        H5T_class_t::H5T_STRING => text(id, size),
        H5T_class_t::H5T_COMPOUND => compound(id, size, depth),
        H5T_class_t::H5T_ARRAY => array(id, depth),
        H5T_class_t::H5T_VLEN => Ok(Type::List(Box::new(parse_below(&base(id)?, depth + 1)?))),
        H5T_class_t::H5T_TIME => Err(unsupported("the type `time`")),
        H5T_class_t::H5T_OPAQUE => Err(unsupported("the type `opaque`")),
        H5T_class_t::H5T_REFERENCE => Err(unsupported("the type `reference`")),
        H5T_class_t::H5T_COMPLEX => Err(unsupported("the type `complex`")),
        H5T_class_t::H5T_NO_CLASS | H5T_class_t::H5T_NCLASSES => Err(unsupported("a type without class")),
    }
}

fn integer(id: &Id, size: usize) -> Result<Type> {
    // SAFETY: see `parse_below`.
    let signed = unsafe { H5Tget_sign(id.0) } == H5T_sign_t::H5T_SGN_2;
    Ok(Type::Int { size: whole(id, size)?, signed, big: is_big(id)? })
}

/// The size of an integer that fills all its bits.
fn whole(id: &Id, size: usize) -> Result<usize> {
    // SAFETY: see `parse_below`.
    let (precision, offset) = unsafe { (H5Tget_precision(id.0), H5Tget_offset(id.0)) };
    if matches!(size, 1 | 2 | 4 | 8) && precision == size * 8 && offset == 0 {
        Ok(size)
    } else {
        Err(unsupported("integers that are not 8, 16, 32 or 64 whole bits"))
    }
}

fn is_big(id: &Id) -> Result<bool> {
    // SAFETY: see `parse_below`.
    match unsafe { H5Tget_order(id.0) } {
        H5T_order_t::H5T_ORDER_LE | H5T_order_t::H5T_ORDER_NONE => Ok(false),
        H5T_order_t::H5T_ORDER_BE => Ok(true),
        H5T_order_t::H5T_ORDER_ERROR | H5T_order_t::H5T_ORDER_VAX | H5T_order_t::H5T_ORDER_MIXED => {
            Err(unsupported("numbers that are neither big- nor little-endian"))
        }
    }
}

fn float(id: &Id) -> Result<Type> {
    for (known, size, big) in [
        (*H5T_IEEE_F64LE, 8, false),
        (*H5T_IEEE_F32LE, 4, false),
        (*H5T_IEEE_F64BE, 8, true),
        (*H5T_IEEE_F32BE, 4, true),
    ] {
        // SAFETY: see `parse_below`.
        if check(unsafe { H5Tequal(id.0, known) }, || "compare types".to_owned())? > 0 {
            return Ok(Type::Float { size, big });
        }
    }
    // SAFETY: see `parse_below`.
    let size = unsafe { H5Tget_size(id.0) };
    Err(unsupported(&format!("a float of {} bits that is not IEEE's of 32 or 64 bits", size * 8)))
}

fn enumeration(id: &Id, size: usize) -> Result<Type> {
    let base = base(id)?;
    let Type::Int { size, signed, big } = integer(&base, size)? else {
        return Err(unsupported("an enum over something else than integers"));
    };
    // SAFETY: see `parse_below`; a member's value has the size of the base, 8 bytes at most.
    let count = check(unsafe { H5Tget_nmembers(id.0) }, || "read an enum".to_owned())?;
    let mut members = Vec::new();
    for index in 0..count.unsigned_abs() {
        let mut bytes = [0_u8; 8];
        let status = unsafe { H5Tget_member_value(id.0, index, bytes.as_mut_ptr().cast()) };
        check(status, || "read an enum's value".to_owned())?;
        members.push((member_name(id, index)?, integer_of(&bytes[..size], signed, big)));
    }
    members.sort();
    if members == [("FALSE".to_owned(), 0), ("TRUE".to_owned(), 1)] {
        return Ok(Type::Bool { size, big });
    }
    Ok(Type::Enum { size, signed, big, members })
}

fn text(id: &Id, size: usize) -> Result<Type> {
    // SAFETY: see `parse_below`.
    let (variable, pad) = unsafe { (H5Tis_variable_str(id.0), H5Tget_strpad(id.0)) };
    if check(variable, || "read a text type".to_owned())? > 0 {
        return Ok(Type::Text);
    }
    // SAFETY: see `parse_below`. Reading the character set checks that it is a known one.
    check(unsafe { H5Tget_cset(id.0) } as i32, || "read a character set".to_owned())?;
    let known = [
        (H5T_str_t::H5T_STR_NULLTERM, Pad::UntilNul),
        (H5T_str_t::H5T_STR_NULLPAD, Pad::Nuls),
        (H5T_str_t::H5T_STR_SPACEPAD, Pad::Spaces),
    ];
    match known.into_iter().find(|(code, _)| *code == pad) {
        Some((_, pad)) => Ok(Type::FixedText { size, pad }),
        None => Err(unsupported("text with unknown padding")),
    }
}

fn compound(id: &Id, size: usize, depth: u32) -> Result<Type> {
    // SAFETY: see `parse_below`.
    let count = check(unsafe { H5Tget_nmembers(id.0) }, || "read a record type".to_owned())?;
    let mut members = Vec::new();
    for index in 0..count.unsigned_abs() {
        let (offset, member) = unsafe { (H5Tget_member_offset(id.0, index), H5Tget_member_type(id.0, index)) };
        let member = parse_below(&handle(member, || "read a record's member".to_owned())?, depth + 1)?;
        if offset.checked_add(member.size()).is_none_or(|end| end > size) {
            return Err(unsupported("a record whose members lie outside it"));
        }
        members.push((member_name(id, index)?, offset, member));
    }
    Ok(Type::Compound { size, members })
}

fn array(id: &Id, depth: u32) -> Result<Type> {
    // SAFETY: see `parse_below`; `dims` has room for every dimension.
    let ndims = check(unsafe { H5Tget_array_ndims(id.0) }, || "read an array type".to_owned())?;
    let mut dims = vec![0_u64; ndims.unsigned_abs() as usize];
    check(unsafe { H5Tget_array_dims2(id.0, dims.as_mut_ptr()) }, || "read an array type".to_owned())?;
    let base = Box::new(parse_below(&base(id)?, depth + 1)?);
    let bytes = dims.iter().try_fold(base.size() as u64, |bytes, dim| bytes.checked_mul(*dim));
    if bytes.is_none_or(|bytes| bytes == 0 || bytes > 1 << 30) {
        return Err(unsupported("an array type of that size"));
    }
    Ok(Type::Array { dims, base })
}

fn base(id: &Id) -> Result<Id> {
    // SAFETY: see `parse_below`.
    handle(unsafe { H5Tget_super(id.0) }, || "read a base type".to_owned())
}

fn member_name(id: &Id, index: u32) -> Result<String> {
    // SAFETY: the library allocates a NUL-terminated name, which is given back.
    unsafe {
        let name = H5Tget_member_name(id.0, index);
        if name.is_null() {
            return Err(unsupported("a member without name"));
        }
        let text = CStr::from_ptr(name).to_str().map(str::to_owned);
        H5free_memory(name.cast());
        text.map_err(|_| unsupported("member names that are not UTF-8"))
    }
}

/// The integer in these bytes, 8 at most.
pub(super) fn integer_of(bytes: &[u8], signed: bool, big: bool) -> i128 {
    let mut value = 0_u64;
    let push = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    value = if big { bytes.iter().fold(value, push) } else { bytes.iter().rev().fold(value, push) };
    let bits = bytes.len() as u32 * 8;
    if signed && bits > 0 && value >> (bits - 1) & 1 == 1 {
        i128::from(value) - (1_i128 << bits)
    } else {
        i128::from(value)
    }
}

fn unsupported(what: &str) -> H5Error {
    H5Error { doing: "read values".to_owned(), reason: what.to_owned(), kind: H5ErrorKind::Unsupported }
}
