//! What the runner is told: program, limits, labels, and the environment that every module finds.

use std::collections::BTreeMap;

use domain::contract;
use domain::id::Key;

use super::desk::{Desk, Order};
use super::layout::Made;
use super::resolve::Plan;
use crate::runner::{Labels, Limits, Spec};

/// The try that an attempt makes.
pub(super) fn spec(desk: &Desk, order: &Order, plan: &Plan, made: &Made) -> Spec {
    let module = order.module();
    let cpus = order.run.course.pipeline.classes.get(&module.class).map_or(1.0, |class| class.cpus);
    let limits = Limits {
        cpus,
        memory: order.run.course.pipeline.memory(module, order.attempt),
        processes: desk.bounds.processes,
        time: module.time_limit,
        output: desk.bounds.output,
        free: desk.bounds.free,
        tmp: desk.bounds.tmp,
    };
    Spec {
        program: plan.program.clone(),
        identity: plan.identity.clone(),
        environment: environment(order, &plan.key, &limits),
        input: made.input.clone(),
        output: made.output.clone(),
        limits,
        labels: Labels {
            run: order.run.course.record.run.to_string(),
            star: order.star.to_string(),
            module: module.name.to_string(),
            attempt: order.attempt,
            nonce: order.nonce.to_string(),
        },
        last_line: order.progress.last_line.clone(),
    }
}

/// What every module finds in its environment; what the pipeline sets cannot change it.
fn environment(order: &Order, key: &Key, limits: &Limits) -> BTreeMap<String, String> {
    let record = &order.run.course.record;
    let given = [
        ("SAS_STAR", order.star.to_string()),
        ("SAS_QUARTER", u32::from(record.quarter).to_string()),
        ("SAS_RUN", record.run.to_string()),
        ("SAS_ATTEMPT", order.attempt.to_string()),
        ("SAS_SEED", contract::seed(key).to_string()),
        ("TRACEPARENT", order.span().to_string()),
    ];
    let mut environment = lasting(order, limits);
    environment.extend(given.map(|(name, value)| (name.to_owned(), value)));
    environment
}

/// What of it is the same for every star: the environment of a session.
pub(super) fn lasting(order: &Order, limits: &Limits) -> BTreeMap<String, String> {
    let mut environment = order.module().environment.clone();
    let given = [
        ("SAS_MODULE", order.module().name.to_string()),
        ("SAS_CPUS", limits.cpus.to_string()),
        ("SAS_MEMORY_BYTES", limits.memory.to_string()),
        ("HOME", "/tmp".to_owned()),
        ("HDF5_USE_FILE_LOCKING", "FALSE".to_owned()),
    ];
    environment.extend(given.map(|(name, value)| (name.to_owned(), value)));
    environment
}
