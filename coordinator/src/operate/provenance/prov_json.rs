//! PROV-JSON: products are entities, attempts activities, workers agents, images the plans that they followed. Pure.

use std::collections::BTreeMap;

use domain::id::StarId;
use domain::outcome::{Outcome, UsedResources};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use store::agent::{InputRecord, InputSource, ModuleEntry, ProductEntry, Provenance};

use super::{ResultRecord, StarRecord};

/// What the prefix of our names stands for.
const NAMESPACE: &str = "urn:plato:sas:";

/// What local names of PROV cannot have as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/').remove(b'@');

/// Everything that is on record of a generation.
pub(super) fn document(record: &StarRecord) -> Value {
    let mut document = ProvDocument(BTreeMap::new());
    let generation = document.generation(record);
    for (product, entry) in &record.manifest.externals {
        let external = document.product(record.star, product.as_str(), entry, "sas:External");
        document.relate("hadMember", json!({ "prov:collection": generation, "prov:entity": external }));
    }
    for (file, result) in &record.results {
        let made = document.result(record, file, result);
        for product in made {
            document.relate("hadMember", json!({ "prov:collection": generation, "prov:entity": product }));
        }
    }
    for module in &record.manifest.modules {
        document.failure(record, module);
    }
    let mut whole = Map::from_iter([("prefix".to_owned(), json!({ "sas": NAMESPACE }))]);
    whole.extend(document.0.into_iter().map(|(section, records)| (section.to_owned(), Value::Object(records))));
    Value::Object(whole)
}

