//! Crates and modules lie on floors, and arrows go down.
//!
//! Three rules. A crate imports only the crates that stand beside it in [`CRATES`]. A crate's modules
//! import only those before them in [`FLOORS`]. In every folder, the modules side by side make no circle: a module may use
//! what its parents and its own children offer, but of two siblings at most one knows the other, by however many steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::imports::{Arrow, arrows};
use crate::sources::{SourceFile, check, code, rust};

/// A crate, where its code lies, and which of ours it may import.
const CRATES: &[(&str, &str, &[&str])] = &[
    ("domain", "common/domain/src", &[]),
    ("store", "common/store/src", &["domain"]),
    ("services", "common/services/src", &["domain"]),
    ("coordinator", "coordinator/src", &["domain", "store", "services"]),
    ("worker", "worker/src", &["domain", "store", "services"]),
    ("cli", "cli/src", &["domain", "store", "services", "coordinator", "worker"]),
    ("harness", "tests/src", &["domain", "store", "services", "coordinator", "worker"]),
];

/// What a floor is for, and its modules: each may import those before it, too.
type Floor = (&'static str, &'static [&'static str]);

/// The floors of a crate from the lowest to the highest.
const FLOORS: &[(&str, &[Floor])] = &[
    (
        "domain",
        &[
            ("what things are", &["id", "product", "text", "unit"]),
            ("how a star moves on, and how an attempt ended", &["run", "outcome"]),
            ("what pipelines and messages say", &["expression", "message", "pipeline"]),
            ("what a module was promised", &["contract"]),
            ("what runs again", &["replay"]),
        ],
    ),
    (
        "store",
        &[
            (
                "files and names",
                &[
                    "budget",
                    "crash",
                    "h5",
                    "digest",
                    "paths",
                    "absence",
                    "durable",
                    "numbered",
                    "presence",
                    "scratch",
                    "space",
                    "star_lists",
                    "modes",
                ],
            ),
            (
                "one subject each",
                &[
                    "audit",
                    "epochs",
                    "sequence",
                    "nudges",
                    "holds",
                    "drains",
                    "failures",
                    "externals",
                    "generations",
                    "scrub",
                ],
            ),
            ("events and their runs", &["announced", "refusals", "events", "firings", "runs", "course"]),
            ("what HDF5 is asked", &["agent"]),
            ("what brings data in", &["ingest", "migration"]),
        ],
    ),
    (
        "services",
        &[
            ("where it is, and what time it has", &["address", "clock"]),
            ("what is outside", &["queue", "state"]),
            ("how a service starts", &["config", "telemetry", "traces", "service"]),
        ],
    ),
    (
        "coordinator",
        &[
            (
                "what is kept in mind",
                &["trouble", "counters", "rates", "rows", "confirmed", "closings", "standing", "aside"],
            ),
            ("what is configured", &["hooks", "tokens", "config"]),
            ("a coordinator at work", &["running", "deliveries", "readiness"]),
            ("what happens to stars and runs", &["advance", "runs", "drains", "settle"]),
            ("its loops", &["events", "triggers", "comparison", "completions", "admission", "timers"]),
            ("what others see", &["operate", "metrics", "http"]),
        ],
    ),
    (
        "worker",
        &[
            (
                "what it works with",
                &[
                    "agent", "removal", "run", "runner", "progress", "ledger", "tally", "pace", "gate", "watch",
                    "warm", "config",
                ],
            ),
            ("one task", &["claim", "report", "attempt", "spans"]),
            ("one worker", &["shared", "slot", "feed", "show", "heartbeat", "service"]),
        ],
    ),
    (
        "cli",
        &[
            ("what is said", &["words", "output", "exit"]),
            ("what it speaks to", &["connect", "installation", "embedded"]),
            ("what is typed", &["selection", "progress", "top", "command"]),
        ],
    ),
    (
        "harness",
        &[
            ("what is started and asked", &["programs", "clock", "ports", "services", "registry", "http"]),
            ("whole clusters", &["compose", "light", "cluster", "noop", "exhibit", "flight", "browser", "simulation"]),
            ("what is measured", &["cost", "results"]),
        ],
    ),
];

#[test]
fn crates_import_only_what_lies_below() {
    let mut breaches = Vec::new();
    for source in rust() {
        let Some((name, _, below)) = CRATES.iter().find(|(_, folder, _)| source.path.starts_with(folder)) else {
            continue;
        };
        for (other, ..) in CRATES.iter().filter(|(other, ..)| other != name && !below.contains(other)) {
            let path = format!("{other}::");
            for (number, line) in source.text.lines().map(code).enumerate() {
                let begins = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
                if line.match_indices(&path).any(|(at, _)| begins(at)) {
                    breaches.push(format!("{}:{} names {other}", source.path, number + 1));
                }
            }
        }
    }
    check("a crate imports what it must not know", breaches);
}

#[test]
fn modules_import_only_lower_floors() {
    let sources: Vec<SourceFile> = rust().collect();
    let mut breaches = Vec::new();
    for (name, floors) in FLOORS {
        let folder = folder_of(name);
        let order: Vec<&str> = floors.iter().flat_map(|(_, modules)| *modules).copied().collect();
        let floor = |module: &String| order.iter().position(|known| known == module);
        let is_there = |module: &&str| sources.iter().any(|source| source.path == format!("{folder}/{module}.rs"));
        let gone = order.iter().filter(|module| !is_there(module));
        breaches.extend(gone.map(|module| format!("{name}::{module} has a floor, and is not there")));
        for arrow in arrows(folder, &sources) {
            let (Some(from), Some(to)) = (arrow.from.first(), arrow.to.first()) else { continue };
            match (floor(from), floor(to)) {
                (Some(from), Some(to)) if from >= to => {}
                (Some(_), Some(_)) => breaches.push(format!("{from} is below {to}: {}", arrow.place)),
                (None, _) => breaches.push(format!("{name}::{from} has no floor yet")),
                (_, None) => breaches.push(format!("{name}::{to} has no floor yet")),
            }
        }
    }
    check("an arrow against the floors", breaches);
}

#[test]
fn modules_side_by_side_make_no_circle() {
    let sources: Vec<SourceFile> = rust().collect();
    let found = CRATES.iter().flat_map(|(name, folder, _)| circles(name, &arrows(folder, &sources)));
    check("a circle of modules", found.collect());
}

#[test]
fn a_circle_is_found_with_the_lines_that_make_it() {
    let file = |path: &str, text: &str| SourceFile { path: format!("x/src/{path}.rs"), text: text.to_owned() };
    let sources = [
        file("lib", "mod a;\nmod b;\nmod c;\npub use b::deep::Deep;\n"),
        file("a", "use crate::{Deep, c::Last};\n"),
        file("b", "mod deep;\nuse self::deep::Deep;\n"),
        file("b/deep", "// crate::c\nuse super::super::c::Last as Other;\npub struct Deep;\n"),
        file("c", "fn last() { crate::a::first() }\n#[cfg(test)]\nmod tests { use crate::b; }\n"),
    ];
    let found = circles("x", &arrows("x/src", &sources));
    let places = [
        "x/src/a.rs:1 names crate::c::Last",
        "x/src/c.rs:1 names crate::a::first",
        "x/src/a.rs:1 names crate::Deep",
        "x/src/b/deep.rs:2 names super::super::c::Last",
    ];
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(places.iter().all(|place| found.iter().any(|circle| circle.contains(place))), "{found:#?}");
}

fn folder_of(name: &str) -> &'static str {
    CRATES.iter().find(|(known, ..)| *known == name).expect("floors are those of a crate").1
}

type Siblings<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a Arrow>>;

/// The circles between the children of each module of a crate: for every child the shortest one through it.
fn circles(name: &str, arrows: &[Arrow]) -> Vec<String> {
    let mut folders: BTreeMap<&[String], Siblings<'_>> = BTreeMap::new();
    for arrow in arrows {
        let shared = arrow.from.iter().zip(&arrow.to).take_while(|(from, to)| from == to).count();
        if let (Some(from), Some(to)) = (arrow.from.get(shared), arrow.to.get(shared)) {
            let siblings = folders.entry(&arrow.from[..shared]).or_default();
            siblings.entry(from).or_default().entry(to).or_insert(arrow);
        }
    }
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (folder, siblings) in &folders {
        for start in siblings.keys() {
            let Some(circle) = circle_through(start, siblings) else { continue };
            let mut members = circle.clone();
            members.sort_unstable();
            if seen.insert((*folder, members)) {
                found.push(describe(name, folder, &circle, siblings));
            }
        }
    }
    found
}

/// The shortest way from a module back to itself.
fn circle_through<'a>(start: &'a str, siblings: &Siblings<'a>) -> Option<Vec<&'a str>> {
    let mut ways = VecDeque::from([vec![start]]);
    let mut reached = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in siblings.get(way.last()?).into_iter().flat_map(BTreeMap::keys) {
            if *next == start {
                return Some(way);
            }
            if reached.insert(*next) {
                ways.push_back([&way[..], &[*next]].concat());
            }
        }
    }
    None
}

fn describe(name: &str, folder: &[String], circle: &[&str], siblings: &Siblings<'_>) -> String {
    let around = || circle.iter().zip(circle.iter().cycle().skip(1));
    let place = [&[name.to_owned()], folder].concat().join("::");
    let lines = around().map(|(from, to)| format!("\n      {}", siblings[from][to].place));
    format!("{place}: {} and back{}", circle.join(" → "), lines.collect::<String>())
}
