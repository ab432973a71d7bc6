//! The real pipeline, with light modules in the place of the scientific ones: which modules run for which star, on which
//! inputs, and what a failure takes with it.

mod promised;
pub(crate) mod provenance;

use domain::id::Attempt;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;

use domain::pipeline::Pipeline;
use harness::light::{Campaign, StarFile, in_state, sas, star_files};
use promised::broken_promises;
use provenance::{check_excerpt, check_provenance};
use serde_json::json;
use services::definition::load_file;

/// What every star runs until MSAP5 begins.
const COMMON: &[&str] = &[
    "MSAP1_01", "MSAP1_02", "MSAP1_07", "MSAP1_08", "MSAP3_01", "MSAP3_02", "MSAP3_03", "MSAP4_01", "MSAP4_02",
    "MSAP4_03", "MSAP4_04", "MSAP4_06", "MSAP4_07",
];

/// Drawn, but switched off.
const OFF: &[&str] = &["MSAP1_04", "MSAP4_05", "MSAP5_25", "MSAP5_26"];

/// `sas local` ends with this code when some tasks failed.
const INCOMPLETE: i32 = 8;

fn definition(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pipelines").join(name)
}

fn real_pipeline() -> Pipeline {
    load_file(&definition("sas-pip.toml")).unwrap_or_else(|error| panic!("{error}"))
}

fn names(modules: &[&str]) -> BTreeSet<String> {
    modules.iter().map(|name| (*name).to_owned()).collect()
}

/// The modules that run for a kind of star.
fn expected(kind: &str) -> BTreeSet<String> {
    let all = || real_pipeline().modules.iter().map(|module| module.name.to_string()).collect::<BTreeSet<_>>();
    let without = |modules: &[&str]| &(&all() - &names(OFF)) - &names(modules);
    match kind {
        "quiet" => &names(COMMON) | &names(&["MSAP5_31", "MSAP5_33"]),
        "rotating" => &names(COMMON) | &names(&["MSAP5_21", "MSAP5_22", "MSAP5_31", "MSAP5_32", "MSAP5_34"]),
        "seismic" => without(&["MSAP5_13", "MSAP5_33"]),
        "mixed" => without(&["MSAP5_14", "MSAP5_15", "MSAP5_33"]),
        other => panic!("no kind {other}"),
    }
}

fn succeeds(mut command: std::process::Command, code: i32) -> Output {
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(code), "{command:?}\n{said}\n{}", String::from_utf8_lossy(&done.stdout));
    done
}

/// Ingests everything that was delivered and runs the pipeline on it in one process.
fn run(campaign: &Campaign, pipeline: &Path, code: i32) -> PathBuf {
    let store = campaign.path("store");
    let mut ingest = sas();
    ingest.args(["ingest", "--init", "--shared", "--dataset", "models/grids", "--store"]).arg(&store);
    ingest.arg(campaign.shared_file().unwrap());
    succeeds(ingest, 0);
    let mut local = sas();
    local.args(["local", "--runner", "process", "--timeout", "10m", "--pipeline"]).arg(pipeline);
    local.arg("--store").arg(&store).args(campaign.star_files().unwrap());
    succeeds(local, code);
    store
}

/// How a module of a star ended, and why.
fn end<'a>(file: &'a StarFile, module: &str) -> (&'a str, &'a str) {
    let end = &file.modules[module];
    (&end.state, &end.reason)
}

#[track_caller]
fn check_end(file: &StarFile, module: &str, state: &str, words: &str) {
    let (found, reason) = end(file, module);
    assert!(found == state && reason.contains(words), "{module} is {found}: {reason:?}, expected {state}: {words:?}");
}

#[test]
fn the_data_model_knows_every_product_that_the_real_pipeline_makes() {
    let pipeline = real_pipeline();
    assert_eq!(pipeline.modules.len(), 34);
    let made = pipeline.modules.iter().flat_map(|module| module.outputs.products());
    let unknown: Vec<String> =
        made.filter(|product| !pipeline.model.products.contains_key(*product)).map(ToString::to_string).collect();
    assert_eq!(unknown, ["ADP_SAS_ALERT_REPORT"], "the documents do not name the alert's product");
}

