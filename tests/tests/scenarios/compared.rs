//! The same deliveries with the same programs in two stores, as on two machines: they hold the same, or what does not is named.

use std::fs;

use harness::light::{Campaign, sas};
use serde_json::{Value, json};

/// A ─▶ B ─▶ C, of which B makes something else where a file lies beside the program.
const PIPELINE: &str = "name = 'TWICE'\nversion = '1'\ntrigger = 'l1/lightcurve'\n\
    [externals]\nstar = ['DP1_LC_MERGED']\n[classes.default]\ncpus = 1\nmemory = '256MB'\n\
    [modules.A]\nimage = 'none'\ncommand = ['/usr/bin/python3', 'PROGRAM', 'A']\nparameters = { shift = SHIFT }\n\
    inputs.mandatory = ['DP1_LC_MERGED']\noutputs.mandatory = ['LENGTH']\n\
    [modules.B]\nimage = 'none'\ncommand = ['/usr/bin/python3', 'PROGRAM', 'B']\n\
    inputs.mandatory = ['DP1_LC_MERGED']\noutputs.mandatory = ['NUMBER', 'FLAG']\n\
    [modules.C]\nimage = 'none'\ncommand = ['/usr/bin/python3', 'PROGRAM', 'C']\n\
    inputs.mandatory = ['NUMBER']\noutputs.mandatory = ['AGE']\n";

const PROGRAM: &str = r#"
import h5py, json, os, sys
here = 0.25 if os.path.exists(os.path.dirname(os.path.abspath(__file__)) + "/elsewhere") else 0.0
with h5py.File(os.environ["SAS_INPUT"], "r") as read, h5py.File(os.environ["SAS_OUTPUT"], "w") as out:
    if sys.argv[1] == "A":
        shift = json.load(open(os.environ["SAS_PARAMETERS"]))["shift"]
        out["PRODUCTS/LENGTH/value"] = len(read["EXTERNALS/DP1_LC_MERGED/flux"]) + shift
    elif sys.argv[1] == "B":
        out["PRODUCTS/NUMBER/value"] = 2.5
        out["PRODUCTS/NUMBER/curve"] = [1.0, 2.0, 3.0 - here, 4.0 + 2 * here]
        out["PRODUCTS/FLAG/value"] = True
    else:
        out["PRODUCTS/AGE/value"] = read["PRODUCTS/NUMBER/curve"][-1]
"#;

struct TwoStores(Campaign);

impl TwoStores {
    fn run(&self, store: &str, shift: &str) {
        let (definition, program) = (self.0.path("pipeline.toml"), self.0.path("program.py"));
        fs::write(&program, PROGRAM).unwrap();
        let text = PIPELINE.replace("PROGRAM", &program.display().to_string()).replace("SHIFT", shift);
        fs::write(&definition, text).unwrap();
        let mut command = sas();
        command.args(["local", "--runner", "process", "--pipeline"]).arg(&definition).arg("--store");
        let done = command.arg(self.0.path(store)).args(self.0.star_files().unwrap()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// What is said of `other` beside the first store.
    fn compare(&self, other: &str, code: i32) -> Value {
        let mut command = sas();
        command
            .args(["-o", "json", "store", "compare"])
            .arg(self.0.path(other))
            .arg("--store")
            .arg(self.0.path("here"));
        let done = command.output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }
}

#[test]
fn stores_that_ran_the_same_hold_the_same_or_name_what_does_not() {
    let mut campaign = Campaign::new().unwrap();
    campaign.deliver(0, "quiet=2", 1).unwrap();
    let place = TwoStores(campaign);
    place.run("here", "0");
    place.run("same", "0");
    let same = place.compare("same", 0);
    assert_eq!((&same["compared"], &same["same"]), (&json!(2), &json!(2)), "{same}");

    place.run("shifted", "1");
    let shifted = place.compare("shifted", 1);
    let found = &shifted["otherwise"];
    assert_eq!((found.as_array().map(Vec::len), &found[0]["module"]), (Some(1), &json!("A")), "{shifted}");
    assert_eq!((&found[0]["what"], &found[0]["stars"]), (&json!("other parameters"), &json!(2)), "{shifted}");
    assert_eq!((&shifted["differing"], &shifted["follow"]), (&json!([]), &json!(0)), "{shifted}");

    fs::write(place.0.path("elsewhere"), "").unwrap();
    place.run("there", "0");
    let there = place.compare("there", 1);
    let found = &there["differing"];
    let of = ["module", "product", "column", "stars", "largest"].map(|name| found[0][name].clone());
    assert_eq!(of, [json!("B"), json!("NUMBER"), json!("curve"), json!(2), json!(0.5)], "{there}");
    assert_eq!((found.as_array().map(Vec::len), &there["follow"]), (Some(1), &json!(2)), "C only reads it: {there}");
    assert_eq!((&there["same"], &there["otherwise"]), (&json!(0), &json!([])), "{there}");
}
