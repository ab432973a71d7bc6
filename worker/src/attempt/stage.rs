//! Stage: the input as the contract promises it, in a directory of the attempt's own. Large products are hard links to committed
//! files, so staging costs the same for 1 MB and 250 MB.

use std::collections::BTreeMap;
use std::path::PathBuf;

use domain::contract::{InputRole, Staging};
use domain::error::chain;
use domain::outcome::PlatformErrorKind;
use domain::product::{Origin, Source};
use serde_json::json;
use store::agent::{AgentError, Stage, StageItem};
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Order};
use super::ending::Ending;
use super::layout::{Made, files};
use super::look::{Seen, whole};
use super::place::InputPlace;
use super::resolve::Plan;
use crate::runner::INPUT;

/// Builds the input in the directories that were made.
pub(super) async fn stage(
    desk: &mut Desk,
    order: &Order,
    plan: &Plan,
    made: &Made,
    cancel: &CancellationToken,
) -> Result<(), Ending> {
    let Plan { staging, seen, .. } = plan;
    for place in staging.staged.iter().filter_map(|staged| seen.places.get(&staged.source)) {
        let known = made.inodes.get(&place.file).and_then(|inode| desk.manifests.of(&place.file, *inode));
        if known.is_none() {
            whole(desk, order, place, cancel).await?;
        }
    }
    let request = Stage {
        input: made.input.join(INPUT),
        attributes: BTreeMap::new(),
        star: order.star,
        quarter: order.run.course.record.quarter,
        observed: seen.observed,
        items: items(staging, seen, &files(staging, seen)),
        staged: announce(staging),
    };
    desk.agent.stage(request).await.map_err(|error| could_not_stage(&error))
}

fn could_not_stage(error: &AgentError) -> Ending {
    Ending::errored(PlatformErrorKind::Store, format!("failed to stage the input: {}", chain(error)))
}

fn items(staging: &Staging, seen: &Seen, files: &BTreeMap<&PathBuf, String>) -> Vec<StageItem> {
    let item = |source: &Source, place: &InputPlace| StageItem {
        at: inside(source),
        file: files[&place.file].clone(),
        path: place.path.clone(),
    };
    let sources = sources(staging).into_iter();
    sources.filter_map(|source| Some(item(source, seen.places.get(source)?))).collect()
}

/// What is staged, each once: two clauses of a contract may choose the same product.
fn sources(staging: &Staging) -> Vec<&Source> {
    let mut sources: Vec<&Source> = Vec::new();
    for staged in &staging.staged {
        if !sources.contains(&&staged.source) {
            sources.push(&staged.source);
        }
    }
    sources
}

/// Where a module finds a product in its input.
fn inside(source: &Source) -> String {
    match source.origin {
        Origin::StarExternal | Origin::SharedExternal => format!("/EXTERNALS/{}", source.product),
        Origin::Module(_) => format!("/PRODUCTS/{}", source.product),
        Origin::Previous => format!("/PREVIOUS/PRODUCTS/{}", source.product),
    }
}

/// The root attribute `STAGED`. What is absent is not told with its reason: under one key that may be another.
fn announce(staging: &Staging) -> String {
    let mut alternatives: Vec<(u32, String)> = Vec::new();
    for staged in &staging.staged {
        match staged.role {
            InputRole::OneOf(list) => alternatives.push((list, inside(&staged.source))),
            InputRole::Mandatory | InputRole::Conditional | InputRole::Optional => {}
        }
    }
    alternatives.sort();
    json!({
        "staged": sources(staging).into_iter().map(inside).collect::<Vec<_>>(),
        "one_of": alternatives.into_iter().map(|(_, path)| path).collect::<Vec<_>>(),
    })
    .to_string()
}
