//! Look: what of a module's declared inputs is there, in which file, with which digest, and what conditions read of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::contract::{self, Presence, View};
use domain::id::{Digest, ModuleIndex, ProductName};
use domain::outcome::{Outcome, PlatformErrorKind, StandsFor};
use domain::product::{Origin, Source};
use domain::run::TaskState;
use store::agent::{At, Manifest, ReadScalars, WantedScalars};
use store::{durable, paths};
use tokio_util::sync::CancellationToken;

use super::committed::{await_file, unreadable};
use super::desk::{Desk, Order};
use super::ending::Ending;
use super::place::InputPlace;
use super::twice::{self, believed};

/// What was found.
pub(super) struct Seen {
    /// For the decision.
    pub(super) view: View,
    /// Where everything that is there lies.
    pub(super) places: BTreeMap<Source, InputPlace>,
    /// Digests of what was made again and stands for what was before, which is read in its place.
    pub(super) instead_of: BTreeMap<Source, Digest>,
    /// Start and end of the observations, where an external says so.
    pub(super) observed: Option<[f64; 2]>,
}

/// Looks at everything that the module's contract names.
pub(super) async fn look(desk: &mut Desk, order: &Order, cancel: &CancellationToken) -> Result<Seen, Ending> {
    let needs = contract::needs(order.module());
    let mut seen = Seen { view: View::default(), places: BTreeMap::new(), instead_of: BTreeMap::new(), observed: None };
    let externals = externals(desk, order, cancel).await?;
    seen.observed = externals.iter().find_map(|(_, manifest)| manifest.observed);
    let previous = match needs.sources.iter().any(|source| source.origin == Origin::Previous) {
        true => previous(desk, order, cancel).await?,
        false => None,
    };
    for source in &needs.sources {
        let found = match source.origin {
            Origin::StarExternal => external(&externals, Of::Star, &spellings(order, &source.product)),
            Origin::SharedExternal => external(&externals, Of::All, &spellings(order, &source.product)),
            Origin::Previous => of_previous(previous.as_ref(), &spellings(order, &source.product)),
            Origin::Module(module) => of_module(order, module, &source.product)?,
        };
        let found = match found {
            Ok(made) => Ok(counting(desk, order, &source.product, made).await?),
            absent => absent,
        };
        let presence = match found {
            Ok(InFile { file, path, digest, instead_of, .. }) => {
                seen.instead_of.extend(instead_of.map(|made| (source.clone(), made)));
                seen.places.insert(source.clone(), place(desk, order, file, path)?);
                Presence::Made(digest)
            }
            Err(presence) => presence,
        };
        seen.view.presence.insert(source.clone(), presence);
    }
    for (source, columns) in needs.read {
        if let Some(place) = seen.places.get(&source) {
            let ReadScalars { scalars, others } = scalars(desk, order, place, columns, cancel).await?;
            seen.view.columns.insert(source.clone(), scalars);
            seen.view.others.insert(source, others);
        }
    }
    Ok(seen)
}

/// A product that is there: the name of the file that holds it, where in it, and its digest.
struct InFile {
    file: String,
    path: String,
    digest: Digest,
    /// What it stands for, by its own record.
    stands_for: Option<StandsFor>,
    /// The digest of what stands for it.
    instead_of: Option<Digest>,
}

impl InFile {
    fn new(file: String, path: String, digest: Digest) -> Self {
        Self { file, path, digest, stands_for: None, instead_of: None }
    }
}

/// What counts of a product: what it stands for, where that is there, and the pipeline tolerates exactly what was tolerated then;
/// else the product itself.
async fn counting(desk: &Desk, order: &Order, product: &ProductName, made: InFile) -> Result<InFile, Ending> {
    let Some(stands_for) = made.stands_for.clone().filter(|known| is_tolerated(order, product, known)) else {
        return Ok(made);
    };
    let file = place(desk, order, stands_for.file.clone(), "/".to_owned())?.file;
    if desk.store.ask(move |_| durable::inode(&file)).await?.is_none() {
        return Ok(made);
    }
    let before = InFile::new(stands_for.file, made.path, stands_for.digest);
    Ok(InFile { instead_of: Some(made.digest), ..before })
}

/// Whether the pipeline of this run tolerates exactly what was tolerated when this was decided.
pub(super) fn is_tolerated(order: &Order, product: &ProductName, stands_for: &StandsFor) -> bool {
    let declared = order.run.course.pipeline.tolerances.get(product);
    declared.is_some_and(|tolerance| tolerance.to_string() == stands_for.within)
}

/// The names under which a product may be in a file that no module of ours wrote, or one of another version of the
/// pipeline: its own, then its aliases.
fn spellings<'a>(order: &'a Order, product: &'a ProductName) -> Vec<&'a ProductName> {
    let aliases = order.run.course.pipeline.aliases.iter().filter(|(_, name)| *name == product).map(|(alias, _)| alias);
    std::iter::once(product).chain(aliases).collect()
}

/// Whose externals a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Star,
    All,
}

