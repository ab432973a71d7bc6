//! HDF5 behind safe words: with its submodules the only code that calls the C library.
//!
//! For one thread only, the store agent's: nothing here locks, and nothing follows a link that it was not asked to.
//! Handles close themselves. A call that the library refuses is an [`H5Error`] with the library's innermost reason.

mod elements;
mod error;
mod file;
mod names;
mod pieces;
mod types;
mod values;
mod write;

use std::ffi::{CStr, CString, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

pub(super) use error::{H5Error, H5ErrorKind};
pub(super) use file::File;
use hdf5_sys::h5::{herr_t, hsize_t};
use hdf5_sys::h5a::{H5Aexists, H5Aopen};
use hdf5_sys::h5d::{H5D_layout_t, H5Dget_create_plist, H5Dget_space, H5Dget_type};
use hdf5_sys::h5e::{H5E_DEFAULT, H5E_direction_t, H5E_error2_t, H5Eclear2, H5Ewalk2};
use hdf5_sys::h5i::{H5I_type_t, H5Idec_ref, H5Iget_type, hid_t};
use hdf5_sys::h5l::{H5L_info2_t, H5L_type_t, H5Lget_info2};
use hdf5_sys::h5o::H5Oopen;
use hdf5_sys::h5p::{H5P_DEFAULT, H5Pget_chunk, H5Pget_external_count, H5Pget_filter2, H5Pget_layout, H5Pget_nfilters};
use hdf5_sys::h5s::{H5S_class_t, H5Sget_simple_extent_dims, H5Sget_simple_extent_ndims, H5Sget_simple_extent_type};
pub(super) use types::Type;
pub(super) use values::{Value, append};

/// Attributes by which HDF5's dimension scales refer to each other, by addresses in their file: no values.
pub(super) const OF_SCALES: [&str; 2] = ["DIMENSION_LIST", "REFERENCE_LIST"];

/// Most dimensions that the library knows.
const MOST_DIMENSIONS: usize = 32;

pub(super) type Result<T> = std::result::Result<T, H5Error>;

/// A handle of the library; given back when it goes out of scope.
#[derive(Debug)]
struct Id(hid_t);

impl Drop for Id {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and was given out by the library.
        unsafe { H5Idec_ref(self.0) };
    }
}

/// An object of a file: a group, a dataset, or something that we do not read.
#[derive(Debug)]
pub(super) enum Object {
    /// A group.
    Group(Group),
    /// A dataset.
    Dataset(Dataset),
    /// A named datatype or map.
    Other,
}

/// A group.
#[derive(Debug)]
pub(super) struct Group(Id);

/// A dataset.
#[derive(Debug)]
pub(super) struct Dataset(Id);

/// Anything that has attributes.
pub(super) trait Attributed {
    #[doc(hidden)]
    fn id(&self) -> hid_t;

    /// Names of its attributes, sorted by bytes.
    fn attribute_names(&self) -> Result<Vec<String>> {
        names::of_attributes(self.id())
    }

    /// The value of an attribute; `None` when it is not there.
    fn attribute(&self, name: &str) -> Result<Option<Value>> {
        let c_name = c_string(name)?;
        // SAFETY: plain calls on a live handle.
        let there = unsafe { H5Aexists(self.id(), c_name.as_ptr()) };
        if check(there, || format!("look for attribute {name:?}"))? == 0 {
            return Ok(None);
        }
        // SAFETY: as above.
        let id = unsafe { H5Aopen(self.id(), c_name.as_ptr(), H5P_DEFAULT) };
        values::attribute(&handle(id, || format!("open attribute {name:?}"))?, name).map(Some)
    }

    /// The value of an attribute that is one text; `None` when it is not there or something else.
    fn text_attribute(&self, name: &str) -> Result<Option<String>> {
        Ok(self.attribute(name)?.and_then(|value| value.as_text()))
    }
}

impl Attributed for Group {
    fn id(&self) -> hid_t {
        self.0.0
    }
}

impl Attributed for Dataset {
    fn id(&self) -> hid_t {
        self.0.0
    }
}

/// How a name of a group leads to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkKind {
    /// To an object of the same file.
    Hard,
    /// To a path in the same file.
    Soft,
    /// To a path in another file.
    External,
    /// By rules of somebody's own.
    UserDefined,
}

/// Extent of a dataset or attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// No value at all.
    Null,
    /// One value.
    Scalar,
    /// An array.
    Array(Vec<u64>),
}

