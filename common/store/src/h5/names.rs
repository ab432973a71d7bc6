//! LinkNames of links and attributes, which the library passes to a function of ours one by one.

use std::ffi::{CStr, c_char, c_void};

use hdf5_sys::h5::{H5_index_t, H5_iter_order_t, herr_t};
use hdf5_sys::h5a::{H5A_info_t, H5Aiterate2};
use hdf5_sys::h5i::hid_t;
use hdf5_sys::h5l::{H5L_info2_t, H5Literate2};

use super::{H5Error, Id, Result, check};

/// LinkNames of an object's attributes, sorted by bytes.
pub(super) fn of_attributes(object: hid_t) -> Result<Vec<String>> {
    let mut names = LinkNames::default();
    let mut index = 0;
    // SAFETY: `push_attribute` gets the pointer to `names`, which outlives the call.
    let status = unsafe {
        let (by, order) = (H5_index_t::H5_INDEX_NAME, H5_iter_order_t::H5_ITER_NATIVE);
        H5Aiterate2(object, by, order, &mut index, Some(push_attribute), (&raw mut names).cast())
    };
    names.finish(check(status, || "list attributes".to_owned()))
}

/// LinkNames in a group, sorted by bytes; at most `limit`, more is an error.
pub(super) fn of_links(group: &Id, limit: u64) -> Result<Vec<String>> {
    let mut names = LinkNames { limit: Some(limit), ..LinkNames::default() };
    let mut index = 0;
    // SAFETY: `push_link` gets the pointer to `names`, which outlives the call.
    let status = unsafe {
        let (by, order) = (H5_index_t::H5_INDEX_NAME, H5_iter_order_t::H5_ITER_NATIVE);
        H5Literate2(group.0, by, order, &mut index, Some(push_link), (&raw mut names).cast())
    };
    names.finish(check(status, || "list a group".to_owned()))
}

/// LinkNames that a callback collects.
#[derive(Default)]
struct LinkNames {
    names: Vec<String>,
    limit: Option<u64>,
    odd: Option<String>,
}

impl LinkNames {
    fn push(&mut self, name: *const c_char) -> herr_t {
        // SAFETY: the library passes NUL-terminated names.
        let name = unsafe { CStr::from_ptr(name) };
        match name.to_str() {
            Ok(_) if self.limit.is_some_and(|limit| self.names.len() as u64 >= limit) => {
                self.odd = Some("there are more names than allowed".to_owned());
                -1
            }
            Ok(name) => {
                self.names.push(name.to_owned());
                0
            }
            Err(_) => {
                self.odd = Some(format!("the name {:?} is not UTF-8", name.to_string_lossy()));
                -1
            }
        }
    }

    fn finish(mut self, listed: Result<herr_t>) -> Result<Vec<String>> {
        match (self.odd, listed) {
            (Some(reason), _) => Err(H5Error::refused("list names".to_owned(), reason)),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => {
                self.names.sort_unstable();
                Ok(self.names)
            }
        }
    }
}

unsafe extern "C" fn push_link(_: hid_t, name: *const c_char, _: *const H5L_info2_t, names: *mut c_void) -> herr_t {
    // SAFETY: `of_links` passes a LinkNames.
    unsafe { &mut *names.cast::<LinkNames>() }.push(name)
}

unsafe extern "C" fn push_attribute(_: hid_t, name: *const c_char, _: *const H5A_info_t, names: *mut c_void) -> herr_t {
    // SAFETY: `of_attributes` passes a LinkNames.
    unsafe { &mut *names.cast::<LinkNames>() }.push(name)
}
