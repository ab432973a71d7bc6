//! What `sas` answers: an exit code and the words that tell why, on files, stores and services that are there or not.

mod terminal;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

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
        let bad = PIPELINE.replace("256MB", "lots").replace("['X']", "['UNKNOWN']");
        let [unknown, known] = ["UNKNOWN", "X"].map(|name| format!("outputs.mandatory = ['{name}']"));
        place.write("bad.toml", &bad.replacen(&unknown, &format!("{known}\nspeed = 3"), 1));
        place
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.campaign.path(name), text).unwrap();
    }

    /// Runs `sas` with the words of `line`, of which STAR and FILE are the star and its file.
    fn sas(&self, store: Option<&str>, line: &str) -> CliAnswer {
        self.sas_with(store, line, &[])
    }

    /// The same with more of an environment.
    fn sas_with(&self, store: Option<&str>, line: &str, environment: &[(&str, &str)]) -> CliAnswer {
        self.run(sas(), store, line, environment)
    }

    fn run(&self, mut command: Command, store: Option<&str>, line: &str, environment: &[(&str, &str)]) -> CliAnswer {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SAS_")) {
            command.env_remove(name);
        }
        // Nobody listens on these.
        command.env("SAS_QUEUE_URL", "amqp://127.0.0.1:1/%2f").env("SAS_STATE_URL", "redis://127.0.0.1:1/0");
        command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
        if let Some(store) = store {
            command.env("SAS_STORE_ROOT", self.campaign.path(store));
        }
        command.envs(environment.iter().copied());
        let file = self.file.display().to_string();
        let word = |word: &str| word.replace("STAR", &self.star).replace("FILE", &file);
        let done =
            command.args(line.split_terminator(' ').map(word)).current_dir(self.campaign.path("")).output().unwrap();
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
        (None, "module diff fails.toml sas/gone:1", 6, "`sas/gone:1` is no file, and its label cannot be read"),
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
        (Some("stopped"), "run list", 0, "open"),
        (Some("stopped"), "run show", 0, "as the store has it; 0 of 1 stars settled"),
        (Some("stopped"), "star show STAR", 0, "as the store has it"),
        (Some("stopped"), "star explain STAR FAILS", 6, "how module FAILS ended is not on record"),
        (Some("stopped"), "worker list", 6, "state out of reach"),
        (Some("stopped"), "run watch --timeout 1s", 7, "did not end within"),
        (None, FAIL, 8, "of 1 stars 1 failed"),
        (Some("failed"), "run watch", 8, "of 1 stars 1 failed"),
        (Some("failed"), "replay plan --pipeline fails.toml", 0, "2 tasks left as lost in stars that do not run"),
        (Some("failed"), "replay plan --pipeline fails.toml --resolve", 6, "set SAS_WORKER_RUNNER=process"),
        (Some("failed"), "replay plan --pipeline fails.toml --failed --to plan.json", 0, "1 of 1 stars run again"),
        (Some("failed"), "replay apply plan.json", 6, "`sas local --store DIR --pipeline FILE` runs in one process"),
        (None, "star explain --store failed STAR FAILS", 0, "about to fail"),
        (None, "local --pipeline fails.toml", 2, "--store"),
        (None, "ingest --store typo FILE", 3, "`--init` makes a store"),
        (None, "ingest --init --store . FILE", 1, "is no store and has other things in it"),
        (None, "ingest --publish --store new FILE", 6, "message broker out of reach"),
        (None, "run list --store new", 3, "is not a store"),
        (Some("failed"), "star explain STAR FAISL", 3, "CLI has no module FAISL; did you mean FAILS?"),
        (Some("failed"), "run show newest", 0, "1 failed"),
        (Some("failed"), "run show 0000", 3, "no run begins with `0000`"),
        (Some("failed"), "doctor --no-docker", 6, "services out of reach"),
        (Some("typo"), "doctor --no-docker", 6, "services out of reach"),
        (None, "completions bash", 0, "complete -F"),
        (Some("failed"), &format!("star show {NOBODY}"), 3, "no run has star"),
    ];
    let help = place.sas(None, "--help").printed.split_whitespace().collect::<Vec<_>>().join(" ");
    for (store, line, code, word) in checks {
        place.check(store, line, code, word);
        let codes = help.split("Exit codes: ").nth(1).expect("the help lists them");
        assert!(codes.contains(&format!("{code} ")), "{code} is not in the help");
    }
}

