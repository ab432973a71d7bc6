//! From externals to a star file: staging, packing, committing and assembling, read back by h5py.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use domain::id::{Attempt, EventId, Generation, Key, RunId, Sequence};
use domain::outcome::{Outcome, Skip, Success, UsedResources};
use domain::run::TaskState;
use jiff::Timestamp;
use store::agent::{
    Assemble, At, Check, Export, GenerationInfo, GenerationStatus, InputRecord, InputSource, Manifest, ModuleEntry,
    OutputLimits, Provenance, Scalar, Seal, Show, Stage, StageItem, WantedScalars,
};
use store::ingest::IngestScope;
use store::{Commit, durable, paths};

use crate::Workbench;
use crate::ingesting::{AS_WRITTEN, DELIVERED, STAR, deliver, quarter, star};
use crate::outputs::name;
use crate::seen::{READ, expected};

fn run() -> RunId {
    RunId::of(EventId::of("test", "1"), "SAS-PIP", "1.4.0")
}

pub(crate) fn key() -> Key {
    Key::from_bytes([7; 32])
}

const MODULE_WRITES: &str = r#"
with h5py.File("{dir}/output.h5", "w") as f:
    p = f.create_group("PRODUCTS")
    p["IDP_SAS_[X] /col umn "] = np.array(1.5, ">f8")
    p["LARGE/value"] = np.arange(300_000.0)
    p.create_group("N").attrs["NOT_PRODUCED"] = "no peaks"
"#;

pub(crate) fn provenance(inputs: Vec<InputRecord>) -> Provenance {
    Provenance {
        module: "MSAP3_04".parse().unwrap(),
        key: key(),
        star: star(),
        quarter: quarter(3),
        run: run(),
        pipeline: "SAS-PIP".parse().unwrap(),
        version: "1.4.0".to_owned(),
        horizon: Sequence(1),
        attempt: Attempt(2),
        image: "sas/msap3_04:2.1".parse().unwrap(),
        image_identity: "sha256:abc".parse().unwrap(),
        command: vec!["peakbag".to_owned()],
        contract: "00112233aabbccdd".to_owned(),
        environment: BTreeMap::new(),
        parameters: BTreeMap::from([("steps".to_owned(), serde_json::json!(5000))]),
        seed: u64::MAX,
        inputs,
        expressions: BTreeMap::from([("X.flag".to_owned(), serde_json::json!(true))]),
        worker: "host-1".parse().unwrap(),
        host: "host".to_owned(),
        started: Timestamp::UNIX_EPOCH,
        ended: Timestamp::UNIX_EPOCH,
        clock_ahead: None,
        exit_code: Some(0),
        used: UsedResources { cpu_ms: Some(1500), peak_memory: Some(1 << 20), ..UsedResources::default() },
        warnings: vec!["odd".to_owned()],
    }
}

/// Checks and packs what [`MODULE_WRITES`], and commits it under its key.
pub(crate) async fn commit_result(bench: &mut Workbench, inputs: Vec<InputRecord>) -> Manifest {
    bench.python(MODULE_WRITES);
    let check = Check {
        output: bench.path("output.h5"),
        mandatory: vec![name("IDP_SAS_[X] ")],
        optional: vec![name("LARGE")],
        nullable: vec![name("N")],
        conditional: vec![],
        aliases: BTreeMap::new(),
        model: BTreeMap::new(),
        strict_units: false,
        scalars_of: BTreeMap::new(),
        limits: OutputLimits::default(),
    };
    let dest = bench.private("packed.h5");
    let (provenance, log) = (provenance(inputs), "line 1\nline\0 2 µ\n".to_owned());
    let seal = Seal { check, is_in_reach: false, provenance, log, dest: dest.clone() };
    let checked = bench.agent.seal(seal).await.unwrap();
    assert_eq!(checked.violation, None);
    let manifest = bench.agent.manifest(&dest).await.unwrap();
    let committed = bench.store.at(paths::product(star(), quarter(3), &"MSAP3_04".parse().unwrap(), &key()));
    assert_eq!(durable::commit_file(&dest, &committed).unwrap(), Commit::Created);
    assert_eq!(durable::commit_file(&dest, &committed).unwrap(), Commit::Exists);
    assert_eq!(manifest.products, checked.products, "what is in the file is what was said");
    for (product, entry) in &manifest.products {
        let at = At { file: committed.clone(), path: format!("/PRODUCTS/{product}") };
        assert_eq!(bench.agent.digest(at).await.unwrap().digest, entry.digest, "{product} was copied whole");
    }
    std::fs::remove_file(&dest).unwrap();
    manifest
}