fn external(externals: &[(String, Arc<Manifest>)], of: Of, spellings: &[&ProductName]) -> Result<InFile, Presence> {
    let is_meant = |name: &str| if paths::is_shared(name) { of == Of::All } else { of == Of::Star };
    let held = |product: &&ProductName| {
        externals.iter().filter(|(name, _)| is_meant(name)).find_map(|(name, manifest)| {
            let entry = manifest.externals.get(*product)?;
            Some(InFile::new(name.clone(), format!("/EXTERNALS/{product}"), entry.digest))
        })
    };
    spellings.iter().find_map(held).ok_or(Presence::NotDelivered)
}

fn of_previous(generation: Option<&(String, Arc<Manifest>)>, spellings: &[&ProductName]) -> Result<InFile, Presence> {
    let (name, manifest) = generation.ok_or(Presence::NotMade)?;
    let made = |product: &&ProductName| {
        let entry = manifest.products.get(*product).filter(|entry| entry.not_produced.is_none())?;
        let file = entry.file.clone().unwrap_or_else(|| name.clone());
        let made = InFile::new(file, format!("/PRODUCTS/{product}"), entry.digest);
        Some(InFile { stands_for: entry.stands_for.clone(), ..made })
    };
    spellings.iter().find_map(made).ok_or(Presence::NotMade)
}

fn of_module(order: &Order, module: ModuleIndex, product: &ProductName) -> Result<Result<InFile, Presence>, Ending> {
    let cell = order.grant.row.cell(module);
    let name = &order.run.course.pipeline.module(module).name;
    if cell.state != TaskState::Succeeded {
        return Ok(Err(if cell.state.is_lost() { Presence::Lost } else { Presence::NotMade }));
    }
    let Some(Outcome::Succeeded(success)) = order.grant.upstream.get(&module).map(|detail| &detail.outcome) else {
        let message = format!("the state says that {name} succeeded, but not with which result");
        return Err(Ending::errored(PlatformErrorKind::InputLost, message));
    };
    Ok(match success.products.get(product) {
        Some(digest) => {
            let file = format!("{}/products/{name}-{}.h5", order.run.course.record.quarter, success.key);
            let made = InFile::new(file, format!("/PRODUCTS/{product}"), *digest);
            Ok(InFile { stands_for: success.stands_for.get(product).cloned(), ..made })
        }
        None => Err(Presence::NotMade),
    })
}

async fn externals(
    desk: &mut Desk,
    order: &Order,
    cancel: &CancellationToken,
) -> Result<Vec<(String, Arc<Manifest>)>, Ending> {
    let mut found = Vec::new();
    for name in &order.grant.admission.externals {
        found.push((name.clone(), manifest(desk, order, name, cancel).await?));
    }
    Ok(found)
}

/// The generation of the quarter before that was fixed when the star was admitted.
async fn previous(
    desk: &mut Desk,
    order: &Order,
    cancel: &CancellationToken,
) -> Result<Option<(String, Arc<Manifest>)>, Ending> {
    let fixed = order.run.course.record.quarter.previous().zip(order.grant.admission.previous);
    let Some((quarter, generation)) = fixed else { return Ok(None) };
    let name = paths::name_of_generation(quarter, generation);
    let manifest = manifest(desk, order, &name, cancel).await?;
    Ok(Some((name, manifest)))
}

/// The manifest of a committed file of a star.
async fn manifest(
    desk: &mut Desk,
    order: &Order,
    name: &str,
    cancel: &CancellationToken,
) -> Result<Arc<Manifest>, Ending> {
    let place = place(desk, order, name.to_owned(), "/".to_owned())?;
    whole(desk, order, &place, cancel).await
}

pub(super) fn place(desk: &Desk, order: &Order, name: String, path: String) -> Result<InputPlace, Ending> {
    let Some(file) = paths::of_star(order.star, &name) else {
        return Err(Ending::errored(PlatformErrorKind::InputLost, format!("{name:?} is no file of a star")));
    };
    Ok(InputPlace { name, file: desk.store.at(file), path })
}

/// The manifest of the committed file where something lies, from memory or the file: one that is damaged has none.
pub(super) async fn whole(
    desk: &mut Desk,
    order: &Order,
    place: &InputPlace,
    cancel: &CancellationToken,
) -> Result<Arc<Manifest>, Ending> {
    let file = &place.file;
    let seen = await_file(desk, file, cancel).await?;
    if let Some(manifest) = desk.manifests.of(file, seen) {
        return Ok(manifest);
    }
    let manifest = match twice::manifest(desk, file).await? {
        Ok(manifest) => Arc::new(manifest),
        Err(error) => return Err(unreadable(order, place, seen, error)),
    };
    desk.manifests.keep(file.clone(), seen, &manifest);
    Ok(manifest)
}

/// Scalars among the columns of a product that conditions read.
async fn scalars(
    desk: &mut Desk,
    order: &Order,
    place: &InputPlace,
    columns: Option<BTreeSet<String>>,
    cancel: &CancellationToken,
) -> Result<ReadScalars, Ending> {
    let seen = await_file(desk, &place.file, cancel).await?;
    let at = At { file: place.file.clone(), path: place.path.clone() };
    let wants = vec![WantedScalars { at, columns }];
    let first = desk.agent.scalars(wants.clone()).await;
    let answer = match believed(desk, first).await? {
        Some(answer) => answer,
        None => desk.agent.scalars(wants).await,
    };
    match answer {
        Ok(read) => Ok(read.into_iter().next().unwrap_or_default()),
        Err(error) => Err(unreadable(order, place, seen, error)),
    }
}
