//! Resolve: look → decide → identify → key. What an attempt is to make, before anything is written or run; what stands in
//! the way of that is an answer, too, and the caller's to mend.

use std::collections::BTreeMap;
use std::path::PathBuf;

use domain::contract::{self, Judgement, Staging, View};
use domain::id::{ImageIdentity, Key, ProductName};
use domain::outcome::{Outcome, Success};
use store::agent::{Manifest, ProductEntry};
use store::paths;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Order};
use super::ending::Ending;
use super::identity::{Identified, identify};
use super::look::{Seen, is_tolerated, look};
use crate::runner::Program;

/// What an attempt comes to.
pub(super) enum Resolved {
    /// This is to be made, if it is not there.
    Planned(Box<Plan>),
    /// Nobody has said yet what this program is in the run.
    Unidentified(Program),
}

/// Everything that determines a result.
pub(super) struct Plan {
    pub(super) program: Program,
    /// What the program's image stands for in this run.
    pub(super) identity: ImageIdentity,
    pub(super) key: Key,
    pub(super) staging: Staging,
    pub(super) seen: Seen,
}

/// Resolves an attempt; what its contract settles without a result is an ending.
pub(super) async fn resolve(desk: &mut Desk, order: &Order, cancel: &CancellationToken) -> Result<Resolved, Ending> {
    let seen = look(desk, order, cancel).await?;
    let staging = staging(order, &seen.view)?;
    let (program, identity) = match identify(desk, order, cancel).await? {
        Identified::As { program, identity } => (program, identity),
        Identified::NotYet(program) => return Ok(Resolved::Unidentified(program)),
    };
    let key = contract::key(order.module(), &identity, &staging);
    Ok(Resolved::Planned(Box::new(Plan { program, identity, key, staging, seen })))
}

/// What the contract says of what was seen.
fn staging(order: &Order, view: &View) -> Result<Staging, Ending> {
    match contract::decide(order.module(), view) {
        Judgement::Run(staging) => Ok(staging),
        Judgement::Skip(skip) => Err(Outcome::Skipped(skip).into()),
        Judgement::UpstreamFailed { lost } => Err(Outcome::UpstreamFailed { lost }.into()),
        Judgement::Failed(failure) => Err(Outcome::Failed(failure).into()),
    }
}

/// A committed result as completions report it.
pub(super) fn success_of(order: &Order, key: Key, manifest: &Manifest) -> Success {
    let warnings = manifest.provenance.as_ref().map_or(&[][..], |provenance| &provenance.warnings);
    let mut success = success(key, &manifest.products, warnings);
    // What was decided when it was made may not hold in this run.
    success.stands_for.retain(|product, stands_for| is_tolerated(order, product, stands_for));
    success
}

/// The same of its products: what was made, what was not with the module's reason, and what is odd.
pub(super) fn success(key: Key, products: &BTreeMap<ProductName, ProductEntry>, warnings: &[String]) -> Success {
    let mut success = Success::new(key, BTreeMap::new());
    for (name, entry) in products {
        match &entry.not_produced {
            None => drop(success.products.insert(name.clone(), entry.digest)),
            Some(reason) => success = success.without(name.clone(), reason),
        }
        success.stands_for.extend(entry.stands_for.clone().map(|stands_for| (name.clone(), stands_for)));
    }
    success.with_warnings(warnings)
}

/// Where the result with this key is, relative to the store.
pub(super) fn product_path(order: &Order, key: &Key) -> PathBuf {
    paths::product(order.star, order.run.course.record.quarter, &order.module().name, key)
}
