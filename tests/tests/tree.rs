//! Reads the tree and fails where it breaks the project's own rules: one library in one file, pure files pure, every
//! file opens with what it is for, nothing is switched off or left to do.

use std::fs;
use std::path::{Path, PathBuf};

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
    ("bollard", &["worker/src/runner/docker"]),
    ("docker_credential", &["worker/src/runner/docker"]),
    ("landlock", &["common/store/src/agent/sandbox.rs"]),
    ("seccompiler", &["common/store/src/agent/calls.rs"]),
];

/// Files without clock, network, file system, threads and log.
const PURE: &[&str] = &["common/domain/src", "coordinator/src/events/expand.rs"];

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

/// Names that say nothing about what a thing is.
const EMPTY_NAMES: &[&str] = &["Manager", "Helper", "Handler", "Util"];

const MOST_LINES: usize = 500;

struct Source {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

fn collect(dir: &Path, sources: &mut Vec<Source>) {
    let skipped = ["target", ".git", ".tools", "demo", "__pycache__"];
    for entry in fs::read_dir(dir).expect("the tree is readable").map(|entry| entry.expect("the tree is readable")) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            if !skipped.contains(&name.as_str()) {
                collect(&path, sources);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            sources.push(Source { path, text });
        }
    }
}

fn tree() -> Vec<Source> {
    let mut sources = Vec::new();
    collect(&root(), &mut sources);
    assert!(sources.len() > 20, "the tree was not found");
    sources
}

fn rust() -> impl Iterator<Item = Source> {
    tree().into_iter().filter(|source| source.path.ends_with(".rs"))
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// The code above the first `#[cfg(test)] mod`.
fn without_tests(source: &Source) -> &str {
    source.text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default()
}

fn check(rule: &str, breaches: Vec<String>) {
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}

#[test]
fn the_top_level_is_as_agreed() {
    let found = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let strangers = found.filter(|name| {
        !name.starts_with('.') && !["target", "demo"].contains(&name.as_str()) && !TOP_LEVEL.contains(&name.as_str())
    });
    check("not agreed at the top level", strangers.collect());
}

#[test]
fn one_library_has_one_place() {
    let mut breaches = Vec::new();
    for source in rust().filter(|source| !is_test(&source.path)) {
        for (library, places) in ONE_PLACE {
            let named = without_tests(&source).lines().any(|line| {
                let code = line.split("//").next().unwrap_or_default();
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
    for source in
        rust().filter(|source| PURE.iter().any(|pure| source.path.starts_with(pure)) && !is_test(&source.path))
    {
        for word in IMPURE.iter().filter(|word| without_tests(&source).contains(**word)) {
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
    let code = [".rs", ".py", ".js", ".sh", ".lua"];
    let long = tree().into_iter().filter(|source| code.iter().any(|end| source.path.ends_with(end)));
    let long = long.map(|source| (source.text.lines().count(), source.path)).filter(|(lines, _)| *lines > MOST_LINES);
    check("longer than 500 lines", long.map(|(lines, path)| format!("{path}: {lines}")).collect());
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
fn names_say_what_a_thing_is() {
    let mut breaches = Vec::new();
    for source in rust() {
        for line in source.text.lines().map(str::trim_start) {
            let line = line.trim_start_matches("pub ").trim_start_matches("async ");
            let declares = ["struct ", "enum ", "trait ", "mod "].iter().find_map(|word| line.strip_prefix(word));
            let name: String =
                declares.unwrap_or_default().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let empty = EMPTY_NAMES.iter().any(|word| name.ends_with(word)) || name == "util" || name == "utils";
            if empty || line.starts_with("fn get_") {
                breaches.push(format!("{}: {line}", source.path));
            }
        }
    }
    check("a name that says nothing", breaches);
}

#[test]
fn tests_wait_for_conditions() {
    let sleepers = rust().filter(|source| is_test(&source.path) && !source.path.starts_with("tests/src/"));
    let sleepers = sleepers.filter(|source| source.text.contains(concat!("sle", "ep(")));
    check("a test that sleeps instead of waiting for a condition", sleepers.map(|source| source.path).collect());
}
