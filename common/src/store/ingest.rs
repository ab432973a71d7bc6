//! Ingestion: delivered files become versions of a dataset.
//!
//! What is wrong with a file is said, and the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::agent::{Agent, AgentError, Import, Inspected};
use super::durable::{self, Unfinished};
use super::{Store, StoreError, names_in, paths};
use crate::id::{DatasetName, ProductName, Quarter, StarId};

/// What delivered files become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestOptions {
    /// The dataset that they are a version of.
    pub dataset: DatasetName,
    /// Where they belong.
    pub scope: Scope,
    /// Other spellings of products, each with the one to write.
    pub aliases: BTreeMap<ProductName, ProductName>,
}

/// Where delivered externals belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To the star and quarter that each file names. A file that names none goes with the other files of its star, or,
    /// where these name none either, to the default.
    AsWritten {
        /// The quarter of stars whose files name none; `None`: such files are wrong.
        default: Option<Quarter>,
    },
    /// To the star that each file names and this quarter; a file that names another one is wrong.
    Quarter(Quarter),
    /// To the star that each file names, and no quarter in particular.
    Star,
    /// To all stars: `store/shared`.
    Shared,
}

/// What became of the files of one star.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Ingested {
    /// The star; `None` for externals of all stars, and for files that do not say.
    pub star: Option<StarId>,
    /// The quarter.
    pub quarter: Option<Quarter>,
    /// The delivered files.
    pub files: Vec<PathBuf>,
    /// What became of them.
    pub result: IngestResult,
}

/// What became of delivered files.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum IngestResult {
    /// They are a new version of the dataset.
    Added {
        /// The version's number.
        sequence: u64,
        /// Products in it.
        products: Vec<ProductName>,
    },
    /// The newest version of the dataset has the same values; nothing was written.
    Unchanged {
        /// That version's number.
        sequence: u64,
    },
    /// They cannot be ingested.
    Wrong {
        /// Why, in one line.
        reason: String,
    },
}

/// Why ingestion as a whole could not go on; what is wrong with a file is an [`IngestResult`].
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The agent could not be started.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Makes delivered files versions of a dataset: one result per (star, quarter), and one per file that has no place.
/// What the agent writes it writes into its own directory, which must be on the store's file system.
pub async fn ingest(
    store: &Store,
    agent: &mut Agent,
    files: &[PathBuf],
    options: &IngestOptions,
) -> Result<Vec<Ingested>, IngestError> {
    let mut wrong = Vec::new();
    let mut inspected = Vec::new();
    for file in files {
        match inspect(agent, file).await? {
            Ok(facts) => inspected.push((file.clone(), facts)),
            Err(reason) => wrong.push(not_placed(file, None, reason)),
        }
    }
    let groups = group(inspected, options.scope, &mut wrong);
    let mut results = Vec::new();
    let mut sequence = None;
    for (place, files) in groups {
        let result = add(store, agent, place, &files, options, &mut sequence).await?;
        results.push(Ingested { star: place.star, quarter: place.quarter, files, result });
    }
    results.extend(wrong);
    Ok(results)
}

/// Where externals belong: to a star and quarter, to a star, or (neither) to all stars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    star: Option<StarId>,
    quarter: Option<Quarter>,
}

impl Place {
    fn folder(self) -> PathBuf {
        match (self.star, self.quarter) {
            (Some(star), Some(quarter)) => paths::externals(star, quarter),
            (Some(star), None) => paths::star_externals(star),
            (None, _) => paths::shared(),
        }
    }
}

/// What a file is, or why it cannot be ingested.
async fn inspect(agent: &mut Agent, file: &Path) -> Result<Result<Inspected, String>, IngestError> {
    // The agent has a directory of its own, where a relative path means something else.
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    match agent.inspect(&file).await {
        Ok(Inspected { problem: Some(problem), .. }) => Ok(Err(problem)),
        Ok(inspected) => Ok(Ok(inspected)),
        Err(error) => blame(error).map(Err),
    }
}

