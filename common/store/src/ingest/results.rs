//! Results as a dataset: what a pipeline made for a star becomes a version of the dataset that it publishes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{IngestError, IngestResult, blame, same_values};
use crate::agent::{Agent, Import};
use crate::durable::{self, Unfinished};
use crate::externals::versions;
use crate::{Store, paths};
use domain::id::{DatasetName, ProductName, Quarter, StarId};

/// Results of a star that others are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedResults {
    /// The dataset that they become a version of.
    pub dataset: DatasetName,
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// Committed results of modules, relative to the store's root.
    pub files: Vec<PathBuf>,
    /// The products that are taken from them; one that is not there is not in the version.
    pub products: BTreeSet<ProductName>,
}

/// Makes results a version of their dataset, unless the newest one has the same values: exactly what is in them, so that nothing
/// of an older run is left in it. What the agent writes it writes into its own directory, as with deliveries.
pub async fn take_results(
    store: &Store,
    agent: &mut Agent,
    results: &PublishedResults,
) -> Result<IngestResult, IngestError> {
    let PublishedResults { dataset, star, quarter, files, products } = results;
    let folder = store.at(paths::externals(*star, *quarter));
    let (of, at) = (dataset.clone(), folder.clone());
    let newest = store.ask(move |_| Ok(versions(&at, &of)?.into_iter().next())).await?;
    let built = Unfinished(agent.options().writable.join(format!("{}.h5", uuid::Uuid::new_v4())));
    let import = Import {
        sources: files.iter().map(|file| store.at(file)).collect(),
        bases: Vec::new(),
        dest: built.0.clone(),
        dataset: dataset.clone(),
        star: Some(*star),
        quarter: Some(*quarter),
        aliases: Default::default(),
        results: products.clone(),
    };
    let manifest = match agent.import(import).await {
        Ok(manifest) => manifest,
        Err(error) => return blame(error).map(|reason| IngestResult::Wrong { reason }),
    };
    if let Some(newest) = newest
        && let Ok(before) = agent.manifest(&folder.join(&newest.name)).await
        && same_values(&before.externals, &manifest.externals)
    {
        return Ok(IngestResult::Unchanged { sequence: newest.sequence });
    }
    let of = dataset.clone();
    let number = store
        .ask(move |store| {
            let number = store.next_sequence()?;
            durable::make_dir(&folder)?;
            durable::commit_file(&built.0, &folder.join(paths::external_name(&of, number)))?;
            Ok(number)
        })
        .await?;
    Ok(IngestResult::Added { sequence: number, products: manifest.externals.into_keys().collect() })
}
