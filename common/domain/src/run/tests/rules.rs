//! Airflow's rules over the states that can reach them, as a table: two upstream modules, and what becomes of the third.

use super::*;

/// Pairs of upstream states: `S`ucceeded, `F`ailed, `E`rrored, `U`pstream_failed, s`K`ipped, `.` unsettled.
const PAIRS: [&str; 21] = [
    "SS", "SF", "SU", "SK", "FF", "FU", "FK", "UU", "UK", "KK", "S.", "F.", "U.", "K.", "..", "SE", "EE", "FE", "EU",
    "EK", "E.",
];

/// `R`un, `U`pstream_failed, s`K`ipped, `-` wait; a column per pair.
const TABLE: [(TriggerRule, &str); 12] = [
    (TriggerRule::AllSuccess, "R U U K U U U U U K - - - - - U U U U U -"),
    (TriggerRule::AllFailed, "K K K K R R K R K K - - - - - K R R R K -"),
    (TriggerRule::AllDone, "R R R R R R R R R R - - - - - R R R R R -"),
    (TriggerRule::AllDoneMinOneSuccess, "R R R R U U U U U K - - - - - R U U U U -"),
    (TriggerRule::AllSkipped, "K K K K K K K K K R - - - - - K K K K K -"),
    (TriggerRule::OneSuccess, "R R R R U U U U U K R - - - - R U U U U -"),
    (TriggerRule::OneFailed, "K R R K R R R R R K - R R - - R R R R R R"),
    (TriggerRule::OneDone, "R R R R R R R K K K R R - - - R R R R R R"),
    (TriggerRule::NoneFailed, "R U U R U U U U U R - - - - - U U U U U -"),
    (TriggerRule::NoneFailedMinOneSuccess, "R U U R U U U U U K - - - - - U U U U U -"),
    (TriggerRule::NoneSkipped, "R R R K R R K R K K - - - - - R R R R K -"),
    (TriggerRule::Always, "R R R R R R R R R R R R R R R R R R R R R"),
];

#[test]
fn every_rule_decides_as_airflow_does() {
    for (rule, expected) in TABLE {
        let found: Vec<&str> = PAIRS.iter().map(|pair| decided(rule, &[], pair)).collect();
        assert_eq!(found.join(" "), expected, "{rule} over {PAIRS:?}");
    }
}

#[test]
fn the_order_of_the_upstream_modules_does_not_matter() {
    for (rule, _) in TABLE {
        for pair in PAIRS {
            let turned: String = pair.chars().rev().collect();
            assert_eq!(decided(rule, &[], pair), decided(rule, &[], &turned), "{rule} over {pair}");
        }
    }
}

#[test]
fn an_early_rule_waits_for_what_the_module_cannot_do_without() {
    assert_eq!(decided(TriggerRule::OneSuccess, &[1], "S."), "-", "B's product is mandatory and may still come");
    assert_eq!(decided(TriggerRule::OneSuccess, &[0], "S."), "R");
    assert_eq!(decided(TriggerRule::Always, &[0], ".S"), "-");
    assert_eq!(decided(TriggerRule::OneSuccess, &[1], "SK"), "R", "the worker finds that it is not made");
}

#[test]
fn without_upstream_every_rule_runs() {
    for (rule, _) in TABLE {
        let alone = Node { rule: Rule::Airflow(rule, Vec::new()), ..node(&[]) };
        assert_eq!(decide(&alone, &Row::fresh(1)), Ruling::Run, "{rule}");
    }
}

#[test]
fn no_rule_changes_its_mind_when_more_is_settled() {
    for (rule, _) in TABLE {
        for pair in ["S.", "F.", "E.", "U.", "K.", ".."] {
            let early = decided(rule, &[], pair);
            for state in ["S", "F", "E", "U", "K"] {
                let later = decided(rule, &[], &pair.replacen('.', state, 1));
                assert!(early == "-" || early == later, "{rule} said {early} for {pair} and {later} with {state}");
            }
        }
    }
}

fn decided(rule: TriggerRule, needed: &[u8], pair: &str) -> &'static str {
    let needed = needed.iter().copied().map(ModuleIndex).collect();
    let third = Node { rule: Rule::Airflow(rule, needed), ..node(&[0, 1]) };
    let mut row = Row::fresh(3);
    for (at, letter) in (0..).zip(pair.chars()) {
        let state = match letter {
            'S' => TaskState::Succeeded,
            'F' => TaskState::Failed,
            'E' => TaskState::Errored,
            'U' => TaskState::UpstreamFailed,
            'K' => TaskState::Skipped,
            _ => TaskState::Queued,
        };
        row.set(ModuleIndex(at), Cell { state, tag: 1 });
    }
    match decide(&third, &row) {
        Ruling::Run => "R",
        Ruling::Undecided => "-",
        Ruling::Settle(cause) if cause.state() == TaskState::Skipped => "K",
        Ruling::Settle(_) => "U",
    }
}
