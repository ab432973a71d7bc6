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

    let none = LabelledImage::build(None);
    let (_, said) = diff(&[pipeline, &none.0], 1);
    assert!(said.contains("has no label sas.contract"), "{said}");
    let (_, said) = diff(&[&same.0, &other.0], 2);
    assert!(said.contains("--pipeline"), "{said}");
}