impl Shape {
    /// Number of elements; `None` when it does not fit 64 bits.
    pub(super) fn elements(&self) -> Option<u64> {
        match self {
            Self::Null => Some(0),
            Self::Scalar => Some(1),
            Self::Array(dims) if dims.contains(&0) => Some(0),
            Self::Array(dims) => dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim)),
        }
    }

    /// Whether there is one value: a scalar, or an array of one element, as many programs write scalars.
    pub(super) fn is_one(&self) -> bool {
        self.elements() == Some(1)
    }

    /// What a column of this shape is, whose type is `word`.
    pub(super) fn words(&self, word: &str) -> String {
        match self {
            Self::Null => format!("{word} without a value"),
            Self::Scalar => word.to_owned(),
            Self::Array(dims) => format!("{word} of shape {dims:?}"),
        }
    }

    /// Its dimensions; none for a scalar.
    pub(super) fn dims(&self) -> &[u64] {
        match self {
            Self::Null | Self::Scalar => &[],
            Self::Array(dims) => dims,
        }
    }
}

/// How a dataset's bytes are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Storage {
    /// Values come from other datasets, maybe of other files.
    pub(super) is_virtual: bool,
    /// Values come from other files, as raw bytes.
    pub(super) external_files: u32,
    /// Ids of its filters, in order.
    pub(super) filters: Vec<i32>,
    /// Extent of its chunks; none where it is stored in one piece.
    pub(super) chunk: Option<Vec<u64>>,
}

impl Group {
    /// Names in the group with the kind of their link, sorted by bytes; at most `limit`, more is an error.
    pub(super) fn links(&self, limit: u64) -> Result<Vec<(String, LinkKind)>> {
        names::of_links(&self.0, limit)?
            .into_iter()
            .map(|name| self.link_kind(&name).map(|kind| (name, kind)))
            .collect()
    }

    /// How many names the group has.
    pub(super) fn len(&self) -> Result<u64> {
        let mut info = hdf5_sys::h5g::H5G_info_t::default();
        // SAFETY: the library fills `info`.
        let status = unsafe { hdf5_sys::h5g::H5Gget_info(self.0.0, &mut info) };
        check(status, || "look at a group".to_owned()).map(|_| info.nlinks)
    }

    /// How a name of this group leads to its object; the name must be there.
    fn link_kind(&self, name: &str) -> Result<LinkKind> {
        let c_name = c_string(name)?;
        let mut info = H5L_info2_t::default();
        // The crate's enum has no variant for user-defined classes between 65 and 255, so the field is read as a number.
        // SAFETY: the library fills `info`; its first field is a C enum.
        let (status, class) = unsafe {
            let status = H5Lget_info2(self.0.0, c_name.as_ptr(), &mut info, H5P_DEFAULT);
            (status, ptr::read((&raw const info).cast::<i32>()))
        };
        check(status, || format!("look at link {name:?}"))?;
        Ok(if class == H5L_type_t::H5L_TYPE_HARD as i32 {
            LinkKind::Hard
        } else if class == H5L_type_t::H5L_TYPE_SOFT as i32 {
            LinkKind::Soft
        } else if class == H5L_type_t::H5L_TYPE_EXTERNAL as i32 {
            LinkKind::External
        } else {
            LinkKind::UserDefined
        })
    }

    /// Whether the group has this name, wherever it leads.
    pub(super) fn has(&self, name: &str) -> Result<bool> {
        let c_name = c_string(name)?;
        // SAFETY: plain call on a live handle.
        let there = unsafe { hdf5_sys::h5l::H5Lexists(self.0.0, c_name.as_ptr(), H5P_DEFAULT) };
        Ok(check(there, || format!("look for {name:?}"))? > 0)
    }

    /// Opens what a name of this group leads to, links followed.
    pub(super) fn open(&self, name: &str) -> Result<Object> {
        let c_name = c_string(name)?;
        // SAFETY: plain calls on live handles.
        let id = unsafe { H5Oopen(self.0.0, c_name.as_ptr(), H5P_DEFAULT) };
        let id = handle(id, || format!("open {name:?}"))?;
        // SAFETY: as above.
        let class = unsafe { H5Iget_type(id.0) };
        Ok(if class == H5I_type_t::H5I_GROUP {
            Object::Group(Self(id))
        } else if class == H5I_type_t::H5I_DATASET {
            Object::Dataset(Dataset(id))
        } else {
            Object::Other
        })
    }

    /// The subgroup of this name; `None` when there is no such name or it is something else.
    pub(super) fn subgroup(&self, name: &str) -> Result<Option<Group>> {
        if !self.has(name)? || self.link_kind(name)? != LinkKind::Hard {
            return Ok(None);
        }
        match self.open(name)? {
            Object::Group(group) => Ok(Some(group)),
            Object::Dataset(_) | Object::Other => Ok(None),
        }
    }
}

impl Dataset {
    /// The type of its elements.
    pub(super) fn dtype(&self) -> Result<Type> {
        // SAFETY: plain call on a live handle.
        let id = unsafe { H5Dget_type(self.0.0) };
        types::parse(&handle(id, || "read a dataset's type".to_owned())?)
    }

