//! Files: opened for reading, or made; and how the library is set up before the first.

use std::ffi::c_uint;
use std::path::Path;
use std::ptr;
use std::sync::Once;

use hdf5_sys::h5f::{
    H5F_ACC_EXCL, H5F_ACC_RDONLY, H5F_ACC_RDWR, H5F_LIBVER_LATEST, H5F_close_degree_t, H5F_libver_t, H5F_scope_t,
    H5Fclose, H5Fcreate, H5Fflush, H5Fopen,
};
use hdf5_sys::h5o::H5Oopen;
use hdf5_sys::h5p::{
    H5P_CLS_FILE_ACCESS, H5P_DEFAULT, H5Pcreate, H5Pset_fapl_core, H5Pset_fclose_degree, H5Pset_file_image,
    H5Pset_libver_bounds,
};
use hdf5_sys::h5pl::H5PLset_loading_state;

use super::{Group, H5Error, Id, Result, c_path, check, handle};

/// Bytes by which a file in memory grows.
const STEP: usize = 4 << 10;

/// What we make ourselves is of the oldest version from this one on that can express it. The highest is the library's own: what
/// it can read it can copy.
const OLDEST: H5F_libver_t = H5F_libver_t::H5F_LIBVER_V18;

/// An open file. Closing it closes everything that was opened in it.
#[derive(Debug)]
pub(crate) struct File {
    id: Option<Id>,
}

impl File {
    /// Opens a file for reading.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_as(path, H5F_ACC_RDONLY)
    }

    /// Opens a file that is in the making, for reading and writing.
    pub(crate) fn open_to_change(path: &Path) -> Result<Self> {
        Self::open_as(path, H5F_ACC_RDWR)
    }

    /// Opens what was read of a file, which `path` names in messages, for reading; a copy is made of it. Links to other files
    /// lead nowhere.
    pub(crate) fn of_bytes(bytes: &mut [u8], path: &Path) -> Result<Self> {
        let doing = || format!("open `{}`", path.display());
        if bytes.is_empty() {
            return Err(H5Error::refused(doing(), "file signature not found: it is empty".to_owned()));
        }
        let access = access_list(OLDEST)?;
        // SAFETY: live property lists, as many bytes as there are, and a NUL-terminated name that no file can have.
        let id = unsafe {
            check(H5Pset_fapl_core(access.0, STEP, 0), doing)?;
            check(H5Pset_file_image(access.0, bytes.as_mut_ptr().cast(), bytes.len()), doing)?;
            H5Fopen(c"/dev/null/in memory".as_ptr(), H5F_ACC_RDONLY, access.0)
        };
        Ok(Self { id: Some(handle(id, doing)?) })
    }

    fn open_as(path: &Path, flags: c_uint) -> Result<Self> {
        let access = access_list(OLDEST)?;
        let c_path = c_path(path)?;
        // SAFETY: a NUL-terminated path and a live property list.
        let id = unsafe { H5Fopen(c_path.as_ptr(), flags, access.0) };
        Ok(Self { id: Some(handle(id, || format!("open `{}`", path.display()))?) })
    }

    /// Makes a new file, which h5py and h5dump of HDF5 1.10 can read as far as what is copied into it is not of a later version;
    /// fails when the name is taken.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        Self::create_from(path, OLDEST)
    }

    /// The same of this version of the format or a later one.
    fn create_from(path: &Path, low: H5F_libver_t) -> Result<Self> {
        Self::create_as(path, &access_list(low)?)
    }

    /// Makes a new file that is small: it is built in memory, and written at once when it is closed.
    pub(crate) fn create_small(path: &Path) -> Result<Self> {
        let access = access_list(OLDEST)?;
        // SAFETY: a plain call on a live property list.
        check(unsafe { H5Pset_fapl_core(access.0, STEP, 1) }, || "keep a file in memory".to_owned())?;
        Self::create_as(path, &access)
    }

    fn create_as(path: &Path, access: &Id) -> Result<Self> {
        let c_path = c_path(path)?;
        // SAFETY: as above.
        let id = unsafe { H5Fcreate(c_path.as_ptr(), H5F_ACC_EXCL, H5P_DEFAULT, access.0) };
        Ok(Self { id: Some(handle(id, || format!("create `{}`", path.display()))?) })
    }

    /// The root group.
    pub(crate) fn root(&self) -> Result<Group> {
        let id = self.id.as_ref().map_or(-1, |id| id.0);
        // SAFETY: plain call on a live handle.
        let root = unsafe { H5Oopen(id, c"/".as_ptr(), H5P_DEFAULT) };
        Ok(Group(handle(root, || "open the root group".to_owned())?))
    }

    /// Writes everything out and closes; what the disk refuses is an error here, and nowhere if this is not called.
    pub(crate) fn close(mut self) -> Result<()> {
        let Some(id) = self.id.take() else { return Ok(()) };
        // SAFETY: a plain call on a live handle. Its reason is asked for before the next call, which forgets it.
        let flushed = check(unsafe { H5Fflush(id.0, H5F_scope_t::H5F_SCOPE_GLOBAL) }, || "write the file".to_owned());
        // SAFETY: a plain call on a live handle, which is forgotten after it.
        let closed = unsafe { H5Fclose(id.0) };
        std::mem::forget(id);
        flushed?;
        check(closed, || "close the file".to_owned()).map(drop)
    }
}

/// Sets the library up once: no messages on stderr, no plugins from the disk.
fn initialise() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Opens the library, too.
        hdf5::silence_errors(true);
        // SAFETY: a plain call, from the one thread that uses the library.
        unsafe {
            // The crate declares a pointer where the library takes a mask by value: null is the mask that allows nothing.
            H5PLset_loading_state(ptr::null_mut());
        }
    });
}

fn access_list(low: H5F_libver_t) -> Result<Id> {
    initialise();
    // SAFETY: plain calls on a live handle.
    unsafe {
        let list = handle(H5Pcreate(*H5P_CLS_FILE_ACCESS), || "make a property list".to_owned())?;
        check(H5Pset_libver_bounds(list.0, low, H5F_LIBVER_LATEST), || "set the file format".to_owned())?;
        let strong = H5F_close_degree_t::H5F_CLOSE_STRONG;
        check(H5Pset_fclose_degree(list.0, strong), || "set how files close".to_owned())?;
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `libver="latest"` of the newest HDF5 has it, which no reader of an older one understands.
    #[test]
    fn what_is_of_the_latest_version_is_read_and_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (latest, ours) = (dir.path().join("latest.h5"), dir.path().join("ours.h5"));
        let file = File::create_from(&latest, H5F_LIBVER_LATEST).unwrap();
        let root = file.root().unwrap();
        let product = root.create_group("X").unwrap();
        product.create_text("text", "a").unwrap();
        product.set_floats("numbers", &[1.5, 2.5]).unwrap();
        drop((root, product));
        file.close().unwrap();

        let (from, to) = (File::open(&latest).unwrap(), File::create(&ours).unwrap());
        to.root().unwrap().copy_from(&from.root().unwrap(), "X", "X").unwrap();
        to.close().unwrap();
        let copied = File::open(&ours).unwrap();
        let product = copied.root().unwrap().subgroup("X").unwrap().unwrap();
        assert!(product.has("text").unwrap());
    }
}
