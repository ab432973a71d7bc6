//! Manifests of committed files that a worker has read: shared by its slots, and bounded by what they take.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use store::agent::Manifest;

/// Bytes of JSON that are kept at most, of all manifests together; in memory they take a few times as much.
const MOST: u64 = 4 << 20;

/// What a manifest takes as a rule, in bytes.
const USUAL: usize = 4 << 10;

/// Manifests that a worker has read. They are of committed files, which never change; where another file has taken the place of one
/// that was damaged, it has another number. Clones are the same.
#[derive(Clone)]
pub(crate) struct Manifests(Arc<Cache<PathBuf, KeptManifest, ByBytes>>);

#[derive(Clone)]
struct KeptManifest {
    manifest: Arc<Manifest>,
    /// The number of the file.
    inode: u64,
    bytes: u64,
}

/// Weighs manifests.
#[derive(Clone)]
struct ByBytes;

impl Weighter<PathBuf, KeptManifest> for ByBytes {
    fn weight(&self, _: &PathBuf, kept: &KeptManifest) -> u64 {
        kept.bytes
    }
}

impl Default for Manifests {
    fn default() -> Self {
        Self(Arc::new(Cache::with_weighter(MOST as usize / USUAL, MOST, ByBytes)))
    }
}

impl Manifests {
    pub(super) fn of(&self, file: &Path, inode: u64) -> Option<Arc<Manifest>> {
        self.0.get(file).filter(|kept| kept.inode == inode).map(|kept| kept.manifest)
    }

    pub(super) fn keep(&self, file: PathBuf, inode: u64, manifest: &Arc<Manifest>) {
        let bytes = file.as_os_str().len() + serde_json::to_vec(&**manifest).map_or(USUAL, |json| json.len());
        self.0.insert(file, KeptManifest { manifest: Arc::clone(manifest), inode, bytes: bytes as u64 });
    }
}

#[cfg(test)]
mod tests {
    use domain::id::Digest;
    use store::agent::{FileKind, MANIFEST_FORMAT, ProductEntry};

    use super::*;

    fn manifest(products: usize) -> Arc<Manifest> {
        let digest = Digest::from_bytes([1; 32]);
        let entry = ProductEntry { digest, bytes: 8, not_produced: None, stands_for: None, file: None, module: None };
        let products = (0..products).map(|n| (format!("P{n}").parse().unwrap(), entry.clone())).collect();
        Arc::new(Manifest {
            format: MANIFEST_FORMAT,
            kind: FileKind::Result,
            star: None,
            quarter: None,
            observed: None,
            products,
            externals: [].into(),
            provenance: None,
            generation: None,
            modules: Vec::new(),
        })
    }

    #[test]
    fn however_many_are_read_they_take_no_more_than_so_much() {
        let manifests = Manifests::default();
        let manifest = manifest(100);
        for n in 0..5_000 {
            manifests.keep(PathBuf::from(format!("stars/{n}.h5")), n, &manifest);
        }
        assert!(
            manifests.0.weight() <= MOST && manifests.0.len() > 100,
            "{} in {}",
            manifests.0.weight(),
            manifests.0.len()
        );
        let last = PathBuf::from("stars/last.h5");
        manifests.keep(last.clone(), 7, &manifest);
        assert!(manifests.of(&last, 7).is_some() && manifests.of(Path::new("stars/none.h5"), 7).is_none());
        assert!(manifests.of(&last, 8).is_none(), "another file has taken its place");
    }
}
