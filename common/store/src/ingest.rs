//! Ingestion: delivered files become versions of a dataset.
//!
//! What is wrong with a file is said, and the others go on.

mod rehearsal;
mod results;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::agent::{Agent, AgentError, Import, Inspected, ProductEntry, Refusal, RefusalKind};
use super::durable::{self, Unfinished};
use super::externals::{DamagedDelivery, Version, versions};
use super::{Store, StoreError, paths};
use domain::id::{DatasetName, ProductName, Quarter, Sequence, StarId};
pub use rehearsal::{Rehearsed, rehearse};
pub use results::{PublishedResults, take_results};

/// What delivered files become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestOptions {
    /// The dataset that they are a version of.
    pub dataset: DatasetName,
    /// Where they belong.
    pub scope: IngestScope,
    /// Other spellings of products, each with the one to write.
    pub aliases: BTreeMap<ProductName, ProductName>,
}

/// Where delivered externals belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngestScope {
    /// To the star and quarter that each file names. A file that names no quarter goes with the other files of its star.
    AsWritten {
        /// Where it belongs when these name none either.
        unnamed: Unnamed,
    },
    /// To the star that each file names and this quarter; a file that names another one is wrong.
    Quarter(Quarter),
    /// To the star that each file names, and no quarter in particular.
    Star,
    /// To all stars: `store/shared`.
    Shared,
}

/// Where files belong that name no quarter, nor does any other file of their star.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unnamed {
    /// Nowhere: they are wrong.
    Nowhere,
    /// To the first quarter, as those of PLATO's simulator, unless the store has other quarters of the star: then
    /// nobody can tell, and they are wrong.
    First,
    /// To this quarter.
    Of(Quarter),
}

/// What became of the files of one star.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Ingested {
    /// The star; `None` for externals of all stars, and for files that do not say.
    pub star: Option<StarId>,
    /// The quarter.
    pub quarter: Option<Quarter>,
    /// The delivered files.
    #[serde(serialize_with = "as_text")]
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
        sequence: Sequence,
        /// Products in it.
        products: Vec<ProductName>,
    },
    /// The newest version of the dataset has the same values; nothing was written.
    Unchanged {
        /// That version's number.
        sequence: Sequence,
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
    /// A version could not be written: the store is full, or refuses.
    #[error("the store cannot be written: {0}")]
    Unwritable(Refusal),
}

/// How far ingestion is.
#[derive(Debug)]
pub enum IngestStep {
    /// Another file was looked at.
    Inspected,
    /// Files are in the store, or wrong.
    Done(Ingested),
}

/// Makes delivered files versions of a dataset: one result per (star, quarter), and one per file that has no place, told to
/// `tell` as they come. What the agent writes it writes into its own directory, which must be on the store's file system.
pub async fn ingest(
    store: &Store,
    agent: &mut Agent,
    files: &[PathBuf],
    options: &IngestOptions,
    tell: &mut (dyn FnMut(IngestStep) + Send),
) -> Result<(), IngestError> {
    let mut placed = Vec::new();
    for file in files {
        match inspect(store, agent, file).await? {
            Ok(facts) => placed.push((file.clone(), facts)),
            Err(reason) => tell(IngestStep::Done(wrong(file, None, reason))),
        }
        tell(IngestStep::Inspected);
    }
    for (place, files) in group(store, placed, options.scope, tell)? {
        let result = add(store, agent, place, &files, options).await?;
        tell(IngestStep::Done(Ingested { star: place.star, quarter: place.quarter, files, result }));
    }
    Ok(())
}

/// Where externals belong: to a star and quarter, to a star, or (neither) to all stars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct StarPlace {
    star: Option<StarId>,
    quarter: Option<Quarter>,
}

impl StarPlace {
    fn folder(self) -> PathBuf {
        match (self.star, self.quarter) {
            (Some(star), Some(quarter)) => paths::externals(star, quarter),
            (Some(star), None) => paths::star_externals(star),
            (None, _) => paths::shared(),
        }
    }
}

/// What a file is, or why it cannot be ingested.
async fn inspect(store: &Store, agent: &mut Agent, file: &Path) -> Result<Result<Inspected, String>, IngestError> {
    // The agent has a directory of its own, where a relative path means something else.
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    if file.to_str().is_none() {
        return Ok(Err("its path is not UTF-8: deliver it by another name".to_owned()));
    }
    if file.canonicalize().is_ok_and(|file| file.starts_with(store.root())) {
        return Ok(Err("it is a file of this store already, expected a delivery".to_owned()));
    }
    match agent.inspect(&file).await {
        Ok(Inspected { problem: Some(problem), .. }) => Ok(Err(problem)),
        Ok(inspected) => Ok(Ok(inspected)),
        Err(error) => blame(error).map(Err),
    }
}

