//! Judge: what a program's end and its output mean under its contract.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use domain::contract;
use domain::error::chain;
use domain::expression::Scalar;
use domain::id::ProductName;
use domain::outcome::{FailureKind, PlatformErrorKind};
use domain::pipeline::Module;
use store::agent::{AgentError, Check, Checked, OutputLimits, Refusal, RefusalKind, Violation};

use super::desk::{Desk, Order};
use super::ending::Ending;
use super::twice::believed;
use crate::runner::{Ended, Exit, MOST_FILES, OUTPUT, SIGKILL, Spec};

/// The exit code by which a module asks to be tried again later.
const TRY_AGAIN: i64 = 75;

/// Goes on where the program ended well.
pub(super) fn end(order: &Order, spec: &Spec, ended: &Ended) -> Result<(), Ending> {
    let failed = |kind, message: String, code| Err(Ending::failed(kind, message, code, &ended.log));
    let limits = &spec.limits;
    match ended.exit {
        Exit::Code(0) => Ok(()),
        Exit::Code(TRY_AGAIN) => {
            failed(FailureKind::TryAgain, said("exit code 75: try again later", &ended.log), Some(TRY_AGAIN))
        }
        Exit::Code(code) => failed(FailureKind::Exit, said(&format!("exit code {code}"), &ended.log), Some(code)),
        // Programs hardly send it to themselves; this worker did not, and its memory was not the reason.
        Exit::Signal(SIGKILL) => {
            let message = "killed by SIGKILL, which nobody told this worker or the engine to send: by somebody on the host, or by \
                           itself";
            Err(Ending::errored(PlatformErrorKind::Killed, message))
        }
        Exit::KilledFromOutside => {
            let message = "killed from outside by SIGKILL: the engine was told to, as by `docker kill`";
            Err(Ending::errored(PlatformErrorKind::Interrupted, message))
        }
        // As a shell has it.
        Exit::Signal(signal) => {
            failed(FailureKind::Signal, format!("ended by signal {signal}"), Some(128 + i64::from(signal)))
        }
        Exit::OutOfMemory => {
            let message = format!("used more than its {} of memory", bytesize::ByteSize(limits.memory));
            failed(FailureKind::OutOfMemory, message, None)
        }
        Exit::TimeLimit => {
            let limit = humantime::format_duration(order.module().time_limit);
            failed(FailureKind::TimeLimit, format!("ran longer than its time limit of {limit}"), None)
        }
        Exit::OutputTooLarge => {
            let message = format!("wrote more than {} to its output directory", bytesize::ByteSize(limits.output));
            failed(FailureKind::OutputTooLarge, message, None)
        }
        Exit::TooManyFiles => {
            let message = format!("made more than {MOST_FILES} files and directories in its output directory");
            failed(FailureKind::OutputTooLarge, message, None)
        }
        Exit::OutputHidden => {
            let message = "its output directory cannot be looked into: expected one that is there, open, and not nested \
                           deeper than paths can be";
            failed(FailureKind::OutputCorrupt, message.to_owned(), None)
        }
        Exit::NoSpace => {
            let free = bytesize::ByteSize(limits.free);
            let message = format!("stopped because the store has less than {free} of free space ([worker] free)");
            Err(Ending::errored(PlatformErrorKind::Store, message))
        }
        Exit::Cancelled => Err(Ending::Cancelled),
    }
}

/// What happened, with the last thing that the program said about it.
fn said(what: &str, log: &str) -> String {
    match log.lines().rev().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => format!("{what}: {}", line.chars().take(300).collect::<String>()),
        None => what.to_owned(),
    }
}

