//! OpenLineage: a module is a job, an attempt a run of it, a product of a star a dataset. Pure.
//!
//! Ids are computed, so that whoever is told twice knows it.

use domain::id::{ProductName, Quarter, RunId, StarId};
use domain::outcome::Outcome;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use store::agent::{ModuleEntry, ProductEntry, Provenance};
use uuid::Uuid;

use super::{ResultRecord, StarRecord};

/// Who says so.
const PRODUCER: &str = concat!("urn:plato:sas:", env!("CARGO_PKG_VERSION"));

/// Where the form of an event is defined.
const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// The events of all modules that ran, in the order of time.
pub(super) fn events(record: &StarRecord, namespace: &str) -> Vec<Value> {
    let of_results = record.results.iter().flat_map(|(file, result)| result_events(record, namespace, file, result));
    let of_failures = record.manifest.modules.iter().flat_map(|module| failure_events(record, namespace, module));
    let mut events: Vec<(Timestamp, Value)> = of_results.chain(of_failures).flatten().collect();
    events.sort_by_key(|(time, _)| *time);
    events.into_iter().map(|(_, event)| event).collect()
}

/// What an event is about.
struct ToldRun<'a> {
    namespace: &'a str,
    job: String,
    run: Uuid,
    parent: RunId,
    pipeline: String,
    facets: Vec<(&'static str, Value)>,
}

impl ToldRun<'_> {
    fn event(&self, what: &str, time: Timestamp, inputs: &[Value], outputs: &[Value]) -> Value {
        let parent = facet(
            "1-0-1/ParentRunFacet",
            json!({
                "run": { "runId": self.parent.to_string() }, "job": { "namespace": self.namespace, "name": self.pipeline },
            }),
        );
        let mut facets = serde_json::Map::from_iter([("parent".to_owned(), parent)]);
        facets.extend(self.facets.iter().map(|(name, facet)| ((*name).to_owned(), facet.clone())));
        let kind = json!({ "processingType": "BATCH", "integration": "SAS", "jobType": "MODULE" });
        json!({
            "eventType": what, "eventTime": time.to_string(), "producer": PRODUCER, "schemaURL": SCHEMA,
            "run": { "runId": self.run.to_string(), "facets": facets },
            "job": { "namespace": self.namespace, "name": self.job, "facets": { "jobType": facet("2-0-3/JobTypeJobFacet", kind) } },
            "inputs": inputs, "outputs": outputs,
        })
    }
}

fn result_events(
    record: &StarRecord,
    namespace: &str,
    file: &str,
    result: &ResultRecord,
) -> [Option<(Timestamp, Value)>; 2] {
    let ResultRecord { provenance, products } = result;
    let star = record.star;
    let subject = ToldRun {
        namespace,
        job: format!("{}.{}", provenance.pipeline, provenance.module),
        run: run_of(provenance.run, (star, record.quarter), provenance.module.as_str()),
        parent: provenance.run,
        pipeline: provenance.pipeline.to_string(),
        facets: vec![("sas_attempt", attempt(provenance, file))],
    };
    let inputs: Vec<Value> = provenance
        .inputs
        .iter()
        .filter_map(|input| {
            let (digest, file) = input.digest.as_ref().zip(input.file.as_deref())?;
            let name = name_of(star, file, &input.product);
            Some(json!({ "namespace": namespace, "name": name, "facets": { "version": version(&digest.to_string()) } }))
        })
        .collect();
    let made = products.iter().filter(|(_, entry)| entry.not_produced.is_none());
    let outputs: Vec<Value> = made.map(|(product, entry)| output(namespace, star, file, product, entry)).collect();
    [
        Some((provenance.started, subject.event("START", provenance.started, &inputs, &[]))),
        Some((provenance.ended, subject.event("COMPLETE", provenance.ended, &inputs, &outputs))),
    ]
}