fn module(state: TaskState, outcome: Option<Outcome>) -> ModuleEntry {
    ModuleEntry {
        module: "MSAP3_04".parse().unwrap(),
        group: "MSAP3".to_owned(),
        state,
        outcome,
        attempt: Attempt(2),
        worker: Some("host-1".parse().unwrap()),
        started: Some(Timestamp::UNIX_EPOCH),
        millis: 12,
        image: "sas/msap3_04:2.1".parse().unwrap(),
        declares: Vec::new(),
    }
}

pub(crate) fn star_file(bench: &Workbench, dest: &Path, generation: Generation, success: Success) -> Assemble {
    let skip = Skip::Condition { detail: "P.X.flag = false".to_owned() };
    let skipped = ModuleEntry {
        module: "MSAP5_12".parse().unwrap(),
        group: "MSAP5".to_owned(),
        attempt: Attempt(0),
        worker: None,
        started: None,
        declares: vec![name("DP5_SAS_AGE")],
        ..module(TaskState::Skipped, Some(Outcome::Skipped(skip)))
    };
    Assemble {
        dest: dest.to_owned(),
        store: bench.store.root().to_owned(),
        star: star(),
        quarter: quarter(3),
        externals: bench.store.externals(star(), quarter(3), Sequence(u64::MAX)).unwrap(),
        modules: vec![module(TaskState::Succeeded, Some(Outcome::Succeeded(success))), skipped],
        generation: GenerationInfo {
            number: generation,
            run: run(),
            pipeline: "SAS-PIP".parse().unwrap(),
            version: "1.4.0".to_owned(),
            horizon: Sequence(1),
            previous: None,
            row: vec![0x30, 0x60],
            ends: String::new(),
            status: Some(GenerationStatus::Complete),
            lost: BTreeSet::new(),
            last_complete: Some(generation),
        },
    }
}

fn inputs(manifest: &Manifest) -> Vec<InputRecord> {
    let input = |product: &str, source| InputRecord {
        product: name(product),
        source,
        digest: manifest.externals.get(&name(product)).map(|entry| entry.digest),
        instead_of: None,
        absent: None,
        file: None,
    };
    let other = InputSource::Module { group: "MSAP3".to_owned(), module: "MSAP3_03".parse().unwrap() };
    vec![
        input("flag", InputSource::External),
        input("IDP_SAS_FE_H_SAPP", InputSource::Shared),
        input("trailing product ", other),
        input("IDP_SAS_TEFF_SAPP", InputSource::Previous),
    ]
}

