//! Triggers: read, weighed, refused.

use super::*;
use crate::pipeline::load;

fn parse(text: &str) -> TriggerExpression {
    text.parse().unwrap()
}

/// Whether it holds where these datasets are there, and what is missing otherwise.
fn check(text: &str, there: &[&str], missing: Option<&str>) {
    let is_there = |dataset: &DatasetName| there.contains(&dataset.as_str());
    let expression = parse(text);
    assert_eq!(expression.missing(&is_there).as_deref(), missing, "{text} with {there:?}");
    assert_eq!(expression.holds(&is_there), missing.is_none(), "{text} with {there:?}");
}

fn second(number: i64) -> Timestamp {
    Timestamp::from_second(number).unwrap()
}

#[test]
fn and_binds_more_than_or_and_brackets_more_than_both() {
    check("l1/lc", &[], Some("l1/lc"));
    check("l1/lc", &["l1/lc"], None);
    check("a & b | c", &["c"], None);
    check("a & b | c", &["a"], Some("b | c"));
    check("a & (b | c)", &["c"], Some("a"));
    check("a & (b | c)", &["a"], Some("b | c"));
    check(" a&( b|c )&d ", &["x"], Some("a & (b | c) & d"));
    check("(a | b) & (a | b)", &["b"], None);
    let names: Vec<String> = parse("x/y & (b | a)").datasets().map(ToString::to_string).collect();
    assert_eq!(names, ["x/y", "b", "a"]);
    assert_eq!(parse("(x/y)").only().map(DatasetName::as_str), Some("x/y"));
    assert_eq!(parse("(a | b) & c").first().as_str(), "a");
}

#[test]
fn what_is_no_expression_is_told_with_its_place() {
    for (text, word) in [
        ("", "at character 1: the end is here, expected a dataset"),
        ("a &", "at character 4: the end is here, expected a dataset"),
        ("a && b", "at character 4: `&` is here, expected a dataset; `&` and `|` are written once"),
        ("a b", "at character 3: `b` follows a dataset, expected `&`, `|` or the end"),
        ("(a | b", "at character 7: the end is here, expected the `)` of the `(` at character 1"),
        ("a)", "at character 2: `)` closes nothing"),
        ("a & b//c", "at character 5: \"b//c\" is not a valid dataset name"),
        ("l1//lc", "\"l1//lc\" is not a valid dataset name"),
        ("a & !b", "at character 5: `!` is here, expected a dataset"),
        ("ä & b", "at character 1: `ä` is here, expected a dataset"),
    ] {
        let error = text.parse::<TriggerExpression>().unwrap_err().to_string();
        assert!(error.starts_with(word), "{text:?}: {error}");
    }
    let deep = "(".repeat(40) + "a" + &")".repeat(40);
    assert!(deep.parse::<TriggerExpression>().unwrap_err().to_string().contains("deeper than 32"));
    let long = vec!["a"; MOST_DATASETS + 1].join("|");
    assert!(long.parse::<TriggerExpression>().unwrap_err().to_string().contains("more than 64"));
}

#[test]
fn a_star_enters_when_all_is_there_and_quiet_or_when_it_waited_long_enough() {
    let trigger = |deadline, debounce| Trigger {
        on: parse("a & b"),
        only_if: BTreeMap::new(),
        deadline: Some(Duration::from_secs(deadline)),
        debounce: Some(debounce).filter(|seconds| *seconds > 0).map(Duration::from_secs),
    };
    let weigh = |trigger: &Trigger, there: &[&str], last, now| {
        let arrived = Arrival { last: second(last), until: trigger.until(second(0)) };
        trigger.weigh(&|dataset| there.contains(&dataset.as_str()), arrived, second(now))
    };
    let plain = trigger(100, 0);
    assert_eq!(weigh(&plain, &["a"], 5, 5), Weighed::Waits(Some(second(100))));
    assert_eq!(weigh(&plain, &["a"], 5, 100), Weighed::Enters, "the deadline is that of the first arrival");
    assert_eq!(weigh(&plain, &["a", "b"], 5, 5), Weighed::Enters);
    let quiet = trigger(100, 10);
    assert_eq!(weigh(&quiet, &["a", "b"], 5, 5), Weighed::Waits(Some(second(15))));
    assert_eq!(weigh(&quiet, &["a", "b"], 5, 15), Weighed::Enters);
    assert_eq!(weigh(&quiet, &["a", "b"], 95, 95), Weighed::Waits(Some(second(100))), "never longer than the deadline");
    let endless = Trigger { deadline: None, ..trigger(1, 0) };
    assert_eq!(weigh(&endless, &["a"], 0, 1_000_000), Weighed::Waits(None));
    assert_eq!(plain.plain(), None);
}

#[test]
fn a_pipeline_says_its_trigger_as_text_or_as_a_table() {
    let body = "[modules.M]\nimage = 'i'\ninputs.mandatory = ['FLAG']\n";
    let head = "name = 'P'\nversion = '1'\nexternals.star = ['FLAG']\n";
    let read = |trigger: &str| load("p.toml", &format!("{head}{trigger}\n{body}"), None);
    let trigger = read("trigger = 'l1/lc'").unwrap().trigger;
    assert_eq!(trigger.plain().map(DatasetName::as_str), Some("l1/lc"));
    let text = "[trigger]\non = 'l1/lc & exo/flag & exo/kit'\nonly_if = { 'exo/kit' = 'P.FLAG.flag' }\ndeadline = '30d'\n\
                debounce = '10m'";
    let trigger = read(text).unwrap().trigger;
    assert_eq!(trigger.deadline, Some(Duration::from_secs(30 * 24 * 3600)));
    assert_eq!(
        trigger.to_string(),
        "l1/lc & exo/flag & exo/kit, exo/kit only if P.FLAG.flag, deadline 30days, debounce 10m"
    );
    for (trigger, word) in [
        ("trigger = 3", "2: trigger: invalid type: integer `3`, expected a dataset"),
        ("trigger = 'a & '", "trigger: at character 5: the end is here"),
        ("[trigger]\non = 'a b'", "trigger.on: at character 3"),
        ("[trigger]\ndeadline = '1d'", "trigger: missing field `on`"),
        ("[trigger]\non = 'a & b'\nwait = '1d'", "unknown field `wait`"),
        ("[trigger]\non = 'a'\ndeadline = '1d'", "trigger.deadline: a single dataset is nothing to wait for"),
        ("[trigger]\non = 'a & b'\ndebounce = '0s'", "trigger.debounce: must be more than zero"),
        ("[trigger]\non = 'a & b'\nonly_if = { c = 'true' }", "trigger.only_if: `c` is not in the expression"),
        ("[trigger]\non = 'a & b'\nonly_if = { b = 'P.X.y' }", "not in `externals.star`"),
    ] {
        let error = read(trigger).unwrap_err().to_string();
        assert!(error.contains(word.trim_start_matches("2: ")), "{trigger}: {error}");
    }
}
