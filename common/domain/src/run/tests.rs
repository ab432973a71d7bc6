//! What happens to a star, event by event. Events and rows are written as text; modules are letters in their order.

mod properties;
mod rules;

use crate::id::Attempt;
use std::time::Duration;

use super::*;

#[test]
fn admission_queues_what_waits_for_nothing() {
    // A → B    C
    let graph = graph(vec![node(&[]), node(&[0]), node(&[])]);
    check(&graph, &["admit"], "A queued, B blocked, C queued");
    assert_eq!(play(&graph, &["admit"]).actions, ["queue A1", "queue C1"]);
}

#[test]
fn a_repeated_completion_changes_nothing() {
    // A → B
    let graph = graph(vec![node(&[]), node(&[0])]);
    let once = play(&graph, &["admit", "A1 succeeded"]);
    let twice = play(&graph, &["admit", "A1 succeeded", "A1 succeeded", "A1 failed", "A1 lost", "A1 back", "admit"]);
    assert_eq!(once.star, twice.star);
    assert_eq!(twice.ignored, ["A1 succeeded", "A1 failed", "A1 lost", "A1 back", "admit"]);
    check(&graph, &["admit", "A1 succeeded"], "A succeeded, B queued");
}

#[test]
fn a_skipped_branch_does_not_block_what_can_do_without() {
    //     ┌→ B (skipped) ┐
    // A ──┤              ├→ D: needs C, B is optional
    //     └→ C ──────────┘
    let graph = graph(vec![node(&[]), node(&[0]), node(&[0]), Node { rule: needing(&[2]), ..node(&[1, 2]) }]);
    let before = ["admit", "A1 succeeded", "B1 skipped"];
    check(&graph, &before, "A succeeded, B skipped, C queued, D blocked");
    check(&graph, &[&before[..], &["C1 succeeded"]].concat(), "A succeeded, B skipped, C succeeded, D queued");
}

#[test]
fn a_failed_module_blocks_what_needs_it_and_nothing_else() {
    //     ┌→ B (failed) → D → E
    // A ──┤
    //     └→ C → F
    let graph = graph(vec![node(&[]), node(&[0]), node(&[0]), node(&[1]), node(&[3]), node(&[2])]);
    let played = play(&graph, &["admit", "A1 succeeded", "B1 failed", "C1 succeeded"]);
    assert_eq!(played.row(), "A succeeded, B failed, C succeeded, D upstream_failed, E upstream_failed, F queued");
    assert_eq!(played.actions[3..], ["D needs B", "E needs D", "queue F1"]);
}

#[test]
fn a_false_condition_skips_without_a_message() {
    // A (skipped) → B: run_if needs A's products
    let run_if = Formula::Term(vec![ModuleIndex(0)]);
    let graph = graph(vec![node(&[]), Node { rule: rule(Some(run_if), &[]), ..node(&[0]) }]);
    check(&graph, &["admit", "A1 skipped"], "A skipped, B skipped");
    check(&graph, &["admit", "A1 failed"], "A failed, B upstream_failed");
    check(&graph, &["admit", "A1 succeeded"], "A succeeded, B queued");
}

#[test]
fn a_loss_in_a_condition_may_be_absorbed() {
    // A, B → C: run_if A || B
    let either = Formula::Or(term(0), term(1));
    let both = Formula::And(term(0), term(1));
    let graph = |formula| graph(vec![node(&[]), node(&[]), Node { rule: rule(Some(formula), &[]), ..node(&[0, 1]) }]);
    let play = |formula: &Formula, ends: [&str; 2]| play(&graph(formula.clone()), &["admit", ends[0], ends[1]]).row();
    assert_eq!(play(&either, ["A1 failed", "B1 succeeded"]), "A failed, B succeeded, C queued", "B may absorb it");
    assert_eq!(play(&either, ["A1 failed", "B1 skipped"]), "A failed, B skipped, C upstream_failed");
    assert_eq!(play(&both, ["A1 failed", "B1 skipped"]), "A failed, B skipped, C skipped", "false absorbs it");
    assert_eq!(play(&both, ["A1 failed", "B1 succeeded"]), "A failed, B succeeded, C queued", "the worker decides");
}

#[test]
fn what_is_switched_off_is_skipped_at_once_wherever_it_stands() {
    // B (off) gives A something mandatory, and C an order that is void
    let off = Node { enabled: false, ..node(&[]) };
    let graph = graph(vec![Node { rule: needing(&[1]), ..node(&[]) }, off, node(&[])]);
    check(&graph, &["admit"], "A skipped, B skipped, C queued");
}