#[tokio::test]
async fn a_star_file_is_read_by_h5py_from_both_of_its_places() {
    let mut bench = Workbench::new();
    bench.python(DELIVERED);
    bench.python(
        r#"
with h5py.File("{dir}/grid.h5", "w") as f:
    f["EXTERNALS/GRID/value"] = np.arange(200_000.0)
    f["EXTERNALS/IDP_PFU_TEFF_SAPP/value"] = 5777.0
with h5py.File("{dir}/history.h5", "w") as f:
    f.attrs["PLATO_ID"] = "PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7"
    f["EXTERNALS/HISTORY/value"] = np.arange(150_000.0)
"#,
    );
    deliver(&mut bench, &["grid.h5"], IngestScope::Shared).await;
    deliver(&mut bench, &["history.h5"], IngestScope::Star).await;
    deliver(&mut bench, &["lc.h5"], AS_WRITTEN).await;
    let external = bench.store.at(paths::externals(star(), quarter(3)).join("l1.lightcurve@3.h5"));
    let external = bench.agent.manifest(&external).await.unwrap();
    let result = commit_result(&mut bench, inputs(&external)).await;
    let products = result.products.iter().map(|(name, entry)| (name.clone(), entry.digest)).collect();
    let success = Success::new(key(), products);

    let built = bench.private("star.h5");
    let assemble = star_file(&bench, &built, Generation(1), success.clone());
    let manifest = bench.agent.assemble(assemble).await.unwrap();
    assert_eq!(bench.store.latest_generation(star(), quarter(3)).unwrap(), None);
    let commit =
        |generation| bench.store.commit_generation(star(), quarter(3), Generation(generation), &built).unwrap();
    assert_eq!(commit(1), Commit::Created);
    assert_eq!(commit(1), Commit::Exists);
    assert_eq!(bench.store.latest_generation(star(), quarter(3)).unwrap(), Some(Generation(1)));
    let large = &manifest.products[&name("LARGE")];
    let committed = format!("Q003/products/MSAP3_04-{}.h5", key());
    assert_eq!((large.file.as_ref(), large.module.as_ref().unwrap().as_str()), (Some(&committed), "MSAP3_04"));

    let basis = bench.store.choice_basis(star(), quarter(3)).unwrap().unwrap();
    bench.store.show_newest(star(), quarter(3), basis).unwrap();
    let generation = bench.store.at(paths::generation(star(), quarter(3), Generation(1)));
    let star_file = bench.store.at(paths::star_file(star(), quarter(3)));
    assert!(star_file.symlink_metadata().unwrap().is_file(), "scientists copy it with any tool");
    for file in [&generation, &star_file] {
        let seen = bench.python(&READ.replace("{file}", &file.display().to_string()));
        let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
        assert_eq!(seen, expected(), "{}", file.display());
        assert_eq!(bench.agent.manifest(file).await.unwrap(), manifest);
    }

    // A later generation that is not whole leaves the star file what it was, and is named in it.
    let next = bench.private("next.h5");
    let mut assemble = self::star_file(&bench, &next, Generation(2), success);
    assemble.modules[1].state = TaskState::Failed;
    assemble.generation.lost = [name("IDP_SAS_[X] ")].into();
    (assemble.generation.status, assemble.generation.last_complete) =
        (Some(GenerationStatus::Failed), Some(Generation(1)));
    bench.agent.assemble(assemble).await.unwrap();
    bench.store.commit_generation(star(), quarter(3), Generation(2), &next).unwrap();
    let newest = bench.store.at(paths::generation(star(), quarter(3), Generation(2)));
    let dest = bench.private("copy.h5");
    let show = Show {
        open: generation.clone(),
        newest: newest.clone(),
        last_complete: Some(Generation(1)),
        rollback: None,
        dest: dest.clone(),
    };
    bench.agent.show(show).await.unwrap();
    let basis = bench.store.choice_basis(star(), quarter(3)).unwrap().unwrap();
    bench.store.show_copy(star(), quarter(3), (basis, Generation(1)), &dest).unwrap();
    std::fs::remove_file(&dest).unwrap();
    let of = |file: &Path| {
        let text = r#"
a = h5py.File("{file}").attrs
print(json.dumps([a["STATUS"], int(a["GENERATION"]), int(a["LAST_COMPLETE"]), int(a["NEWEST_GENERATION"]),
    a["NEWEST_STATUS"], list(a["LOST_MODULES"]), list(a["NEWEST_LOST_MODULES"]), list(a["NEWEST_LOST_PRODUCTS"])]))
"#;
        let seen = bench.python(&text.replace("{file}", &file.display().to_string()));
        serde_json::from_str::<serde_json::Value>(&seen).unwrap()
    };
    let [lost, product] = [["MSAP5_12"], ["IDP_SAS_[X] "]].map(|names| serde_json::json!(names));
    assert_eq!(of(&generation), serde_json::json!(["complete", 1, 1, 1, "complete", [], [], []]));
    assert_eq!(of(&newest), serde_json::json!(["failed", 2, 1, 2, "failed", lost, lost, product]));
    assert_eq!(of(&star_file), serde_json::json!(["complete", 1, 1, 2, "failed", [], lost, product]));
    let seen = bench.python(&READ.replace("{file}", &star_file.display().to_string()));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&seen).unwrap(), expected(), "its links lead where they did");
    assert_eq!(bench.agent.manifest(&generation).await.unwrap(), manifest, "a generation never changes");
    let left = std::fs::read_dir(bench.store.at("scratch")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["test"], "no half-made names are left");

    // One file of everything, which opens where there is no store.
    let dest = bench.private("export.h5");
    let export = Export {
        store: bench.store.root().to_owned(),
        star: star(),
        generation,
        newest,
        last_complete: Some(Generation(1)),
        reads: vec![],
        attributes: BTreeMap::from([("EXPORTED_FROM".to_owned(), "here".to_owned())]),
        dest: dest.clone(),
    };
    bench.agent.export(export).await.unwrap();
    let moved = bench.path("moved.h5");
    std::fs::rename(&dest, &moved).unwrap();
    let elsewhere = bench.path("gone");
    std::fs::rename(bench.store.root(), &elsewhere).unwrap();
    let seen = bench.python(&READ.replace("{file}", &moved.display().to_string()));
    let mut expected = expected();
    expected["links"] = serde_json::json!(["HardLink", "HardLink"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&seen).unwrap(), expected);
    std::fs::rename(&elsewhere, bench.store.root()).unwrap();
}

