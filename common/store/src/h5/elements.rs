//! Single elements: from what the library fills in to canonical bytes, and from those to scalars.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use domain::expression::Scalar;
use hdf5_sys::h5t::hvl_t;

use super::error::too_large;
use super::types::{Pad, integer_of};
use super::{H5Error, Result, Type};

/// Bytes that one text or list of variable length may have.
const LARGEST_ELEMENT: usize = 64 << 20;

/// Appends the canonical bytes of one element.
///
/// # Safety
/// `raw` must be an element of this type as the library filled it: pointers in it are followed.
pub(super) unsafe fn encode(dtype: &Type, raw: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match dtype {
        Type::Int { big, .. } | Type::Enum { big, .. } | Type::Bitfield { big, .. } => ordered(raw, *big, out),
        Type::Float { size: 4, big } => {
            let at = out.len();
            ordered(raw, *big, out);
            let bits = u32::from_le_bytes([out[at], out[at + 1], out[at + 2], out[at + 3]]);
            if f32::from_bits(bits).is_nan() {
                out[at..].copy_from_slice(&0x7fc0_0000_u32.to_le_bytes());
            }
        }
        Type::Float { big, .. } => {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(raw);
            let bits = if *big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) };
            let bits = if f64::from_bits(bits).is_nan() { 0x7ff8_0000_0000_0000 } else { bits };
            out.extend_from_slice(&bits.to_le_bytes());
        }
        Type::Bool { .. } => out.push(u8::from(raw.iter().any(|byte| *byte != 0))),
        Type::FixedText { pad, .. } => counted(trimmed(raw, *pad), out)?,
        Type::Text => {
            // SAFETY: the library fills in a NUL-terminated text, or null for none.
            let text = unsafe { ptr::read_unaligned(raw.as_ptr().cast::<*const c_char>()) };
            let text = if text.is_null() { b"" } else { unsafe { CStr::from_ptr(text) }.to_bytes() };
            if text.len() > LARGEST_ELEMENT {
                return Err(too_large_element("text", text.len()));
            }
            counted(text, out)?;
        }
        Type::Compound { members, .. } => {
            for (_, offset, member) in members {
                // SAFETY: members lie within the record.
                unsafe { encode(member, &raw[*offset..*offset + member.size()], out)? };
            }
        }
        Type::Array { base, .. } => {
            // SAFETY: an array is its elements one after the other.
            raw.chunks_exact(base.size()).try_for_each(|raw| unsafe { encode(base, raw, out) })?;
        }
        Type::List(base) => {
            // SAFETY: the library fills in the number of elements and a pointer to them.
            let list = unsafe { ptr::read_unaligned(raw.as_ptr().cast::<hvl_t>()) };
            let len = if list.p.is_null() { 0 } else { list.len };
            let size = base.size();
            if len.checked_mul(size).is_none_or(|bytes| bytes > LARGEST_ELEMENT) {
                return Err(too_large_element("list", len.saturating_mul(size)));
            }
            out.extend_from_slice(&(len as u64).to_le_bytes());
            for index in 0..len {
                // SAFETY: the list has `len` elements.
                unsafe { encode(base, element(list.p, index, size), out)? };
            }
        }
    }
    Ok(())
}

unsafe fn element<'a>(list: *const c_void, index: usize, size: usize) -> &'a [u8] {
    // SAFETY: the caller stays within the list.
    unsafe { std::slice::from_raw_parts(list.cast::<u8>().add(index * size), size) }
}

fn ordered(raw: &[u8], big: bool, out: &mut Vec<u8>) {
    if big { out.extend(raw.iter().rev()) } else { out.extend_from_slice(raw) }
}

fn counted(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.try_reserve(text.len() + 8).map_err(|_| too_large())?;
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text);
    Ok(())
}

fn trimmed(raw: &[u8], pad: Pad) -> &[u8] {
    let last_that_is_not = |fill: u8| raw.iter().rposition(|byte| *byte != fill).map_or(0, |at| at + 1);
    match pad {
        Pad::UntilNul => &raw[..raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len())],
        Pad::Nuls => &raw[..last_that_is_not(0)],
        Pad::Spaces => &raw[..last_that_is_not(b' ')],
    }
}

/// Takes one element off canonical bytes, as scalars; `None` when the bytes end early.
pub(super) fn take_scalars(dtype: &Type, bytes: &mut &[u8], out: &mut Vec<Scalar>) -> Option<()> {
    match dtype {
        Type::Int { size, signed, .. } | Type::Enum { size, signed, .. } => {
            let value = integer_of(bytes.split_off(..*size)?, *signed, false);
            out.push(i64::try_from(value).map_or(Scalar::Float(value as f64), Scalar::Int));
        }
        Type::Bitfield { size, .. } => {
            let value = integer_of(bytes.split_off(..*size)?, false, false);
            out.push(if *size == 1 { Scalar::Bool(value != 0) } else { Scalar::Int(i64::try_from(value).ok()?) });
        }
        Type::Float { size: 4, .. } => {
            let value = f32::from_le_bytes(bytes.split_off(..4)?.try_into().ok()?);
            out.push(Scalar::Float(value.into()));
        }
        Type::Float { .. } => out.push(Scalar::Float(f64::from_le_bytes(bytes.split_off(..8)?.try_into().ok()?))),
        Type::Bool { .. } => out.push(Scalar::Bool(bytes.split_off(..1)?[0] != 0)),
        Type::FixedText { .. } | Type::Text => {
            let len = usize::try_from(take_count(bytes)?).ok()?;
            out.push(Scalar::Text(String::from_utf8_lossy(bytes.split_off(..len)?).into_owned()));
        }
        Type::Compound { members, .. } => {
            for (_, _, member) in members {
                take_scalars(member, bytes, out)?;
            }
        }
        Type::Array { dims, base } => {
            for _ in 0..dims.iter().product() {
                take_scalars(base, bytes, out)?;
            }
        }
        Type::List(base) => {
            for _ in 0..take_count(bytes)? {
                take_scalars(base, bytes, out)?;
            }
        }
    }
    Some(())
}

fn take_count(bytes: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.split_off(..8)?.try_into().ok()?))
}

fn too_large_element(what: &str, bytes: usize) -> H5Error {
    H5Error::too_large("read values", format!("a {what} has {bytes} bytes, at most {LARGEST_ELEMENT} are allowed"))
}