#[test]
fn each_kind_of_star_runs_its_modules_on_what_the_contract_promises_in_three_quarters_in_a_row() {
    let mut campaign = Campaign::new().unwrap();
    for quarter in [3, 4, 5] {
        campaign.deliver(quarter, "quiet=1,rotating=1,seismic=1,mixed=1", 1).unwrap();
    }
    let pipeline = campaign.rewrite(&definition("sas-pip.toml"), &["--time-limit", "60s"]).unwrap();
    let store = run(&campaign, &pipeline, 0);

    let mut before = BTreeMap::new();
    for quarter in [3, 4, 5] {
        let files = star_files(&store, quarter, &campaign.kinds.keys().collect::<Vec<_>>()).unwrap();
        check_promises(&pipeline, &files, &before);
        for (star, kind) in &campaign.kinds {
            let (file, kind) = (&files[star], kind.as_str().unwrap());
            // Light ends with an error when anything differs from its contract: success is the check.
            assert_eq!(in_state(file, "succeeded"), expected(kind), "{kind} in quarter {quarter}");
            assert_eq!(in_state(file, "skipped").len(), 34 - expected(kind).len(), "{kind} in quarter {quarter}");
            for module in OFF {
                check_end(file, module, "skipped", "disabled");
            }
            check_alternatives(file, kind, quarter);
            check_made(file);
        }
        check_reasons(&files, &campaign);
        before = files;
    }
    let mut stars: Vec<&String> = campaign.kinds.keys().collect();
    stars.sort_by_key(|star| campaign.kinds[*star] != "rotating");
    check_provenance(&store, &campaign.path(""), &stars);
    let seismic = stars.into_iter().find(|star| campaign.kinds[*star] == "seismic").unwrap();
    check_excerpt(&store, seismic);
}

/// All 34 modules, also those that are drawn but switched off.
#[test]
fn the_modules_that_are_switched_off_have_contracts_that_can_be_honoured() {
    let mut campaign = Campaign::new().unwrap();
    for quarter in [3, 4] {
        // Every second star has transits, so that there is a density.
        campaign.deliver(quarter, "rotating=1,seismic=1", 4).unwrap();
    }
    let whole = campaign.path("whole.toml");
    let text = std::fs::read_to_string(definition("sas-pip.toml")).unwrap();
    assert_eq!(text.matches("\nenabled = false\n").count(), OFF.len());
    std::fs::write(&whole, text.replace("\nenabled = false\n", "\n")).unwrap();
    std::fs::copy(definition("products.toml"), campaign.path("products.toml")).unwrap();
    let pipeline = campaign.rewrite(&whole, &["--time-limit", "60s"]).unwrap();
    let store = run(&campaign, &pipeline, 0);

    let mut before = BTreeMap::new();
    for quarter in [3, 4] {
        let files = star_files(&store, quarter, &campaign.kinds.keys().collect::<Vec<_>>()).unwrap();
        check_promises(&pipeline, &files, &before);
        for (star, kind) in &campaign.kinds {
            let (file, kind) = (&files[star], kind.as_str().unwrap());
            let more: &[&str] = if kind == "seismic" { OFF } else { &["MSAP1_04", "MSAP4_05"] };
            assert_eq!(in_state(file, "succeeded"), &expected(kind) | &names(more), "{kind} in quarter {quarter}");
            // A star that only rotates has an age, and the answer that there is neither mass nor radius.
            let looks_back: &[&str] = match (quarter, kind) {
                (3, _) => &[],
                (_, "rotating") => &["DP4_SAS_PROT"],
                _ => &["DP4_SAS_PROT", "DP5_SAS_MASS", "DP5_SAS_RADIUS"],
            };
            let previous = file.modules["MSAP4_05"].inputs.get("PREVIOUS").cloned().unwrap_or_default();
            assert_eq!(previous, names(looks_back), "{kind} in quarter {quarter}");
        }
        before = files;
    }
}

/// Every module read exactly what its contract declares and the star has; the star has everything that was delivered.
#[track_caller]
fn check_promises(definition: &Path, files: &BTreeMap<String, StarFile>, before: &BTreeMap<String, StarFile>) {
    let pipeline = load_file(definition).unwrap_or_else(|error| panic!("{error}"));
    let declared = pipeline.star_externals.union(&pipeline.shared_externals).map(ToString::to_string);
    let declared: BTreeSet<String> = declared.collect();
    for (star, file) in files {
        let has_transits = [json!(true), json!(1)].contains(&file.scalars["IDP_EAS_QC_TARGET_TCE_DETECTION"]["flag"]);
        let undelivered = if has_transits { names(&[]) } else { names(&["DP2_RHO_TRANSIT"]) };
        assert_eq!(&declared - &file.externals, undelivered, "{star}");
        let broken = broken_promises(&pipeline, file, before.get(star));
        assert!(broken.is_empty(), "{star}:\n{}", broken.join("\n"));
    }
}