#[tokio::test]
async fn a_result_carries_its_provenance_and_its_log() {
    let mut bench = Workbench::new();
    let manifest = commit_result(&mut bench, vec![]).await;
    assert_eq!(manifest.provenance.unwrap().seed, u64::MAX);
    let committed = bench.store.at(paths::product(star(), quarter(3), &"MSAP3_04".parse().unwrap(), &key()));
    let text = r#"
f = h5py.File("{file}")
print(json.dumps([f["LOG"][()].decode(), json.loads(f["PROVENANCE"][()])["parameters"], json.loads(f["MANIFEST"][()])["kind"]]))
"#;
    let seen = bench.python(&text.replace("{file}", &committed.display().to_string()));
    let expected = serde_json::json!(["line 1\nline\u{fffd} 2 µ\n", {"steps": 5000}, "result"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&seen).unwrap(), expected);
}

#[tokio::test]
async fn an_input_is_links_that_lead_below_its_own_directory() {
    let mut bench = Workbench::new();
    bench.python(DELIVERED);
    deliver(&mut bench, &["lc.h5", "pfu.h5"], AS_WRITTEN).await;
    let external = bench.store.at(paths::externals(star(), quarter(3)).join("l1.lightcurve@1.h5"));
    let folder = bench.private("in");
    std::fs::create_dir_all(folder.join("files")).unwrap();
    std::fs::hard_link(&external, folder.join("files/0.h5")).unwrap();
    let item =
        |at: &str, path: &str| StageItem { at: at.to_owned(), file: "files/0.h5".to_owned(), path: path.to_owned() };
    let stage = Stage {
        input: folder.join("input.h5"),
        attributes: BTreeMap::from([("SAS_RUN".to_owned(), "r".to_owned())]),
        star: star(),
        quarter: quarter(3),
        observed: Some([10.5, 99.5]),
        items: vec![
            item("/EXTERNALS/DP1_LC_MERGED", "/EXTERNALS/DP1_LC_MERGED"),
            item("/EXTERNALS/trailing product ", "/EXTERNALS/trailing product "),
            item("/PREVIOUS/PRODUCTS/IDP_SAS_[FE_H]_SAPP", "/EXTERNALS/IDP_SAS_FE_H_SAPP"),
        ],
        staged: r#"{"mandatory":["µ"]}"#.to_owned(),
    };
    bench.agent.stage(stage.clone()).await.unwrap();
    let error = bench.agent.stage(stage).await.unwrap_err().to_string();
    assert!(error.contains("input.h5"), "{error}");
    let text = r#"
f = h5py.File("{file}")
names = []
f.visit(names.append)
print(json.dumps([sorted(f), sorted(f["EXTERNALS"]), len(f["PRODUCTS"]), json.loads(f.attrs["STAGED"]), f.attrs["PLATO_ID"],
    float(f["EXTERNALS/DP1_LC_MERGED/flux"][-1]), f["EXTERNALS/trailing product "][()].tolist(),
    float(f["PREVIOUS/PRODUCTS/IDP_SAS_[FE_H]_SAPP/trailing "][()]), f["EXTERNALS"].get("DP1_LC_MERGED", getlink=True).filename]))
"#;
    let seen = bench.python(&text.replace("{file}", &folder.join("input.h5").display().to_string()));
    let expected = serde_json::json!([
        ["EXTERNALS", "PREVIOUS", "PRODUCTS"], ["DP1_LC_MERGED", "trailing product "], 0, {"mandatory": ["µ"]}, STAR,
        2.0, [0, 1, 2], 0.25, "files/0.h5"
    ]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&seen).unwrap(), expected);
}

