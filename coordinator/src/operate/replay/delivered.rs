//! What newer versions of externals bring: which products have other values. Externals are opened, of so many stars; no
//! product is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use domain::id::{Digest, ProductName, StarId};
use store::externals::{DamagedDelivery, NewerVersion};
use store::paths;

use super::survey::Survey;
use crate::operate::{Context, OperateError};

/// What a star got anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct NewData {
    pub(super) products: BTreeSet<ProductName>,
    /// Whether all of these have other values; else any of them may have.
    pub(super) is_certain: bool,
}

/// What stars got anew.
pub(super) struct Delivered {
    /// By position of versions.
    of_star: Vec<NewData>,
    /// By position of datasets: what stars that were not looked at may have got.
    of_datasets: HashMap<u32, NewData>,
    /// By position of runs: what all stars got.
    pub(super) shared: Vec<NewData>,
}

impl Delivered {
    /// What a star got anew, shared externals not among it.
    pub(super) fn of(&self, datasets: u32, versions: Option<u32>) -> NewData {
        match versions {
            Some(at) => self.of_star[at as usize].clone(),
            None => self.of_datasets.get(&datasets).cloned().unwrap_or_default(),
        }
    }
}

/// Looks into newer versions, and those before them.
pub(super) async fn look(context: &Context, survey: &Survey) -> Result<Delivered, OperateError> {
    let mut files = Files { context, known: HashMap::new() };
    let mut of_star = Vec::with_capacity(survey.versions.len());
    let mut of_datasets: HashMap<u32, NewData> = HashMap::new();
    let by_versions: HashMap<u32, u32> =
        survey.stars.iter().filter_map(|star| Some((star.versions?, star.datasets))).collect();
    for (at, (star, newer)) in (0..).zip(&survey.versions) {
        let mut new = NewData { is_certain: true, ..NewData::default() };
        for version in newer {
            let (before, now) = files.both(Some(*star), version).await?;
            let all = of_datasets.entry(by_versions[&at]).or_default();
            all.products.extend(now.keys().cloned());
            new.products.extend(other(&before, &now));
        }
        of_star.push(new);
    }
    let mut shared = Vec::new();
    for run in &survey.runs {
        let mut new = NewData { is_certain: true, ..NewData::default() };
        for version in &run.shared {
            let (before, now) = files.both(None, version).await?;
            new.products.extend(other(&before, &now));
        }
        shared.push(new);
    }
    Ok(Delivered { of_star, of_datasets, shared })
}

type Digests = BTreeMap<ProductName, Digest>;

/// Products that are there for the first time, have other values, or are gone.
fn other(before: &Digests, now: &Digests) -> BTreeSet<ProductName> {
    let names = before.keys().chain(now.keys());
    names.filter(|name| before.get(*name) != now.get(*name)).cloned().collect()
}

struct Files<'a> {
    context: &'a Context,
    /// Of shared files: many runs ask for them.
    known: HashMap<PathBuf, Digests>,
}

impl Files<'_> {
    async fn both(&mut self, star: Option<StarId>, version: &NewerVersion) -> Result<(Digests, Digests), OperateError> {
        let before = match &version.before {
            Some(before) => self.digests(star, before).await?,
            None => Digests::new(),
        };
        Ok((before, self.digests(star, &version.now).await?))
    }

    async fn digests(&mut self, star: Option<StarId>, name: &str) -> Result<Digests, OperateError> {
        let path = star.map_or_else(|| Some(PathBuf::from(name)), |star| paths::of_star(star, name));
        let path = path.ok_or_else(|| OperateError::refused(format!("`{name}` is no name of an external")))?;
        if let Some(known) = self.known.get(&path) {
            return Ok(known.clone());
        }
        let file = self.context.store.at(&path);
        let place = file.clone();
        if let Some(damaged) = self.context.ask(move |_| DamagedDelivery::at(&place)).await? {
            // Whatever it holds, it is not what was there before.
            return Ok(damaged.products.into_iter().map(|name| (name, Digest::from_bytes([0; 32]))).collect());
        }
        let manifest = self.context.readers.lend().await?.manifest(&file).await?;
        let digests: Digests = manifest.externals.into_iter().map(|(name, entry)| (name, entry.digest)).collect();
        if star.is_none() {
            self.known.insert(path, digests.clone());
        }
        Ok(digests)
    }
}
