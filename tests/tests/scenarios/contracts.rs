//! Contracts that images carry along: two versions of a module side by side, from the labels of real images.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::light::sas;
use serde_json::{Value, json};

/// What the template says of its image, on no base at all.
const IMAGE: &str = "FROM scratch\nARG contract\nLABEL sas.contract=\"${contract}\"\n";

const PIPELINE: &str = "name = 'MINE'\nversion = '1'\ntrigger = 'l1/lightcurve'\ndata_model = 'products.toml'\n\
    [externals]\nstar = ['IDP_SAS_AARLC']\n\
    [modules.EXAMPLE_01]\nimage = 'example_01:1'\ncommand = ['python3', '/opt/module/module.py']\n\
    parameters = { fewest_points = 500 }\ninputs.mandatory = ['IDP_SAS_AARLC']\n\
    outputs.mandatory = ['ADP_SAS_EXAMPLE_SCATTER']\n\
    [modules.OTHERS_02]\ngroup = 'OTHERS'\nimage = 'others_02:1'\ninputs.mandatory = ['ADP_SAS_EXAMPLE_SCATTER']\n\
    outputs.mandatory = ['AGE']\n";

const MODEL: &str = "[products.ADP_SAS_EXAMPLE_SCATTER]\ncolumns.value = { type = 'float', ndim = 0, unit = 'ppm' }\n";

/// An image of one test.
struct LabelledImage(String);

impl LabelledImage {
    fn build(contract: Option<&str>) -> Self {
        let name = format!("sas/test-{}:1", uuid::Uuid::new_v4());
        let mut build = Command::new("docker");
        build.args(["build", "--quiet", "--tag", &name]).env("DOCKER_BUILDKIT", "0").stdin(Stdio::piped());
        if let Some(contract) = contract {
            build.args(["--build-arg", &format!("contract={contract}")]);
        }
        let mut build = build.arg("-").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let text = if contract.is_some() { IMAGE } else { "FROM scratch\nLABEL other=1\n" };
        build.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(build.wait().unwrap().success(), "an image of nothing can be built");
        Self(name)
    }
}

impl Drop for LabelledImage {
    fn drop(&mut self) {
        _ = Command::new("docker").args(["rmi", &self.0]).stdout(Stdio::null()).status();
    }
}

/// What `sas module diff` answers, which must end so.
#[track_caller]
fn diff(arguments: &[&str], code: i32) -> (Value, String) {
    let done = sas().args(["-o", "json", "module", "diff"]).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(code), "{said}");
    (serde_json::from_slice(&done.stdout).unwrap_or_default(), said)
}

#[test]
fn the_next_image_of_a_module_is_compared_by_its_label_and_breaks_who_reads_what_is_other() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(here.join("../deploy/modules/TEMPLATE/Dockerfile")).unwrap();
    assert!(IMAGE.lines().skip(1).all(|line| dockerfile.contains(line)), "as the template has it");
    let contract = fs::read_to_string(here.join("../deploy/modules/TEMPLATE/contract.toml")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let pipeline = dir.path().join("mine.toml");
    fs::write(&pipeline, PIPELINE).unwrap();
    fs::write(dir.path().join("products.toml"), MODEL).unwrap();
    let pipeline = pipeline.to_str().unwrap();

    let same = LabelledImage::build(Some(&contract));
    let (found, _) = diff(&[pipeline, &same.0], 0);
    assert_eq!((&found["products"], &found["breaks"]), (&json!([]), &json!([])), "{found}");
    assert_eq!(found["modules"], json!(["EXAMPLE_01"]), "its image is another one: {found}");

    let other = LabelledImage::build(Some(&contract.replace("unit = \"ppm\"", "unit = \"K\"")));
    for sides in [vec![pipeline, &other.0], vec!["--pipeline", pipeline, &same.0, &other.0]] {
        let (found, said) = diff(&sides, 1);
        let breaks = &found["breaks"][0];
        assert_eq!((&breaks["module"], &breaks["group"]), (&json!("OTHERS_02"), &json!("OTHERS")), "{found}");
        let of = ["module", "product", "change"].map(|name| breaks["reads"][name].clone());
        assert_eq!(of, ["EXAMPLE_01", "ADP_SAS_EXAMPLE_SCATTER", "column_unit"].map(Value::from), "{found}");
        assert!(said.contains("breaks OTHERS_02"), "{said}");
    }

    // A product that vanishes breaks who reads it, and the definition runs nowhere.
    let gone = contract.replace("ADP_SAS_EXAMPLE_SCATTER", "ADP_SAS_EXAMPLE_SPREAD");
    let gone = LabelledImage::build(Some(&gone));
    let (found, said) = diff(&[pipeline, &gone.0], 1);
    let breaks = &found["breaks"][0];
    let told = [&breaks["module"], &breaks["reads"]["change"]].map(Clone::clone);
    assert_eq!(
        (told, &found["modules"]),
        (["OTHERS_02", "vanishes"].map(Value::from), &json!(["EXAMPLE_01"])),
        "{found}"
    );
    let mistake = found["mistakes"][0].as_str().unwrap();
    assert!(mistake.contains("ADP_SAS_EXAMPLE_SCATTER") && said.contains("breaks OTHERS_02"), "{mistake} {said}");

    let none = LabelledImage::build(None);
    let (_, said) = diff(&[pipeline, &none.0], 2);
    assert!(said.contains("has no label sas.contract"), "{said}");
    let (_, said) = diff(&[pipeline, "sas/no-such-image:1"], 3);
    assert!(said.contains("no such file, and no such image"), "{said}");
    let (_, said) = diff(&[&same.0, &other.0], 2);
    assert!(said.contains("--pipeline"), "{said}");
}

