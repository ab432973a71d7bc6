//! A rehearsal: everything that ingestion would find wrong with a delivery, before any of it is taken.

use std::path::PathBuf;

use domain::id::{Quarter, StarId};

use super::{
    IngestError, IngestOptions, IngestResult, IngestStep, Ingested, blame, group, import_of, inspect, missing,
    same_values, take_damaged, wrong,
};
use crate::Store;
use crate::agent::Agent;
use crate::durable::Unfinished;
use crate::externals::versions;

/// What a delivery would come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rehearsed {
    /// What is wrong: a result for each star and quarter, or file that has no place. None: all of it can be taken.
    pub wrong: Vec<Ingested>,
    /// The stars and quarters that would get a new version, where they are of a star and quarter.
    pub new: Vec<(Option<StarId>, Option<Quarter>)>,
}

/// Looks at delivered files as ingestion does, and builds what they would become, without keeping it.
pub async fn rehearse(
    store: &Store,
    agent: &mut Agent,
    files: &[PathBuf],
    options: &IngestOptions,
) -> Result<Rehearsed, IngestError> {
    let (mut found, mut new) = (Vec::new(), Vec::new());
    let mut placed = Vec::new();
    for file in files {
        match inspect(store, agent, file).await? {
            Ok(facts) => placed.push((file.clone(), facts)),
            Err(reason) => found.push(wrong(file, None, reason)),
        }
    }
    let mut tell = |step| match step {
        IngestStep::Done(ingested) => found.push(ingested),
        IngestStep::Inspected => {}
    };
    let groups = group(store, placed, options.scope, &mut tell)?;
    for (place, files) in groups {
        let folder = store.at(place.folder());
        let mut bases = versions(&folder, &options.dataset)?;
        bases.truncate(1);
        let damaged = take_damaged(&folder, &mut bases)?;
        let built = Unfinished(agent.options().writable.join(format!("{}.h5", uuid::Uuid::new_v4())));
        let bases: Vec<PathBuf> = bases.iter().map(|base| folder.join(&base.name)).collect();
        let manifest = match agent.import(import_of(place, &files, bases.clone(), built.0.clone(), options)).await {
            Ok(manifest) => manifest,
            Err(error) => {
                let result = IngestResult::Wrong { reason: blame(error)? };
                found.push(Ingested { star: place.star, quarter: place.quarter, files, result });
                continue;
            }
        };
        if let Some(reason) = damaged.and_then(|(_, damaged)| missing(&damaged, &manifest.externals)) {
            let result = IngestResult::Wrong { reason };
            found.push(Ingested { star: place.star, quarter: place.quarter, files, result });
            continue;
        }
        let before = match bases.first() {
            Some(base) => agent.manifest(base).await.ok(),
            None => None,
        };
        if before.is_none_or(|before| !same_values(&before.externals, &manifest.externals)) {
            new.push((place.star, place.quarter));
        }
    }
    Ok(Rehearsed { wrong: found, new })
}
