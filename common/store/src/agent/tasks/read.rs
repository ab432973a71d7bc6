//! Reading: manifests, scalars, and what an unknown file is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::said::{NamedStar, dates, quarter_of, star_of};
use super::{AgentResult, damaged, delivered, entry, open, open_at_once, parent_of, problem, product_name, refuse};
use crate::agent::record::*;
use crate::agent::wire::*;
use crate::digest::{Walk, bounded};
use crate::h5::{Dataset, File, Group, H5Error, Object};
use domain::expression::Scalar;
use domain::id::ProductName;
use domain::outcome::StandsFor;

/// How deep columns are looked for.
const DEEPEST: u32 = 32;

/// Columns that are named at most where another one was wanted.
const MOST_OTHERS: usize = 16;

/// How many names a group may have.
const WIDEST: u64 = 1_000_000;

/// What one of our files holds.
pub(super) fn manifest(file: &Path) -> AgentResult<Manifest> {
    whole(file).map(|(manifest, _)| manifest)
}

/// The same, and the file. A small one is read at once; it must have no links to others.
pub(super) fn whole(file: &Path) -> AgentResult<(Manifest, Rooted)> {
    let root = open_at_once(file)?.into_root(file)?;
    // The format first: what else a later one holds is not known here.
    let ManifestFormat { format } = json(&root, "MANIFEST", file)?;
    if format > MANIFEST_FORMAT {
        let what = format!("manifest format {format}, this one reads {MANIFEST_FORMAT}");
        let newer = format!("`{}` was made by a newer version of this program ({what}): update it", file.display());
        return Err(refuse(RefusalKind::Newer, newer));
    }
    if format != MANIFEST_FORMAT {
        let what = format!("`{}` has manifest format {format}, not {MANIFEST_FORMAT}", file.display());
        return Err(refuse(RefusalKind::Damaged, what));
    }
    let mut manifest: Manifest = json(&root, "MANIFEST", file)?;
    if manifest.kind == FileKind::Result {
        manifest.provenance = Some(Box::new(json(&root, "PROVENANCE", file)?));
        if root.group.has("STANDS_FOR").map_err(damaged(file))? {
            let stands_for: BTreeMap<ProductName, StandsFor> = json(&root, "STANDS_FOR", file)?;
            for (product, stands_for) in stands_for {
                if let Some(entry) = manifest.products.get_mut(&product) {
                    entry.stands_for = Some(stands_for);
                }
            }
        }
    }
    Ok((manifest, root))
}

/// What every manifest says, whatever its format.
#[derive(serde::Deserialize)]
struct ManifestFormat {
    format: u32,
}

/// The JSON in a text dataset.
fn json<T: serde::de::DeserializeOwned>(root: &Rooted, name: &str, file: &Path) -> AgentResult<T> {
    let missing =
        || refuse(RefusalKind::Damaged, format!("`{}` has no /{name}: it is not a file of a store", file.display()));
    if !root.group.has(name).map_err(damaged(file))? {
        return Err(missing());
    }
    let Object::Dataset(dataset) = root.group.open(name).map_err(damaged(file))? else { return Err(missing()) };
    let text = dataset.value(1).map_err(damaged(file))?.as_text().ok_or_else(missing)?;
    serde_json::from_str(&text)
        .map_err(|error| refuse(RefusalKind::Damaged, format!("`{}`: /{name}: {error}", file.display())))
}

/// Scalars among the wanted columns of a product; no value of any other column is read.
pub(super) fn scalars(WantedScalars { at, columns }: &WantedScalars) -> AgentResult<ReadScalars> {
    let mut taken = TakenScalars::of(columns.as_ref());
    each_column(at, &mut |name, dataset| {
        let shape = dataset.shape()?;
        let value = match taken.wants(name) && shape.is_one() {
            true => dataset.value(1)?.scalar(),
            false => None,
        };
        let word = || dataset.dtype().map_or_else(|_| "something".to_owned(), |dtype| dtype.word());
        taken.take(name, value, || shape.words(&word()));
        Ok(())
    })?;
    Ok(taken.read())
}

/// Scalars of a product as they are found.
pub(super) struct TakenScalars<'a> {
    wanted: Option<&'a BTreeSet<String>>,
    read: ReadScalars,
}

impl<'a> TakenScalars<'a> {
    /// None yet of these columns; `None`: all are wanted.
    pub(super) fn of(wanted: Option<&'a BTreeSet<String>>) -> Self {
        Self { wanted, read: ReadScalars::default() }
    }

    /// Whether the value of this column is wanted.
    pub(super) fn wants(&self, column: &str) -> bool {
        self.wanted.is_none_or(|wanted| wanted.contains(column))
    }

