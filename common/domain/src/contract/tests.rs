//! What a contract says of what is there. Products are single letters: `A` and `B` are made by modules of that name, `X` and
//! `Y` are externals, `S` is shared. A view is written as text: `A.flag=true X lost=B`; what is not in it was not made, or
//! not delivered.

mod agreement;
mod compared;
mod fingerprints;
mod keys;

use super::*;
use crate::pipeline::{Pipeline, load};
use crate::product::Origin;

#[test]
fn a_module_runs_on_what_it_declares() {
    let module = "inputs.mandatory = ['A', 'X']\ninputs.optional = ['B', 'S', 'A@previous']";
    check(
        module,
        "A X S",
        "run: A mandatory, X mandatory, S optional; B absent (not_made), A@previous absent (not_made)",
    );
    check(
        module,
        "A X B lost=S A@previous",
        "run: A mandatory, X mandatory, B optional, A@previous optional; S absent (lost)",
    );
    check("inputs.optional = ['A', 'X']", "", "run: ; A absent (not_made), X absent (not_delivered)");
    check("", "", "run: ");
}

#[test]
fn mandatory_inputs_decide_in_the_order_lost_not_made_not_delivered() {
    let module = "inputs.mandatory = ['X', 'A', 'B']";
    check(module, "A B", "skipped (missing_external): X");
    check(module, "B", "skipped (not_made): A");
    check(module, "lost=B", "upstream failed: B");
    check(module, "X A lost=B", "upstream failed: B");
}

#[test]
fn the_condition_comes_first() {
    let module = "run_if = 'P.A.flag'\ninputs.mandatory = ['B', 'X']";
    check(module, "A.flag=false lost=B", "skipped (condition): P.A.flag, where A.flag = false");
    check(module, "lost=B", "skipped (condition): P.A.flag, where A.flag is absent");
    check(module, "lost=A lost=B", "upstream failed: A");
    check(module, "A.flag=true lost=B", "upstream failed: B");
    check(module, "A.flag=true B X", "run: B mandatory, X mandatory; A.flag = true");
    check(module, "A.flags=true B X", "failed (expression): run_if: A has no scalar column `flag`");
}

#[test]
fn a_skip_tells_what_its_condition_saw() {
    check("run_if = 'false'", "", "skipped (condition): false");
    let seen = "skipped (condition): P.A.flag && params.least > 5, where A.flag = true, params.least = 3";
    check("run_if = 'P.A.flag && params.least > 5'", "A.flag=true", seen);
}

#[test]
fn a_loss_may_be_absorbed_and_is_on_record() {
    let module = "run_if = 'P.A.flag || P.B.flag'";
    check(module, "lost=A B.flag=true", "run: ; A.flag absent, B.flag = true");
    check(module, "lost=A B.flag=false", "upstream failed: A");
    let module = "run_if = '''P.A.flag\n  && P.B.flag'''";
    let skipped = "skipped (condition): P.A.flag && P.B.flag, where A.flag is absent, B.flag = false";
    check(module, "lost=A B.flag=false", skipped);
}

#[test]
fn a_false_condition_stages_nothing() {
    let module = "inputs.conditional = [{ product = 'X', when = 'P.A.flag' }, { product = 'B', when = 'made(\"Y\")' }]";
    check(
        module,
        "A.flag=false X",
        "run: ; X absent (condition), B absent (condition), A.flag = false, made(Y) absent",
    );
    check(module, "A.flag=true X Y B", "run: X conditional, B conditional; A.flag = true, made(Y) = true");
    check(module, "A.flag=true Y", "skipped (not_made): B");
    check(module, "A.flag=true", "skipped (missing_external): X");
    check(module, "lost=A X", "upstream failed: A");
    check(module, "A X", "failed (expression): condition of input X: A has no scalar column `flag`");
}

