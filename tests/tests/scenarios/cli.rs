//! What `sas` answers: an exit code and the words that tell why, on files, stores and services that are there or not.

use std::path::{Path, PathBuf};

use harness::light::{Campaign, sas};
use serde_json::{Value, json};

/// FAILS → X → BELOW; `PROGRAM` is what FAILS runs.
const PIPELINE: &str = "name = 'CLI'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[externals]\nstar = ['DP1_LC_MERGED']\n\
    [classes.default]\ncpus = 1\nmemory = '256MB'\n\
    [modules.FAILS]\nimage = 'none'\ncommand = ['/bin/sh', '-c', 'PROGRAM']\n\
    inputs.mandatory = ['DP1_LC_MERGED']\noutputs.mandatory = ['X']\n\
    [modules.BELOW]\nimage = 'none'\ncommand = ['/bin/true']\ninputs.mandatory = ['X']\noutputs.mandatory = ['Y']\n";

const NOBODY: &str = "PLATO_00000000-0000-5000-8000-000000000000";

/// A directory with pipelines and the file of one star, and two stores: in `failed` a run has ended, in `stopped` one has
/// not. No service answers.
struct CliPlace {
    campaign: Campaign,
    star: String,
    file: PathBuf,
}

struct CliAnswer {
    code: Option<i32>,
    said: String,
    printed: String,
}

impl CliPlace {
    fn new() -> Self {
        let mut campaign = Campaign::new().unwrap();
        let star = campaign.deliver(0, "quiet=1", 1).unwrap()["quiet"][0].clone();
        let file = campaign.star_files().unwrap().remove(0);
        let place = Self { campaign, star, file };
        place.write("fails.toml", &PIPELINE.replace("PROGRAM", "echo about to fail; exit 3"));
        place.write("hangs.toml", &PIPELINE.replace("PROGRAM", "exec tail -f /dev/null"));
        place.write(
            "bad.toml",
            &PIPELINE.replace("256MB", "lots").replace("['X']", "['UNKNOWN']").replacen(
                "outputs.mandatory = ['UNKNOWN']",
                "outputs.mandatory = ['X']\nspeed = 3",
                1,
            ),
        );
        place
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.campaign.path(name), text).unwrap();
    }

    /// Runs `sas` with the words of `line`, of which STAR and FILE are the star and its file.
    fn sas(&self, store: Option<&str>, line: &str) -> CliAnswer {
        let mut command = sas();
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SAS_")) {
            command.env_remove(name);
        }
        // Nobody listens on these.
        command.env("SAS_QUEUE_URL", "amqp://127.0.0.1:1/%2f").env("SAS_STATE_URL", "redis://127.0.0.1:1/0");
        command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
        if let Some(store) = store {
            command.env("SAS_STORE_ROOT", self.campaign.path(store));
        }
        let file = self.file.display().to_string();
        let word = |word: &str| word.replace("STAR", &self.star).replace("FILE", &file);
        let done = command.args(line.split(' ').map(word)).current_dir(self.campaign.path("")).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        CliAnswer { code: done.status.code(), said: text(&done.stderr), printed: text(&done.stdout) }
    }

    #[track_caller]
    fn check(&self, store: Option<&str>, line: &str, code: i32, word: &str) {
        let CliAnswer { code: found, said, printed } = self.sas(store, line);
        assert_eq!(found, Some(code), "sas {line}\n{said}{printed}");
        // What went well is printed, what did not is said.
        let text = if code == 0 { &printed } else { &said };
        assert!(text.contains(word), "sas {line} does not name {word:?}:\n{said}{printed}");
        assert!(said.matches("(os error").count() <= 1, "sas {line} says it twice:\n{said}");
    }

    fn json(&self, store: &str, line: &str) -> Value {
        let CliAnswer { code, said, printed } = self.sas(Some(store), line);
        assert_eq!(code, Some(0), "sas {line}\n{said}");
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("sas {line}: {error}\n{printed}"))
    }
}

const FAIL: &str = "local --runner process --pipeline fails.toml --store failed FILE";
const STOP: &str = "local --runner process --pipeline hangs.toml --store stopped --timeout 1s FILE";

