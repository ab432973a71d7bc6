//! What the library refused, and what that says: of a file, of the operating system, of us.

/// What the library refused, and its innermost reason; or what we do not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to {doing}: {reason}")]
pub(crate) struct H5Error {
    pub(super) doing: String,
    pub(super) reason: String,
    pub(super) kind: H5ErrorKind,
}

/// Whose trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum H5ErrorKind {
    /// The library could not do it.
    Refused,
    /// Nothing is wrong with it, but we do not read such types.
    Unsupported,
    /// It takes more memory, or has larger pieces, than is allowed.
    TooLarge,
}

impl H5Error {
    /// What the library refused; a request for memory that it did not get is told from all else by its words.
    pub(super) fn refused(doing: String, reason: String) -> Self {
        let is_of_memory = ["memory allocation failed", "can't allocate", "unable to allocate"];
        if is_of_memory.iter().any(|words| reason.contains(words)) {
            let reason = format!("it takes more memory than what there is and is declared would ({reason})");
            return Self { doing, reason, kind: H5ErrorKind::TooLarge };
        }
        Self { doing, reason, kind: H5ErrorKind::Refused }
    }

    /// Something that is larger than is allowed.
    pub(crate) fn too_large(doing: &str, reason: String) -> Self {
        Self { doing: doing.to_owned(), reason, kind: H5ErrorKind::TooLarge }
    }

    /// Whose trouble it is.
    pub(crate) fn kind(&self) -> H5ErrorKind {
        self.kind
    }

    /// Why, without what was being done.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

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

/// Values that do not fit in memory, or not in a number.
pub(super) fn too_large() -> H5Error {
    H5Error::too_large("read values", "there are more than fit in memory".to_owned())
}
