//! What a star file says of a module: how it ended, who made it of what, what that used, and why there is no more. All of it as
//! attributes, for readers without any code of ours. And what of that is read again.

use std::collections::BTreeMap;
use std::path::Path;

use super::pack::json;
use super::read::whole;
use super::{AgentResult, damaged};
use crate::agent::record::*;
use crate::agent::wire::RecordedReads;
use crate::h5::{Attributed, Group, H5Error};
use domain::id::ProductName;
use domain::outcome::{Outcome, UsedResources};

/// A module, and what it made.
pub(super) struct Described<'a> {
    pub(super) module: &'a ModuleEntry,
    pub(super) result: Option<&'a Manifest>,
    /// Where its log is, from the star file's folder.
    pub(super) log: Option<String>,
}

/// Writes it into the module's group, with an empty subgroup `inputs`.
pub(super) fn describe(group: &Group, described: &Described<'_>) -> Result<(), H5Error> {
    let Described { module, result, log } = described;
    let empty = BTreeMap::new();
    let outputs: Vec<&str> = result.map_or(&empty, |result| &result.products).keys().map(ProductName::as_str).collect();
    group.set_texts("outputs", &outputs)?;
    let provenance = result.and_then(|result| result.provenance.as_deref());
    ended(group, module, provenance)?;
    if let Some(log) = log {
        group.set_text("log", log)?;
    }
    not_produced(group, module, *result)?;
    group.create_group("inputs")?;
    if let Some(result) = result {
        stands_for(group, result)?;
    }
    match provenance {
        Some(provenance) => made(group, provenance),
        None => Ok(()),
    }
}

/// What its products stand for: where any does, an attribute of the subgroup `stands_for` for each, with the digest that counts.
fn stands_for(group: &Group, result: &Manifest) -> Result<(), H5Error> {
    let standing = result.products.iter().filter_map(|(name, entry)| Some((name, entry.stands_for.as_ref()?)));
    let mut standing = standing.peekable();
    if standing.peek().is_none() {
        return Ok(());
    }
    let group = group.create_group("stands_for")?;
    standing
        .into_iter()
        .try_for_each(|(name, stands_for)| group.set_text(name.as_str(), &stands_for.digest.to_string()))
}

/// How its task ended in this run.
fn ended(group: &Group, module: &ModuleEntry, provenance: Option<&Provenance>) -> Result<(), H5Error> {
    group.set_text("state", &module.state.to_string())?;
    group.set_text("group", &module.group)?;
    // Operators may have amended the image after the pipeline named it.
    let image = provenance.map_or(&module.image, |provenance| &provenance.image);
    group.set_text("image", image.as_str())?;
    if let Some(outcome) = &module.outcome {
        group.set_text("outcome", &outcome.state().to_string())?;
        group.set_text("reason", &outcome.to_string())?;
    }
    if let Some(Outcome::Failed(failure)) = &module.outcome
        && let Some(code) = failure.exit_code
    {
        group.set_int("exit_code", code)?;
    }
    group.set_int("attempt", module.attempt.0.into())?;
    if let Some(worker) = &module.worker {
        group.set_text("worker", worker.as_str())?;
    }
    if let Some(started) = module.started {
        group.set_text("started", &started.to_string())?;
        set_whole(group, "milliseconds", module.millis)?;
    }
    Ok(())
}

/// Who made its result, of what; the subgroup `digests` has what was read, `conditions`, where there are any, what they saw of it.
fn made(group: &Group, provenance: &Provenance) -> Result<(), H5Error> {
    group.set_text("key", &provenance.key.to_string())?;
    group.set_text("image_identity", provenance.image_identity.as_str())?;
    group.set_texts("command", &provenance.command)?;
    group.set_text("contract", &provenance.contract)?;
    group.set_text("pipeline_version", &provenance.version)?;
    group.set_text("environment", &json(&provenance.environment))?;
    group.set_text("parameters", &json(&provenance.parameters))?;
    // As text: the numbers of files have a sign.
    group.set_text("seed", &provenance.seed.to_string())?;
    group.set_text("host", &provenance.host)?;
    group.set_text("made_in_run", &provenance.run.to_string())?;
    group.set_int("made_in_attempt", provenance.attempt.0.into())?;
    group.set_text("made_by", provenance.worker.as_str())?;
    group.set_text("made_from", &provenance.started.to_string())?;
    group.set_text("made_until", &provenance.ended.to_string())?;
    group.set_int("clock_ahead", provenance.clock_ahead.unwrap_or(0))?;
    if let Some(code) = provenance.exit_code {
        group.set_int("exit_code", code)?;
    }
    used(group, &provenance.used)?;
    group.set_texts("warnings", &provenance.warnings)?;
    let digests = group.create_group("digests")?;
    for input in &provenance.inputs {
        let name = match input.source {
            InputSource::Previous => format!("{}@previous", input.product),
            InputSource::External | InputSource::Shared | InputSource::Module { .. } => input.product.to_string(),
        };
        let value = input.digest.map_or("absent".to_owned(), |digest| digest.to_string());
        if digests.attribute(&name)?.is_none() {
            digests.set_text(&name, &value)?;
        }
    }
    if provenance.expressions.is_empty() {
        return Ok(());
    }
    let conditions = group.create_group("conditions")?;
    provenance.expressions.iter().try_for_each(|(read, value)| conditions.set_text(read, &value.to_string()))
}

