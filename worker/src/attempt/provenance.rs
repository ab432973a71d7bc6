//! Provenance: everything that determined a result and everything that its module could read (S3).

use domain::contract::{contract_version, seed};
use domain::expression::Scalar;
use domain::product::{Origin, Source};
use serde_json::Value;
use store::agent::{InputRecord, InputSource, Provenance};

use super::desk::{Desk, Order};
use super::resolve::Plan;
use crate::runner::Ended;

/// What is on record of a result whose program has just ended; what is odd about it the check finds.
pub(super) fn provenance(desk: &Desk, order: &Order, plan: &Plan, ended: &Ended) -> Provenance {
    let (module, record) = (order.module(), &order.run.course.record);
    Provenance {
        module: module.name.clone(),
        key: plan.key,
        star: order.star,
        quarter: record.quarter,
        run: record.run,
        pipeline: record.pipeline.clone(),
        version: record.version.clone(),
        horizon: record.horizon,
        attempt: order.attempt,
        image: plan.program.image.clone(),
        image_identity: plan.identity.clone(),
        command: plan.program.command.clone(),
        contract: contract_version(&order.run.course.pipeline, module),
        environment: module.environment.clone(),
        parameters: module.parameters.clone(),
        seed: seed(&plan.key),
        inputs: inputs(order, plan),
        expressions: plan.staging.reads.iter().map(|(read, value)| (read.to_string(), json(value.as_ref()))).collect(),
        worker: desk.worker.clone(),
        host: desk.host.clone(),
        started: order.started,
        ended: jiff::Timestamp::now(),
        clock_ahead: desk.clock.ahead(),
        exit_code: Some(0),
        used: ended.used,
        warnings: Vec::new(),
    }
}

fn inputs(order: &Order, plan: &Plan) -> Vec<InputRecord> {
    let staged = plan.staging.staged.iter().map(|staged| InputRecord {
        product: staged.source.product.clone(),
        source: source(order, &staged.source),
        digest: Some(staged.digest),
        instead_of: plan.seen.instead_of.get(&staged.source).copied(),
        absent: None,
        file: plan.seen.places.get(&staged.source).map(|place| place.name.clone()),
    });
    let absent = plan.staging.absent.iter().map(|(missing, why)| InputRecord {
        product: missing.product.clone(),
        source: source(order, missing),
        digest: None,
        instead_of: None,
        absent: Some(why.to_string()),
        file: None,
    });
    staged.chain(absent).collect()
}

fn source(order: &Order, source: &Source) -> InputSource {
    match source.origin {
        Origin::StarExternal => InputSource::External,
        Origin::SharedExternal => InputSource::Shared,
        Origin::Previous => InputSource::Previous,
        Origin::Module(index) => {
            let module = order.run.course.pipeline.module(index);
            let group = module.group.as_ref().map(ToString::to_string).unwrap_or_default();
            InputSource::Module { group, module: module.name.clone() }
        }
    }
}

fn json(value: Option<&Scalar>) -> Value {
    match value {
        None => Value::Null,
        Some(Scalar::Bool(value)) => Value::from(*value),
        Some(Scalar::Int(value)) => Value::from(*value),
        // JSON has no NaN and no infinities.
        Some(Scalar::Float(value)) if !value.is_finite() => Value::from(value.to_string()),
        Some(Scalar::Float(value)) => Value::from(*value),
        Some(Scalar::Text(value)) => Value::from(value.as_str()),
    }
}
