//! What of a module is other in one definition than in another, as far as its results can tell. Pure.

use super::fingerprint::{but_for_tolerances, definition, hash};
use super::key::define;
use crate::pipeline::{Module, Pipeline};

/// What of a module's definition is other than it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DefinitionChange {
    /// It was not there, or switched off.
    New,
    /// What every key of its results rests on: command, environment, parameters, declared outputs.
    Makes,
    /// What decides whether it runs and on which inputs: inputs, conditions, order, trigger rule.
    Decides,
    /// Only by how much its products may differ and count as unchanged.
    Tolerates,
}

/// What is other of a module than in the pipeline before; documentation, limits and images are not looked at. One that was
/// switched off since decides otherwise.
pub fn definition_change(before: &Pipeline, (pipeline, module): (&Pipeline, &Module)) -> Option<DefinitionChange> {
    let was = before.modules.iter().find(|was| was.name == module.name && was.enabled);
    let Some(was) = was else { return module.enabled.then_some(DefinitionChange::New) };
    let whole = |pipeline: &Pipeline, module: &Module| hash(|write| definition(pipeline, module, write));
    let decides = |pipeline: &Pipeline, module: &Module| hash(|write| but_for_tolerances(pipeline, module, write));
    if whole(before, was) == whole(pipeline, module) {
        None
    } else if makes(was) != makes(module) {
        Some(DefinitionChange::Makes)
    } else if decides(before, was) != decides(pipeline, module) {
        Some(DefinitionChange::Decides)
    } else {
        Some(DefinitionChange::Tolerates)
    }
}

/// Hash of what is in every key of the module's results, whatever the image and the inputs.
pub fn makes(module: &Module) -> [u8; 32] {
    hash(|write| define(module, &mut |name, fields| super::key::write_list(name, &fields, write)))
}
