//! What the library refused, and what that says: of a file, of the operating system.

/// What the library refused, and its innermost reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to {doing}: {reason}")]
pub(crate) struct H5Error {
    pub(super) doing: String,
    pub(super) reason: String,
}

impl H5Error {
    /// Whether the operating system refused to read or write, and not the library to understand.
    pub(crate) fn is_of_the_system(&self) -> bool {
        self.is_refused_write() || (self.reason.starts_with("file read failed: ") && self.has_errno())
    }

    /// Whether the operating system refused to write, other than for the size of the file.
    pub(crate) fn is_refused_write(&self) -> bool {
        let is_write =
            ["file write failed: ", "write to backing store failed: "].iter().any(|said| self.reason.starts_with(said));
        is_write && self.has_errno() && !self.reason.contains("File too large")
    }

    /// Whether there is nothing of the library's in a file.
    pub(crate) fn is_no_hdf5(&self) -> bool {
        self.reason.contains("file signature not found")
    }

    fn has_errno(&self) -> bool {
        self.reason.contains("errno = ")
    }
}
