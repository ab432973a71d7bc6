//! A store agent without a process: files of JSON, and a death now and then.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::id::Key;
use domain::message::to_json;
use store::agent::{
    AgentError, Checked, FileKind, Manifest, ReadScalars, Refusal, RefusalKind, Seal, Stage, WantedScalars,
};
use worker::agent::StoreAgent;

use super::files::{Committed, ModuleOutput, read};
use super::life::Life;
use super::mutant::Mutant;
use super::{FaultKind, Faults};

/// The agent of one slot.
pub(super) struct SimulatedAgent {
    faults: Arc<Faults>,
    life: Life,
    /// It was asked before; a fresh one answers.
    is_worn: bool,
    /// What its worker packed.
    packed: PackedResults,
}

/// What the agents of a worker packed, by key.
pub(super) type PackedResults = Arc<Mutex<BTreeMap<Key, Manifest>>>;

impl SimulatedAgent {
    pub(super) fn new(faults: Arc<Faults>, life: Life, packed: PackedResults) -> Self {
        Self { faults, life, is_worn: false, packed }
    }

    /// Takes the time of an answer. Sometimes the agent dies over it, and sometimes its worker.
    async fn work(&mut self, request: &str) -> Result<(), AgentError> {
        tokio::time::sleep(self.faults.between(Duration::ZERO, Duration::from_millis(2))).await;
        self.life.may_die(0.002).await;
        if self.is_worn && self.faults.happens(FaultKind::AgentDies, 0.01) {
            self.is_worn = false;
            return Err(AgentError::Died { status: "simulated".to_owned(), request: request.to_owned() });
        }
        self.is_worn = true;
        Ok(())
    }
}

#[async_trait]
impl StoreAgent for SimulatedAgent {
    async fn manifest(&mut self, file: &Path) -> Result<Manifest, AgentError> {
        self.work("manifest").await?;
        let Committed { manifest, .. } = read(file)?;
        if !self.faults.breaks(Mutant::DigestsOfTheMessage) {
            return Ok(manifest);
        }
        let key = manifest.provenance.as_ref().map(|provenance| provenance.key);
        let own = key.and_then(|key| self.packed.lock().unwrap().get(&key).cloned());
        Ok(own.filter(|own| own.star == manifest.star).unwrap_or(manifest))
    }

    async fn scalars(&mut self, wants: Vec<WantedScalars>) -> Result<Vec<ReadScalars>, AgentError> {
        self.work("scalars").await?;
        let scalars = |WantedScalars { at, .. }: &WantedScalars| {
            let file: Committed = read(&at.file)?;
            let scalars = file.scalars.get(&at.path).cloned();
            let scalars = scalars.ok_or_else(|| missing(format!("`{}` has no {}", at.file.display(), at.path)))?;
            Ok(ReadScalars { scalars, others: BTreeMap::new() })
        };
        Ok(wants.iter().map(scalars).collect::<Result<_, Refusal>>()?)
    }

    async fn stage(&mut self, stage: Stage) -> Result<(), AgentError> {
        self.work("stage").await?;
        let folder = stage.input.parent().expect("an input lies in its directory");
        for item in &stage.items {
            let Committed { manifest, .. } = read(&folder.join(&item.file))?;
            let paths = manifest.products.keys().map(|name| format!("/PRODUCTS/{name}"));
            let mut paths = paths.chain(manifest.externals.keys().map(|name| format!("/EXTERNALS/{name}")));
            if !paths.any(|path| path == item.path) {
                return Err(missing(format!("{} is not in {}", item.path, item.file)).into());
            }
        }
        write_new(&stage.input, &to_json(&stage))
    }

    async fn seal(&mut self, seal: Seal) -> Result<Checked, AgentError> {
        self.work("seal").await?;
        let Seal { check, provenance, dest, .. } = seal;
        let written: ModuleOutput = read(&check.output)?;
        let products: BTreeMap<_, _> = check.mandatory.iter().map(|name| (name.clone(), written.entry(name))).collect();
        let mut file = Committed::new(FileKind::Result, provenance.star);
        file.scalars = products.keys().map(|name| (format!("/PRODUCTS/{name}"), BTreeMap::new())).collect();
        file.manifest.products.clone_from(&products);
        let key = provenance.key;
        file.manifest.provenance = Some(Box::new(provenance));
        write_new(&dest, &to_json(&file))?;
        self.packed.lock().unwrap().insert(key, file.manifest);
        Ok(Checked { products, ..Checked::default() })
    }

    fn end(&mut self) {
        self.is_worn = false;
    }
}

fn missing(message: String) -> Refusal {
    Refusal { kind: RefusalKind::Missing, message }
}

/// Writes a file that must not be there.
fn write_new(file: &Path, bytes: &[u8]) -> Result<(), AgentError> {
    use std::io::Write as _;
    let written = std::fs::File::create_new(file).and_then(|mut file| file.write_all(bytes));
    Ok(written
        .map_err(|error| Refusal { kind: RefusalKind::Write, message: format!("`{}`: {error}", file.display()) })?)
}