#[test]
fn the_first_alternative_that_is_there_is_taken() {
    let module = "inputs.one_of = [['A', 'X'], ['B@previous', 'Y']]";
    check(module, "A X Y", "run: A one_of 0, Y one_of 1; X absent (outranked), B@previous absent (not_made)");
    check(module, "X B@previous Y", "run: X one_of 0, B@previous one_of 1; A absent (not_made), Y absent (outranked)");
    check(module, "lost=A X Y", "run: X one_of 0, Y one_of 1; A absent (lost), B@previous absent (not_made)");
}

#[test]
fn without_an_alternative_a_loss_is_told_first_and_a_missing_external_is_never_silent() {
    let module = "inputs.one_of = [['A', 'B'], ['B@previous', 'Y']]";
    check(module, "lost=B Y", "upstream failed: A | B");
    check(module, "Y", "skipped (not_made): A | B");
    check(module, "A", "skipped (missing_external): B@previous | Y");
    check(module, "", "skipped (not_made): A | B");
    check("inputs.one_of = [['A', 'X']]", "", "skipped (missing_external): A | X");
    check("inputs.one_of = [['A', 'X']]", "lost=A", "upstream failed: A | X");
}

#[test]
fn the_first_kind_with_something_missing_decides() {
    let module = "inputs.mandatory = ['X']\ninputs.one_of = [['A']]\n\
                  inputs.conditional = [{ product = 'B', when = 'P.S.flag' }]";
    check(module, "S.flag=true lost=A lost=B", "skipped (missing_external): X");
    check(module, "S.flag=true X lost=A", "skipped (not_made): B");
    check(module, "S.flag=true X lost=A lost=B", "upstream failed: B");
    check(module, "S.flag=false X lost=A lost=B", "upstream failed: A");
}

#[test]
fn a_trigger_rule_does_not_give_a_module_what_is_not_there() {
    let module = "trigger_rule = 'all_done'\ninputs.mandatory = ['A']\ninputs.optional = ['B']";
    check(module, "A lost=B", "run: A mandatory; B absent (lost)");
    check(module, "B", "skipped (not_made): A");
    check(module, "lost=A", "upstream failed: A");
}

#[test]
fn the_worker_is_told_what_to_look_up() {
    let pipeline = pipeline(
        "run_if = 'P.A.flag && PREV.B.n > 1'\ninputs.mandatory = ['X']\ninputs.optional = ['S']\n\
         inputs.one_of = [['A@previous', 'Y']]\ninputs.conditional = [{ product = 'B', when = 'made(\"X\")' }]",
    );
    let needs = needs(target(&pipeline));
    let names = |sources: &BTreeSet<Source>| sources.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(names(&needs.sources), expected(&["A", "A@previous", "B", "B@previous", "S", "X", "Y"]));
    let read: BTreeMap<String, Option<BTreeSet<String>>> =
        needs.read.iter().map(|(source, columns)| (source.to_string(), columns.clone())).collect();
    let columns = |names| Some(expected(names));
    let [a, b, x] = [columns(&["flag"]), columns(&["n"]), columns(&[])];
    assert_eq!(read, BTreeMap::from([("A", a), ("B@previous", b), ("X", x)].map(|(name, of)| (name.to_owned(), of))));
}