fn failure_events(record: &StarRecord, namespace: &str, module: &ModuleEntry) -> [Option<(Timestamp, Value)>; 2] {
    let (Some(Outcome::Failed(_) | Outcome::Errored(_)), Some(began)) = (&module.outcome, module.started) else {
        return [None, None];
    };
    let reason = module.outcome.as_ref().map(ToString::to_string).unwrap_or_default();
    let info = &record.info;
    let words = json!({ "message": reason, "programmingLanguage": "unknown" });
    let subject = ToldRun {
        namespace,
        job: format!("{}.{}", info.pipeline, module.module),
        run: run_of(info.run, (record.star, record.quarter), module.module.as_str()),
        parent: info.run,
        pipeline: info.pipeline.to_string(),
        facets: vec![("errorMessage", facet("1-0-1/ErrorMessageRunFacet", words))],
    };
    let millis = i64::try_from(module.millis).unwrap_or(i64::MAX);
    let end = began.saturating_add(SignedDuration::from_millis(millis)).unwrap_or(began);
    [Some((began, subject.event("START", began, &[], &[]))), Some((end, subject.event("FAIL", end, &[], &[])))]
}

/// The id of a task's run: the same whenever it is told.
fn run_of(run: RunId, (star, quarter): (StarId, Quarter), module: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("urn:plato:sas:{run}/{star}/{quarter}/{module}").as_bytes())
}

/// What a product is called that lies in this file: by star and quarter, whatever version of it this is.
fn name_of(star: StarId, file: &str, product: &ProductName) -> String {
    let first = file.split('/').next().unwrap_or_default();
    match first {
        "shared" => format!("shared/{product}"),
        "externals" => format!("{star}/{product}"),
        quarter => format!("{star}/{quarter}/{product}"),
    }
}

fn output(namespace: &str, star: StarId, file: &str, product: &ProductName, entry: &ProductEntry) -> Value {
    let size = facet("1-0-2/OutputStatisticsOutputDatasetFacet", json!({ "size": entry.bytes }));
    let mut facets = serde_json::Map::from_iter([("version".to_owned(), version(&entry.digest.to_string()))]);
    if let Some(before) = &entry.stands_for {
        facets.insert("sas_standsFor".to_owned(), own_facet("DatasetFacet", json!(before)));
    }
    json!({
        "namespace": namespace, "name": name_of(star, file, product), "facets": facets,
        "outputFacets": { "outputStatistics": size },
    })
}

fn version(digest: &str) -> Value {
    facet("1-0-1/DatasetVersionDatasetFacet", json!({ "datasetVersion": digest }))
}

/// A facet of the specification.
fn facet(which: &str, fields: Value) -> Value {
    let (_, name) = which.split_once('/').unwrap_or_default();
    with_base(&format!("https://openlineage.io/spec/facets/{which}.json#/$defs/{name}"), fields)
}

fn attempt(provenance: &Provenance, file: &str) -> Value {
    let fields = json!({
        "module": provenance.module, "key": provenance.key, "star": provenance.star, "quarter": provenance.quarter,
        "attempt": provenance.attempt, "image": provenance.image, "imageIdentity": provenance.image_identity,
        "command": provenance.command, "contract": provenance.contract, "pipelineVersion": provenance.version,
        "environment": provenance.environment, "parameters": provenance.parameters, "seed": provenance.seed.to_string(),
        "conditions": provenance.expressions, "worker": provenance.worker, "host": provenance.host,
        "clockAhead": provenance.clock_ahead.unwrap_or(0), "exitCode": provenance.exit_code, "used": provenance.used,
        "warnings": provenance.warnings, "log": format!("{file}:/LOG"),
    });
    own_facet("RunFacet", fields)
}

/// A facet of ours, of which the specification says that it may have any fields.
fn own_facet(of: &str, fields: Value) -> Value {
    with_base(&format!("https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/{of}"), fields)
}

fn with_base(schema: &str, mut fields: Value) -> Value {
    fields["_producer"] = json!(PRODUCER);
    fields["_schemaURL"] = json!(schema);
    fields
}
