//! Sealing: an output is opened once, checked with its digests, and packed from what was read.

use super::AgentResult;
use super::check::check;
use super::output::{Taken, take};
use super::pack::pack;
use crate::agent::wire::*;

/// Writes the file, if the output keeps its contract.
pub(super) fn seal(seal: Seal) -> AgentResult<Checked> {
    let file = match take(&seal)? {
        Taken::File(file) => Some(file),
        Taken::Nothing => None,
        Taken::Not(violation) => return Ok(Checked { violation: Some(violation), ..Checked::default() }),
    };
    let checked = check(&seal.check, file.as_ref());
    if checked.violation.is_none() {
        pack(seal, &checked, file.as_ref())?;
    }
    Ok(checked)
}