#[test]
fn conditional_outputs_are_due_exactly_when_their_condition_holds() {
    let pipeline = pipeline(
        "outputs.mandatory = ['F']\noutputs.conditional = [{ product = 'G', when = 'P.F.flag' }, { product = 'H', when = \
         'made(\"G\") && !P.F.flag' }]",
    );
    let others = [("F".parse().unwrap(), [("flag".to_owned(), "int64 of shape [2]".to_owned())].into())].into();
    let due = |columns: &[(&str, &[(&str, Scalar)])]| {
        let product = |(name, columns): &(&str, &[(&str, Scalar)])| {
            let columns = columns.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            (name.parse().unwrap(), columns)
        };
        conditional_outputs(target(&pipeline), &columns.iter().map(product).collect(), &others)
            .map(|due| due.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            .map_err(|failure| failure.message)
    };
    assert_eq!(due(&[("F", &[("flag", Scalar::Bool(true))])]), Ok("G".to_owned()));
    assert_eq!(due(&[("F", &[("flag", Scalar::Bool(false))])]), Ok(String::new()));
    assert_eq!(due(&[("F", &[("flag", Scalar::Int(0))]), ("G", &[])]), Ok("H".to_owned()));
    let broken = "condition of output G: F has no scalar column `flag`; F has `flag` (int64 of shape [2])".to_owned();
    assert_eq!(due(&[("F", &[])]), Err(broken));
}

/// Decides the module on a view, both as text.
fn check(module: &str, seen: &str, expected: &str) {
    let pipeline = pipeline(module);
    let verdict = decide(target(&pipeline), &view(&pipeline, seen));
    assert_eq!(text(&verdict), expected, "{module} on {seen:?}");
}

/// A pipeline in which `T` is the module under test.
fn pipeline(module: &str) -> Pipeline {
    let text = format!(
        "name = 'P'\nversion = '1'\ntrigger = 'l1/lc'\nparams = {{ least = 3, most = 9 }}\n\
         externals = {{ star = ['X', 'Y'], shared = ['S'] }}\n\
         [modules.A]\nimage = 'a'\noutputs.optional = ['A']\n[modules.B]\nimage = 'b'\noutputs.optional = ['B']\n\
         [modules.T]\nimage = 't'\n{module}\n"
    );
    load("test", &text, None).unwrap_or_else(|error| panic!("{error}"))
}

fn target(pipeline: &Pipeline) -> &Module {
    pipeline.modules.iter().find(|module| module.name.as_str() == "T").unwrap()
}

fn view(pipeline: &Pipeline, text: &str) -> View {
    let mut view = View::default();
    for source in needs(target(pipeline)).sources {
        let name = source.to_string();
        let mut presence = match source.origin {
            Origin::StarExternal | Origin::SharedExternal => Presence::NotDelivered,
            Origin::Module(_) | Origin::Previous => Presence::NotMade,
        };
        for entry in text.split_whitespace() {
            if entry.strip_prefix("lost=") == Some(&name) {
                presence = Presence::Lost;
            } else if entry.split('.').next() == Some(&name) {
                presence = Presence::Made(Digest::from_bytes([name.as_bytes()[0]; 32]));
                let columns = view.columns.entry(source.clone()).or_default();
                if let Some((column, value)) = entry.split_once('.').and_then(|(_, column)| column.split_once('=')) {
                    columns.insert(column.to_owned(), Scalar::Bool(value == "true"));
                }
            }
        }
        view.presence.insert(source, presence);
    }
    view
}

fn text(verdict: &Judgement) -> String {
    match verdict {
        Judgement::Skip(skip) => skip.to_string(),
        Judgement::UpstreamFailed { lost } => format!("upstream failed: {lost}"),
        Judgement::Failed(failure) => format!("failed ({}): {}", failure.kind, failure.message),
        Judgement::Run(staging) => {
            let staged = staging.staged.iter().map(|staged| match staged.role {
                InputRole::Mandatory => format!("{} mandatory", staged.source),
                InputRole::Conditional => format!("{} conditional", staged.source),
                InputRole::Optional => format!("{} optional", staged.source),
                InputRole::OneOf(list) => format!("{} one_of {list}", staged.source),
            });
            let absent = staging.absent.iter().map(|(source, why)| format!("{source} absent ({why})"));
            let reads = staging.reads.iter().map(|(read, value)| match value {
                Some(value) => format!("{read} = {value}"),
                None => format!("{read} absent"),
            });
            let rest = absent.chain(reads).collect::<Vec<_>>().join(", ");
            let separator = if rest.is_empty() { "" } else { "; " };
            format!("run: {}{separator}{rest}", staged.collect::<Vec<_>>().join(", "))
        }
    }
}