/// What an agent's error says of the file that it was asked about; an agent that cannot be started says nothing.
fn blame(error: AgentError) -> Result<String, IngestError> {
    match error {
        AgentError::Refused(refusal) => Ok(refusal.message),
        AgentError::Died { status, .. } => Ok(format!("reading it killed the reader ({status})")),
        AgentError::Hung { after, .. } => Ok(format!("reading it took longer than {} s", after.as_secs())),
        start @ AgentError::Start { .. } => Err(start.into()),
    }
}

fn not_placed(file: &Path, star: Option<StarId>, reason: String) -> Ingested {
    Ingested { star, quarter: None, files: vec![file.to_owned()], result: IngestResult::Wrong { reason } }
}

/// Puts files together that belong to the same place; those that have none go to `wrong`.
fn group(files: Vec<(PathBuf, Inspected)>, scope: Scope, wrong: &mut Vec<Ingested>) -> BTreeMap<Place, Vec<PathBuf>> {
    let mut named: BTreeMap<StarId, BTreeSet<Quarter>> = BTreeMap::new();
    for (_, facts) in &files {
        if let (Some(star), Some(quarter)) = (facts.star, facts.quarter) {
            named.entry(star).or_default().insert(quarter);
        }
    }
    let mut groups: BTreeMap<Place, Vec<PathBuf>> = BTreeMap::new();
    for (file, facts) in files {
        let quarters = facts.star.and_then(|star| named.get(&star));
        match place_of(&facts, quarters, scope) {
            Ok(place) => groups.entry(place).or_default().push(file),
            Err(reason) => wrong.push(not_placed(&file, facts.star, reason)),
        }
    }
    groups
}

/// Where a file belongs; `quarters` are those that files of its star name.
fn place_of(facts: &Inspected, quarters: Option<&BTreeSet<Quarter>>, scope: Scope) -> Result<Place, String> {
    if scope == Scope::Shared {
        return Ok(Place { star: None, quarter: None });
    }
    let star = facts.star.ok_or("it names no star: neither PLATO_ID nor METADATA.star_id")?;
    let quarter = match (scope, facts.quarter) {
        (Scope::Star | Scope::Shared, _) => None,
        (Scope::Quarter(quarter), Some(written)) if written != quarter => {
            return Err(format!("it is of {written}, expected {quarter}"));
        }
        (Scope::Quarter(quarter), _) | (Scope::AsWritten { .. }, Some(quarter)) => Some(quarter),
        (Scope::AsWritten { default }, None) => match quarters.map(|quarters| quarters.iter().collect::<Vec<_>>()) {
            Some(one) if one.len() == 1 => Some(*one[0]),
            Some(_) => return Err("it names no quarter, and other files of its star name several".to_owned()),
            None => Some(default.ok_or("it names no quarter: it has no root attribute QUARTER_NUMBER")?),
        },
    };
    Ok(Place { star: Some(star), quarter })
}

