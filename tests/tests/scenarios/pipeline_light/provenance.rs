//! What is on record of stars, held against what there is by a reader of its own; told to other systems; and what becomes of it
//! when somebody changes a file.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use harness::light::{sas, star_file};
use serde_json::Value;

use super::succeeds;

/// Another value in a committed file; prints the product.
const SPOIL: &str = r#"
import h5py, sys
with h5py.File(sys.argv[1], "r+") as file:
    columns = []
    file["PRODUCTS"].visititems(lambda name, node: columns.append(name) if isinstance(node, h5py.Dataset) else None)
    name = next(name for name in columns if file["PRODUCTS"][name].dtype.kind == "f")
    file["PRODUCTS"][name][...] = file["PRODUCTS"][name][...] + 1
print(name.split("/")[0])
"#;

fn python(arguments: &[&str]) -> Command {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("/usr/bin/python3");
    command.arg(here.join("tests/scenarios/pipeline_light/provenance.py")).args(arguments);
    command.env("PYTHONPATH", here.join("../common/store/tests/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// How many documents those who published their form read; fails where something is wrong. `deploy/setup.sh test` installs them.
#[track_caller]
pub(crate) fn published(form: &str, file: &str) -> u64 {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("SAS_LINEAGE_PYTHON").map(PathBuf::from);
    let mut command = Command::new(python.unwrap_or_else(|| here.join("../.tools/lineage/bin/python")));
    command.arg(here.join("tests/scenarios/pipeline_light/published.py")).args([form, file]);
    String::from_utf8(succeeds(command, 0).stdout).unwrap().trim().parse().unwrap()
}

/// What the reader of its own counted; fails where something is wrong.
#[track_caller]
fn read(arguments: &[&str]) -> Value {
    serde_json::from_slice(&succeeds(python(arguments), 0).stdout).unwrap()
}

#[track_caller]
fn star(store: &Path, arguments: &[&str], code: i32) -> Output {
    let mut command = sas();
    command.args(["-o", "json", "star"]).args(arguments).arg("--store").arg(store);
    succeeds(command, code)
}

/// What README shows of a star file is in a real one, and says the same.
#[track_caller]
pub(crate) fn check_excerpt(store: &Path, star: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("/usr/bin/python3");
    command.arg(here.join("tests/scenarios/pipeline_light/excerpt.py")).arg(here.join("../README.md"));
    command.arg(star_file(store, 3, star).unwrap());
    let compared: u64 = String::from_utf8(succeeds(command, 0).stdout).unwrap().trim().parse().unwrap();
    assert!(compared > 60, "{compared}");
}

/// Of these stars, in three quarters of the real pipeline.
pub(crate) fn check_provenance(store: &Path, directory: &Path, stars: &[&String]) {
    let paths: Vec<PathBuf> = [3, 4, 5]
        .iter()
        .flat_map(|quarter| stars.iter().map(|star| star_file(store, *quarter, star).unwrap()))
        .collect();
    let named: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    let counts = read(&[&["files"], &named[..]].concat());
    let count = |name: &str| counts[name].as_u64().unwrap();
    assert!(count("modules") > 200 && count("inputs") > count("modules") && count("previous") > 20, "{counts}");
    assert!(count("outputs") > count("modules") && count("reasons") > 50, "{counts}");
    check_told(store, directory, stars);
    check_lineage(store, stars);
    check_verified(store, directory, stars, &paths[0]);
}

/// W3C PROV-JSON into a file, OpenLineage into a file and to a receiver, one by one and many at a time.
fn check_told(store: &Path, directory: &Path, stars: &[&String]) {
    let tell = |form: &str, to: &str| {
        let arguments = ["provenance", "--form", form, "--quarter", "4", "--to", to];
        let names: Vec<&str> = stars.iter().map(|star| star.as_str()).collect();
        serde_json::from_slice::<Value>(&star(store, &[&arguments[..], &names[..]].concat(), 0).stdout).unwrap()
    };
    let file = |name: &str| directory.join(name).display().to_string();
    let (documents, events, bodies) = (file("prov.jsonl"), file("events.jsonl"), file("bodies.jsonl"));
    assert_eq!(tell("prov-json", &documents)["documents"], stars.len());
    let counts = read(&["prov", &documents]);
    assert_eq!(published("prov", &documents), stars.len() as u64);
    assert!(counts["activity"].as_u64() > Some(60) && counts["wasDerivedFrom"].as_u64() > Some(100), "{counts}");
    tell("open-lineage", &events);
    let counts = read(&["openlineage", &events]);
    assert_eq!(Some(published("openlineage", &events)), counts["COMPLETE"].as_u64().map(|events| 2 * events));
    assert!(counts["COMPLETE"].as_u64() > Some(60) && counts["START"] == counts["COMPLETE"], "{counts}");
    let (_receiver, address) = receiver(&bodies);
    let sent = tell("open-lineage", &format!("{address}/api/v1/lineage/batch"));
    assert_eq!(read(&["openlineage", &bodies]), counts);
    assert_eq!(sent["requests"].as_u64(), Some(sent["documents"].as_u64().unwrap().div_ceil(100)), "{sent}");
    fs::remove_file(&bodies).unwrap();
    let sent = tell("open-lineage", &format!("{address}/api/v1/lineage"));
    assert_eq!((read(&["openlineage", &bodies]), &sent["requests"]), (counts, &sent["documents"]));
}

/// A receiver of HTTP, which goes with its owner.
struct Receiving(Child);

impl Drop for Receiving {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn receiver(bodies: &str) -> (Receiving, String) {
    let mut child = python(&["receive", bodies]).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    (Receiving(child), format!("http://127.0.0.1:{}", port.trim()))
}

/// Both ways, over quarters.
fn check_lineage(store: &Path, stars: &[&String]) {
    let ask = |arguments: &[&str]| serde_json::from_slice::<Value>(&star(store, arguments, 0).stdout).unwrap();
    let name = stars[0].as_str();
    let found = ask(&["lineage", name, "DP4_SAS_PROT", "--quarter", "4"]);
    let how = &found["product"]["how"];
    assert!(how["used"]["cpu_ms"].as_u64() > Some(0) && how["exit_code"] == 0, "{how}");
    assert!(how["log"].as_str().unwrap().starts_with("Q004/products/MSAP4_07-"), "{how}");
    let found = ask(&["lineage", name, "DP1_LC_MERGED", "--quarter", "3", "--down"]);
    let text = found.to_string();
    for quarter in [3, 4, 5] {
        assert!(text.contains(&format!("\"quarter\":{quarter}")) || text.contains(&format!("Q00{quarter}")), "{text}");
    }
    let refused = star(store, &["lineage", name, "DP3_SAS_OSC_FREQ", "--quarter", "4"], 3);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("MSAP3_04 skipped (condition)"), "{said}");
}

/// What nobody touched is as recorded, in the store and far from it; what somebody changed is named.
fn check_verified(store: &Path, directory: &Path, stars: &[&String], shown: &Path) {
    let name = stars[0].as_str();
    for star_name in stars {
        star(store, &["verify", star_name], 0);
    }
    let far = directory.join("far");
    fs::create_dir(&far).unwrap();
    let alone = far.join("alone.h5").display().to_string();
    star(store, &["export", name, "--quarter", "3", "--to", &alone], 0);
    let found: Value = serde_json::from_slice(&star(&far, &["verify", &alone], 0).stdout).unwrap();
    assert!(found["files"][0]["well"].as_u64() > Some(20), "{found}");
    star(store, &["verify", shown.to_str().unwrap()], 0);
    let product = spoil(Path::new(&alone));
    let found: Value = serde_json::from_slice(&star(&far, &["verify", &alone], 1).stdout).unwrap();
    assert_eq!(found["files"][0]["differences"][0]["product"], product.as_str(), "{found}");

    let products = shown.parent().unwrap().join("products");
    let mut results: Vec<PathBuf> = fs::read_dir(products).unwrap().map(|entry| entry.unwrap().path()).collect();
    results.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("MSAP1_02-"));
    let [result] = &results[..] else { panic!("{results:?}") };
    let product = spoil(result);
    let said = star(store, &["verify", name, "--quarter", "3"], 1);
    let found: Value = serde_json::from_slice(&said.stdout).unwrap();
    let differing: Vec<&Value> =
        found["files"].as_array().unwrap().iter().filter(|file| file["differences"][0].is_object()).collect();
    assert_eq!((differing.len(), &differing[0]["differences"][0]["product"]), (1, &Value::from(product.as_str())));
    let failed = python(&["files", shown.to_str().unwrap()]).output().unwrap();
    assert!(!failed.status.success() && String::from_utf8_lossy(&failed.stderr).contains(&product), "{failed:?}");
}

/// Changes a value in a file; the product in which that is.
fn spoil(file: &Path) -> String {
    fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", SPOIL]).arg(file);
    String::from_utf8(succeeds(command, 0).stdout).unwrap().trim().to_owned()
}
