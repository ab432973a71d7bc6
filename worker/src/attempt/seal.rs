//! Seal: what the module wrote is checked and packed for the store in one exchange with the slot's agent, so that what is checked
//! is what is committed. The agent reads a copy where something of the module may still write to its output.

use std::fs;
use std::path::PathBuf;

use domain::error::chain;
use domain::id::ProductName;
use domain::outcome::{FailureKind, PlatformErrorKind, Success};
use store::Store;
use store::agent::{AgentError, Check, Checked, OutputLimits, Provenance, Refusal, RefusalKind, Seal, Violation};
use store::crash::CrashPoint;

use super::desk::{Desk, Order};
use super::ending::Ending;
use super::judge::conditional;
use super::layout::{Made, clean_up};
use super::resolve::success;
use super::twice::believed;
use crate::runner::{Ended, OUTPUT};

/// A result that is ready for the store.
pub(crate) struct SealedResult {
    /// The file, which nobody else has. It lies beside the attempt's directory.
    pub(super) file: PathBuf,
    /// What else there is of the attempt.
    pub(super) made: Made,
    /// What is in it.
    pub(super) success: Success,
}

impl SealedResult {
    /// Lets it go.
    pub(crate) async fn discard(self, store: &Store) {
        discard(store, self.file).await;
        clean_up(store, self.made.folder).await;
    }

    /// Removes the attempt's directory once the result is committed.
    pub(crate) async fn clean_up(self, store: &Store) {
        let removed = store.ask(move |_| {
            self.made.remove();
            Ok(())
        });
        let _ = removed.await;
    }
}

/// Seals what a program that ended well left; what is sealed keeps its contract.
pub(super) async fn seal(
    desk: &mut Desk,
    order: &Order,
    made: Made,
    provenance: Provenance,
    ended: &Ended,
) -> Result<SealedResult, Ending> {
    let key = provenance.key;
    // What an agent had begun when it died stays in its place.
    let [file, other] = ["h5", "again.h5"].map(|extension| made.folder.with_extension(extension));
    let first = Seal {
        check: contract(desk, order, &made),
        is_in_reach: !ended.gone,
        provenance,
        log: ended.log.clone(),
        dest: file.clone(),
    };
    let again = Seal { dest: other.clone(), ..first.clone() };
    let answer = desk.agent.seal(first).await.and_then(legible);
    let (file, sealed) = match believed(desk, answer).await {
        Ok(Some(answer)) => (file, judged(order, ended, answer)),
        Ok(None) => {
            let answer = desk.agent.seal(again).await.and_then(legible);
            discard(&desk.store, file).await;
            (other, judged(order, ended, answer))
        }
        Err(ending) => (file, Err(ending)),
    };
    match sealed {
        Ok(Checked { products, warnings, .. }) => {
            CrashPoint::ResultSealed.reached();
            Ok(SealedResult { file, made, success: success(key, &products, &warnings) })
        }
        Err(ending) => {
            discard(&desk.store, file).await;
            Err(ending)
        }
    }
}

/// What was found of an output, if it keeps its contract.
fn judged(order: &Order, ended: &Ended, answer: Result<Checked, AgentError>) -> Result<Checked, Ending> {
    let broken = match answer {
        Ok(Checked { violation: Some(Violation { kind, message }), .. }) => (kind, message),
        Ok(checked) => match conditional(order.module(), &checked) {
            Ok(()) => return Ok(checked),
            Err(broken) => broken,
        },
        Err(AgentError::Refused(refusal)) if refusal.kind == RefusalKind::Damaged => {
            (FailureKind::OutputCorrupt, refusal.message)
        }
        Err(error @ (AgentError::Died { .. } | AgentError::Hung { .. })) => {
            (FailureKind::OutputCorrupt, format!("output.h5 was read twice in vain: {}", chain(&error)))
        }
        Err(error @ AgentError::Overspent { .. }) => (FailureKind::OutputCorrupt, format!("output.h5: {error}")),
        Err(error @ (AgentError::Refused(_) | AgentError::Start { .. })) => return Err(Ending::store(&error)),
    };
    let (kind, message) = broken;
    if ended.certain {
        return Err(Ending::failed(kind, message, None, &ended.log));
    }
    let message = format!("the engine went away while the module ran, and its output is not valid: {message}");
    Err(Ending::errored(PlatformErrorKind::Engine, message))
}

/// Removes what is not committed; what cannot be removed goes with the worker.
async fn discard(store: &Store, file: PathBuf) {
    let removed = store.ask(move |_| {
        let _ = fs::remove_file(file);
        Ok(())
    });
    let _ = removed.await;
}

/// An output that cannot be read is damaged, like any other file: a second look decides whether it is the module's fault.
fn legible(checked: Checked) -> Result<Checked, AgentError> {
    match checked.violation {
        Some(Violation { kind: FailureKind::OutputCorrupt, message }) => {
            Err(Refusal { kind: RefusalKind::Damaged, message }.into())
        }
        Some(_) | None => Ok(checked),
    }
}

/// What the output must be like.
fn contract(desk: &Desk, order: &Order, made: &Made) -> Check {
    let (module, model) = (order.module(), &order.run.course.pipeline.model);
    let outputs = &module.outputs;
    let conditional: Vec<ProductName> = outputs.conditional.iter().map(|output| output.product.clone()).collect();
    let declared = outputs.mandatory.iter().chain(&outputs.optional).chain(&outputs.nullable).chain(&conditional);
    let known = declared.filter_map(|name| Some((name.clone(), model.products.get(name)?.clone())));
    let aliases =
        order.run.course.pipeline.aliases.iter().filter(|(_, name)| outputs.products().any(|made| made == *name));
    Check {
        output: made.output.join(OUTPUT),
        mandatory: outputs.mandatory.clone(),
        optional: outputs.optional.clone(),
        nullable: outputs.nullable.clone(),
        aliases: aliases.map(|(alias, name)| (alias.clone(), name.clone())).collect(),
        model: known.collect(),
        conditional,
        strict_units: order.run.course.pipeline.strict_units,
        scalars_of: domain::contract::read_of_outputs(module),
        limits: OutputLimits { bytes: desk.bounds.output, ..OutputLimits::default() },
    }
}
