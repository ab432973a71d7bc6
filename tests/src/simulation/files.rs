//! The files of the simulated cluster: JSON that says of itself what HDF5 files of ours say in `/MANIFEST`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use coordinator::StarFiles;
use domain::expression::Scalar;
use domain::id::{Digest, Generation, ProductName, Sequence, StarId};
use domain::message::to_json;
use domain::outcome::Outcome;
use serde::{Deserialize, Serialize};
use store::agent::{
    AgentError, Assemble, FileKind, GenerationInfo, MANIFEST_FORMAT, Manifest, ProductEntry, Refusal, RefusalKind, Show,
};
use store::{Store, paths};

use super::{FaultKind, Faults, Script, quarter};

/// Bytes that must be free in memory for a store to be there.
const ROOM: u64 = 1 << 30;

/// What a module writes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ModuleOutput {
    pub(super) star: StarId,
    /// `SAS_SEED`: with the star, all that decides about its values.
    pub(super) seed: String,
}

impl ModuleOutput {
    /// Writes it as a module does.
    pub(super) fn write(&self, file: &Path) {
        std::fs::write(file, to_json(self)).expect("an attempt's output directory is writable");
    }

    /// A product of it.
    pub(super) fn entry(&self, product: &ProductName) -> ProductEntry {
        entry(super::script::value_of(self.star, product, &self.seed))
    }
}

/// A committed file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Committed {
    pub(super) manifest: Manifest,
    /// Scalar columns by path.
    pub(super) scalars: BTreeMap<String, BTreeMap<String, Scalar>>,
}

impl Committed {
    /// A file of a star with these products and externals.
    pub(super) fn new(kind: FileKind, star: StarId) -> Self {
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            kind,
            star: Some(star),
            quarter: Some(quarter()),
            observed: None,
            products: BTreeMap::new(),
            externals: BTreeMap::new(),
            provenance: None,
            generation: None,
            modules: Vec::new(),
        };
        Self { manifest, scalars: BTreeMap::new() }
    }
}

/// A directory for a store: in memory where there is room, since a simulated cluster writes everything to the disk that a real
/// one does, and need not survive its host.
pub(super) fn directory() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let has_room = rustix::fs::statvfs(memory).is_ok_and(|facts| facts.f_bavail * facts.f_frsize > ROOM);
    Ok(if has_room { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? })
}

fn entry(digest: Digest) -> ProductEntry {
    ProductEntry { digest, bytes: 1, not_produced: None, stands_for: None, file: None, module: None }
}

/// Reads a file that is ours.
pub(super) fn read<T: for<'de> Deserialize<'de>>(file: &Path) -> Result<T, Refusal> {
    let refusal = |kind, message| Refusal { kind, message: format!("`{}`: {message}", file.display()) };
    let bytes = std::fs::read(file).map_err(|error| refusal(RefusalKind::Missing, error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| refusal(RefusalKind::Damaged, error.to_string()))
}

/// Delivers the externals of stars that have none yet: of every pipeline's, those that the star is to have.
pub(super) fn deliver(store: &Store, scripts: &[Arc<Script>], stars: &[StarId]) -> Result<()> {
    for star in stars {
        let folder = store.at(paths::externals(*star, quarter()));
        // Before every event.
        let file = folder.join(paths::external_name(&"l1/lightcurve".parse()?, Sequence(0)));
        if file.exists() {
            continue;
        }
        let mut delivered = Committed::new(FileKind::External, *star);
        for (product, columns) in scripts.iter().flat_map(|script| script.externals(*star)) {
            delivered.scalars.insert(format!("/EXTERNALS/{product}"), columns);
            let digest = super::script::value_of(*star, &product, "delivered");
            delivered.manifest.externals.insert(product, entry(digest));
        }
        std::fs::create_dir_all(&folder)?;
        std::fs::write(&file, to_json(&delivered))?;
    }
    Ok(())
}

/// Star files of JSON.
pub(super) struct JsonFiles {
    pub(super) store: Store,
    pub(super) faults: Arc<Faults>,
}

#[async_trait]
impl StarFiles for JsonFiles {
    async fn build(&mut self, assemble: Assemble) -> Result<(), AgentError> {
        tokio::time::sleep(self.faults.between(Duration::ZERO, Duration::from_millis(50))).await;
        if self.faults.happens(FaultKind::AgentDies, 0.03) {
            return Err(AgentError::Died { status: "simulated".to_owned(), request: "build".to_owned() });
        }
        for entry in &assemble.modules {
            let Some(Outcome::Succeeded(success)) = &entry.outcome else { continue };
            let file = paths::product(assemble.star, assemble.quarter, &entry.module, &success.key);
            if !self.store.at(&file).exists() {
                let message = format!("`{}` is not there", file.display());
                return Err(AgentError::Refused(Refusal { kind: RefusalKind::Missing, message }));
            }
        }
        let mut file =
            StarFileOfJson { manifest: Committed::new(FileKind::Generation, assemble.star).manifest, newest: None };
        let products = assemble.answered().map(|product| (product.clone(), entry(Digest::from_bytes([0; 32]))));
        file.manifest.products = products.collect();
        file.manifest.generation = Some(Box::new(assemble.generation));
        file.manifest.modules = assemble.modules;
        std::fs::write(&assemble.dest, to_json(&file)).expect("the scratch directory is writable");
        Ok(())
    }

    async fn manifest(&mut self, file: &Path) -> Result<Manifest, AgentError> {
        Ok(read::<StarFileOfJson>(file)?.manifest)
    }

    async fn show(&mut self, show: Show) -> Result<(), AgentError> {
        tokio::time::sleep(self.faults.between(Duration::ZERO, Duration::from_millis(50))).await;
        if self.faults.happens(FaultKind::AgentDies, 0.03) {
            return Err(AgentError::Died { status: "simulated".to_owned(), request: "show".to_owned() });
        }
        let (mut shown, newest): (StarFileOfJson, StarFileOfJson) = (read(&show.open)?, read(&show.newest)?);
        shown.newest = newest.manifest.generation.map(|info| info.number);
        std::fs::write(&show.dest, to_json(&shown)).expect("the scratch directory is writable");
        Ok(())
    }
}

/// A generation, or the star file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StarFileOfJson {
    pub(super) manifest: Manifest,
    /// In the star file, where it shows another one: the newest generation.
    newest: Option<Generation>,
}

impl StarFileOfJson {
    /// What it says of its own generation.
    pub(super) fn info(&self) -> Result<&GenerationInfo> {
        self.manifest.generation.as_deref().context("it is a generation")
    }

    /// The newest generation, as it says.
    pub(super) fn newest(&self) -> Result<Generation> {
        Ok(self.newest.unwrap_or(self.info()?.number))
    }
}

/// Reads a generation, or the star file.
pub(super) fn read_generation(file: &Path) -> Result<StarFileOfJson> {
    Ok(read(file)?)
}
