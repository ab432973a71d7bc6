//! Modules that serve in whole runs: the same results as alone, and one that carries something from star to star is found.

use std::path::PathBuf;
use std::process::Output;

use harness::base_image;
use harness::light::{Campaign, sas};

/// Counts stars where it should not: `SERVE` is what it does between them.
const COUNTER: &str = r#"
import json, os, sys
import h5py
count = 0
def one(source, target):
    global count
    count += 1
    with h5py.File(source, "r") as read, h5py.File(target, "w") as file:
        file["PRODUCTS/X/stars"] = COUNTED
        file["PRODUCTS/X/points"] = len(read["EXTERNALS/DP1_LC_MERGED/flux"])
if os.environ.get("SAS_SERVE") != "1":
    one(os.environ["SAS_INPUT"], os.environ["SAS_OUTPUT"])
    sys.exit(0)
print(json.dumps({"ready": 1}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    one(request["input"], request["output"])
    print(json.dumps({"id": request["id"], "exit": 0, "message": ""}), flush=True)
"#;

fn definition(command: &[&str], image: &str) -> String {
    format!(
        "name = 'SERVE'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[externals]\nstar = ['DP1_LC_MERGED']\n\
         [classes.default]\ncpus = 1\nmemory = '256MB'\n\
         [modules.COUNTS]\nimage = '{image}'\ncommand = {command:?}\nmode = 'serve'\n\
         inputs.mandatory = ['DP1_LC_MERGED']\noutputs.mandatory = ['X']\n"
    )
}

struct ServePlace(Campaign);

impl ServePlace {
    fn new(stars: &str) -> Self {
        let mut campaign = Campaign::new().unwrap();
        campaign.deliver(0, stars, 1).unwrap();
        Self(campaign)
    }

    fn local(&self, pipeline: &str, store: &str, options: &[&str]) -> Output {
        let mut command = sas();
        command.args(["local", "--timeout", "10m", "--pipeline"]).arg(self.0.path(pipeline)).args(options);
        command.arg("--store").arg(self.0.path(store)).args(self.0.star_files().unwrap());
        command.output().unwrap()
    }

    #[track_caller]
    fn check(&self, pipeline: &str, store: &str, options: &[&str], code: i32, word: &str) -> String {
        let done = self.local(pipeline, store, options);
        let (said, printed) = (String::from_utf8_lossy(&done.stderr), String::from_utf8_lossy(&done.stdout));
        assert_eq!(done.status.code(), Some(code), "{said}\n{printed}");
        assert!(said.contains(word), "{word:?} is not in\n{said}\n{printed}");
        printed.into_owned()
    }

    fn counter(&self, name: &str, counted: &str, image: &str, python: &str) {
        let script = COUNTER.replace("COUNTED", counted);
        std::fs::write(self.0.path(name), definition(&[python, "-c", &script], image)).unwrap();
    }
}

fn seismic() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/pipelines/seismic.toml")
}

#[test]
fn a_module_that_carries_state_is_found_by_comparing_both_ways() {
    let place = ServePlace::new("quiet=3");
    place.counter("honest.toml", "1", "none", "/usr/bin/python3");
    place.counter("carries.toml", "count", "none", "/usr/bin/python3");
    let process = ["--runner", "process", "--verify-serve"];
    place.check("honest.toml", "honest", &process, 0, "3 results are the same");
    let printed = place.check("carries.toml", "carries", &process, 1, "2 differences");
    let rows: Vec<&str> = printed.lines().filter(|line| line.starts_with("COUNTS  PLATO_")).collect();
    assert_eq!(rows.len(), 2, "the first star has nothing before it\n{printed}");
    assert!(rows.iter().all(|row| row.contains("stars") && !row.contains("points")), "{printed}");
    let json = place.local("carries.toml", "json", &[&process[..], &["-o", "json"]].concat());
    let text = String::from_utf8(json.stdout).unwrap();
    assert!(text.contains("\"module\": \"COUNTS\"") && text.contains("\"column\": \"stars\""), "{text}");
    place.check("carries.toml", "carries", &process, 1, "is there");
}

/// Light modules check that what they find is what their contract promises, star after star.
#[test]
fn light_modules_of_the_seismic_pipeline_make_the_same_served_as_alone() {
    let place = ServePlace::new("quiet=1,rotating=1,seismic=2");
    place.0.rewrite(&seismic(), &["--time-limit", "60s", "--mode", "serve"]).unwrap();
    place.check("light.toml", "both", &["--runner", "process", "--verify-serve"], 0, "results are the same");
}

#[test]
fn containers_that_serve_make_the_same_as_containers_of_one_star() {
    let place = ServePlace::new("quiet=2");
    place.counter("honest.toml", "1", base_image(), "python3");
    place.counter("carries.toml", "count", base_image(), "python3");
    place.check("honest.toml", "honest", &["--verify-serve"], 0, "2 results are the same");
    place.check("carries.toml", "carries", &["--verify-serve"], 1, "1 differences");
}