/// Checks what the module wrote, in the slot's agent.
pub(super) async fn check(desk: &mut Desk, order: &Order, output: &Path, ended: &Ended) -> Result<Checked, Ending> {
    let module = order.module();
    let request = request(desk, order, output);
    let first = desk.agent.check(request.clone()).await.and_then(legible);
    let answer = match believed(desk, first).await? {
        Some(answer) => answer,
        None => desk.agent.check(request).await.and_then(legible),
    };
    let found = match answer {
        Ok(checked) => match &checked.violation {
            Some(violation) => Err((violation.kind, violation.message.clone())),
            None => conditional(module, &checked).map(|()| checked),
        },
        Err(AgentError::Refused(refusal)) if refusal.kind == RefusalKind::Damaged => {
            Err((FailureKind::OutputCorrupt, refusal.message))
        }
        Err(error @ (AgentError::Died { .. } | AgentError::Hung { .. })) => {
            Err((FailureKind::OutputCorrupt, format!("output.h5 was read twice in vain: {}", chain(&error))))
        }
        Err(error @ AgentError::Overspent { .. }) => Err((FailureKind::OutputCorrupt, format!("output.h5: {error}"))),
        Err(error @ (AgentError::Refused(_) | AgentError::Start { .. })) => return Err(Ending::store(&error)),
    };
    match found {
        Ok(checked) => Ok(checked),
        Err((_, message)) if !ended.certain => {
            let message = format!("the engine went away while the module ran, and its output is not valid: {message}");
            Err(Ending::errored(PlatformErrorKind::Engine, message))
        }
        Err((kind, message)) => Err(Ending::failed(kind, message, None, &ended.log)),
    }
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

fn request(desk: &Desk, order: &Order, output: &Path) -> Check {
    let (module, model) = (order.module(), &order.run.course.pipeline.model);
    let outputs = &module.outputs;
    let conditional: Vec<ProductName> = outputs.conditional.iter().map(|output| output.product.clone()).collect();
    let declared = outputs.mandatory.iter().chain(&outputs.optional).chain(&outputs.nullable).chain(&conditional);
    let known = declared.filter_map(|name| Some((name.clone(), model.products.get(name)?.clone())));
    let read: BTreeSet<ProductName> = outputs
        .conditional
        .iter()
        .flat_map(|output| output.when.reads())
        .map(|read| read.source.product.clone())
        .collect();
    let aliases =
        order.run.course.pipeline.aliases.iter().filter(|(_, name)| outputs.products().any(|made| made == *name));
    Check {
        output: output.join(OUTPUT),
        mandatory: outputs.mandatory.clone(),
        optional: outputs.optional.clone(),
        nullable: outputs.nullable.clone(),
        aliases: aliases.map(|(alias, name)| (alias.clone(), name.clone())).collect(),
        model: known.collect(),
        conditional,
        strict_units: order.run.course.pipeline.strict_units,
        scalars_of: read.into_iter().collect(),
        limits: OutputLimits { bytes: desk.bounds.output, ..OutputLimits::default() },
    }
}

/// Conditional outputs are there exactly when their conditions hold.
fn conditional(module: &Module, checked: &Checked) -> Result<(), (FailureKind, String)> {
    let made = |name: &ProductName| checked.products.get(name).is_some_and(|entry| entry.not_produced.is_none());
    let scalars = checked.scalars.iter().filter(|(name, _)| made(name));
    let columns: BTreeMap<ProductName, BTreeMap<String, Scalar>> =
        scalars.map(|(name, columns)| (name.clone(), columns.clone())).collect();
    let due = contract::conditional_outputs(module, &columns).map_err(|failure| (failure.kind, failure.message))?;
    for output in &module.outputs.conditional {
        let (name, when) = (&output.product, output.when.text());
        match (due.contains(name), made(name)) {
            (true, false) => {
                return Err((FailureKind::OutputMissing, format!("/PRODUCTS/{name} is missing, but `{when}` holds")));
            }
            (false, true) => {
                let message = format!("/PRODUCTS/{name} is there, but `{when}` does not hold");
                return Err((FailureKind::OutputUndeclared, message));
            }
            (true, true) | (false, false) => {}
        }
    }
    Ok(())
}
