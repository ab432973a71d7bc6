//! Whether files hold what is on record of them: products are digested again, and what modules read is compared with what there is.
//!
//! Of a star in the store everything that its generation refers to; of a plain file, which may be far from any store, what is in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::error::chain;
use domain::id::{Digest, ModuleName, ProductName, StarId};
use schemars::JsonSchema;
use serde::Serialize;
use store::agent::{Agent, AgentError, AgentOptions, At, FileKind, Manifest, ProductEntry};
use store::paths;

use super::star::{FoundQuarter, OneGeneration};
use super::{Context, ErrorKind, OperateError};

/// What came of looking.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Verification {
    /// The files, in the order in which they were looked at.
    pub files: Vec<VerifiedFile>,
}

/// What came of looking at a file.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct VerifiedFile {
    /// The file.
    pub file: PathBuf,
    /// Products and externals that are what is on record.
    pub well: usize,
    /// Bytes of their values.
    pub bytes: u64,
    /// What differs.
    pub differences: Vec<DifferenceFound>,
    /// Products that lie in other files, which cannot be found from here: nobody can tell.
    pub elsewhere: Vec<ProductName>,
}

/// Something that is not what is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DifferenceFound {
    /// The product; none where it is the whole file.
    pub product: Option<ProductName>,
    /// In which way.
    pub what: String,
}

impl Verification {
    /// How many things differ.
    pub fn differences(&self) -> usize {
        self.files.iter().map(|file| file.differences.len()).sum()
    }
}

impl VerifiedFile {
    fn of(file: &Path) -> Self {
        let (differences, elsewhere) = (Vec::new(), Vec::new());
        Self { file: file.to_owned(), well: 0, bytes: 0, differences, elsewhere }
    }

    fn differs(&mut self, product: Option<&ProductName>, what: impl Into<String>) {
        self.differences.push(DifferenceFound { product: product.cloned(), what: what.into() });
    }
}

/// Looks at a generation of a star, at the star file that shows it, and at every file that it refers to.
pub async fn verify_star(context: &Context, asked: OneGeneration) -> Result<Verification, OperateError> {
    let found = FoundQuarter::find(context, asked.place()).await?;
    let (star, quarter) = (found.star, found.quarter);
    let mut agent = context.readers.lend().await?;
    let (number, generation) = found.read(context, &mut agent, asked.generation).await?;
    let mut files = vec![paths::generation(star, quarter, number)];
    if found.open(context, &mut agent).await? == number {
        files.push(paths::star_file(star, quarter));
    }
    let mut named = ShownProduct::by_file(star, &generation);
    let mut verification = Verification::default();
    for file in files {
        // What it links to is looked at where it is.
        let file = verify_file_of_store(context, &mut agent, &file, Linked::Skipped).await?.0;
        verification.files.push(file);
    }
    let mut held: BTreeMap<PathBuf, Manifest> = BTreeMap::new();
    while let Some((file, shown)) = named.pop_first() {
        let (mut verified, manifest) = verify_file_of_store(context, &mut agent, &file, Linked::Skipped).await?;
        if let Some(manifest) = &manifest {
            shown.iter().for_each(|shown| shown.compare(manifest, &mut verified));
        }
        verification.files.push(verified);
        held.extend(manifest.map(|manifest| (file, manifest)));
    }
    compare_inputs(context, star, &held, &mut verification);
    Ok(verification)
}

/// Looks at a plain file: a star file, one that was exported, a result or a delivery of a store.
pub async fn verify_file(file: &Path) -> Result<Verification, OperateError> {
    let missing = |error| OperateError::not_found(format!("failed to open `{}`: {error}", file.display()));
    let file = file.canonicalize().map_err(missing)?;
    let scratch = std::env::temp_dir().join(format!("sas-verify-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&scratch).map_err(|error| {
        OperateError::new(ErrorKind::Failed, format!("failed to make `{}`: {error}", scratch.display()))
    })?;
    let root = file.ancestors().find(|folder| folder.join(paths::STORE_FILE).is_file());
    let near = root.or(file.parent()).unwrap_or(Path::new("/"));
    let mut agent = Agent::new(AgentOptions::new(near, &scratch));
    let verified = verify(&mut agent, &file, root.map_or(Linked::Elsewhere, Linked::In)).await;
    let recorded = match &verified {
        Ok((_, Some(manifest))) if manifest.kind == FileKind::Generation => agent.recorded(&file).await.map(Some),
        Ok(_) | Err(_) => Ok(None),
    };
    agent.end();
    let _ = std::fs::remove_dir_all(&scratch);
    let (mut verified, manifest) = verified?;
    match (recorded, manifest) {
        (Ok(Some(recorded)), Some(manifest)) => {
            for of_module in recorded {
                for (product, digest) in of_module.digests {
                    let entry = manifest.products.get(&product).or_else(|| manifest.externals.get(&product));
                    // What stands for something that was before, others may have read as that.
                    let before = entry.and_then(|entry| entry.stands_for.as_ref()).map(|before| before.digest);
                    let there = before.filter(|before| *before == digest).or(entry.map(|entry| entry.digest));
                    compare_read(&of_module.module, &product, digest, there, &mut verified);
                }
            }
        }
        (Err(error), _) => verified.differs(None, format!("what modules read cannot be read: {}", chain(&error))),
        (Ok(_), _) => {}
    }
    Ok(Verification { files: vec![verified] })
}

/// What to do about products that a file links to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Linked<'a> {
    /// They are looked at in the store with this root.
    In(&'a Path),
    /// They are looked at in the files where they are.
    Skipped,
    /// They are in the file, or nobody can tell.
    Elsewhere,
}

