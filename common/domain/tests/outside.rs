//! Readers of bytes from outside, on good ones with some changed: each answers, in bounded words, and never panics. `make fuzz`
//! runs more of them (`PROPTEST_CASES`).

use domain::id::{Attempt, Epoch, EventId, ModuleIndex, Nonce, RunId, StarId, StarIndex, Task};
use domain::message::{
    Completion, DatasetEvent, Report, TaskMessage, WIRE_VERSION, parse_completions, parse_task, to_json,
};
use domain::outcome::{Failure, FailureKind, Outcome};
use domain::pipeline::load;
use domain::unit::oddity;
use proptest::prelude::*;
use proptest::sample::Index;

/// Most bytes of a message about what is wrong, for each byte that was read; quotes are cut and lists are bounded.
const WORDY: usize = 64 << 10;

const EVENT: &str = r#"{"specversion":"1.0","type":"sas.dataset.updated.v1","source":"pds","id":"17","time":"2026-01-01T00:00:00Z",
"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","data":{"dataset":"l1/lightcurve","quarter":3,
"stars":["PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7"]}}"#;
/// A pipeline with a data model beside it, which is read here without.
const PIPELINE: &str = include_str!("../../../deploy/pipelines/seismic.toml");

fn pipeline() -> String {
    PIPELINE.lines().filter(|line| !line.starts_with("data_model")).map(|line| format!("{line}\n")).collect()
}

fn task() -> String {
    let task = Task { star: StarIndex(7), module: ModuleIndex(2) };
    let run = RunId::of(EventId::of("a", "b"), "P", "1");
    text(&TaskMessage {
        v: WIRE_VERSION,
        epoch: Epoch(3),
        run,
        task,
        name: StarId::of_simulator(7),
        attempt: Attempt(1),
    })
}

fn completion() -> String {
    let failure = Failure {
        kind: FailureKind::Exit,
        message: "exit code 3".to_owned(),
        exit_code: Some(3),
        log_tail: String::new(),
    };
    text(&Completion {
        v: WIRE_VERSION,
        epoch: Epoch(3),
        run: RunId::of(EventId::of("a", "b"), "P", "1"),
        task: Task { star: StarIndex(7), module: ModuleIndex(2) },
        attempt: Attempt(1),
        nonce: Nonce::random(),
        worker: "host-1".parse().unwrap(),
        started: jiff::Timestamp::UNIX_EPOCH,
        millis: 3,
        claim: None,
        key: None,
        result: Report::Ended(Outcome::Failed(failure)),
    })
}

fn text(message: &impl serde::Serialize) -> String {
    String::from_utf8(to_json(message)).unwrap()
}

/// A change of a text: where, what, and with which byte.
type Mutation = (Index, u8, u8);

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    proptest::collection::vec((any::<Index>(), 0_u8..6, any::<u8>()), 0..12)
}

/// The bytes with changes: some overwritten, left out, repeated, cut off.
fn mutated(good: &str, changes: &[Mutation]) -> Vec<u8> {
    let mut bytes = good.as_bytes().to_vec();
    for (at, what, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match what {
            0 => bytes[at] = *byte,
            1 => bytes[at] ^= 1 << (byte % 8),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, *byte),
            4 => {
                let end = (at + usize::from(*byte)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ if *byte < 8 => bytes.truncate(at),
            _ => bytes[at] = b"0123456789\"'{}[],=.-\n"[usize::from(*byte) % 21],
        }
    }
    bytes
}

fn is_short(said: impl ToString) -> bool {
    said.to_string().len() < WORDY
}

proptest! {
    #[test]
    fn messages_are_read_or_refused_in_few_words(changes in mutations()) {
        prop_assert!(DatasetEvent::from_json(&mutated(EVENT, &changes)).map_or_else(is_short, |_| true));
        prop_assert!(parse_task(&mutated(&task(), &changes)).map_or_else(is_short, |_| true));
        prop_assert!(parse_completions(&mutated(&completion(), &changes)).map_or_else(is_short, |_| true));
    }

    #[test]
    fn whatever_bytes_come_as_a_message_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(DatasetEvent::from_json(&bytes).is_err() && parse_task(&bytes).is_err());
        prop_assert!(parse_completions(&bytes).is_ok_and(|all| all.is_empty()) || parse_completions(&bytes).is_err_and(is_short));
    }

    #[test]
    fn pipeline_files_are_read_or_refused_with_a_place(changes in mutations()) {
        let text = String::from_utf8_lossy(&mutated(&pipeline(), &changes)).into_owned();
        prop_assert!(load("p.toml", &text, None).map_or_else(is_short, |_| true));
    }

    #[test]
    fn a_condition_is_compiled_or_refused(condition in "[a-z0-9_.()\"'&|!<>=+*/%?:\\[\\], -]{0,120}") {
        let text = format!("{}\n[modules.Z]\nimage = 'i'\nrun_if = {condition:?}\n", pipeline().split("[modules").next().unwrap_or_default());
        prop_assert!(load("p.toml", &text, None).map_or_else(is_short, |_| true));
    }

    #[test]
    fn units_ids_and_runs_are_read_or_refused(text in "\\PC{0,80}") {
        prop_assert!(oddity(&text).is_none_or(is_short));
        prop_assert!(text.parse::<StarId>().map_or_else(is_short, |_| true));
        prop_assert!(text.parse::<RunId>().map_or_else(is_short, |_| true));
    }
}

#[test]
fn what_is_changed_was_right_before() {
    DatasetEvent::from_json(EVENT.as_bytes()).unwrap();
    parse_task(task().as_bytes()).unwrap();
    parse_completions(completion().as_bytes()).unwrap();
    load("p.toml", &pipeline(), None).unwrap();
}
