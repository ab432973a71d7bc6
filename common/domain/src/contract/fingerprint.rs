//! The fingerprint of everything that determined what a star ended with in a run.
//!
//! Where a star's fingerprint in a new run equals the one that it settled with, its results are the same: it is reused
//! whole. In it, as SHA-256 over fields that are preceded by their length:
//!
//! - of every module in topological order: its name, whether it is switched on and of the run's group; where it is on, its
//!   command, environment, parameters, the pipeline's parameters that its conditions name, declared inputs and outputs with
//!   conditions, `run_if`, `after`, trigger rule, tolerances of what it makes, and the identity of the image that it ran as, or that it did not run;
//! - of the star: its id, its quarter, the files of its externals with their sequence numbers (a file never changes, so that
//!   its name stands for its content), and its generation of the quarter before.
//!
//! Not in it: run, event, horizon and version of the pipeline; documentation, groups by which modules are drawn, class,
//! memory, time limit, mode, retries, host; the data model (as with keys, a result that was accepted stays accepted); the
//! identity of an image that was not run for this star, since a module that its conditions skip is skipped whatever its
//! image. So planning asks with the modules that [`ran`] according to the settled row. Nor is it in it whether a star ended
//! well: the row says that.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::key::{define, source, write_list};
use crate::expression::Expression;
use crate::id::{Fingerprint, Generation, ImageIdentity, ModuleIndex, Quarter, StarId};
use crate::pipeline::{Module, Pipeline};
use crate::product::Source;
use crate::run::{Row, TaskState};

/// Version of the fields; a change of it makes no star reusable whole.
const FORMAT: &str = "sas-fingerprint-1";

/// What a star's results rest on besides the definitions.
#[derive(Debug, Clone, Copy)]
pub struct StarInputs<'a> {
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// File names of its externals, as admission fixes them; in any order.
    pub externals: &'a [String],
    /// Its generation of the quarter before, if it had one at admission.
    pub previous: Option<Generation>,
}

/// The modules that ran for a star with this row, each as the image that it had; `None` when a task ended for other reasons
/// than definitions and inputs (errored, cancelled, superseded) or did not end, so that no fingerprint stands for it.
pub fn ran(row: &Row) -> Option<Vec<ModuleIndex>> {
    let mut ran = Vec::new();
    for (index, cell) in (0..=u8::MAX).map(ModuleIndex).zip(row.cells()) {
        match cell.state {
            TaskState::Succeeded | TaskState::Failed => ran.push(index),
            TaskState::Skipped | TaskState::UpstreamFailed => {}
            TaskState::Blocked
            | TaskState::Queued
            | TaskState::Waiting
            | TaskState::Errored
            | TaskState::Cancelled
            | TaskState::Superseded => return None,
        }
    }
    Some(ran)
}

/// The definitions of a pipeline's modules, each hashed once for all stars of a run.
#[derive(Debug, Clone)]
pub struct Definitions(Vec<[u8; 32]>);

impl Definitions {
    /// Those of a pipeline, limited as its run is.
    pub fn of(pipeline: &Pipeline) -> Self {
        Self(pipeline.modules.iter().map(|module| hash(|write| definition(pipeline, module, write))).collect())
    }

    /// The fingerprint of a star for which modules ran as the images with these identities, and no others ran.
    pub fn fingerprint(&self, ran: &BTreeMap<ModuleIndex, ImageIdentity>, inputs: StarInputs<'_>) -> Fingerprint {
        self.programs(ran).fingerprint(inputs)
    }

    /// The part of fingerprints that is the same for all stars for which these modules ran as these images.
    pub fn programs(&self, ran: &BTreeMap<ModuleIndex, ImageIdentity>) -> Programs {
        let mut fields = Vec::new();
        let mut write = |field: &str| write_field(field, &mut fields);
        for (index, definition) in (0..=u8::MAX).map(ModuleIndex).zip(&self.0) {
            write_list("module", &[hex::encode(definition)], &mut write);
            let image: Vec<String> = ran.get(&index).map(ToString::to_string).into_iter().collect();
            write_list("image", &image, &mut write);
        }
        Programs(fields)
    }
}

