//! The same deliveries with the same programs in two stores, as on two machines: they hold the same, or what does not is named.

use std::fs;
use std::process::Output;

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
        self.run_with(store, shift, "", &[]);
    }

    /// With something more in the definition, and of what is said alone.
    fn run_with(&self, store: &str, shift: &str, more: &str, narrowed: &[&str]) {
        let (definition, program) = (self.0.path("pipeline.toml"), self.0.path("program.py"));
        fs::write(&program, PROGRAM).unwrap();
        let text = PIPELINE.replace("PROGRAM", &program.display().to_string()).replace("SHIFT", shift);
        fs::write(&definition, format!("{text}{more}")).unwrap();
        let mut command = sas();
        command.args(["local", "--runner", "process", "--pipeline"]).arg(&definition).arg("--store");
        command.arg(self.0.path(store)).args(narrowed).args(self.0.star_files().unwrap());
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// What is said of `other` beside the first store.
    fn compare(&self, other: &str, code: i32) -> Value {
        let done = self.say("json", other, &[]);
        assert_eq!(done.status.code(), Some(code), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }

    fn say(&self, format: &str, other: &str, narrowed: &[&str]) -> Output {
        let mut command = sas();
        command.args(["-o", format, "store", "compare"]).arg(self.0.path(other)).args(narrowed);
        command.arg("--store").arg(self.0.path("here")).output().unwrap()
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

/// A product that stands for an earlier one in one store alone is the same, and what reads it is not.
#[test]
fn a_product_that_stands_for_another_one_in_one_store_alone_is_named() {
    const READER: &str = "[modules.D]\nimage = 'none'\ncommand = ['/usr/bin/python3', 'READER']\n\
        inputs.mandatory = ['LENGTH']\noutputs.mandatory = ['WIDTH']\n[tolerances.LENGTH]\natol = 0.5\n";
    let mut campaign = Campaign::new().unwrap();
    campaign.deliver(0, "quiet=2", 1).unwrap();
    let place = TwoStores(campaign);
    let reader = place.0.path("reader.py");
    let text = "import h5py, os\nwith h5py.File(os.environ['SAS_INPUT']) as read, h5py.File(os.environ['SAS_OUTPUT'], 'w') as out:\n    \
        out['PRODUCTS/WIDTH/value'] = read['PRODUCTS/LENGTH/value'][()]\n";
    fs::write(&reader, text).unwrap();
    let more = READER.replace("READER", &reader.display().to_string());
    place.run_with("here", "0.0", &more, &[]);
    place.run_with("here", "0.25", &more, &[]);
    place.run_with("there", "0.25", &more, &[]);
    let found = place.compare("there", 1);
    let named = &found["otherwise"];
    let of = ["module", "product", "what", "stars"].map(|name| named[0][name].clone());
    let what = "stands for an earlier one here, for itself there";
    assert_eq!(of, [json!("A"), json!("LENGTH"), json!(what), json!(2)], "{found}");
    assert_eq!((named.as_array().map(Vec::len), &found["follow"]), (Some(1), &json!(2)), "D only reads it: {found}");
    let shown = String::from_utf8(place.say("table", "there", &[]).stdout).unwrap();
    assert!(shown.lines().any(|line| ["A ", "LENGTH", what].iter().all(|word| line.contains(word))), "{shown}");
}

#[test]
fn what_is_in_one_store_alone_is_named_and_nothing_in_common_is_not_found() {
    let mut campaign = Campaign::new().unwrap();
    let stars = campaign.deliver(0, "quiet=2", 1).unwrap().remove("quiet").unwrap();
    let place = TwoStores(campaign);
    place.run("here", "0");
    // Stars are named by their first digits.
    let begins = |star: &String| star[6..14].to_owned();
    place.run_with("first", "0", "", &["--star", &begins(&stars[0])]);
    let found = place.compare("first", 1);
    assert_eq!((&found["compared"], &found["only_here"], &found["only_there"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(found["first_here"], json!([format!("{} Q000", stars[1])]), "{found}");
    let shown = String::from_utf8(place.say("table", "first", &[]).stdout).unwrap();
    assert!(shown.contains("only here") && shown.contains(&format!("{} Q000", stars[1])), "{shown}");
    assert!(place.say("json", "first", &["--star", &begins(&stars[0])]).status.success());

    let nowhere = "PLATO_00000000-0000-4000-8000-000000000000";
    for (narrowed, why) in [
        (&["--quarter", "9"][..], "neither store has data of any star of Q009"),
        (&["--star", nowhere][..], "neither store has data of PLATO_00000000"),
        (&["--star", &begins(&stars[1])][..], "no star file is in both stores"),
    ] {
        let done = place.say("json", "first", narrowed);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(3) && said.contains(why), "{narrowed:?}: {:?} {said}", done.status);
    }
}