    /// Takes the value of a column, or what it is in words.
    pub(super) fn take(&mut self, column: &str, value: Option<Scalar>, words: impl FnOnce() -> String) {
        if let Some(value) = value {
            self.read.scalars.insert(column.to_owned(), bounded(value));
        } else if self.wants(column) || self.read.others.len() < MOST_OTHERS {
            self.read.others.insert(column.to_owned(), words());
        }
    }

    /// What there is; what else there is only where one that is wanted is missing.
    pub(super) fn read(mut self) -> ReadScalars {
        if self.wanted.into_iter().flatten().all(|column| self.read.scalars.contains_key(column)) {
            self.read.others.clear();
        }
        self.read
    }
}

/// The digest of a product, or of any object.
pub(super) fn digest(at: &At) -> AgentResult<ProductEntry> {
    let file = &at.file;
    let root = open(file)?.into_root(file)?;
    let (parent, name) = parent_of(root.group, &at.path, file)?;
    Walk::new(delivered()).product(&parent, name, &at.path).map(|walked| entry(&walked)).map_err(problem(file))
}

pub(super) type Visit<'a> = &'a mut dyn FnMut(&str, &Dataset) -> Result<(), H5Error>;

/// Shows every column of a product, nested ones with slashes in their names.
pub(super) fn each_column(at: &At, visit: Visit<'_>) -> AgentResult<()> {
    let root = open(&at.file)?.into_root(&at.file)?;
    let (parent, name) = parent_of(root.group, &at.path, &at.file)?;
    let walked = match parent.open(name).map_err(damaged(&at.file))? {
        Object::Group(group) => columns_below(&group, "", DEEPEST, visit),
        Object::Dataset(dataset) => visit("value", &dataset),
        Object::Other => Ok(()),
    };
    walked.map_err(damaged(&at.file))
}

fn columns_below(group: &Group, prefix: &str, depth: u32, visit: Visit<'_>) -> Result<(), H5Error> {
    for (name, _) in group.links(WIDEST)? {
        let column = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        match group.open(&name)? {
            Object::Group(below) if depth > 0 => columns_below(&below, &column, depth - 1, visit)?,
            Object::Dataset(dataset) => visit(&column, &dataset)?,
            Object::Group(_) | Object::Other => {}
        }
    }
    Ok(())
}

/// What a file is. Only a file that is missing is refused; what is wrong otherwise is part of the answer.
pub(super) fn inspect(file: &Path) -> AgentResult<Inspected> {
    let described = open(file).and_then(|opened| describe(&opened.into_root(file)?).map_err(damaged(file)));
    match described {
        Ok(inspected) => Ok(inspected),
        Err(refusal) if refusal.kind == RefusalKind::Missing => Err(refusal),
        Err(refusal) => Ok(Inspected { problem: Some(refusal.message), ..Inspected::default() }),
    }
}

fn describe(root: &Rooted) -> Result<Inspected, H5Error> {
    let root = &root.group;
    let names = |group: &str| -> Result<Vec<String>, H5Error> {
        let links = root.subgroup(group)?.map_or_else(|| Ok(Vec::new()), |group| group.links(WIDEST))?;
        Ok(links.into_iter().map(|(name, _)| name).collect())
    };
    let mut inspected =
        Inspected { externals: names("EXTERNALS")?, products: names("PRODUCTS")?, ..Default::default() };
    match star_of(root)? {
        NamedStar::Nothing => {}
        NamedStar::Star(star, written) => (inspected.star, inspected.star_as_written) = (Some(star), Some(written)),
        NamedStar::Wrong(what) => inspected.problem = Some(what),
    }
    match quarter_of(root)? {
        Ok(quarter) => inspected.quarter = quarter,
        Err(what) => inspected.problem = Some(what),
    }
    if inspected.problem.is_none() {
        inspected.problem = dates(root)?.err();
    }
    if inspected.problem.is_none() && inspected.externals.is_empty() {
        inspected.problem = Some("it has nothing below /EXTERNALS".to_owned());
    }
    if inspected.problem.is_none() {
        inspected.problem = inspected.externals.iter().find_map(|name| product_name(name).err());
    }
    Ok(inspected)
}

/// An open file and its root group; the file lives as long.
pub(super) struct Rooted {
    pub(super) group: Group,
    _file: File,
}

impl File {
    /// The root group, with the file that it keeps open.
    pub(super) fn into_root(self, path: &Path) -> AgentResult<Rooted> {
        let group = self.root().map_err(damaged(path))?;
        Ok(Rooted { group, _file: self })
    }
}
