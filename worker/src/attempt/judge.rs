//! Judge: what a program's end and its output mean under its contract. Pure.

use std::collections::BTreeMap;

use domain::contract;
use domain::id::ProductName;
use domain::outcome::{FailureKind, PlatformErrorKind};
use domain::pipeline::Module;
use store::agent::Checked;

use super::desk::Order;
use super::ending::Ending;
use crate::runner::{Ended, Exit, MOST_FILES, SIGKILL, Spec};

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
            Err(Ending::stopped(PlatformErrorKind::Killed, message, &ended.log))
        }
        Exit::KilledFromOutside => {
            let message = "killed from outside by SIGKILL: the engine was told to, as by `docker kill`";
            Err(Ending::stopped(PlatformErrorKind::Interrupted, message, &ended.log))
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
            Err(Ending::stopped(PlatformErrorKind::Store, message, &ended.log))
        }
        Exit::NoAnswer => failed(FailureKind::Exit, said("broke the protocol of `serve`", &ended.log), None),
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

/// Conditional outputs are there exactly when their conditions hold.
pub(super) fn conditional(module: &Module, checked: &Checked) -> Result<(), (FailureKind, String)> {
    let made = |name: &ProductName| checked.products.get(name).is_some_and(|entry| entry.not_produced.is_none());
    let read = checked.scalars.iter().filter(|(name, _)| made(name));
    let read = read.map(|(name, read)| ((name.clone(), read.scalars.clone()), (name.clone(), read.others.clone())));
    let (columns, others): (BTreeMap<_, _>, BTreeMap<_, _>) = read.unzip();
    let due =
        contract::conditional_outputs(module, &columns, &others).map_err(|failure| (failure.kind, failure.message))?;
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
