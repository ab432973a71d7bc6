//! Commit: checked products in a fresh file, linked to the name that contains the key. The first link wins.

use std::path::PathBuf;

use domain::contract::seed;
use domain::error::chain;
use domain::expression::Scalar;
use domain::outcome::{FailureKind, Success};
use domain::product::{Origin, Source};
use serde_json::Value;
use store::agent::{AgentError, Checked, InputRecord, InputSource, Manifest, Pack, Provenance, RefusalKind};
use store::{Commit, durable};

use super::desk::{Desk, Order};
use super::ending::Ending;
use super::resolve::{Plan, product_path, success};
use super::stage::Made;
use super::twice::{believed, manifest as manifest_of};
use crate::runner::OUTPUT;

/// Packs and commits; what was committed before under this key is the result.
pub(super) async fn commit(
    desk: &mut Desk,
    order: &Order,
    made: &Made,
    checked: Checked,
    provenance: Provenance,
    log: String,
) -> Result<Success, Ending> {
    let key = provenance.key;
    let request = Pack {
        output: made.output.join(OUTPUT),
        products: checked.products,
        spelled: checked.spelled,
        provenance: Box::new(provenance),
        log,
        dest: PathBuf::new(),
    };
    let (packed, manifest) = pack(desk, made, &request).await?;
    let path = desk.store.at(product_path(order, &key));
    let target = path.clone();
    match desk.store.ask(move |_| durable::commit_file(&packed, &target)).await? {
        Commit::Created => Ok(success(key, &manifest, false)),
        Commit::Exists => {
            let first = manifest_of(desk, &path).await?.map_err(|error| Ending::unreadable(&path, &error))?;
            let result = success(key, &first, false);
            let nondeterministic = result.products != success(key, &manifest, false).products;
            if nondeterministic {
                let module = &order.module().name;
                tracing::warn!(%module, %key, "the module is not deterministic: equal inputs, other values; the first are kept");
            }
            Ok(Success { nondeterministic, ..result })
        }
    }
}

/// Packs into a fresh file; returns it with its manifest.
async fn pack(desk: &mut Desk, made: &Made, request: &Pack) -> Result<(PathBuf, Manifest), Ending> {
    // What an agent had begun when it died stays in its place.
    let [file, other] = ["result.h5", "again.h5"].map(|name| made.folder.join(name));
    let into = |dest: &PathBuf| Pack { dest: dest.clone(), ..request.clone() };
    let first = desk.agent.pack(into(&file)).await;
    let (file, answer) = match believed(desk, first).await? {
        Some(answer) => (file, answer),
        None => (other.clone(), desk.agent.pack(into(&other)).await),
    };
    Ok((file, answer.map_err(|error| could_not_pack(&error, &request.log))?))
}

/// An agent checked this file a moment ago: what two cannot copy is in the file.
fn could_not_pack(error: &AgentError, log: &str) -> Ending {
    let is_its_own = match error {
        AgentError::Died { .. } | AgentError::Hung { .. } | AgentError::Overspent { .. } => true,
        AgentError::Refused(refusal) => refusal.kind == RefusalKind::Damaged,
        AgentError::Start { .. } => false,
    };
    if !is_its_own {
        return Ending::store(error);
    }
    let message = format!("output.h5 was copied twice in vain: {}", chain(error));
    Ending::failed(FailureKind::OutputCorrupt, message, None, log)
}

/// Everything that determined the result and everything that the module could read (S3).
pub(super) fn provenance(desk: &Desk, order: &Order, plan: &Plan, warnings: Vec<String>) -> Provenance {
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
        warnings,
    }
}

fn inputs(order: &Order, plan: &Plan) -> Vec<InputRecord> {
    let staged = plan.staging.staged.iter().map(|staged| InputRecord {
        product: staged.source.product.clone(),
        source: source(order, &staged.source),
        digest: Some(staged.digest),
        absent: None,
        file: plan.seen.places.get(&staged.source).map(|place| place.name.clone()),
    });
    let absent = plan.staging.absent.iter().map(|(missing, why)| InputRecord {
        product: missing.product.clone(),
        source: source(order, missing),
        digest: None,
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