#[test]
fn every_kind_of_end_has_its_code_and_its_words() {
    let place = CliPlace::new();
    let checks = [
        (None, "pipeline check fails.toml", 0, "CLI 1"),
        (None, "pipeline graph fails.toml", 0, "digraph"),
        (None, "pipeline graph fails.toml --format mermaid", 0, "flowchart"),
        (None, "pipeline check fails.toml bad.toml", 1, "1 of 2 definitions have mistakes"),
        (None, "pipeline check bad.toml gone.toml", 1, "2 of 2 definitions have mistakes"),
        (None, "pipeline graph bad.toml", 1, "UNKNOWN"),
        (None, "pipeline", 2, "Usage"),
        (None, "run list --nonsense", 2, "--nonsense"),
        (None, "star show nobody", 2, "nobody"),
        (None, "run list", 2, "SAS_STORE_ROOT"),
        (None, "pipeline check gone.toml", 3, "1 of 1 definitions are not there"),
        (None, "pipeline graph gone.toml", 3, "failed to read `gone.toml`: No such file"),
        (None, "local --pipeline gone.toml --store none", 3, "failed to read `gone.toml`: No such file"),
        (None, "local --runner process --pipeline fails.toml --store empty", 3, "no star to run"),
        (Some("gone"), "run list", 3, "is not a store"),
        (Some("empty"), "run watch", 3, "no run"),
        (None, "local --pipeline fails.toml --store engine FILE", 6, "modules cannot be run"),
        (Some("empty"), "queue list", 6, "message broker out of reach"),
        (Some("empty"), "event publish --quarter 0 STAR", 6, "message broker out of reach"),
        (None, STOP, 7, "did not end within 1s"),
        (Some("stopped"), "run list", 6, "state out of reach"),
        (Some("stopped"), "run watch", 6, "state out of reach"),
        (None, FAIL, 8, "of 1 stars 1 failed"),
        (Some("failed"), "run watch", 8, "of 1 stars 1 failed"),
        (None, "star explain --store failed STAR FAILS", 0, "about to fail"),
        (None, "local --pipeline fails.toml", 2, "--store"),
        (None, "ingest --store . FILE", 1, "is no store and has other things in it"),
        (None, "ingest --publish --store new FILE", 6, "message broker out of reach"),
        (None, "run list --store new", 3, "is not a store"),
        (Some("failed"), "star explain STAR NONE", 3, "CLI has no module NONE"),
        (Some("failed"), &format!("star show {NOBODY}"), 3, "no run has star"),
    ];
    let help = place.sas(None, "--help").printed.split_whitespace().collect::<Vec<_>>().join(" ");
    for (store, line, code, word) in checks {
        place.check(store, line, code, word);
        let codes = help.split("Exit codes: ").nth(1).expect("the help lists them");
        assert!(codes.contains(&format!("{code} ")), "{code} is not in the help");
    }
}

#[test]
fn all_mistakes_of_a_definition_are_named_at_once() {
    let place = CliPlace::new();
    let said = place.sas(None, "pipeline check bad.toml").said;
    for mistake in ["classes.default: \"lots\"", "module FAILS: speed: unknown field", "`UNKNOWN`"] {
        assert!(said.contains(mistake), "{mistake} is not in\n{said}");
    }
}

#[test]
fn what_failed_is_explained_with_the_last_lines_of_its_log() {
    let place = CliPlace::new();
    place.check(None, FAIL, 8, "star explain");
    let explained = place.sas(Some("failed"), "star explain STAR").printed;
    for line in ["FAILS failed (exit): exit code 3", "  | about to fail", "BELOW upstream_failed: upstream failed: X"] {
        assert!(explained.contains(line), "{line} is not in\n{explained}");
    }
    let star = place.json("failed", "star show STAR -o json");
    assert_eq!((&star["star"], &star["end"]), (&json!(place.star), &json!("failed")));
    let ends =
        star["tasks"].as_array().unwrap().iter().map(|task| [&task["module"], &task["state"], &task["log_tail"]]);
    assert_eq!(
        json!(ends.collect::<Vec<_>>()),
        json!([["FAILS", "failed", "about to fail"], ["BELOW", "upstream_failed", ""]])
    );
    let file = Path::new("failed").join(star["file"].as_str().unwrap());
    assert!(place.campaign.path(&file.display().to_string()).exists());
    let runs = place.json("failed", "run list -o json");
    assert_eq!((runs.as_array().unwrap().len(), &runs[0]["run"]), (1, &star["run"]));
    assert_eq!((&runs[0]["phase"], &runs[0]["ends"]), (&json!("ended"), &json!({"failed": 1})));
}
