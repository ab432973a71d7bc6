//! Values: read in blocks in the file's representation, and decoded to a canonical one.
//!
//! The canonical bytes of an element: integers and floats little-endian, every NaN the same; booleans one byte; text its
//! length (8 bytes) and its bytes without padding; lists their length and elements; records their members in order.

use std::ptr;

use domain::expression::Scalar;
use hdf5_sys::h5a::{H5Aget_space, H5Aget_type, H5Aread};
use hdf5_sys::h5d::{H5Dget_space, H5Dget_type, H5Dread};
use hdf5_sys::h5p::H5P_DEFAULT;
use hdf5_sys::h5s::{H5S_ALL, H5S_seloper_t, H5Screate_simple, H5Sselect_hyperslab};
use hdf5_sys::h5t::H5Treclaim;

use super::elements::{encode, take_scalars};
use super::error::too_large;
use super::pieces::Pieces;
use super::types::integer_of;
use super::{Dataset, H5Error, Id, Result, Shape, Type, check, handle, shape_of, types};
use crate::budget::{LARGEST_PIECE, OF_A_THING, room, spend};

/// Canonical bytes that are passed on at once, unless one element has more.
const BLOCK: usize = 4 << 20;

/// Bytes that an attribute may have.
const LARGEST_ATTRIBUTE: u64 = 16 << 20;

/// A value that was read whole: type, extent, canonical bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    /// Type of its elements.
    pub(crate) dtype: Type,
    /// Extent.
    pub(crate) shape: Shape,
    /// Canonical bytes of all elements.
    pub(crate) bytes: Vec<u8>,
}

impl Value {
    /// The text, if it is one.
    pub(crate) fn as_text(&self) -> Option<String> {
        match self.scalar() {
            Some(Scalar::Text(text)) => Some(text),
            Some(Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_)) | None => None,
        }
    }

    /// What it holds, where that is one number, truth or text; of a record, an array or a list only where it holds one.
    pub(crate) fn scalar(&self) -> Option<Scalar> {
        match self.first(2) {
            several if several.len() > 1 => None,
            one => one.into_iter().next().filter(|_| self.shape.is_one()),
        }
    }

    /// The first element where that is an integer, of any size and sign.
    pub(crate) fn integer(&self) -> Option<i128> {
        let Type::Int { size, signed, .. } = self.dtype else { return None };
        Some(integer_of(self.bytes.get(..size)?, signed, false))
    }

    /// The first elements, those of records and arrays one after the other.
    pub(crate) fn first(&self, limit: usize) -> Vec<Scalar> {
        let (mut scalars, mut bytes) = (Vec::new(), self.bytes.as_slice());
        while !bytes.is_empty() && scalars.len() < limit {
            if take_scalars(&self.dtype, &mut bytes, &mut scalars).is_none() {
                break;
            }
        }
        scalars.truncate(limit);
        scalars
    }
}

/// What takes canonical bytes; an error of it ends the reading.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// Adds a block to canonical bytes, where there is memory for it.
pub(crate) fn append(bytes: &mut Vec<u8>, block: &[u8]) -> Result<()> {
    bytes.try_reserve(block.len()).map_err(|_| too_large())?;
    bytes.extend_from_slice(block);
    Ok(())
}

impl Dataset {
    /// Passes the canonical bytes of all elements on, block by block.
    pub(crate) fn canonical(&self, sink: Sink<'_>) -> Result<()> {
        self.blocks(u64::MAX, sink)
    }

    /// The value, or the first pieces of it with at least `limit` elements.
    pub(crate) fn value(&self, limit: u64) -> Result<Value> {
        let mut bytes = Vec::new();
        self.blocks(limit, &mut |block| append(&mut bytes, block))?;
        Ok(Value { dtype: self.dtype()?, shape: self.shape()?, bytes })
    }