/// Makes the files of one place a version, unless nothing changed. What is not delivered again stays: a version holds the
/// newest of every product that was ever delivered for its dataset, so that files may come one by one.
async fn add(
    store: &Store,
    agent: &mut Agent,
    place: Place,
    files: &[PathBuf],
    options: &IngestOptions,
    sequence: &mut Option<u64>,
) -> Result<IngestResult, IngestError> {
    let folder = store.at(place.folder());
    let mut bases = versions(&folder, &options.dataset)?;
    bases.truncate(1);
    let floor = bases.first().map_or(0, |base| base.sequence);
    let mut added = None;
    loop {
        let built = Unfinished(agent.options().writable.join(format!("{}.h5", uuid::Uuid::new_v4())));
        let import = Import {
            sources: files.iter().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone())).collect(),
            bases: bases.iter().map(|base| folder.join(&base.name)).collect(),
            dest: built.0.clone(),
            dataset: options.dataset.clone(),
            star: place.star,
            quarter: place.quarter,
            aliases: options.aliases.clone(),
        };
        let manifest = match agent.import(import).await {
            Ok(manifest) => manifest,
            Err(error) => return blame(error).map(|reason| IngestResult::Wrong { reason }),
        };
        if let Some(newest) = bases.first()
            && let Ok(before) = agent.manifest(&folder.join(&newest.name)).await
            && before.externals == manifest.externals
        {
            return Ok(added.unwrap_or(IngestResult::Unchanged { sequence: newest.sequence }));
        }
        let number = match (*sequence, &added) {
            (Some(number), None) => number,
            (None, None) => *sequence.insert(store.next_sequence()?),
            (_, Some(_)) => store.next_sequence()?,
        };
        durable::commit_file(&built.0, &folder.join(paths::external_name(&options.dataset, number)))?;
        let products = manifest.externals.into_keys().collect();
        let result = IngestResult::Added { sequence: number, products };
        // Whoever delivered at the same time built on what was there before, as this version did: put them together.
        let mut found = versions(&folder, &options.dataset)?;
        found.retain(|version| version.sequence >= floor);
        if found.iter().all(|version| version.sequence == number || bases.contains(version)) {
            return Ok(result);
        }
        (bases, added) = (found, Some(result));
    }
}

/// A version of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    sequence: u64,
    name: String,
}

/// The versions of a dataset in a folder, newest first.
fn versions(folder: &Path, dataset: &DatasetName) -> Result<Vec<Version>, StoreError> {
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

impl Store {
    /// Externals of a star that a run uses: the newest version of each dataset at or below the horizon, of the quarter, of
    /// the star and shared, by names that [`paths::of_star`] understands. Decided from file names alone. The order is that
    /// of preference, for a product that is in several: quarter, star, shared, and in each the newest first.
    pub fn externals(&self, star: StarId, quarter: Quarter, horizon: u64) -> Result<Vec<String>, StoreError> {
        let mut chosen = Vec::new();
        for (folder, prefix) in [
            (paths::externals(star, quarter), format!("{quarter}/externals")),
            (paths::star_externals(star), "externals".to_owned()),
            (paths::shared(), "shared".to_owned()),
        ] {
            let newest = newest_versions(&names_in(&self.at(folder))?, horizon);
            let mut versions: Vec<(u64, String)> = newest.into_values().collect();
            versions.sort_by_key(|(sequence, name)| (std::cmp::Reverse(*sequence), name.clone()));
            chosen.extend(versions.iter().map(|(_, name)| format!("{prefix}/{name}")));
        }
        Ok(chosen)
    }

    /// The quarters that a star has in the store, sorted; none when it is not there.
    pub fn quarters_of(&self, star: StarId) -> Result<Vec<Quarter>, StoreError> {
        let mut quarters: Vec<Quarter> =
            names_in(&self.at(paths::star(star)))?.iter().filter_map(|name| name.parse().ok()).collect();
        quarters.sort_unstable();
        Ok(quarters)
    }

    /// Stars that have a folder in the store, sorted, by the quarters that they have.
    pub fn known_stars(&self) -> Result<BTreeMap<Quarter, Vec<StarId>>, StoreError> {
        let mut quarters: BTreeMap<Quarter, Vec<StarId>> = BTreeMap::new();
        for shard in names_in(&self.at("stars"))? {
            for name in names_in(&self.at("stars").join(shard))? {
                let Ok(star) = name.parse::<StarId>() else { continue };
                for quarter in names_in(&self.at(paths::star(star)))?.iter().filter_map(|name| name.parse().ok()) {
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

/// Of file names of externals the newest of each dataset at or below the horizon.
fn newest_versions(names: &[String], horizon: u64) -> BTreeMap<String, (u64, String)> {
    let mut newest: BTreeMap<String, (u64, String)> = BTreeMap::new();
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
