//! The version of a contract: it tells whether two results were made under the same promises, whoever kept them.

use super::fingerprint::{definition, hash};
use crate::pipeline::{Module, Pipeline};

/// How many bytes of the hash are shown, in two digits each.
const BYTES: usize = 8;

/// The version of a module's contract: 16 hexadecimal digits, the beginning of a hash over its name, inputs, outputs with their
/// tolerances, conditions with the pipeline's parameters that they name, order and trigger rule. Not in it: who keeps the
/// contract, which is image, command, environment and parameters.
pub fn contract_version(pipeline: &Pipeline, module: &Module) -> String {
    let promised = Module {
        command: Vec::new(),
        environment: Default::default(),
        parameters: Default::default(),
        ..module.clone()
    };
    hex::encode(&hash(|write| definition(pipeline, &promised, write))[..BYTES])
}