/// What its program used; what of that is not known is named.
fn used(group: &Group, used: &UsedResources) -> Result<(), H5Error> {
    let UsedResources { cpu_ms, peak_memory, read, written, at_least } = *used;
    let mut unknown = Vec::new();
    match cpu_ms {
        Some(millis) => group.set_floats("cpu_seconds", &[millis as f64 / 1e3])?,
        None => unknown.push("cpu_seconds"),
    }
    for (name, value) in [("peak_memory", peak_memory), ("bytes_read", read), ("bytes_written", written)] {
        match value {
            Some(value) => set_whole(group, name, value)?,
            None => unknown.push(name),
        }
    }
    if !unknown.is_empty() {
        group.set_texts("not_measured", &unknown)?;
    }
    if at_least {
        group.set_text("measured", "at least: it was looked at while it ran")?;
    }
    Ok(())
}

/// Why declared products are not there: where any is not, an attribute of the subgroup `not_produced` for each.
fn not_produced(group: &Group, module: &ModuleEntry, result: Option<&Manifest>) -> Result<(), H5Error> {
    let made = result.map(|result| &result.products);
    let answered = made.into_iter().flatten().filter_map(|(name, entry)| Some((name, entry.not_produced.clone()?)));
    let mut reasons: BTreeMap<&ProductName, String> = answered.collect();
    for product in module.declares.iter().filter(|product| made.is_none_or(|made| !made.contains_key(*product))) {
        let reason = match &module.outcome {
            Some(Outcome::Succeeded(_)) => "the module made none".to_owned(),
            Some(outcome) => outcome.to_string(),
            None => module.state.to_string(),
        };
        reasons.insert(product, reason);
    }
    if reasons.is_empty() {
        return Ok(());
    }
    let group = group.create_group("not_produced")?;
    reasons.iter().try_for_each(|(product, reason)| group.set_text(product.as_str(), reason))
}

fn set_whole(group: &Group, name: &str, value: u64) -> Result<(), H5Error> {
    group.set_int(name, i64::try_from(value).unwrap_or(i64::MAX))
}

/// What modules read, as [`describe`] wrote it: of the same star and quarter, and of what was there.
pub(super) fn recorded(file: &Path) -> AgentResult<Vec<RecordedReads>> {
    let (manifest, root) = whole(file)?;
    let Some(info) = &manifest.generation else { return Ok(Vec::new()) };
    let read = |module: &ModuleEntry| -> Result<RecordedReads, H5Error> {
        let group = root.group.subgroup(&format!("{}-{}_{}", info.pipeline, module.module, info.number))?;
        let digests = group.map(|group| group.subgroup("digests")).transpose()?.flatten();
        let mut read = RecordedReads { module: module.module.clone(), digests: BTreeMap::new() };
        for name in digests.as_ref().map(Attributed::attribute_names).transpose()?.unwrap_or_default() {
            let digest = digests.as_ref().map(|digests| digests.text_attribute(&name)).transpose()?.flatten();
            // What was absent has no digest, and what is of the quarter before no name of a product.
            if let (Ok(product), Some(Ok(digest))) = (name.parse(), digest.map(|digest| digest.parse())) {
                read.digests.insert(product, digest);
            }
        }
        Ok(read)
    };
    manifest.modules.iter().map(|module| read(module).map_err(damaged(file))).collect()
}
