//! What scientists open after reruns that were worse, through `sas` and h5py: the last complete generation, until operators or
//! a later complete one say otherwise.

mod taken_back;

use std::path::PathBuf;
use std::process::Command;

use harness::light::{Campaign, sas};
use serde_json::{Value, json};

/// A → B. A makes a number and a curve that is too large to be copied, B runs where the number is large enough.
const PIPELINE: &str = "name = 'GEN'\nversion = 'VERSION'\ntrigger = 'l1/lightcurve'\n\
    [externals]\nstar = ['DP1_LC_MERGED']\n[classes.default]\ncpus = 1\nmemory = '512MB'\n\
    [modules.A]\nimage = 'none'\ncommand = ['/usr/bin/python3', 'PROGRAM', 'A', 'NUMBER']\n\
    inputs.mandatory = ['DP1_LC_MERGED']\noutputs.mandatory = ['DP3_NU', 'CURVE']\n\
    [modules.B]\nimage = 'none'\ncommand = ['/usr/bin/python3', 'PROGRAM', 'B']\n\
    inputs.mandatory = ['DP3_NU']\noutputs.mandatory = ['DP5_AGE']\nrun_if = 'P.DP3_NU.value > 100.0'\n";

/// Fails where the number is negative.
const PROGRAM: &str = r#"
import h5py, os, sys
with h5py.File(os.environ["SAS_OUTPUT"], "w") as f:
    if sys.argv[1] == "B":
        f["PRODUCTS/DP5_AGE/value"] = 4.5
        sys.exit()
    number = float(sys.argv[2])
    if number < 0:
        sys.exit(3)
    f["PRODUCTS/DP3_NU/value"] = number
    f["PRODUCTS/DP3_NU/value"].attrs["unit"] = "uHz"
    f["PRODUCTS/CURVE/power"] = [number] * 150_000
"#;

/// What scientists see of a star file; `LAST` is by external link in the store.
const LOOK: &str = r#"
import h5py, json, sys
f = h5py.File(sys.argv[1])
a = f.attrs
inputs = [name for group in f if group.startswith("GEN-") for name in f[group]["inputs"].attrs]
print(json.dumps({
    "status": a["STATUS"], "generation": int(a["GENERATION"]), "last": int(a["LAST_COMPLETE"]),
    "newest": [int(a["NEWEST_GENERATION"]), a["NEWEST_STATUS"]],
    "lost": [list(a["NEWEST_LOST_MODULES"]), list(a["NEWEST_LOST_PRODUCTS"])],
    "chosen": "CHOSEN_BY" in a, "products": list(f["PRODUCTS"]), "nu": float(f["PRODUCTS/DP3_NU/value"][()]),
    "curve": float(f["PRODUCTS/CURVE/power"][-1]), "link": type(f["PRODUCTS"].get("CURVE", getlink=True)).__name__,
    "groups": all(name == "EXTERNALS" or f"{name}_{a['GENERATION']}" in f for name in inputs),
    "superseded": [list(a["SUPERSEDED"]), *[[str(f[group].attrs[name]) for name in ("superseded_by", "superseded_because")]
        for group in f if "superseded" in f[group].attrs]],
}))
"#;

struct Reruns {
    campaign: Campaign,
    star: String,
    /// Its file of each quarter.
    delivered: Vec<PathBuf>,
    /// Its definition, but for the version and the number.
    definition: &'static str,
}

impl Reruns {
    fn new() -> Self {
        let mut campaign = Campaign::new().unwrap();
        let star = campaign.deliver(0, "quiet=1", 1).unwrap()["quiet"][0].clone();
        campaign.deliver(1, "quiet=1", 1).unwrap();
        let delivered = campaign.star_files().unwrap();
        std::fs::write(campaign.path("program.py"), PROGRAM).unwrap();
        Self { campaign, star, delivered, definition: PIPELINE }
    }

    /// Runs the next version of the pipeline on quarter 0, which makes this number.
    fn run(&self, version: &str, number: &str, code: i32) {
        self.run_in(0, version, number, code);
    }