/// What an agent's error says of the files that it was asked about; an agent that cannot be started, or has no room to
/// write, says nothing of them.
fn blame(error: AgentError) -> Result<String, IngestError> {
    match error {
        AgentError::Refused(refusal) if refusal.kind == RefusalKind::Write => Err(IngestError::Unwritable(refusal)),
        AgentError::Refused(refusal) => Ok(refusal.message),
        AgentError::Died { status, .. } => Ok(format!("reading it killed the reader ({status})")),
        AgentError::Hung { after, .. } => Ok(format!("reading it took longer than {} s", after.as_secs())),
        error @ AgentError::Overspent { .. } => Ok(error.to_string()),
        start @ AgentError::Start { .. } => Err(start.into()),
    }
}

/// What is said of a file that is not ingested.
pub fn wrong(file: &Path, star: Option<StarId>, reason: String) -> Ingested {
    Ingested { star, quarter: None, files: vec![file.to_owned()], result: IngestResult::Wrong { reason } }
}

/// Puts files together that belong to the same place; those that have none are told.
fn group(
    store: &Store,
    files: Vec<(PathBuf, Inspected)>,
    scope: IngestScope,
    tell: &mut (dyn FnMut(IngestStep) + Send),
) -> Result<BTreeMap<StarPlace, Vec<PathBuf>>, StoreError> {
    let mut named: BTreeMap<StarId, BTreeSet<Quarter>> = BTreeMap::new();
    for (_, facts) in &files {
        if let (Some(star), Some(quarter)) = (facts.star, facts.quarter) {
            named.entry(star).or_default().insert(quarter);
        }
    }
    let mut groups: BTreeMap<StarPlace, Vec<PathBuf>> = BTreeMap::new();
    for (file, facts) in files {
        let place = match (scope, facts.star) {
            (IngestScope::Shared, None) => Ok(StarPlace { star: None, quarter: None }),
            (IngestScope::Shared, Some(star)) => {
                Err(format!("it is of {star}, expected externals of no star in particular"))
            }
            (_, None) => Err("it names no star: neither PLATO_ID nor METADATA.star_id".to_owned()),
            (_, Some(star)) => quarter_for(store, star, facts.quarter, named.get(&star), scope)?
                .map(|quarter| StarPlace { star: Some(star), quarter }),
        };
        match place {
            Ok(place) => groups.entry(place).or_default().push(file),
            Err(reason) => tell(IngestStep::Done(wrong(&file, facts.star, reason))),
        }
    }
    Ok(groups)
}

/// The quarter that a star's file belongs to, or why nobody can tell; `named` are those that files of its star name.
fn quarter_for(
    store: &Store,
    star: StarId,
    written: Option<Quarter>,
    named: Option<&BTreeSet<Quarter>>,
    scope: IngestScope,
) -> Result<Result<Option<Quarter>, String>, StoreError> {
    let unnamed = match (scope, written) {
        (IngestScope::Star | IngestScope::Shared, _) => return Ok(Ok(None)),
        (IngestScope::Quarter(quarter), Some(written)) if written != quarter => {
            return Ok(Err(format!("it is of {written}, expected {quarter}")));
        }
        (IngestScope::Quarter(quarter), _) | (IngestScope::AsWritten { .. }, Some(quarter)) => {
            return Ok(Ok(Some(quarter)));
        }
        (IngestScope::AsWritten { unnamed }, None) => unnamed,
    };
    let named: Vec<Quarter> = named.into_iter().flatten().copied().collect();
    Ok(match (named.as_slice(), unnamed) {
        ([one], _) => Ok(Some(*one)),
        ([_, ..], _) => Err("it names no quarter, and other files of its star name several".to_owned()),
        ([], Unnamed::Of(quarter)) => Ok(Some(quarter)),
        ([], Unnamed::Nowhere) => Err("it names no quarter: it has no root attribute QUARTER_NUMBER".to_owned()),
        ([], Unnamed::First) => {
            let known = store.quarters_of(star)?;
            if known.iter().all(|quarter| *quarter == Quarter::FIRST) {
                Ok(Some(Quarter::FIRST))
            } else {
                let known: Vec<String> = known.iter().map(ToString::to_string).collect();
                let known = known.join(", ");
                Err(format!(
                    "it names no quarter, and the store has {known} of its star: name one, or that it is of none"
                ))
            }
        }
    })
}