#[test]
fn a_module_that_asks_again_is_tried_after_a_wait_until_its_budget_is_spent() {
    let graph = graph(vec![node(&[])]);
    let played = play(&graph, &["admit", "A1 again", "A due", "A2 again", "A due", "A3 again"]);
    assert_eq!(played.row(), "A failed");
    assert_eq!(played.actions, ["queue A1", "wait A 30s", "queue A2", "wait A 60s", "queue A3", "close"]);
    assert_eq!(play(&graph, &["admit", "A1 again", "A due", "A2 succeeded"]).row(), "A succeeded");
}

#[test]
fn the_platform_has_a_budget_of_its_own() {
    let graph = graph(vec![node(&[])]);
    let mut events = vec!["admit".to_owned()];
    events.extend((1..=PLATFORM_BUDGET).map(|attempt| format!("A{attempt} lost")));
    let texts: Vec<&str> = events.iter().map(String::as_str).collect();
    check(&graph, &texts[..PLATFORM_BUDGET as usize], "A queued");
    check(&graph, &texts, "A errored");
    // The worker that was thought dead was not.
    let late = format!("A{PLATFORM_BUDGET} succeeded");
    check(&graph, &[&texts[..], &[late.as_str()]].concat(), "A succeeded");
    let played =
        play(&graph, &["admit", "A1 errored", "A due", "A2 errored", "A due", "A3 again", "A due", "A4 again"]);
    assert_eq!(played.row(), "A waiting", "two of three tries of its own");
    assert_eq!(played.star.tries[&ModuleIndex(0)], Tries { attempt: Attempt(4), science: 2, platform: 2 });
}

