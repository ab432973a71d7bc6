//! Deliveries that were found damaged. Nobody here can make one again, and whoever reads it must not read something older in its
//! place: so its name stays taken, by a note that no reader of HDF5 takes for data, until it is delivered again.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use domain::id::ProductName;
use domain::message::to_json;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::absence::found;
use crate::{Store, StoreError, durable, read_json};

/// What stands in the place of a delivery that was found damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedDelivery {
    /// When it was found.
    pub found: Timestamp,
    /// Where its bytes are, a name in the same folder.
    pub aside: String,
    /// The products that were in it, as far as that could be read.
    pub products: BTreeSet<ProductName>,
}

impl Store {
    /// Moves a damaged delivery aside, and leaves a note in its place that says what was in it. `seen` is as for
    /// [`durable::set_aside`]; returns where the bytes are, or nothing where somebody else was faster.
    pub fn set_delivery_aside(
        &self,
        path: &Path,
        seen: u64,
        products: BTreeSet<ProductName>,
    ) -> Result<Option<PathBuf>, StoreError> {
        let note = |aside: &Path| {
            let aside = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
            to_json(&DamagedDelivery { found: Timestamp::now(), aside, products })
        };
        durable::set_aside_leaving(path, seen, &self.beside(), note)
    }
}

impl DamagedDelivery {
    /// What is in the place of a delivery that was found damaged; nothing where it is a delivery, or not there.
    pub fn at(path: &Path) -> Result<Option<Self>, StoreError> {
        let mut first = [0];
        let begins = found("read", path, || File::open(path).and_then(|mut file| file.read(&mut first)))?;
        if begins.is_none() || first != *b"{" {
            return Ok(None);
        }
        match read_json(path) {
            // What begins like a note and is none is a delivery that is damaged itself.
            Err(StoreError::Damaged { .. }) => Ok(None),
            note => note,
        }
    }
}
