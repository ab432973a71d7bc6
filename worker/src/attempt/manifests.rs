//! Manifests of committed files that a slot has read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::agent::Manifest;

/// Manifests that a slot keeps at most; they are of committed files, which never change.
const KEPT: usize = 512;

/// Manifests that a slot has read.
#[derive(Debug, Default)]
pub(crate) struct Manifests(BTreeMap<PathBuf, Arc<Manifest>>);

impl Manifests {
    pub(super) fn of(&self, file: &Path) -> Option<Arc<Manifest>> {
        self.0.get(file).cloned()
    }

    pub(super) fn keep(&mut self, file: PathBuf, manifest: &Arc<Manifest>) {
        if self.0.len() >= KEPT {
            self.0.clear();
        }
        self.0.insert(file, Arc::clone(manifest));
    }
}
