//! Reads the tree and fails where it breaks the project's own rules: one library in one file, pure files pure, arrows only
//! down, every file opens with what it is for, nothing is switched off or left to do.

mod floors;
mod imports;
mod names;
mod sources;

use sources::{check, code, root, rust, tree};

/// What may stand at the top.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "cli",
    "common",
    "compose.yaml",
    "coordinator",
    "deploy",
    "rustfmt.toml",
    "tests",
    "worker",
];

/// A library, and the only places whose code may name it.
const ONE_PLACE: &[(&str, &[&str])] = &[
    ("lapin", &["common/services/src/queue/amqp"]),
    ("redis", &["common/services/src/state/redis"]),
    ("hdf5", &["common/store/src"]),
    ("hdf5_sys", &["common/store/src"]),
    ("opentelemetry_proto", &["common/services/src/traces/otlp.rs"]),
    ("prost", &["common/services/src/traces/otlp.rs"]),
    ("bollard", &["worker/src/runner/docker"]),
    ("docker_credential", &["worker/src/runner/docker"]),
    ("landlock", &["common/store/src/agent/sandbox.rs"]),
    ("seccompiler", &["common/store/src/agent/calls.rs"]),
];

/// Code without clock, network, file system, threads and log is pure: all of this, and every file whose opening comment
/// says "Pure".
const PURE: &str = "common/domain/src/";

/// What a pure file must not name.
const IMPURE: &[&str] = &[
    "tokio::",
    "tracing::",
    "std::fs",
    "std::net",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "async fn",
];

/// Words that say "unfinished" or hide a warning. Spelled in parts, since this file is read too.
const UNFINISHED: &[[&str; 2]] = &[
    ["TO", "DO"],
    ["FIX", "ME"],
    ["HA", "CK:"],
    ["todo", "!("],
    ["unimplemented", "!("],
    ["#[ig", "nore"],
    ["#[al", "low("],
    ["#![al", "low("],
];

/// How long a file may be, by the end of its name.
const MOST_LINES: &[(&str, usize)] = &[(".rs", 400), (".py", 500), (".js", 500), (".sh", 500), (".lua", 500)];

#[test]
fn the_top_level_is_as_agreed() {
    let found =
        std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let strangers = found.filter(|name| {
        !name.starts_with('.') && !["target", "demo"].contains(&name.as_str()) && !TOP_LEVEL.contains(&name.as_str())
    });
    check("not agreed at the top level", strangers.collect());
}

#[test]
fn one_library_has_one_place() {
    let mut breaches = Vec::new();
    for source in rust().filter(|source| !source.is_test()) {
        for (library, places) in ONE_PLACE {
            let named = source.without_tests().lines().any(|line| {
                let code = code(line);
                code.contains(&format!("{library}::")) && !code.contains(&format!("::{library}::"))
            });
            if named && !places.iter().any(|place| source.path.starts_with(place)) {
                breaches.push(format!("{} names {library}", source.path));
            }
        }
    }
    check("a library outside its place", breaches);
}

#[test]
fn pure_files_are_pure() {
    let mut breaches = Vec::new();
    for source in rust().filter(|source| !source.is_test()) {
        let says_so = source.head().split_whitespace().any(|word| word.trim_end_matches(['.', ':']) == "Pure");
        if !says_so && !source.path.starts_with(PURE) {
            continue;
        }
        for word in IMPURE.iter().filter(|word| source.without_tests().contains(**word)) {
            breaches.push(format!("{} names {word}", source.path));
        }
    }
    check("a pure file knows too much", breaches);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let mut breaches = Vec::new();
    for source in tree() {
        let opens = if source.path.ends_with(".rs") {
            source.text.starts_with("//!")
        } else if source.path.ends_with(".py") {
            let text = source.text.trim_start_matches(|c| c != '\n' && source.text.starts_with("#!"));
            text.trim_start().starts_with("\"\"\"") || text.trim().is_empty()
        } else if source.path.ends_with(".sh") || source.path.ends_with(".lua") {
            source.text.lines().take(2).any(|line| line.starts_with("# ") || line.starts_with("-- "))
        } else {
            true
        };
        if !opens {
            breaches.push(source.path);
        }
    }
    check("no opening line that says what the file is for", breaches);
}

#[test]
fn files_have_one_subject() {
    let mut long = Vec::new();
    for source in tree() {
        let most = MOST_LINES.iter().find(|(end, _)| source.path.ends_with(end)).map_or(usize::MAX, |(_, most)| *most);
        let lines = source.text.lines().count();
        if lines > most {
            long.push(format!("{}: {lines} lines, {most} are the most", source.path));
        }
    }
    check("too long", long);
}

#[test]
fn nothing_is_left_to_do_or_switched_off() {
    let mut breaches = Vec::new();
    for source in tree().into_iter().filter(|source| !source.path.ends_with(".md") && source.path != "Cargo.lock") {
        for word in UNFINISHED.iter().map(|parts| parts.concat()).filter(|word| source.text.contains(word.as_str())) {
            breaches.push(format!("{}: {word}", source.path));
        }
    }
    check("left to do or silenced", breaches);
}

#[test]
fn tests_wait_for_conditions() {
    let sleepers = rust().filter(|source| source.is_test() && !source.path.starts_with("tests/src/"));
    let sleepers = sleepers.filter(|source| source.text.contains(concat!("sle", "ep(")));
    check("a test that sleeps instead of waiting for a condition", sleepers.map(|source| source.path).collect());
}

/// Files and tests that the map of the code names, in backticks, are there.
#[test]
fn the_map_is_of_this_tree() {
    let map = std::fs::read_to_string(root().join("common/README.md")).expect("the map is there");
    let tests: String = rust().map(|source| source.text).collect();
    let named = map.split('`').skip(1).step_by(2).filter(|name| !name.contains([' ', '\n', '(']));
    let is_missing = |name: &&str| {
        if name.contains('/') {
            !root().join(name).exists()
        } else {
            name.matches('_').count() > 2 && !tests.contains(&format!("fn {name}("))
        }
    };
    check("the map names what is not there", named.filter(is_missing).map(ToOwned::to_owned).collect());
}