/// Looks at one committed file, named from the store's root. Damage is looked at twice, by a fresh agent, on a store that answers.
pub(super) async fn verify_file_of_store(
    context: &Context,
    agent: &mut Agent,
    file: &Path,
    linked: Linked<'_>,
) -> Result<(VerifiedFile, Option<Manifest>), OperateError> {
    let path = context.store.at(file);
    let first = verify(agent, &path, linked).await?;
    let (mut verified, manifest) = if first.0.differences.is_empty() {
        first
    } else {
        agent.end();
        context.ask(|store| store.probe()).await?;
        verify(agent, &path, linked).await?
    };
    file.clone_into(&mut verified.file);
    Ok((verified, manifest))
}

/// Looks at one file. Only what cannot be asked at all is an error.
async fn verify(
    agent: &mut Agent,
    file: &Path,
    linked: Linked<'_>,
) -> Result<(VerifiedFile, Option<Manifest>), OperateError> {
    let mut verified = VerifiedFile::of(file);
    let manifest = match agent.manifest(file).await {
        Ok(manifest) => manifest,
        Err(error @ AgentError::Start { .. }) => return Err(error.into()),
        Err(error) => {
            verified.differs(None, chain(&error));
            return Ok((verified, None));
        }
    };
    let below = |group: &'static str, entries: &BTreeMap<ProductName, ProductEntry>| -> Vec<_> {
        entries.iter().map(|(name, entry)| (format!("/{group}/{name}"), name.clone(), entry.clone())).collect()
    };
    let products = below("PRODUCTS", &manifest.products);
    for (path, name, entry) in products.into_iter().chain(below("EXTERNALS", &manifest.externals)) {
        // Only generations link.
        let is_linked = manifest.kind == FileKind::Generation && entry.is_linked();
        let elsewhere = match (is_linked, linked, manifest.star) {
            (true, Linked::Skipped, _) => continue,
            (true, Linked::In(root), Some(star)) => of_star(star, &entry).map(|place| root.join(place)),
            (true, Linked::In(_) | Linked::Elsewhere, _) | (false, _, _) => None,
        };
        let elsewhere = elsewhere.filter(|place| place.is_file());
        let is_here = elsewhere.is_none();
        let at = At { file: elsewhere.unwrap_or_else(|| file.to_owned()), path };
        match agent.digest(at).await {
            Ok(found) if found.digest == entry.digest => {
                verified.well += 1;
                verified.bytes += found.bytes;
            }
            Ok(found) => {
                let what = format!("has digest {}, and {} is on record", found.digest, entry.digest);
                verified.differs(Some(&name), what);
            }
            Err(error @ AgentError::Start { .. }) => return Err(error.into()),
            Err(_) if is_linked && is_here => verified.elsewhere.push(name),
            Err(error) => verified.differs(Some(&name), format!("cannot be read: {}", chain(&error))),
        }
    }
    Ok((verified, Some(manifest)))
}

/// The file that holds a product of a star, from the store's root.
fn of_star(star: StarId, entry: &ProductEntry) -> Option<PathBuf> {
    paths::of_star(star, entry.file.as_deref()?)
}

/// A product or an external, as a generation has it.
struct ShownProduct<'a> {
    name: &'a ProductName,
    digest: Digest,
    is_external: bool,
}

impl<'a> ShownProduct<'a> {
    /// Those of a generation by the files that hold them.
    fn by_file(star: StarId, generation: &'a Manifest) -> BTreeMap<PathBuf, Vec<Self>> {
        let mut files: BTreeMap<PathBuf, Vec<Self>> = BTreeMap::new();
        for (is_external, entries) in [(false, &generation.products), (true, &generation.externals)] {
            for (name, entry) in entries {
                if let Some(file) = of_star(star, entry) {
                    files.entry(file).or_default().push(Self { name, digest: entry.digest, is_external });
                }
            }
        }
        files
    }

    /// Compares it with what is on record where it was made or delivered.
    fn compare(&self, held: &Manifest, verified: &mut VerifiedFile) {
        let Self { name, digest, is_external } = self;
        let entries = if *is_external { &held.externals } else { &held.products };
        match entries.get(*name) {
            Some(other) if other.digest == *digest => {}
            Some(other) => {
                verified.differs(Some(name), format!("has digest {}, and the generation says {digest}", other.digest));
            }
            None => verified.differs(Some(name), "is not in it, and the generation says so"),
        }
    }
}

/// Compares the digests that results say they read with those of the files that they read.
fn compare_inputs(
    context: &Context,
    star: StarId,
    held: &BTreeMap<PathBuf, Manifest>,
    verification: &mut Verification,
) {
    for (file, manifest) in held {
        let Some(provenance) = &manifest.provenance else { continue };
        let Some(verified) = verification.files.iter_mut().find(|verified| verified.file == *file) else { continue };
        for input in &provenance.inputs {
            let place = input.file.as_deref().and_then(|name| paths::of_star(star, name));
            let Some((digest, place)) = input.digest.zip(place) else { continue };
            match held.get(&place) {
                Some(source) => {
                    let name = &input.product;
                    let entry = source.products.get(name).or_else(|| source.externals.get(name));
                    compare_read(&provenance.module, name, digest, entry.map(|entry| entry.digest), verified);
                }
                // Of the quarter before, or of a delivery that the generation does not show: at least it must be there.
                None if context.store.at(&place).is_file() => {}
                None => {
                    let what = format!("{} read it in `{}`, which is not there", provenance.module, place.display());
                    verified.differs(Some(&input.product), what);
                }
            }
        }
    }
}

fn compare_read(
    module: &ModuleName,
    product: &ProductName,
    read: Digest,
    there: Option<Digest>,
    verified: &mut VerifiedFile,
) {
    if let Some(there) = there.filter(|there| *there != read) {
        verified.differs(Some(product), format!("{module} read digest {read}, and {there} is there"));
    }
}
