//! Versions of externals: which are there, and which a run uses. Decided from file names alone.

mod damaged;

use std::collections::BTreeMap;
use std::path::Path;

use super::{Store, StoreError, is_there, names_in, paths};
pub use damaged::DamagedDelivery;
use domain::id::{DatasetName, Quarter, Sequence, StarId};

/// A version of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// Its number.
    pub(super) sequence: Sequence,
    /// Its file name.
    pub(super) name: String,
}

/// The versions of a dataset in a folder, newest first.
pub(super) fn versions(folder: &Path, dataset: &DatasetName) -> Result<Vec<Version>, StoreError> {
    let wanted = dataset.in_file_name();
    let mut versions: Vec<Version> = names_in(folder)?
        .into_iter()
        .filter_map(|name| match paths::parse_external_name(&name)? {
            (dataset, sequence) if dataset == wanted => Some(Version { sequence, name }),
            _ => None,
        })
        .collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.sequence));
    Ok(versions)
}

/// What was delivered in one place, seen from a horizon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deliveries {
    /// What a run of this horizon uses, by names that [`paths::of_star`] understands.
    pub before: Vec<String>,
    /// Of each dataset with a newer version the newest.
    pub newer: Vec<NewerVersion>,
}

/// A version of a dataset that is newer than a horizon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NewerVersion {
    /// The dataset, as in file names.
    pub dataset: String,
    /// The version that a run of the horizon uses, if there was one.
    pub before: Option<String>,
    /// The newest.
    pub now: String,
}

impl Store {
    /// What was delivered once for all stars, seen from a horizon. Reads names alone.
    pub fn shared_deliveries(&self, since: Sequence) -> Result<Deliveries, StoreError> {
        Ok(seen_from(since, &names_in(&self.at(paths::shared()))?, "shared"))
    }

    /// Externals of a star that a run uses: the newest version of each dataset at or below the horizon, of the quarter, of
    /// the star and shared, by names that [`paths::of_star`] understands. Decided from file names alone. The order is that
    /// of preference, for a product that is in several: quarter, star, shared, and in each the newest first.
    pub fn externals(&self, star: StarId, quarter: Quarter, horizon: Sequence) -> Result<Vec<String>, StoreError> {
        let mut chosen = Vec::new();
        for (folder, prefix) in [
            (paths::externals(star, quarter), format!("{quarter}/externals")),
            (paths::star_externals(star), "externals".to_owned()),
            (paths::shared(), "shared".to_owned()),
        ] {
            let newest = newest_versions(&names_in(&self.at(folder))?, horizon);
            let mut versions: Vec<(Sequence, String)> = newest.into_values().collect();
            versions.sort_by_key(|(sequence, name)| (std::cmp::Reverse(*sequence), name.clone()));
            chosen.extend(versions.iter().map(|(_, name)| format!("{prefix}/{name}")));
        }
        Ok(chosen)
    }

    /// The quarters of which data of a star were delivered, sorted.
    pub fn quarters_of(&self, star: StarId) -> Result<Vec<Quarter>, StoreError> {
        let mut quarters: Vec<Quarter> = Vec::new();
        for quarter in names_in(&self.at(paths::star(star)))?.iter().filter_map(|name| name.parse().ok()) {
            // An event may have named a quarter that the star has nothing of; its outcome is on record there.
            if is_there(&self.at(paths::externals(star, quarter)))? {
                quarters.push(quarter);
            }
        }
        quarters.sort_unstable();
        Ok(quarters)
    }

    /// Stars by the quarters of which data of them were delivered, sorted.
    pub fn known_stars(&self) -> Result<BTreeMap<Quarter, Vec<StarId>>, StoreError> {
        let mut quarters: BTreeMap<Quarter, Vec<StarId>> = BTreeMap::new();
        for shard in names_in(&self.at(paths::stars()))? {
            for name in names_in(&self.at(paths::stars().join(shard)))? {
                let Ok(star) = name.parse::<StarId>() else { continue };
                for quarter in self.quarters_of(star)? {
                    quarters.entry(quarter).or_default().push(star);
                }
            }
        }
        for stars in quarters.values_mut() {
            stars.sort();
        }
        Ok(quarters)
    }
}

/// What files of these names in a folder are, seen from a horizon.
pub(crate) fn seen_from(since: Sequence, names: &[String], folder: &str) -> Deliveries {
    let before = newest_versions(names, since);
    let now = newest_versions(names, Sequence(u64::MAX));
    let named = |name: &String| format!("{folder}/{name}");
    let newer = now.into_iter().filter(|(_, (sequence, _))| *sequence > since);
    let newer = newer.map(|(dataset, (_, name))| NewerVersion {
        before: before.get(&dataset).map(|(_, name)| named(name)),
        now: named(&name),
        dataset,
    });
    let newer = newer.collect();
    Deliveries { before: before.into_values().map(|(_, name)| named(&name)).collect(), newer }
}

/// Of file names of externals the newest of each dataset at or below the horizon.
fn newest_versions(names: &[String], horizon: Sequence) -> BTreeMap<String, (Sequence, String)> {
    let mut newest: BTreeMap<String, (Sequence, String)> = BTreeMap::new();
    for name in names {
        let Some((dataset, sequence)) = paths::parse_external_name(name) else { continue };
        if sequence > horizon {
            continue;
        }
        let entry = newest.entry(dataset.to_owned()).or_insert_with(|| (sequence, name.clone()));
        if entry.0 <= sequence {
            *entry = (sequence, name.clone());
        }
    }
    newest
}