/// The catalogue's temperature serves until there is one of the quarter before, or of this one.
#[track_caller]
fn check_alternatives(file: &StarFile, kind: &str, quarter: u16) {
    let has_spectroscopy = ["seismic", "mixed"].contains(&kind);
    let read = |module: &str, source: &str, product: &str| {
        file.modules[module].inputs.get(source).is_some_and(|products| products.contains(product))
    };
    let better = has_spectroscopy && quarter > 3;
    assert_eq!(read("MSAP3_01", "PREVIOUS", "IDP_SAS_TEFF_SAPP"), better, "{kind} in quarter {quarter}");
    assert_eq!(read("MSAP3_01", "EXTERNALS", "IDP_PFU_TEFF_SAPP"), !better, "{kind} in quarter {quarter}");
    assert_eq!(read("MSAP1_07", "PREVIOUS", "DP3_SAS_NU_MAX"), better, "{kind} in quarter {quarter}");
    if has_spectroscopy {
        assert!(read("MSAP5_12", "SAS-PIP-MSAP2/SAS-PIP-MSAP2_03", "IDP_SAS_TEFF_SAPP"));
        assert!(!read("MSAP5_12", "EXTERNALS", "IDP_PFU_TEFF_SAPP"));
        assert!(read("MSAP5_14", "PDP", "PDP_WP12_MOD_EVOL") || kind == "mixed");
    }
}

/// What modules made is in the star file, and nothing else; every column is as the data model says.
#[track_caller]
fn check_made(file: &StarFile) {
    let made: BTreeSet<String> = file.modules.values().flat_map(|end| end.outputs.clone()).collect();
    assert_eq!(file.products, made);
    let warnings: Vec<&String> = file.modules.values().flat_map(|end| &end.warnings).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
}

fn check_reasons(files: &BTreeMap<String, StarFile>, campaign: &Campaign) {
    for (star, kind) in &campaign.kinds {
        let file = &files[star];
        match kind.as_str().unwrap() {
            "quiet" => {
                for module in ["MSAP2_01", "MSAP3_04", "MSAP5_11", "MSAP5_14", "MSAP5_21", "MSAP5_24", "MSAP5_32"] {
                    check_end(file, module, "skipped", "condition");
                }
                check_end(file, "MSAP5_34", "skipped", "not_made");
            }
            "rotating" => check_end(file, "MSAP5_33", "skipped", "condition"),
            "mixed" => check_end(file, "MSAP5_14", "skipped", "mixed_modes = true"),
            _ => check_end(file, "MSAP5_13", "skipped", "mixed_modes = false"),
        }
    }
}

#[test]
fn a_failure_takes_what_needs_it_and_nothing_else() {
    let mut campaign = Campaign::new().unwrap();
    let mut stars = campaign.deliver(0, "seismic=2", 2).unwrap().remove("seismic").unwrap();
    stars.extend(campaign.deliver(0, "rotating=1", 3).unwrap().remove("rotating").unwrap());
    let fails = |kind: &str, modules: &[&str]| {
        let failing = modules.iter().map(|name| ((*name).to_owned(), json!({ "fail": "exit 3" })));
        json!({ "like": kind, "modules": failing.collect::<serde_json::Map<_, _>>() })
    };
    // Frequencies and spectroscopy are lost, an order without data goes on; everybody else has the catalogue's values.
    campaign.kinds.insert(stars[0].clone(), fails("seismic", &["MSAP3_04", "MSAP2_02", "MSAP4_06"]));
    // No flags of oscillations: log g from granulation keeps spectroscopy going.
    campaign.kinds.insert(stars[1].clone(), fails("seismic", &["MSAP3_03"]));
    // The first attempt asks to be tried again, and no module is held up by one that is never tried twice.
    let again = json!({ "fail": "exit 75", "attempts": 1 });
    campaign.kinds.insert(stars[2].clone(), json!({ "like": "rotating", "modules": { "MSAP1_08": again } }));
    let pipeline = campaign.rewrite(&definition("sas-pip.toml"), &["--time-limit", "60s"]).unwrap();
    let store = run(&campaign, &pipeline, INCOMPLETE);

    let files = star_files(&store, 0, &stars.iter().collect::<Vec<_>>()).unwrap();
    check_promises(&pipeline, &files, &BTreeMap::new());
    let lost = [
        names(&["MSAP2_03", "MSAP5_13", "MSAP5_14", "MSAP5_15"]),
        names(&["MSAP3_04", "MSAP5_11", "MSAP5_12", "MSAP5_13", "MSAP5_14", "MSAP5_15"]),
        names(&[]),
    ];
    let failed = [names(&["MSAP3_04", "MSAP2_02", "MSAP4_06"]), names(&["MSAP3_03"]), names(&[])];
    for (at, kind) in ["seismic", "seismic", "rotating"].into_iter().enumerate() {
        let file = &files[&stars[at]];
        assert_eq!(in_state(file, "failed"), failed[at]);
        assert_eq!(in_state(file, "upstream_failed"), lost[at]);
        assert_eq!(in_state(file, "succeeded"), &(&expected(kind) - &failed[at]) - &lost[at]);
        check_made(file);
    }
    check_end(&files[&stars[0]], "MSAP3_04", "failed", "exit");
    check_end(&files[&stars[0]], "MSAP2_03", "upstream_failed", "IDP_SAS_TEFF_SPECTROSCOPY");
    assert_eq!(files[&stars[2]].modules["MSAP1_08"].attempt, Attempt(2));
}