    fn blocks(&self, limit: u64, sink: Sink<'_>) -> Result<()> {
        // SAFETY: plain calls on live handles.
        let (memory, space) = unsafe { (H5Dget_type(self.0.0), H5Dget_space(self.0.0)) };
        let memory = handle(memory, || "read a dataset's type".to_owned())?;
        let space = handle(space, || "read a dataset's extent".to_owned())?;
        let (dtype, shape) = (types::parse(&memory)?, shape_of(&space)?);
        let read = ValueReader { dataset: self.0.0, memory: &memory, dtype: &dtype };
        let elements = shape.elements().ok_or_else(too_large)?;
        let element = dtype.size() as u64;
        match &shape {
            _ if elements == 0 => Ok(()),
            Shape::Null => Ok(()),
            Shape::Scalar if element > LARGEST_PIECE => Err(too_large_piece(element)),
            Shape::Scalar => {
                let _room = room(element);
                read.block(H5S_ALL, H5S_ALL, &handle_of_scalar()?, 1, sink)
            }
            Shape::Array(dims) => {
                let chunk = self.storage()?.chunk;
                let pieces = Pieces::of(dims, chunk.as_deref(), element).map_err(too_large_piece)?;
                spend(pieces.chunks.saturating_mul(OF_A_THING / 4));
                let _room = room(pieces.bytes);
                let mut left = limit;
                for (start, extent) in pieces.each(dims) {
                    if left == 0 {
                        break;
                    }
                    let part = select(&space, &start, &extent)?;
                    let elements = extent.iter().product();
                    read.block(part.0, space.0, &part, elements, sink)?;
                    left = left.saturating_sub(elements);
                }
                Ok(())
            }
        }
    }
}

/// The value of an attribute.
pub(super) fn attribute(id: &Id, name: &str) -> Result<Value> {
    let doing = || format!("read attribute {name:?}");
    // SAFETY: plain calls on a live handle.
    let (memory, space) = unsafe { (H5Aget_type(id.0), H5Aget_space(id.0)) };
    let (memory, space) = (handle(memory, doing)?, handle(space, doing)?);
    let (dtype, shape) = (types::parse(&memory)?, shape_of(&space)?);
    let elements = shape.elements().ok_or_else(too_large)?;
    let bytes = elements.checked_mul(dtype.size() as u64).filter(|bytes| *bytes <= LARGEST_ATTRIBUTE);
    let mut value = Value { dtype, shape, bytes: Vec::new() };
    if elements > 0 {
        let larger = || H5Error::too_large(&doing(), format!("it has more than {LARGEST_ATTRIBUTE} bytes"));
        let mut raw = zeroed(bytes.ok_or_else(larger)? as usize)?;
        // SAFETY: `raw` has room for all elements in the representation of `memory`.
        check(unsafe { H5Aread(id.0, memory.0, raw.as_mut_ptr().cast()) }, doing)?;
        // SAFETY: the library filled `raw` with elements of this type.
        let encoded = raw.chunks_exact(value.dtype.size()).try_for_each(|raw| unsafe {
            encode(&value.dtype, raw, &mut value.bytes)?;
            if value.bytes.len() as u64 > LARGEST_ATTRIBUTE { Err(larger()) } else { Ok(()) }
        });
        reclaim(&value.dtype, &memory, &space, &mut raw);
        encoded?;
    }
    Ok(value)
}

struct ValueReader<'a> {
    dataset: hdf5_sys::h5i::hid_t,
    memory: &'a Id,
    dtype: &'a Type,
}

