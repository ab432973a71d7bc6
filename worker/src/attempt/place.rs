//! Where a product lies that an attempt reads.

use std::path::PathBuf;

/// Where a product lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InputPlace {
    /// The file, relative to the star's folder, or `shared/…`.
    pub(super) name: String,
    /// The file, absolute.
    pub(super) file: PathBuf,
    /// Where in it.
    pub(super) path: String,
}