/// Records by section and name.
struct ProvDocument(BTreeMap<&'static str, Map<String, Value>>);

impl ProvDocument {
    /// Adds what is known of something, to what was known before; its name.
    fn add(&mut self, section: &'static str, name: String, attributes: Value) -> String {
        let known = self.0.entry(section).or_default().entry(name.clone()).or_insert_with(|| json!({}));
        if let (Value::Object(known), Value::Object(attributes)) = (known, without_nothing(attributes)) {
            known.extend(attributes);
        }
        name
    }

    /// Adds a relation, which nobody refers to.
    fn relate(&mut self, section: &'static str, attributes: Value) {
        let name = format!("_:{section}{}", self.0.get(section).map_or(0, Map::len) + 1);
        self.add(section, name, attributes);
    }

    fn generation(&mut self, record: &StarRecord) -> String {
        let StarRecord { star, quarter, info, manifest, .. } = record;
        // What was not made, and why: of what did not happen there is no activity.
        let idle = |module: &&ModuleEntry| {
            !matches!(&module.outcome, Some(Outcome::Succeeded(_) | Outcome::Failed(_) | Outcome::Errored(_)))
        };
        let reason =
            |module: &ModuleEntry| module.outcome.as_ref().map_or(module.state.to_string(), ToString::to_string);
        let idle = manifest.modules.iter().filter(idle).map(|module| format!("{} {}", module.module, reason(module)));
        self.add(
            "entity",
            named(&format!("{star}/{quarter}/generations/{}", info.number)),
            json!({
                "prov:type": [kind("prov:Collection"), kind("sas:Generation")],
                "sas:star": star, "sas:quarter": quarter, "sas:generation": info.number, "sas:run": info.run,
                "sas:pipeline": info.pipeline, "sas:pipelineVersion": info.version,
                "sas:status": manifest.status().map(|status| status.to_string()),
                "sas:notRun": idle.collect::<Vec<_>>(),
            }),
        )
    }

    /// A product, or an external.
    fn product(&mut self, star: StarId, product: &str, entry: &ProductEntry, of: &str) -> String {
        let name = place(star, entry.file.as_deref().unwrap_or_default(), product);
        let attributes = json!({
            "prov:type": kind(of), "prov:label": product, "sas:star": star, "sas:digest": entry.digest, "sas:bytes": entry.bytes,
            "sas:file": entry.file, "sas:within": entry.stands_for.as_ref().map(|before| &before.within),
        });
        let name = self.add("entity", name, attributes);
        // Whoever reads it is given the value before, which differs by no more than was tolerated.
        if let Some(before) = &entry.stands_for {
            let attributes = json!({
                "prov:type": kind(of), "prov:label": product, "sas:star": star, "sas:digest": before.digest, "sas:file": before.file,
            });
            let before = self.add("entity", place(star, &before.file, product), attributes);
            self.relate("alternateOf", json!({ "prov:alternate1": name, "prov:alternate2": before }));
        }
        name
    }

    /// What a module read, which may be of another quarter.
    fn input(&mut self, star: StarId, input: &InputRecord) -> Option<String> {
        let (digest, file) = input.digest.as_ref().zip(input.file.as_deref())?;
        let product = input.product.as_str();
        let of = match input.source {
            InputSource::External | InputSource::Shared => "sas:External",
            InputSource::Previous | InputSource::Module { .. } => "sas:Product",
        };
        let attributes = json!({
            "prov:type": kind(of), "prov:label": product, "sas:digest": digest, "sas:file": file,
        });
        Some(self.add("entity", place(star, file, product), attributes))
    }

    /// A result with all that led to it; returns its products.
    fn result(&mut self, record: &StarRecord, file: &str, result: &ResultRecord) -> Vec<String> {
        let ResultRecord { provenance, products } = result;
        let (star, quarter) = (record.star, record.quarter);
        let activity = named(&format!("{star}/{quarter}/{}-{}", provenance.module, provenance.key));
        let absent = products.iter().filter_map(|(name, entry)| Some((name, entry.not_produced.as_ref()?)));
        let absent: Vec<String> = absent.map(|(name, reason)| format!("{name}: {reason}")).collect();
        let mut attributes = made(provenance);
        attributes.extend([
            ("sas:notProduced".to_owned(), json!(absent)),
            ("sas:log".to_owned(), json!(format!("{file}:/LOG"))),
        ]);
        self.add("activity", activity.clone(), Value::Object(attributes));
        let agent = named(&format!("worker/{}", provenance.worker));
        let attributes = json!({ "prov:type": kind("prov:SoftwareAgent"), "sas:host": provenance.host });
        self.add("agent", agent.clone(), attributes);
        let image = named(&format!("image/{}", provenance.image_identity));
        let attributes = json!({ "prov:type": kind("prov:Plan"), "sas:image": provenance.image });
        self.add("entity", image.clone(), attributes);
        let associated = json!({ "prov:activity": activity, "prov:agent": agent, "prov:plan": image });
        self.relate("wasAssociatedWith", associated);
        let inputs: Vec<String> = provenance.inputs.iter().filter_map(|input| self.input(star, input)).collect();
        for input in &inputs {
            self.relate("used", json!({ "prov:activity": activity, "prov:entity": input }));
        }
        let mut outputs = Vec::new();
        for (product, entry) in products.iter().filter(|(_, entry)| entry.not_produced.is_none()) {
            let output = self.product(star, product.as_str(), entry, "sas:Product");
            let generated = json!({ "prov:entity": output, "prov:activity": activity, "prov:time": provenance.ended });
            self.relate("wasGeneratedBy", generated);
            for input in &inputs {
                let derived =
                    json!({ "prov:generatedEntity": output, "prov:usedEntity": input, "prov:activity": activity });
                self.relate("wasDerivedFrom", derived);
            }
            outputs.push(output);
        }
        outputs
    }

    /// An attempt that made nothing.
    fn failure(&mut self, record: &StarRecord, module: &ModuleEntry) {
        let Some(outcome @ (Outcome::Failed(_) | Outcome::Errored(_))) = &module.outcome else { return };
        let code = match outcome {
            Outcome::Failed(failure) => failure.exit_code,
            Outcome::Succeeded(_) | Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Errored(_) => None,
        };
        let (star, quarter, run) = (record.star, record.quarter, record.info.run);
        let activity = named(&format!("{star}/{quarter}/{run}/{}/{}", module.module, module.attempt));
        let attributes = json!({
            "prov:type": kind("sas:Attempt"), "prov:label": module.module, "prov:startTime": module.started, "sas:run": run,
            "sas:attempt": module.attempt, "sas:state": module.state, "sas:reason": outcome.to_string(), "sas:exitCode": code,
            "sas:notProduced": module.declares,
        });
        self.add("activity", activity.clone(), attributes);
        if let Some(worker) = &module.worker {
            let attributes = json!({ "prov:type": kind("prov:SoftwareAgent") });
            let agent = self.add("agent", named(&format!("worker/{worker}")), attributes);
            self.relate("wasAssociatedWith", json!({ "prov:activity": activity, "prov:agent": agent }));
        }
    }
}

/// How a result was made.
fn made(provenance: &Provenance) -> Map<String, Value> {
    let UsedResources { cpu_ms, peak_memory, read, written, at_least } = provenance.used;
    let attributes = json!({
        "prov:type": kind("sas:Attempt"), "prov:label": provenance.module,
        "prov:startTime": provenance.started, "prov:endTime": provenance.ended,
        "sas:module": provenance.module, "sas:key": provenance.key, "sas:state": "succeeded", "sas:run": provenance.run,
        "sas:pipeline": provenance.pipeline, "sas:pipelineVersion": provenance.version, "sas:contract": provenance.contract,
        "sas:attempt": provenance.attempt, "sas:command": provenance.command,
        "sas:environment": text(&provenance.environment), "sas:parameters": text(&provenance.parameters),
        "sas:conditions": text(&provenance.expressions), "sas:seed": provenance.seed.to_string(),
        "sas:clockAhead": provenance.clock_ahead.unwrap_or(0), "sas:exitCode": provenance.exit_code,
        "sas:cpuSeconds": cpu_ms.map(|millis| millis as f64 / 1e3), "sas:peakMemory": peak_memory, "sas:bytesRead": read,
        "sas:bytesWritten": written, "sas:measuredAtLeast": at_least, "sas:warning": provenance.warnings,
    });
    match attributes {
        Value::Object(attributes) => attributes,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// A name of ours.
fn named(local: &str) -> String {
    format!("sas:{}", utf8_percent_encode(local, ESCAPED))
}

/// What a product is called that lies in this file of a star, or in one of all stars.
fn place(star: StarId, file: &str, product: &str) -> String {
    match store::paths::is_shared(file) {
        true => named(&format!("{file}/{product}")),
        false => named(&format!("{star}/{file}/{product}")),
    }
}

fn kind(name: &str) -> Value {
    json!({ "$": name, "type": "prov:QUALIFIED_NAME" })
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// PROV has no word for nothing.
fn without_nothing(mut attributes: Value) -> Value {
    if let Value::Object(attributes) = &mut attributes {
        attributes.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
    }
    attributes
}