/// As what an operator made as root in a store of the services' user.
#[test]
fn doctor_names_what_the_owner_of_the_store_cannot_write_to() {
    let place = CliPlace::new();
    place.check(None, FAIL, 8, "of 1 stars 1 failed");
    let store = place.campaign.path("store-of-others");
    std::fs::rename(place.campaign.path("failed"), &store).unwrap();
    let said = |place: &CliPlace| place.sas(Some("store-of-others"), "doctor --no-docker").printed;
    assert!(!said(&place).contains("modes"), "{}", said(&place));
    let folder = store.join("stars").join(&place.star[6..8]).join(&place.star).join("Q000/failures");
    if rustix::process::getuid().is_root() {
        let given = Command::new("chown").args(["-R", "54321:54321"]).arg(&store).status().unwrap();
        assert!(given.success());
        std::os::unix::fs::chown(&folder, Some(0), Some(0)).unwrap();
    } else {
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o500)).unwrap();
    }
    let lines = said(&place);
    let named: Vec<&str> = lines.lines().filter(|line| line.contains("modes")).collect();
    let [line] = named[..] else { panic!("{lines}") };
    let folder = format!("{}` cannot be written to by the owner of the store, user ", folder.display());
    assert!(line.contains(&folder), "{line}");
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
fn with_json_every_line_of_standard_error_is_an_object_and_the_last_one_says_what_went_wrong() {
    let place = CliPlace::new();
    let error = |line: &str| {
        let CliAnswer { code, said, printed: _ } = place.sas(None, &format!("{line} -o json"));
        let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let error = lines.last().unwrap_or_else(|| panic!("{line} says nothing"))["error"].clone();
        assert_eq!(error["code"].as_i64(), code.map(i64::from), "{line}: {said}");
        error
    };
    let kind = |line: &str| error(line)["kind"].as_str().unwrap_or_default().to_owned();
    assert_eq!(kind("run list --nonsense"), "invalid");
    assert_eq!(kind("run list --store gone"), "not_found");
    assert_eq!(kind("pipeline check bad.toml"), "failed");
    assert_eq!(kind("queue list"), "out_of_reach");
    assert_eq!(kind(FAIL), "incomplete");
    assert_eq!(error("pipeline graph bad.toml")["mistakes"].as_array().map(Vec::len), Some(3));
}

#[test]
fn no_password_of_an_address_is_ever_shown() {
    let place = CliPlace::new();
    place.check(None, "local --runner process --pipeline fails.toml --store empty", 3, "no star to run");
    for (name, address, line) in [
        ("SAS_QUEUE_URL", "op:S3cretPw@127.0.0.1:1", "queue list"),
        ("SAS_QUEUE_URL", "amqp://op:12#S3cretPw@127.0.0.1:1/%2f", "event publish --quarter 0 STAR"),
        ("SAS_QUEUE_URL", "op:S3cretPw@127.0.0.1:1", "init --no-docker"),
        ("SAS_STATE_URL", "redis://op:S3cret/Pw@127.0.0.1:1/0", "init --no-docker"),
        ("SAS_QUEUE_MANAGEMENT", "op:S3cretPw@127.0.0.1:1", "queue list"),
    ] {
        let CliAnswer { said, printed, .. } = place.sas_with(Some("empty"), line, &[(name, address)]);
        let all = said + &printed;
        assert!(!all.contains("S3cret"), "{line}: {all}");
        assert!(all.contains("percent-encoded") && all.contains("***@127.0.0.1:1"), "{line}: {all}");
    }
    let broker = harness::RabbitMq::shared().unwrap().vhost().unwrap();
    let addresses = ["SAS_QUEUE_URL", "SAS_STATE_URL", "SAS_QUEUE_MANAGEMENT"];
    let programs = [("sas-coordinator", "--pipeline fails.toml"), ("sas-worker", "")];
    for ((package, line), address) in
        programs.into_iter().flat_map(|program| addresses.map(|address| (program, address)))
    {
        // They must end over it.
        let mut command = Command::new("timeout");
        command.arg("20").arg(harness::program(package, package));
        // Before they look at Redis' they must reach a broker.
        let told = [
            ("SAS_QUEUE_URL", broker.url.secret()),
            ("SAS_HTTP_LISTEN", ""),
            ("SAS_WORKER_RUNNER", "process"),
            (address, "op:S3cretPw@127.0.0.1:1"),
        ];
        let CliAnswer { code, said, printed } = place.run(command, Some("empty"), line, &told);
        let all = said + &printed;
        assert!(code.is_some_and(|code| code != 0 && code != 124), "{package}, {address}: {code:?} {all}");
        assert!(!all.contains("S3cret"), "{package}, {address}: {all}");
        assert!(all.contains("percent-encoded") && all.contains("***@127.0.0.1:1"), "{package}, {address}: {all}");
    }
}

#[test]
fn runs_and_stars_are_found_by_their_first_digits() {
    let place = CliPlace::new();
    place.check(None, FAIL, 8, "star explain");
    let run = place.json("failed", "run list -o json")[0]["run"].as_str().unwrap().to_owned();
    assert_eq!(place.json("failed", &format!("run show {} -o json", &run[..8]))["run"], json!(run));
    let star = place.json("failed", &format!("star show {} --run {} -o json", &place.star[6..12], &run[..4]));
    assert_eq!((&star["star"], &star["run"]), (&json!(place.star), &json!(run)));
    let refused = place.sas(Some("failed"), &format!("run pause {}", &run[..8]));
    assert!(refused.code == Some(1) && refused.said.contains("Z: there is nothing left to decide"), "{}", refused.said);
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

#[test]
fn whatever_the_umask_the_group_reads_what_is_made_and_strangers_write_nothing() {
    let place = CliPlace::new();
    for (umask, name) in [("000", "open"), ("077", "strict")] {
        let program = sas().get_program().to_owned();
        let file = place.file.display();
        let line = format!(
            "umask {umask}; {program:?} ingest --init --store {name} '{file}' && find {name} ! -type l \\( -perm -002 -o ! -perm -040 \\)"
        );
        let done = Command::new("sh").args(["-c", &line]).current_dir(place.campaign.path("")).output().unwrap();
        let printed = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{printed}{}", String::from_utf8_lossy(&done.stderr));
        assert!(!printed.lines().any(|line| line.starts_with(name)), "of umask {umask}: {printed}");
    }
}