#[test]
fn what_is_given_back_costs_no_try() {
    let graph = graph(vec![node(&[])]);
    let mut events = vec!["admit".to_owned()];
    events.extend((1..=40).map(|attempt| format!("A{attempt} back")));
    let played = play(&graph, &events.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(played.row(), "A queued");
    assert_eq!(played.star.tries[&ModuleIndex(0)], Tries { attempt: Attempt(41), science: 0, platform: 0 });
    assert_eq!(played.star.row.cell(ModuleIndex(0)).tag, 41 % 16);
}

#[test]
fn an_answer_to_a_lost_attempt_is_stale_even_with_the_same_tag() {
    let graph = graph(vec![node(&[])]);
    let mut events = vec!["admit".to_owned()];
    events.extend((1..=16).map(|attempt| format!("A{attempt} back")));
    events.push("A1 failed".to_owned());
    let played = play(&graph, &events.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((played.row().as_str(), played.ignored), ("A queued", vec!["A1 failed".to_owned()]));
}

#[test]
fn a_late_success_decides_anew_what_its_failure_had_decided() {
    // A (errored, then made it after all) → B → C    D
    let graph = graph(vec![node(&[]), node(&[0]), node(&[1]), node(&[])]);
    let lost: Vec<String> = (1..=PLATFORM_BUDGET).map(|attempt| format!("A{attempt} lost")).collect();
    let mut events: Vec<&str> = vec!["admit", "D1 succeeded"];
    events.extend(lost.iter().map(String::as_str));
    check(&graph, &events, "A errored, B upstream_failed, C upstream_failed, D succeeded");
    let late = format!("A{PLATFORM_BUDGET} succeeded");
    events.push(&late);
    check(&graph, &events, "A succeeded, B queued, C blocked, D succeeded");
    events.extend(["B1 succeeded", "C1 succeeded"]);
    let played = play(&graph, &events);
    assert_eq!(played.actions.iter().filter(|action| *action == "close").count(), 2, "a second generation");
}

#[test]
fn a_settled_star_that_is_withdrawn_is_admitted_again_and_remembers_its_attempts() {
    // A → B
    let graph = graph(vec![node(&[]), node(&[0])]);
    let played = play(&graph, &["withdraw"]);
    assert_eq!(played.ignored, ["withdraw"]);
    let events = ["admit", "A1 again", "A due", "withdraw", "A2 failed", "withdraw", "A2 succeeded", "withdraw"];
    let played = play(&graph, &events);
    assert_eq!(played.ignored, ["withdraw", "A2 succeeded", "withdraw"]);
    assert!(played.star.row.is_fresh());
    let played = play(&graph, &[&events[..6], &["admit"]].concat());
    assert_eq!(played.actions.last().map(String::as_str), Some("queue A3"));
}

#[test]
fn a_reopened_task_takes_what_depends_on_it_along() {
    // A → B → C    D
    let graph = graph(vec![node(&[]), node(&[0]), node(&[1]), node(&[])]);
    let mut events = vec!["admit", "A1 succeeded", "D1 succeeded", "B1 failed", "reopen B"];
    check(&graph, &events, "A succeeded, B queued, C blocked, D succeeded");
    assert_eq!(play(&graph, &events).actions.last().map(String::as_str), Some("queue B2"));
    events.extend(["B1 succeeded"]);
    assert_eq!(play(&graph, &events).ignored, ["B1 succeeded"], "the answer to the try before is stale");
    // What runs on the old products is given up, too: its answer is stale.
    let events = ["admit", "A1 succeeded", "B1 succeeded", "reopen A", "C1 succeeded"];
    let played = play(&graph, &events);
    assert_eq!(played.row(), "A queued, B blocked, C blocked, D queued");
    assert_eq!(played.ignored, ["C1 succeeded"]);
    // Two that follow one decision do not stop each other's attempt.
    let events = ["admit", "A1 succeeded", "reopen A", "reopen A", "A2 again", "reopen A", "A due"];
    let played = play(&graph, &events);
    assert_eq!(played.ignored, ["reopen A", "reopen A"]);
    assert_eq!(played.actions.last().map(String::as_str), Some("queue A3"));
}

#[test]
fn a_product_that_is_lost_again_and_again_ends_with_its_reader_errored() {
    // A → B, which never finds A's product
    let graph = graph(vec![node(&[]), node(&[0])]);
    let mut events = vec!["admit".to_owned()];
    for round in 1..=PLATFORM_BUDGET {
        events.extend([format!("A{round} succeeded"), format!("B{round} errored")]);
        if round < PLATFORM_BUDGET {
            events.push("reopen A".to_owned());
        }
    }
    let played = play(&graph, &events.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(played.row(), "A succeeded, B errored");
    assert!(played.ignored.is_empty(), "{:?}", played.ignored);
}

#[test]
fn new_inputs_give_a_module_its_own_budget_again() {
    // A → B
    let graph = graph(vec![node(&[]), node(&[0])]);
    let used =
        ["admit", "A1 succeeded", "B1 again", "B due", "B2 again", "B due", "B3 again", "reopen A", "A2 succeeded"];
    check(&graph, &used, "A succeeded, B queued");
    check(&graph, &[&used[..], &["B4 again"]].concat(), "A succeeded, B waiting");
}

#[test]
fn cancel_and_supersede_end_what_is_left() {
    // A → B → C
    let graph = graph(vec![node(&[]), node(&[0]), node(&[1])]);
    check(&graph, &["admit", "A1 succeeded", "cancel"], "A succeeded, B cancelled, C cancelled");
    check(&graph, &["supersede"], "A superseded, B superseded, C superseded");
    let played = play(&graph, &["admit", "A1 succeeded", "cancel", "B1 succeeded", "cancel", "supersede"]);
    assert_eq!(played.ignored, ["B1 succeeded", "cancel", "supersede"]);
    assert_eq!(played.actions.iter().filter(|action| *action == "close").count(), 1);
}

#[test]
fn nothing_happens_to_a_star_before_its_admission() {
    let graph = graph(vec![node(&[])]);
    let events = ["A1 succeeded", "A1 lost", "A1 back", "A due", "reopen A"];
    assert_eq!(play(&graph, &events).ignored, events);
    let unknown = Event::Reopen { module: ModuleIndex(7) };
    let advanced = advance(&graph, &Star::fresh(&graph), &[Event::Admit, unknown]);
    assert_eq!(advanced.ignored, [(1, Ignored::UnknownModule)].into());
}

#[test]
fn a_row_that_holds_no_states_is_refused() {
    assert!(Row::from_bytes(vec![0x11, 0x30]).is_ok());
    let error = Row::from_bytes(vec![0x11, 0xf0]).unwrap_err();
    assert_eq!(error.to_string(), "byte 1 of the row is 0xf0, which is no task state");
}

/// A node with the rule `contract` that needs a product of each upstream module, and three tries.
fn node(upstream: &[u8]) -> Node {
    Node {
        upstream: upstream.iter().copied().map(ModuleIndex).collect(),
        rule: needing(upstream),
        enabled: true,
        retry: Retry { max_attempts: 3, backoff: Duration::from_secs(30) },
    }
}

fn needing(mandatory: &[u8]) -> Rule {
    rule(None, mandatory)
}

fn rule(run_if: Option<Formula>, mandatory: &[u8]) -> Rule {
    Rule::Contract(StateNeeds { run_if, mandatory: mandatory.iter().copied().map(ModuleIndex).collect() })
}

fn term(module: u8) -> Box<Formula> {
    Box::new(Formula::Term(vec![ModuleIndex(module)]))
}

fn graph(nodes: Vec<Node>) -> Graph {
    Graph { nodes }
}

/// Plays events on a fresh star and compares its row.
fn check(graph: &Graph, events: &[&str], row: &str) {
    assert_eq!(play(graph, events).row(), row, "after {events:?}");
}

struct Played {
    star: Star,
    actions: Vec<String>,
    ignored: Vec<String>,
}

impl Played {
    fn row(&self) -> String {
        let cells = self.star.row.cells().zip('A'..);
        cells.map(|(cell, name)| format!("{name} {}", cell.state)).collect::<Vec<_>>().join(", ")
    }
}

/// Plays the events one by one, and checks that all of them at once come to the same.
fn play(graph: &Graph, events: &[&str]) -> Played {
    let mut played = Played { star: Star::fresh(graph), actions: Vec::new(), ignored: Vec::new() };
    for text in events {
        let advanced = advance(graph, &played.star, &[event(text)]);
        if advanced.ignored.is_empty() {
            properties::check_step(graph, &played.star, &advanced);
        } else {
            played.ignored.push((*text).to_owned());
        }
        played.actions.extend(words(&advanced));
        played.star = advanced.star;
    }
    let all: Vec<Event> = events.iter().map(|text| event(text)).collect();
    let at_once = advance(graph, &Star::fresh(graph), &all);
    assert_eq!(at_once.star, played.star, "{events:?} at once");
    let ignored: Vec<&str> = at_once.ignored.keys().map(|at| events[*at]).collect();
    assert_eq!(ignored, played.ignored, "{events:?} at once");
    played
}

/// `admit`, `A1 succeeded`, `A due`, `reopen A`, `cancel`, …
fn event(text: &str) -> Event {
    let (first, second) = text.split_once(' ').unwrap_or((text, ""));
    let module = |name: &str| ModuleIndex(name.as_bytes()[0] - b'A');
    let attempt = || first[1..].parse().unwrap();
    let ended = |verdict| Event::Ended { module: module(first), attempt: attempt(), verdict };
    match (first, second) {
        ("admit", _) => Event::Admit,
        ("cancel", _) => Event::Cancel,
        ("withdraw", _) => Event::Withdraw,
        ("supersede", _) => Event::Supersede,
        ("reopen", name) => Event::Reopen { module: module(name) },
        (_, "due") => Event::Due { module: module(first) },
        (_, "lost") => Event::LeaseLost { module: module(first), attempt: attempt() },
        (_, "back") => Event::GivenBack { module: module(first), attempt: attempt() },
        (_, "succeeded") => ended(Verdict::Succeeded),
        (_, "skipped") => ended(Verdict::Skipped),
        (_, "upstream_failed") => ended(Verdict::UpstreamFailed),
        (_, "failed") => ended(Verdict::Failed { again: false }),
        (_, "again") => ended(Verdict::Failed { again: true }),
        (_, "errored") => ended(Verdict::Errored),
        _ => panic!("no event: {text}"),
    }
}

/// What follows from one event, in words.
fn words(advanced: &Advanced) -> Vec<String> {
    let name = |module: &ModuleIndex| char::from(b'A' + module.0);
    let cause = |(module, cause): (&ModuleIndex, &Cause)| match cause {
        Cause::Lost(from) | Cause::NotMade(from) => format!("{} needs {}", name(module), name(from)),
        Cause::Disabled | Cause::Condition | Cause::ConditionLost | Cause::RuleSkips(_) | Cause::RuleFails(_) => {
            format!("{} {cause:?}", name(module))
        }
    };
    let mut words: Vec<String> = advanced.decided.iter().map(cause).collect();
    words.extend(advanced.waits.iter().map(|(module, delay)| format!("wait {} {}s", name(module), delay.as_secs())));
    words.extend(advanced.queued.iter().map(|(module, attempt)| format!("queue {}{attempt}", name(module))));
    words.extend(advanced.closes.then(|| "close".to_owned()));
    words
}
