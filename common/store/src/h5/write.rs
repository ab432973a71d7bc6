//! What we write: groups, texts, attributes, links and copies of whole objects.

use std::ffi::CString;
use std::ptr;

use hdf5_sys::h5a::{H5Acreate2, H5Adelete, H5Aexists, H5Awrite};
use hdf5_sys::h5d::{H5Dcreate2, H5Dwrite};
use hdf5_sys::h5g::H5Gcreate2;
use hdf5_sys::h5i::hid_t;
use hdf5_sys::h5l::H5Lcreate_external;
use hdf5_sys::h5o::H5Ocopy;
use hdf5_sys::h5p::{H5P_CLS_LINK_CREATE, H5P_DEFAULT, H5Pcreate, H5Pset_char_encoding};
use hdf5_sys::h5s::{H5S_ALL, H5S_class_t, H5Screate, H5Screate_simple};
use hdf5_sys::h5t::{
    H5T_C_S1, H5T_IEEE_F64LE, H5T_STD_I64LE, H5T_VARIABLE, H5T_cset_t, H5T_str_t, H5Tcopy, H5Tset_cset, H5Tset_size,
    H5Tset_strpad,
};

use super::{Attributed, Group, Id, LinkKind, OF_SCALES, Object, Result, c_string, check, handle};

impl Group {
    /// Makes a subgroup.
    pub(crate) fn create_group(&self, name: &str) -> Result<Group> {
        let (c_name, utf8) = (c_string(name)?, utf8_names()?);
        // SAFETY: plain call on live handles.
        let id = unsafe { H5Gcreate2(self.0.0, c_name.as_ptr(), utf8.0, H5P_DEFAULT, H5P_DEFAULT) };
        Ok(Group(handle(id, || format!("make group {name:?}"))?))
    }

    /// The subgroup of this name, made when it is not there.
    pub(crate) fn require_group(&self, name: &str) -> Result<Group> {
        match self.subgroup(name)? {
            Some(group) => Ok(group),
            None => self.create_group(name),
        }
    }

    /// Writes a scalar dataset of UTF-8 text; NULs, which HDF5 cannot hold in text, become replacement characters.
    pub(crate) fn create_text(&self, name: &str, text: &str) -> Result<()> {
        let doing = || format!("write {name:?}");
        let (c_name, utf8, dtype, space) = (c_string(name)?, utf8_names()?, text_type()?, scalar()?);
        let text = without_nul(text);
        // SAFETY: a value of the variable-length text type is a pointer to a NUL-terminated text.
        unsafe {
            let id = H5Dcreate2(self.0.0, c_name.as_ptr(), dtype.0, space.0, utf8.0, H5P_DEFAULT, H5P_DEFAULT);
            let dataset = handle(id, doing)?;
            let value = text.as_ptr();
            let status = H5Dwrite(dataset.0, dtype.0, H5S_ALL, H5S_ALL, H5P_DEFAULT, (&raw const value).cast());
            check(status, doing).map(drop)
        }
    }

    /// Makes a link to a path in another file, which the reader resolves from the directory of this one.
    pub(crate) fn link_external(&self, name: &str, file: &str, path: &str) -> Result<()> {
        let (c_name, c_file, c_path, utf8) = (c_string(name)?, c_string(file)?, c_string(path)?, utf8_names()?);
        // SAFETY: plain call on live handles and NUL-terminated names.
        let status = unsafe {
            H5Lcreate_external(c_file.as_ptr(), c_path.as_ptr(), self.0.0, c_name.as_ptr(), utf8.0, H5P_DEFAULT)
        };
        check(status, || format!("link {name:?} to {path:?} of {file:?}")).map(drop)
    }

    /// Copies an object with everything below it from another group; links in it are copied as links.
    pub(crate) fn copy_from(&self, source: &Group, name: &str, to: &str) -> Result<()> {
        let (c_name, c_to, utf8) = (c_string(name)?, c_string(to)?, utf8_names()?);
        // SAFETY: plain call on live handles and NUL-terminated names.
        let status = unsafe { H5Ocopy(source.0.0, c_name.as_ptr(), self.0.0, c_to.as_ptr(), H5P_DEFAULT, utf8.0) };
        check(status, || format!("copy {name:?}")).map(drop)
    }

    /// The same without the references of dimension scales to each other, which mean nothing in another file.
    pub(crate) fn copy_values_from(&self, source: &Group, name: &str, to: &str) -> Result<()> {
        self.copy_from(source, name, to)?;
        forget_scales(&self.open(to)?)
    }

    /// Removes an attribute, if it is there.
    pub(crate) fn forget(&self, name: &str) -> Result<()> {
        forget(self, name)
    }

    /// Writes a text attribute.
    pub(crate) fn set_text(&self, name: &str, text: &str) -> Result<()> {
        let text = without_nul(text);
        self.set(name, &text_type()?, &scalar()?, &text.as_ptr())
    }

