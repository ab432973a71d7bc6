//! What scientists get: warnings where a result is odd, reasons where there is none, tables, and Python that reads both.

use std::path::Path;
use std::process::{Command, Output};

use harness::light::{Campaign, sas};

/// ODD → SKIPPED. ODD writes another unit, an extra column, and why there is no N.
const PIPELINE: &str = r#"name = "TABLES"
version = "1"
trigger = "l1/lightcurve"
data_model = "model.toml"
externals.star = ["DP1_LC_MERGED"]
[modules.ODD]
image = "none"
command = ["/usr/bin/python3", "odd.py"]
inputs.mandatory = ["DP1_LC_MERGED"]
outputs.mandatory = ["X"]
outputs.nullable = ["N"]
[modules.SKIPPED]
image = "none"
command = ["/bin/false"]
run_if = "P.X.good > 1e9"
inputs.mandatory = ["X"]
outputs.mandatory = ["Y"]
"#;

const MODEL: &str = r#"[products.X.columns]
value = { type = "float", ndim = 0, unit = "uHz" }
good = { type = "float", ndim = 0, unit = "Msun", doc = "Mass" }
[products.N.columns]
value = { type = "int", ndim = 0 }
[products.Y.columns]
flag = { type = "bool", ndim = 0 }
"#;

const ODD: &str = r#"
import h5py, os
with h5py.File(os.environ["SAS_OUTPUT"], "w") as file:
    for name, value, unit in (("value", 2.4, "mHz"), ("good", 1.25, "Msun"), ("extra", 1, "")):
        file[f"PRODUCTS/X/{name}"] = value
        file[f"PRODUCTS/X/{name}"].attrs["unit"] = unit
    file.create_group("PRODUCTS/N").attrs["NOT_PRODUCED"] = "too faint"
"#;

/// What a scientist types, given a table and a star file.
const PYTHON: &str = r#"
import sys, plato_star
table, star = plato_star.read_table(sys.argv[1]), plato_star.open(sys.argv[2])
print([float(number) for number in table["X.good"]], [str(why) for why in table["X.why"]])
print(star.why("N"), "/", star.why("Y"), "/", star["X"]["extra"])
"#;

struct TablesPlace {
    campaign: Campaign,
    star: String,
}

impl TablesPlace {
    fn new() -> Self {
        let mut campaign = Campaign::new().unwrap();
        let star = campaign.deliver(0, "quiet=1", 1).unwrap()["quiet"][0].clone();
        let program = campaign.path("odd.py").display().to_string();
        let pipeline = PIPELINE.replace("odd.py", &program);
        let strict = pipeline.replace("data_model", "strict_units = true\ndata_model");
        let model = MODEL.replace("uHz", "µHz");
        for (name, text) in [
            ("odd.py", ODD),
            ("model.toml", MODEL),
            ("old.toml", &model),
            ("lax.toml", &pipeline),
            ("strict.toml", &strict),
            ("micro.toml", &pipeline.replace("model.toml", "old.toml")),
        ] {
            std::fs::write(campaign.path(name), text).unwrap();
        }
        Self { campaign, star }
    }

    /// Runs `sas` with the words of `line`, of which STAR is the star and FILE its delivered file.
    fn sas(&self, line: &str, code: i32) -> Output {
        let file = self.campaign.star_files().unwrap().remove(0).display().to_string();
        let words = line.split(' ').map(|word| word.replace("STAR", &self.star).replace("FILE", &file));
        let done = sas().args(words).current_dir(self.campaign.path("")).output().unwrap();
        assert_eq!(done.status.code(), Some(code), "sas {line}\n{}", said(&done));
        done
    }

    #[track_caller]
    fn says(&self, line: &str, words: &[&str]) {
        let said = said(&self.sas(line, 0));
        for word in words {
            assert!(said.contains(word), "sas {line} does not say {word:?}:\n{said}");
        }
    }
}

fn said(done: &Output) -> String {
    [&done.stdout[..], &done.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

#[test]
fn what_is_odd_is_said_and_what_is_missing_has_its_reason() {
    let place = TablesPlace::new();
    let run = |pipeline: &str| format!("local --runner process --pipeline {pipeline} --store store FILE");
    let unit = r#"/PRODUCTS/X: column "value" has unit "mHz", expected unit "uHz""#;
    let odd = ["ODD succeeded", "2 warnings", unit, "\"extra\" is not in the data model", "not made", "N: too faint"];
    place.sas(&run("lax.toml"), 0);
    place.says("star explain --store store STAR ODD", &odd);
    place.says("run show --store store", &["WARNINGS", "ODD 1", "results without a product"]);
    // The same result, found under its key, is as odd as before.
    place.sas(&run("lax.toml"), 0);
    place.says("star explain --store store STAR ODD", &[&["was in the store"][..], &odd[1..]].concat());

    place.says("export --store store --table stars.ecsv", &["1 rows", "X.why"]);
    place.says("export --store store --table stars.csv --columns X.good,X.value,N.value,Y.flag", &["stars.csv"]);
    let csv = std::fs::read_to_string(place.campaign.path("stars.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].ends_with(",X.good [Msun],X.value [uHz],X.why,N.value,N.why,Y.flag,Y.why"), "{csv}");
    let reasons =
        ["1.25,,\"value is 2.4 in mHz, not in uHz\"", "ODD made none: too faint", "SKIPPED skipped (condition)"];
    assert!(lines.len() == 2 && reasons.iter().all(|words| lines[1].contains(words)), "{csv}");
    place.says(
        "export --store store --table none.vot --where P.X.good>2.0",
        &["0 rows", "left out by the condition: 1"],
    );
    let unknown = place.sas("export --store store --table none.csv --columns X.mass", 2);
    assert!(said(&unknown).contains("only good, value"), "{}", said(&unknown));
    assert!(!place.campaign.path("none.csv").exists() && !place.campaign.path("none.csv.part").exists());

    let star = place.campaign.path("store").join("stars").join(&place.star[6..8]).join(&place.star);
    let star = star.join("Q000").join(format!("{}.h5", place.star));
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/python");
    let mut python = Command::new("/usr/bin/python3");
    python.env("PYTHONPATH", module).env("PYTHONDONTWRITEBYTECODE", "1").args(["-c", PYTHON]);
    let read = python.arg(place.campaign.path("stars.ecsv")).arg(star).output().unwrap();
    let expected = "[1.25] ['value is 2.4 in mHz, not in uHz']\ntoo faint / SKIPPED skipped: condition: ";
    assert!(said(&read).starts_with(expected) && said(&read).trim_end().ends_with("/ 1"), "{}", said(&read));
}

#[test]
fn strict_units_fail_the_task_and_odd_spellings_are_said_beforehand() {
    let place = TablesPlace::new();
    place.sas("local --runner process --pipeline strict.toml --store store FILE", 8);
    let failed = ["failed (output_violates)", r#"column "value" has unit "mHz", expected unit "uHz""#];
    place.says("star explain --store store STAR ODD", &failed);
    place.says("pipeline check micro.toml", &["warning", "product X", "µHz", "write \"uHz\""]);
}