/// The template's definition in a directory, where another module runs on a flag of its product.
fn flagged(dir: &Path, model: &str) -> String {
    let text =
        PIPELINE.replace("image = 'others_02:1'", "image = 'others_02:1'\nrun_if = 'P.ADP_SAS_EXAMPLE_SCATTER.flag'");
    let text = text.replace("inputs.mandatory = ['ADP_SAS_EXAMPLE_SCATTER']", "inputs.mandatory = ['IDP_SAS_AARLC']");
    fs::create_dir(dir).unwrap();
    fs::write(dir.join("products.toml"), model).unwrap();
    fs::write(dir.join("mine.toml"), text).unwrap();
    dir.join("mine.toml").to_str().unwrap().to_owned()
}

#[test]
fn a_gate_knows_by_the_exit_code_whether_something_breaks_or_nothing_could_be_compared() {
    let dir = tempfile::tempdir().unwrap();
    let flag = "columns.flag = { type = 'bool', ndim = 0 }\n";
    let old = flagged(&dir.path().join("old"), &format!("{MODEL}{flag}"));
    for absent in ["nope.toml", "./nope", "/nowhere/nope"] {
        for sides in [[&old, absent], [absent, &old]] {
            let (_, said) = diff(&sides, 3);
            assert!(said.contains(&format!("`{absent}`: no such file")) && !said.contains("docker"), "{said}");
        }
    }
    let wrong = flagged(&dir.path().join("wrong"), &format!("{MODEL}columns.n = 'int'\n{flag}"));
    for sides in [[&old, &wrong], [&wrong, &old]] {
        let (_, said) = diff(&[sides[0], sides[1]], 2);
        assert!(said.contains("data_model: `products.toml`") && said.contains("\"mistakes\""), "{said}");
    }

    // What a condition reads is gone: it is told like a product that is gone, with the table.
    let (found, said) = diff(&[&old, &flagged(&dir.path().join("gone"), MODEL)], 1);
    let breaks = &found["breaks"][0];
    assert_eq!((&breaks["module"], &breaks["reads"]["column"]), (&json!("OTHERS_02"), &json!("flag")), "{found}");
    assert!(found["mistakes"][0].as_str().unwrap().contains("no column `flag`"), "{found}");
    assert!(said.contains("it breaks OTHERS_02"), "{said}");
    // What it does not read breaks it not.
    let other = flagged(&dir.path().join("other"), &format!("{}{flag}", MODEL.replace("value", "amount")));
    let (found, _) = diff(&[&old, &other], 0);
    assert_eq!((found["products"].as_array().unwrap().len(), &found["breaks"]), (2, &json!([])), "{found}");

    // In a table what breaks stands above it; rows for a spreadsheet have it beside them.
    let gone = dir.path().join("gone/mine.toml");
    let run = |format: &str| sas().args(["-o", format, "module", "diff", &old]).arg(&gone).output().unwrap();
    let [table, rows] = ["table", "csv"].map(run);
    let words =
        "no module is other, but products are\nBREAKS OTHERS_02 of OTHERS: ADP_SAS_EXAMPLE_SCATTER of EXAMPLE_01";
    assert!(String::from_utf8_lossy(&table.stdout).starts_with(words), "{table:?}");
    assert!(String::from_utf8_lossy(&rows.stderr).starts_with(words), "{rows:?}");
    assert!(!String::from_utf8_lossy(&rows.stdout).contains("BREAKS"), "{rows:?}");
}