    fn run_in(&self, quarter: usize, version: &str, number: &str, code: i32) {
        let definition = self.campaign.path("pipeline.toml");
        let program = self.campaign.path("program.py").display().to_string();
        let text = self.definition.replace("VERSION", version).replace("PROGRAM", &program).replace("NUMBER", number);
        std::fs::write(&definition, text).unwrap();
        let mut command = sas();
        command.args(["local", "--runner", "process", "--pipeline"]).arg(&definition).arg("--store").arg(self.store());
        let done = command.args(["--quarter", &quarter.to_string()]).arg(&self.delivered[quarter]).output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn store(&self) -> PathBuf {
        self.campaign.path("store")
    }

    /// What `sas star` answers; words of `line` after the verb stand behind the star.
    fn ask(&self, line: &str) -> Value {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut command = sas();
        command.args(["-o", "json", "star", verb, &self.star, "--store"]).arg(self.store());
        command.args(rest.split_whitespace()).current_dir(self.campaign.path(""));
        let done = command.output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }

    fn sas(&self, line: &[&str]) -> Value {
        self.sas_with(line, &[])
    }

    /// The same with more in its environment.
    fn sas_with(&self, line: &[&str], settings: &[(&str, &str)]) -> Value {
        let mut command = sas();
        command.args(["-o", "json"]).args(line).arg("--store").arg(self.store()).envs(settings.iter().copied());
        let done = command.output().unwrap();
        assert!(done.status.success(), "{line:?}: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }

    fn look(&self, file: &std::path::Path) -> Value {
        let done = Command::new("/usr/bin/python3").args(["-c", LOOK]).arg(file).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// What the star file shows: this generation, with this number, while that one is the newest.
    #[track_caller]
    fn check(&self, generation: u32, nu: f64, newest: (u32, &str)) -> Value {
        let file = self.ask("generations")["file"].as_str().unwrap().to_owned();
        let seen = self.look(&self.store().join(file));
        assert_eq!(
            json!([seen["generation"], seen["nu"], seen["curve"], seen["link"], seen["newest"], seen["groups"]]),
            json!([generation, nu, nu, "ExternalLink", newest, true]),
            "{seen}"
        );
        seen
    }
}

/// What is old in a plan of `sas store gc` and stays: quarter, generation, why, and which generation of the quarter after read it.
fn referred_to(plan: &Value) -> Value {
    let of = |one: &Value| json!([one["quarter"], one["generation"], one["because"], one["by"]]);
    plan["referred_to"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn worse_reruns_leave_the_star_file_whole_and_operators_choose_another() {
    let place = Reruns::new();
    place.run("1", "200", 0);
    place.check(1, 200.0, (1, "complete"));
    place.run("2", "-1", 8);
    let seen = place.check(1, 200.0, (2, "failed"));
    assert_eq!((&seen["status"], &seen["lost"][0]), (&json!("complete"), &json!(["A", "B"])));
    place.run("3", "50", 0);
    let seen = place.check(1, 200.0, (3, "smaller"));
    assert_eq!((&seen["lost"], &seen["products"]), (&json!([[], ["DP5_AGE"]]), &json!(["CURVE", "DP3_NU", "DP5_AGE"])));

    let skipped = "skipped (condition): P.DP3_NU.value > 100.0, where DP3_NU.value = 50.0";
    assert_eq!(seen["superseded"], json!([["DP5_AGE"], ["3", skipped]]), "left behind, and marked so");
    let flips = place.sas(&["run", "flips"]);
    let flip = &flips["flips"][0];
    assert_eq!(
        flips["modules"],
        json!({ "B": { "left": 1, "taken": 0 } }),
        "beside the run before the one that failed"
    );
    assert_eq!(json!([flip["generations"], flip["products"], flip["reason"]]), json!([[1, 3], ["DP5_AGE"], skipped]));
    let diff = place.ask("diff");
    assert_eq!((&diff["from"], &diff["to"]), (&json!([1, "complete"]), &json!([3, "smaller"])));
    assert_eq!(diff["lost"], json!(["DP5_AGE"]));
    let changed = diff["changed"].as_array().unwrap();
    assert_eq!(
        (&changed[0]["columns"][0]["differing"], &changed[0]["columns"][0]["largest"]),
        (&json!(150_000), &json!(150.0))
    );
    assert_eq!(
        (&changed[1]["columns"][0]["difference"], &changed[1]["columns"][0]["relative"]),
        (&json!(-150.0), &json!(-0.75))
    );
    let missing = &place.ask("products --generation 3")["missing"][0];
    assert_eq!(
        (&missing["product"], &missing["module"], &missing["state"]),
        (&json!("DP5_AGE"), &json!("B"), &json!("skipped"))
    );
    let age = &place.ask("lineage DP5_AGE")["product"];
    let nu = &age["inputs"][0];
    assert_eq!(
        (&age["module"], &nu["product"], &nu["inputs"][0]["dataset"]),
        (&json!("B"), &json!("DP3_NU"), &json!("l1.lightcurve"))
    );

    let decided = place.ask("rollback --to 3");
    assert_eq!((&decided["number"], &decided["decision"]["from"]), (&json!(1), &json!(1)));
    let seen = place.check(3, 50.0, (3, "smaller"));
    assert_eq!((&seen["chosen"], &seen["last"]), (&json!(true), &json!(1)));
    // What scientists have now is what the next run is measured by; one that fails ends no decision.
    place.run("4", "-2", 8);
    place.check(3, 50.0, (4, "failed"));
    let plan = place.sas(&["store", "gc", "--keep", "1", "--grace", "0s", "--dry-run"]);
    assert_eq!(plan["kept"], json!({ "newest": 1, "shown": 1, "last_complete": 1 }), "{plan}");
    assert_eq!(
        (&plan["generations"]["files"], referred_to(&plan)),
        (&json!(1), json!([[0, 1, "last_complete", null], [0, 3, "shown", null]]))
    );
    place.run("5", "60", 0);
    let seen = place.check(5, 60.0, (5, "complete"));
    assert_eq!(seen["superseded"], json!([[]]));
    assert_eq!((&seen["chosen"], &seen["last"]), (&json!(false), &json!(5)));

    // Of five generations the newest stays; two that are older stay where more are to be kept.
    let going =
        |keep: &str, more: &[&str]| place.sas(&[&["store", "gc", "--keep", keep, "--grace", "0s"], more].concat());
    let plan = going("2", &["--dry-run"]);
    assert_eq!((&plan["generations"]["files"], &plan["kept"]), (&json!(3), &json!({ "newest": 2 })), "{plan}");
    assert_eq!(place.ask("generations")["generations"].as_array().unwrap().len(), 5, "nothing went");
    let done = going("2", &["--yes"]);
    assert_eq!((&done["going"], &done["results"]["files"]), (&plan["going"], &plan["results"]["files"]));
    let left: Vec<Value> = place.ask("generations")["generations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["generation"].clone())
        .collect();
    assert_eq!(left, [json!(5), json!(4)]);
    place.check(5, 60.0, (5, "complete"));
    assert_eq!(place.ask("verify")["files"][0]["differences"], json!([]));
    assert_eq!(going("2", &["--yes"])["generations"]["files"], json!(0));
    // What went is made again where it is needed.
    place.run("6", "200", 0);
    place.check(6, 200.0, (6, "complete"));

    place.ask("export --generation 6 --to alone.h5");
    std::fs::rename(place.store(), place.campaign.path("elsewhere")).unwrap();
    let seen = place.look(&place.campaign.path("alone.h5"));
    assert_eq!((&seen["nu"], &seen["curve"], &seen["link"]), (&json!(200.0), &json!(200.0), &json!("HardLink")));
    assert_eq!((&seen["generation"], &seen["newest"]), (&json!(6), &json!([6, "complete"])));
}

#[test]
fn what_a_later_quarter_read_stays_and_how_many_stay_is_a_setting() {
    let reads = PIPELINE.replacen("outputs.mandatory", "inputs.optional = ['DP3_NU@previous']\noutputs.mandatory", 1);
    let place = Reruns { definition: reads.leak(), ..Reruns::new() };
    place.run("1", "200", 0);
    place.run_in(1, "1", "200", 0);
    place.run("2", "210", 0);
    place.run("3", "220", 0);
    let going = |line: &[&str], settings: &[(&str, &str)]| {
        place.sas_with(&[&["store", "gc", "--grace", "0s"], line].concat(), settings)
    };
    let read = json!([[0, 1, "read_by_later_quarter", 1]]);
    let plan = going(&["--keep", "1", "--dry-run"], &[]);
    assert_eq!(plan["kept"], json!({ "newest": 2, "read_by_later_quarter": 1 }), "{plan}");
    assert_eq!((&plan["generations"]["files"], referred_to(&plan)), (&json!(1), read.clone()), "{plan}");

    let mut unsaid = sas();
    let unsaid = unsaid.args(["store", "gc", "--dry-run", "--store"]).arg(place.store()).output().unwrap();
    assert_eq!(unsaid.status.code(), Some(2), "{}", String::from_utf8_lossy(&unsaid.stderr));
    let two = [("SAS_STORE_KEEP_GENERATIONS", "2")];
    let plan = going(&["--dry-run"], &two);
    assert_eq!(plan["kept"], json!({ "newest": 3, "read_by_later_quarter": 1 }), "{plan}");
    assert_eq!(plan["generations"]["files"], json!(0), "{plan}");
    let done = going(&["--keep", "1", "--yes"], &two);
    assert_eq!((&done["generations"]["files"], referred_to(&done)), (&json!(1), read), "what is said wins");
    for quarter in ["0", "1"] {
        let verified = place.ask(&format!("verify --quarter {quarter}"));
        assert_eq!(verified["files"][0]["differences"], json!([]), "{verified}");
    }
}
