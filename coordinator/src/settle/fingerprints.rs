//! Fingerprints of stars as they settle, from what is known of them without opening a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::contract::{Definitions, StarInputs, ran};
use domain::id::{Fingerprint, ImageIdentity, ModuleIndex, ModuleName, RunId, StarIndex};
use domain::pipeline::Module;
use domain::run::Row;
use services::state::Admission;
use store::course::Course;
use store::runs::{Amendment, Amendments};
use store::{Store, StoreError};

use crate::running::Coordinator;

/// How many runs are remembered; when there are more, all are read again.
const KEPT: usize = 64;

/// What fingerprints of the runs that settle stars rest on.
#[derive(Default)]
pub(crate) struct Fingerprints(BTreeMap<RunId, RunDefinitions>);

#[derive(Clone)]
struct RunDefinitions {
    definitions: Arc<Definitions>,
    /// Identities of images as far as they are fixed; none of them ever changes.
    identities: BTreeMap<ModuleIndex, ImageIdentity>,
    /// The newest decision that amends images, and the modules that were amended until then.
    amended: (u64, BTreeMap<ModuleName, Amendment>),
}

impl Fingerprints {
    /// The fingerprint of a star with this row. `None` where not all of it is known for certain: a task ended for other
    /// reasons than its inputs, an image's identity is not on record, or operators amended the image of a module that ran, so
    /// that it may have run as either.
    pub(super) async fn of(
        &mut self,
        running: &Coordinator,
        course: &Arc<Course>,
        star: StarIndex,
        row: &Row,
        admission: &Admission,
    ) -> Result<Option<Fingerprint>, StoreError> {
        let Some(modules) = ran(row) else { return Ok(None) };
        let run = course.record.run;
        if self.0.len() >= KEPT && !self.0.contains_key(&run) {
            self.0.clear();
        }
        let mut known = self.0.remove(&run).unwrap_or_else(|| RunDefinitions {
            definitions: Arc::new(Definitions::of(&course.pipeline)),
            identities: BTreeMap::new(),
            amended: Default::default(),
        });
        let (remembered, course, admission) = (running.remembered.clone(), course.clone(), admission.clone());
        let asked = running.services.store.ask(move |store| {
            let amended = remembered.orders(store, run)?.amended;
            let print = known.fingerprint(store, &course, (star, &modules), amended, &admission)?;
            Ok((known, print))
        });
        let (known, print) = asked.await?;
        self.0.insert(run, known);
        Ok(print)
    }
}

impl RunDefinitions {
    /// Of a star for which these modules ran; `amended` is the newest decision that amends images. Blocks on the disk.
    fn fingerprint(
        &mut self,
        store: &Store,
        course: &Course,
        (star, modules): (StarIndex, &[ModuleIndex]),
        amended: u64,
        admission: &Admission,
    ) -> Result<Option<Fingerprint>, StoreError> {
        let run = course.record.run;
        if amended > self.amended.0 {
            self.amended = (amended, Amendments::of(&store.decisions(run)?).images);
        }
        let mut images = BTreeMap::new();
        for index in modules {
            let module = course.pipeline.module(*index);
            if self.amended.1.contains_key(&module.name) {
                return Ok(None);
            }
            if !self.identities.contains_key(index) {
                let Some(identity) = identity(store, run, module)? else { return Ok(None) };
                self.identities.insert(*index, identity);
            }
            images.extend(self.identities.get(index).map(|identity| (*index, identity.clone())));
        }
        let inputs = StarInputs {
            star: course.stars.star(star)?,
            quarter: course.record.quarter,
            externals: &admission.externals,
            previous: admission.previous,
        };
        Ok(Some(self.definitions.fingerprint(&images, inputs)))
    }
}

/// The identity of a module's program in a run, under the name that workers with containers or processes fix it by.
pub(crate) fn identity(store: &Store, run: RunId, module: &Module) -> Result<Option<ImageIdentity>, StoreError> {
    match store.image_identity(run, module.image.as_str())? {
        Some(identity) => Ok(Some(identity)),
        None => store.image_identity(run, &format!("process: {}", serde_json::json!(module.command))),
    }
}