impl ValueReader<'_> {
    /// Reads `elements` selected elements; `extent` describes the buffer.
    fn block(
        &self,
        memory_space: hdf5_sys::h5i::hid_t,
        file_space: hdf5_sys::h5i::hid_t,
        extent: &Id,
        elements: u64,
        sink: Sink<'_>,
    ) -> Result<()> {
        let size = self.dtype.size();
        let bytes = usize::try_from(elements).ok().and_then(|elements| elements.checked_mul(size));
        let mut raw = zeroed(bytes.ok_or_else(too_large)?)?;
        // SAFETY: `raw` has room for all selected elements in the representation of `memory`.
        let status = unsafe {
            H5Dread(self.dataset, self.memory.0, memory_space, file_space, H5P_DEFAULT, raw.as_mut_ptr().cast())
        };
        check(status, || "read a dataset".to_owned())?;
        // SAFETY: the library filled `raw` with elements of this type.
        let passed = unsafe { pass_on(self.dtype, &raw, sink) };
        reclaim(self.dtype, self.memory, extent, &mut raw);
        passed
    }
}

/// Passes the canonical bytes of elements on.
///
/// # Safety
/// `raw` must be elements of this type as the library filled them.
unsafe fn pass_on(dtype: &Type, raw: &[u8], sink: Sink<'_>) -> Result<()> {
    if dtype.is_canonical() || is_free_of_nan(dtype, raw) {
        return sink(raw);
    }
    let mut out = Vec::new();
    for raw in raw.chunks_exact(dtype.size()) {
        // SAFETY: see above.
        unsafe { encode(dtype, raw, &mut out)? };
        if out.len() >= BLOCK {
            sink(&out)?;
            out.clear();
        }
    }
    if out.is_empty() { Ok(()) } else { sink(&out) }
}

/// Whether these are little-endian floats without a NaN: then their bytes are the canonical ones.
fn is_free_of_nan(dtype: &Type, raw: &[u8]) -> bool {
    let Type::Float { size, big: false } = dtype else { return false };
    let (single, double) = (f32::INFINITY.to_bits() << 1, f64::INFINITY.to_bits() << 1);
    if *size == 4 {
        raw.as_chunks().0.iter().all(|bytes| u32::from_le_bytes(*bytes) << 1 <= single)
    } else {
        raw.as_chunks().0.iter().all(|bytes| u64::from_le_bytes(*bytes) << 1 <= double)
    }
}

fn zeroed(bytes: usize) -> Result<Vec<u8>> {
    let mut raw: Vec<u8> = Vec::new();
    raw.try_reserve_exact(bytes).map_err(|_| too_large())?;
    // SAFETY: the vector has room for them. `resize` goes byte by byte where nothing is optimised.
    unsafe {
        ptr::write_bytes(raw.as_mut_ptr(), 0, bytes);
        raw.set_len(bytes);
    }
    Ok(raw)
}

/// Selects a piece of `space`; returns the extent of the buffer for it.
fn select(space: &Id, start: &[u64], extent: &[u64]) -> Result<Id> {
    // SAFETY: all arrays have one entry per dimension.
    unsafe {
        let (replace, no) = (H5S_seloper_t::H5S_SELECT_SET, ptr::null());
        let status = H5Sselect_hyperslab(space.0, replace, start.as_ptr(), no, extent.as_ptr(), no);
        check(status, || "select values".to_owned())?;
        handle(H5Screate_simple(extent.len() as i32, extent.as_ptr(), ptr::null()), || "select values".to_owned())
    }
}

fn handle_of_scalar() -> Result<Id> {
    // SAFETY: plain call.
    let id = unsafe { hdf5_sys::h5s::H5Screate(hdf5_sys::h5s::H5S_class_t::H5S_SCALAR) };
    handle(id, || "make an extent".to_owned())
}

fn reclaim(dtype: &Type, memory: &Id, extent: &Id, raw: &mut [u8]) {
    if dtype.is_variable() {
        // SAFETY: `raw` still holds what the library allocated for these elements; nothing reads it afterwards.
        unsafe { H5Treclaim(memory.0, extent.0, H5P_DEFAULT, raw.as_mut_ptr().cast()) };
    }
}

fn too_large_piece(bytes: u64) -> H5Error {
    let reason = format!(
        "they must be read {bytes} bytes at once, for its chunks, or what lies side by side in them, are that large; at most \
         {LARGEST_PIECE} are allowed"
    );
    H5Error::too_large("read values", reason)
}