/// Definitions and images that made the results of a star.
#[derive(Debug, Clone)]
pub struct Programs(Vec<u8>);

impl Programs {
    /// The fingerprint of a star that had these inputs.
    pub fn fingerprint(&self, inputs: StarInputs<'_>) -> Fingerprint {
        let mut externals: Vec<String> = inputs.externals.to_vec();
        externals.sort_unstable();
        externals.dedup();
        let mut fields = Vec::new();
        let mut list = |name: &str, of: Vec<String>| {
            write_list(name, &of, &mut |field: &str| write_field(field, &mut fields));
        };
        list("format", vec![FORMAT.to_owned()]);
        list("star", vec![inputs.star.to_string(), inputs.quarter.to_string()]);
        list("externals", externals);
        list("previous", inputs.previous.iter().map(ToString::to_string).collect());
        let mut hash = Sha256::new();
        hash.update(&fields);
        hash.update(&self.0);
        Fingerprint::from_bytes(hash.finalize().into())
    }
}

pub(super) fn definition(pipeline: &Pipeline, module: &Module, write: &mut dyn FnMut(&str)) {
    but_for_tolerances(pipeline, module, write);
    let products = module.outputs.products().filter(|_| module.enabled);
    let mut tolerances: Vec<[String; 2]> = products
        .filter_map(|product| Some([product.to_string(), pipeline.tolerances.get(product)?.to_string()]))
        .collect();
    tolerances.sort_unstable();
    // Where there are none, fingerprints are what they were before there could be any.
    if !tolerances.is_empty() {
        write_list("tolerances", &tolerances.concat(), write);
    }
}

/// The definition without what may differ of its products and count as unchanged.
pub(super) fn but_for_tolerances(pipeline: &Pipeline, module: &Module, write: &mut dyn FnMut(&str)) {
    let mut list = |name: &str, fields: Vec<String>| write_list(name, &fields, write);
    list("name", vec![module.name.to_string()]);
    list("enabled", vec![module.enabled.to_string()]);
    list("outside_of", module.outside_of.iter().map(ToString::to_string).collect());
    if !module.enabled {
        return;
    }
    define(module, &mut list);
    let inputs = &module.inputs;
    list("run_if", module.run_if.iter().map(text).collect());
    list("inputs.mandatory", sources(&inputs.mandatory));
    list("inputs.optional", sources(&inputs.optional));
    for alternatives in &inputs.one_of {
        // Their order chooses.
        list("inputs.one_of", alternatives.iter().flat_map(source).collect());
    }
    let conditional = inputs.conditional.iter();
    let mut conditional: Vec<Vec<String>> =
        conditional.map(|input| [&source(&input.source)[..], &[text(&input.when)]].concat()).collect();
    conditional.sort_unstable();
    list("inputs.conditional", conditional.concat());
    let mut after: Vec<String> = module.after.iter().map(|index| pipeline.module(*index).name.to_string()).collect();
    after.sort_unstable();
    list("after", after);
    list("trigger_rule", module.trigger_rule.iter().map(ToString::to_string).collect());
}

fn sources(all: &[Source]) -> Vec<String> {
    let mut all: Vec<[String; 2]> = all.iter().map(source).collect();
    all.sort_unstable();
    all.concat()
}

fn text(expression: &Expression) -> String {
    expression.text().to_owned()
}

/// SHA-256 over fields, each preceded by its length.
pub(super) fn hash(write: impl FnOnce(&mut dyn FnMut(&str))) -> [u8; 32] {
    let mut fields = Vec::new();
    write(&mut |field| write_field(field, &mut fields));
    Sha256::digest(&fields).into()
}

/// A field, preceded by its length.
fn write_field(field: &str, to: &mut Vec<u8>) {
    to.extend(format!("{}:", field.len()).as_bytes());
    to.extend(field.as_bytes());
}