    /// Writes an attribute that is a list of texts.
    pub(crate) fn set_texts<T: AsRef<str>>(&self, name: &str, texts: &[T]) -> Result<()> {
        let texts: Vec<CString> = texts.iter().map(|text| without_nul(text.as_ref())).collect();
        let pointers: Vec<_> = texts.iter().map(|text| text.as_ptr()).collect();
        self.set(name, &text_type()?, &vector(pointers.len())?, pointers.as_ptr())
    }

    /// Writes an integer attribute.
    pub(crate) fn set_int(&self, name: &str, value: i64) -> Result<()> {
        // SAFETY: a copy of a type of the library.
        let dtype = handle(unsafe { H5Tcopy(*H5T_STD_I64LE) }, || "make a type".to_owned())?;
        self.set(name, &dtype, &scalar()?, &value)
    }

    /// Writes an attribute that is a list of floats.
    pub(crate) fn set_floats(&self, name: &str, values: &[f64]) -> Result<()> {
        // SAFETY: as above.
        let dtype = handle(unsafe { H5Tcopy(*H5T_IEEE_F64LE) }, || "make a type".to_owned())?;
        self.set(name, &dtype, &vector(values.len())?, values.as_ptr())
    }

    /// Writes an attribute; `value` points to as many values of this type as `space` has.
    fn set<T>(&self, name: &str, dtype: &Id, space: &Id, value: *const T) -> Result<()> {
        let doing = || format!("write attribute {name:?}");
        let c_name = c_string(name)?;
        let utf8 = attribute_names()?;
        // SAFETY: the callers above pass values that fit type and space.
        unsafe {
            let id = H5Acreate2(self.id(), c_name.as_ptr(), dtype.0, space.0, utf8.0, H5P_DEFAULT);
            let attribute = handle(id, doing)?;
            check(H5Awrite(attribute.0, dtype.0, value.cast()), doing).map(drop)
        }
    }
}

fn forget_scales(object: &Object) -> Result<()> {
    match object {
        Object::Dataset(dataset) => OF_SCALES.iter().try_for_each(|name| forget(dataset, name)),
        Object::Group(group) => group
            .links(u64::MAX)?
            .iter()
            .filter(|(_, kind)| *kind == LinkKind::Hard)
            .try_for_each(|(name, _)| forget_scales(&group.open(name)?)),
        Object::Other => Ok(()),
    }
}

/// Removes an attribute, if it is there.
fn forget(of: &impl Attributed, name: &str) -> Result<()> {
    let c_name = c_string(name)?;
    let doing = || format!("remove attribute {name:?}");
    // SAFETY: plain calls on a live handle and a NUL-terminated name.
    unsafe {
        if check(H5Aexists(of.id(), c_name.as_ptr()), doing)? > 0 {
            check(H5Adelete(of.id(), c_name.as_ptr()), doing)?;
        }
    }
    Ok(())
}

/// Text as C has it: a NUL inside becomes U+FFFD.
fn without_nul(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

fn text_type() -> Result<Id> {
    let doing = || "make a text type".to_owned();
    // SAFETY: plain calls on a live handle.
    unsafe {
        let id = handle(H5Tcopy(*H5T_C_S1), doing)?;
        check(H5Tset_size(id.0, H5T_VARIABLE), doing)?;
        check(H5Tset_strpad(id.0, H5T_str_t::H5T_STR_NULLTERM), doing)?;
        check(H5Tset_cset(id.0, H5T_cset_t::H5T_CSET_UTF8), doing)?;
        Ok(id)
    }
}

/// How names of links are written.
fn utf8_names() -> Result<Id> {
    names_in_utf8(*H5P_CLS_LINK_CREATE)
}

/// How names of attributes are written.
fn attribute_names() -> Result<Id> {
    names_in_utf8(*hdf5_sys::h5p::H5P_CLS_ATTRIBUTE_CREATE)
}

fn names_in_utf8(class: hid_t) -> Result<Id> {
    let doing = || "make a property list".to_owned();
    // SAFETY: plain calls on a live handle.
    unsafe {
        let id = handle(H5Pcreate(class), doing)?;
        check(H5Pset_char_encoding(id.0, H5T_cset_t::H5T_CSET_UTF8), doing)?;
        Ok(id)
    }
}

fn scalar() -> Result<Id> {
    // SAFETY: plain call.
    handle(unsafe { H5Screate(H5S_class_t::H5S_SCALAR) }, || "make an extent".to_owned())
}

fn vector(len: usize) -> Result<Id> {
    let dims = [len as u64];
    // SAFETY: one dimension, as said.
    handle(unsafe { H5Screate_simple(1, dims.as_ptr(), ptr::null()) }, || "make an extent".to_owned())
}
