//! A store as programs of format 1 made it, written by hand.

use std::fs;

use tempfile::TempDir;

use super::*;
use domain::id::{EventId, Generation, StarId};

struct Old {
    dir: TempDir,
}

impl Old {
    fn new() -> Self {
        let old = Self { dir: tempfile::tempdir().unwrap() };
        old.write("store.json", r#"{"format": 1, "created": "2026-01-01T00:00:00Z"}"#);
        for folder in ["shared", "stars", "events", "runs", "control/sequence", "scratch"] {
            fs::create_dir_all(old.dir.path().join(folder)).unwrap();
        }
        old
    }

    fn write(&self, path: impl AsRef<Path>, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A run of two stars that settled in two batches.
    fn run(&self, number: u64) -> RunId {
        let event = EventId::of("old", &number.to_string());
        let run = RunId::of(event, "P", "1");
        let folder = paths::run(run);
        let record = format!(
            r#"{{"run":"{run}","event":"{event}","pipeline":"P","version":"1","quarter":3,"horizon":{number},
                 "accepted":"2026-01-01T00:00:00Z","stars":2}}"#
        );
        self.write(folder.join("pipeline.toml"), "name = 'P'");
        self.write(folder.join("products.toml"), "");
        let stars: Vec<StarId> = [1, 2].map(StarId::of_simulator).to_vec();
        let mut bytes: Vec<[u8; 16]> = stars.iter().map(|star| *star.as_bytes()).collect();
        bytes.sort_unstable();
        fs::write(self.dir.path().join(folder.join("stars.bin")), bytes.concat()).unwrap();
        let key = "11".repeat(32);
        let line = |star, row, generation| {
            format!(
                r#"{{"star":{star},"row":"{row}","keys":{{"1":"{key}"}},"generation":{generation},"end":"complete"}}"#
            )
        };
        let failed = r#"{"star":1,"row":"5061","keys":{},"end":"failed","reason":"why"}"#;
        self.write(folder.join("settled/000001.jsonl"), &format!("{}\n{}\n", line(0, "5051", 1), line(1, "5050", 1)));
        self.write(folder.join("settled/000002.jsonl"), &format!("{failed}\n"));
        self.write(folder.join("run.json"), &record);
        run
    }

    fn end(&self, run: RunId, decisions: u64) {
        let end = format!(
            r#"{{"ended":"2026-01-02T00:00:00Z","decisions":{decisions},"counts":{{}},"stars":{{"complete":2}}}}"#
        );
        self.write(paths::run_end(run, decisions), &end);
    }
}

#[test]
fn a_store_of_format_1_is_refused_with_advice_and_brought_forward_whole() {
    let old = Old::new();
    let [over, open, again, broken] = [1, 2, 3, 4].map(|number| old.run(number));
    old.end(over, 0);
    old.end(again, 0);
    old.end(broken, 0);
    let retry = r#"{"at":"2026-01-03T00:00:00Z","by":"ada","decision":"retry","selection":{}}"#;
    old.write(paths::decisions(again).join("000001.json"), retry);
    old.write(paths::run_record(broken), "{");
    let [pending, disposed] = ["1", "2"].map(|id| EventId::of("e", id));
    old.write(paths::event(pending), "{}");
    old.write(paths::event(disposed), "{}");
    old.write(paths::event_dispositions(disposed), "[]");

    let refused = Store::open(old.dir.path()).unwrap_err().to_string();
    assert!(refused.contains("format 1") && refused.contains("`sas init`"), "{refused}");
    assert!(Store::init(old.dir.path()).is_err(), "nobody brings it forward in silence");

    let done = bring_forward(old.dir.path()).unwrap().unwrap();
    assert_eq!((done.from, done.runs, done.batches), (1, 4, 8));
    assert_eq!(done.damaged, Vec::<PathBuf>::new());
    assert_eq!(bring_forward(old.dir.path()).unwrap(), None, "once is enough");

    let store = Store::open(old.dir.path()).unwrap();
    let mut marked = store.open_runs().unwrap();
    marked.sort();
    let mut expected = vec![open, again, broken];
    expected.sort();
    assert_eq!(marked, expected);
    assert_eq!(store.undisposed_events().unwrap(), [pending]);
    let list = store.list_runs().unwrap();
    let shown: Vec<(RunId, bool)> = list.runs.iter().map(|run| (run.record.run, run.end.is_some())).collect();
    assert_eq!(shown, [(again, false), (open, false), (over, true)]);
    assert_eq!(list.damaged.len(), 1);
    for run in [over, open, again] {
        let first = store.settled_star(run, StarIndex(0)).unwrap().unwrap();
        assert_eq!(
            (first.row, first.generation, first.end),
            (vec![0x50, 0x51], Some(Generation(1)), Some(StarEnd::Complete))
        );
        assert_eq!(first.keys, [(ModuleIndex(1), Key::from_bytes([0x11; 32]))].into());
        let second = store.settled_star(run, StarIndex(1)).unwrap().unwrap();
        assert_eq!((second.end, second.reason.as_deref()), (Some(StarEnd::Failed), Some("why")));
    }
}

#[test]
fn what_was_cut_short_is_done_again_and_a_bad_line_costs_itself_only() {
    let old = Old::new();
    let run = old.run(1);
    let bad = paths::settled(run).join("000002.jsonl");
    old.write(&bad, "{\"star\":1,\n{\"star\":1,\"row\":\"5050\",\"end\":\"failed\"}\n");
    let root = old.dir.path().canonicalize().unwrap();
    // The first batch was written before the crash.
    let store = Store { root: root.clone(), asks: crate::Asks::default() };
    let path = numbered::path(&store.at(paths::settled(run)), "jsonl", 1);
    assert!(path.exists());
    let mut before = BroughtForward::default();
    rewrite_batches(&store, run, &mut before).unwrap();

    let done = bring_forward(&root).unwrap().unwrap();
    assert_eq!((done.runs, done.batches, done.damaged), (1, 2, vec![root.join(bad)]));
    let settled = Store::open(&root).unwrap().settled(run).unwrap();
    assert_eq!(
        settled.values().map(|line| line.end).collect::<Vec<_>>(),
        [Some(StarEnd::Complete), Some(StarEnd::Failed)]
    );
}

#[test]
fn where_there_is_no_store_there_is_nothing_to_bring_forward() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(bring_forward(dir.path()).unwrap(), None);
    assert_eq!(bring_forward(&dir.path().join("missing")).unwrap(), None);
    Store::init(dir.path()).unwrap();
    assert_eq!(bring_forward(dir.path()).unwrap(), None);
}