/// Makes the files of one place a version, unless nothing changed. What is not delivered again stays: a version holds the
/// newest of every product that was ever delivered for its dataset, so that files may come one by one.
async fn add(
    store: &Store,
    agent: &mut Agent,
    place: StarPlace,
    files: &[PathBuf],
    options: &IngestOptions,
) -> Result<IngestResult, IngestError> {
    let folder = store.at(place.folder());
    let mut bases = versions(&folder, &options.dataset)?;
    bases.truncate(1);
    let floor = bases.first().map_or(Sequence(0), |base| base.sequence);
    // What was found damaged is nothing to build on: all of it is to be delivered again.
    let damaged = take_damaged(&folder, &mut bases)?;
    let mut added = None;
    loop {
        let built = Unfinished(agent.options().writable.join(format!("{}.h5", uuid::Uuid::new_v4())));
        let based = bases.iter().map(|base| folder.join(&base.name)).collect();
        let manifest = match agent.import(import_of(place, files, based, built.0.clone(), options)).await {
            Ok(manifest) => manifest,
            Err(error) => return blame(error).map(|reason| IngestResult::Wrong { reason }),
        };
        if let Some(reason) = damaged.as_ref().and_then(|(_, damaged)| missing(damaged, &manifest.externals)) {
            return Ok(IngestResult::Wrong { reason });
        }
        if let Some(newest) = bases.first()
            && let Ok(before) = agent.manifest(&folder.join(&newest.name)).await
            && same_values(&before.externals, &manifest.externals)
        {
            return Ok(added.unwrap_or(IngestResult::Unchanged { sequence: newest.sequence }));
        }
        // As late as can be: a run that is accepted from now on has a horizon beyond it, and must find the file.
        let number = store.next_sequence()?;
        durable::commit_file(&built.0, &folder.join(paths::external_name(&options.dataset, number)))?;
        let products = manifest.externals.into_keys().collect();
        let result = IngestResult::Added { sequence: number, products };
        // Whoever delivered at the same time built on what was there before, as this version did: put them together.
        let mut found = versions(&folder, &options.dataset)?;
        let is_damaged = |version: &Version| damaged.as_ref().is_some_and(|(name, _)| *name == version.name);
        found.retain(|version| version.sequence >= floor && !is_damaged(version));
        if found.iter().all(|version| version.sequence == number || bases.contains(version)) {
            return Ok(result);
        }
        (bases, added) = (found, Some(result));
    }
}

/// Takes the newest version away where it was found damaged; its name, and what stands in its place.
fn take_damaged(folder: &Path, bases: &mut Vec<Version>) -> Result<Option<(String, DamagedDelivery)>, StoreError> {
    let Some(newest) = bases.first() else { return Ok(None) };
    let Some(damaged) = DamagedDelivery::at(&folder.join(&newest.name))? else { return Ok(None) };
    Ok(bases.pop().map(|newest| (newest.name, damaged)))
}

/// What a delivery lacks of one that was found damaged, in words.
fn missing(damaged: &DamagedDelivery, delivered: &BTreeMap<ProductName, ProductEntry>) -> Option<String> {
    let lacks = damaged.products.iter().filter(|name| !delivered.contains_key(*name));
    let lacks: Vec<&str> = lacks.map(ProductName::as_str).collect();
    let aside = &damaged.aside;
    (!lacks.is_empty()).then(|| {
        let lacks = lacks.join(", ");
        format!("the version before was found damaged (`{aside}`): deliver all of it again, here without {lacks}")
    })
}

/// What an agent is asked to make of delivered files of one place.
fn import_of(
    place: StarPlace,
    files: &[PathBuf],
    bases: Vec<PathBuf>,
    dest: PathBuf,
    options: &IngestOptions,
) -> Import {
    Import {
        sources: files.iter().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone())).collect(),
        bases,
        dest,
        dataset: options.dataset.clone(),
        star: place.star,
        quarter: place.quarter,
        aliases: options.aliases.clone(),
        results: BTreeSet::new(),
    }
}

/// Whether these are the same products with the same digests; how wide a text is padded does not matter.
fn same_values(one: &BTreeMap<ProductName, ProductEntry>, two: &BTreeMap<ProductName, ProductEntry>) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| (one.0, one.1.digest) == (two.0, two.1.digest))
}

/// Paths as people read them: one that is not UTF-8 cannot be said otherwise.
fn as_text<S: serde::Serializer>(files: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(files.iter().map(|file| file.to_string_lossy()))
}