#[tokio::test]
async fn scalars_are_read_from_committed_files() {
    let mut bench = Workbench::new();
    bench.python(
        r#"
with h5py.File("{dir}/x.h5", "w") as f:
    p = f.create_group("PRODUCTS/P")
    p["a b"] = np.array(-3, ">i2"); p["nested/deep"] = np.float32(1.5); p["nan"] = np.nan; p["flag"] = True
    p["big"] = np.uint64(2**64 - 1); p["text"] = "µ"; p["curve"] = np.arange(5.0); p["curve"].attrs["unit"] = "ppm"
    p["one"] = np.array([2.0]); p["matlab"] = np.array([[3.0]])
    f["PRODUCTS/D"] = 4.0
"#,
    );
    let file = bench.path("x.h5");
    let at = |path: &str| At { file: file.clone(), path: path.to_owned() };
    let want = |path: &str, columns: &[&str]| {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect::<BTreeSet<_>>();
        WantedScalars { at: at(path), columns: (!columns.is_empty()).then_some(columns) }
    };
    let wants = [want("/PRODUCTS/P", &[]), want("/PRODUCTS/D", &[]), want("/PRODUCTS/P", &["nan", "one", "curve"])];
    let read = bench.agent.scalars(wants.to_vec()).await.unwrap();
    let scalars: Vec<&BTreeMap<String, Scalar>> = read.iter().map(|read| &read.scalars).collect();
    assert_eq!(scalars[0]["a b"], Scalar::Int(-3));
    assert_eq!(scalars[0]["nested/deep"], Scalar::Float(1.5));
    assert!(matches!(scalars[0]["nan"], Scalar::Float(value) if value.is_nan()), "NaN survives the wire");
    assert_eq!(scalars[0]["flag"], Scalar::Bool(true));
    assert_eq!(scalars[0]["big"], Scalar::Float(18_446_744_073_709_551_615.0));
    assert_eq!(scalars[0]["text"], Scalar::Text("µ".to_owned()));
    assert!(!scalars[0].contains_key("curve"));
    assert_eq!((&scalars[0]["one"], &scalars[0]["matlab"]), (&Scalar::Float(2.0), &Scalar::Float(3.0)));
    assert_eq!(scalars[1], &BTreeMap::from([("value".to_owned(), Scalar::Float(4.0))]));
    assert_eq!(scalars[2].keys().collect::<Vec<_>>(), ["nan", "one"], "only what is wanted is read");
    assert_eq!((&read[0].others, &read[1].others), (&BTreeMap::new(), &BTreeMap::new()));
    let others = &read[2].others;
    assert_eq!(others["curve"], "float64 of shape [5]");
    let columns = bench.agent.columns(vec![at("/PRODUCTS/P")]).await.unwrap().remove(0);
    let one = &columns["one"];
    assert_eq!((&one.value, &one.shape[..]), (&Some(Scalar::Float(2.0)), &[1][..]), "also where it is shown");
    assert_eq!((others["flag"].as_str(), others.contains_key("one")), ("bool", false), "and what there is instead");
}