    /// Its extent.
    pub(super) fn shape(&self) -> Result<Shape> {
        // SAFETY: plain call on a live handle.
        let id = unsafe { H5Dget_space(self.0.0) };
        shape_of(&handle(id, || "read a dataset's extent".to_owned())?)
    }

    /// How its bytes are stored.
    pub(super) fn storage(&self) -> Result<Storage> {
        // SAFETY: plain calls on live handles; the filter query asks for no names and no parameters.
        unsafe {
            let plist = handle(H5Dget_create_plist(self.0.0), || "read a dataset's storage".to_owned())?;
            let external = check(H5Pget_external_count(plist.0), || "read external storage".to_owned())?;
            let count = check(H5Pget_nfilters(plist.0), || "read filters".to_owned())?;
            let mut filters = Vec::new();
            for index in 0..count.unsigned_abs() {
                let (mut flags, mut config, mut values) = (0, 0, 0);
                let (none, no_name) = (ptr::null_mut(), ptr::null_mut());
                let id = H5Pget_filter2(plist.0, index, &mut flags, &mut values, none, 0, no_name, &mut config);
                filters.push(check(id, || "read a filter".to_owned())?);
            }
            let layout = H5Pget_layout(plist.0);
            Ok(Storage {
                is_virtual: layout == H5D_layout_t::H5D_VIRTUAL,
                chunk: (layout == H5D_layout_t::H5D_CHUNKED).then(|| chunk_of(&plist)).transpose()?,
                external_files: external.unsigned_abs(),
                filters,
            })
        }
    }
}

/// Extent of the chunks of a chunked dataset.
fn chunk_of(plist: &Id) -> Result<Vec<u64>> {
    let mut dims: [hsize_t; MOST_DIMENSIONS] = [0; MOST_DIMENSIONS];
    // SAFETY: `dims` has room for as many as are said.
    let rank = unsafe { H5Pget_chunk(plist.0, MOST_DIMENSIONS as i32, dims.as_mut_ptr()) };
    let rank = check(rank, || "read the extent of chunks".to_owned())?.unsigned_abs() as usize;
    Ok(dims[..rank.min(MOST_DIMENSIONS)].to_vec())
}

fn shape_of(space: &Id) -> Result<Shape> {
    // SAFETY: plain calls on a live handle; `dims` has room for every dimension.
    unsafe {
        let class = H5Sget_simple_extent_type(space.0);
        if class == H5S_class_t::H5S_NULL {
            return Ok(Shape::Null);
        }
        if class == H5S_class_t::H5S_SCALAR {
            return Ok(Shape::Scalar);
        }
        let ndims = check(H5Sget_simple_extent_ndims(space.0), || "read an extent".to_owned())?;
        let mut dims: Vec<hsize_t> = vec![0; ndims.unsigned_abs() as usize];
        check(H5Sget_simple_extent_dims(space.0, dims.as_mut_ptr(), ptr::null_mut()), || "read an extent".to_owned())?;
        Ok(Shape::Array(dims))
    }
}

/// Takes a handle over, or says why there is none.
fn handle(id: hid_t, doing: impl FnOnce() -> String) -> Result<Id> {
    if id < 0 { Err(failure(doing())) } else { Ok(Id(id)) }
}

/// Passes a status on, or says why it is one of failure.
fn check(status: herr_t, doing: impl FnOnce() -> String) -> Result<herr_t> {
    if status < 0 { Err(failure(doing())) } else { Ok(status) }
}

fn failure(doing: String) -> H5Error {
    let mut reason = String::new();
    // SAFETY: `innermost` gets the pointer to `reason`, which outlives the call.
    unsafe {
        let direction = H5E_direction_t::H5E_WALK_UPWARD;
        H5Ewalk2(H5E_DEFAULT, direction, Some(innermost), (&raw mut reason).cast());
        H5Eclear2(H5E_DEFAULT);
    }
    if reason.is_empty() {
        reason.push_str("the library does not say why");
    }
    H5Error::refused(doing, reason)
}

/// Keeps the first description of an error stack, which is the innermost.
unsafe extern "C" fn innermost(_n: c_uint, error: *const H5E_error2_t, reason: *mut c_void) -> herr_t {
    // SAFETY: `failure` passes a String; the library passes a live error record.
    let (reason, desc) = unsafe { (&mut *reason.cast::<String>(), (*error).desc) };
    if reason.is_empty() && !desc.is_null() {
        // SAFETY: descriptions are NUL-terminated.
        reason.push_str(&unsafe { CStr::from_ptr(desc) }.to_string_lossy());
    }
    0
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| H5Error::refused(format!("use the name {text:?}"), "it holds a NUL".to_owned()))
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| H5Error::refused(format!("use the path {path:?}"), "it holds a NUL".to_owned()))
}
