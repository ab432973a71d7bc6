//! What the coordinator settles from states alone, the worker's decision on content never contradicts.

use proptest::prelude::*;

use super::*;
use crate::id::ModuleIndex;
use crate::run::{self, Cell, Row, Ruling, TaskState};

/// Conditions over the products of the modules `A`, `B` and `OFF`, externals and parameters.
const CONDITIONS: [&str; 12] = [
    "true",
    "params.least > 5",
    "P.A.flag",
    "!P.A.flag",
    "P.A.flag || P.B.flag",
    "P.A.flag && !P.B.flag",
    "P.OFF.flag || made(\"B\")",
    "valid(\"A\") && (P.X.flag || P.B.flag)",
    "P.A.flag == P.B.flag",
    "P.A.flag ? P.B.flag : made(\"X\")",
    "PREV.A.flag || (params.least < 5 && P.B.flag)",
    "!(P.A.flag && P.B.flag) && !(P.OFF.flag || P.A.n > 3)",
];

#[derive(Debug, Clone)]
struct AgreementCase {
    run_if: Option<&'static str>,
    when: Option<&'static str>,
    mandatory: Vec<&'static str>,
    optional: Vec<&'static str>,
    one_of: Vec<&'static str>,
    states: [TaskState; 2],
    /// Of each source, in order: whether it is there, and what its columns hold.
    there: [bool; 12],
    flags: [Option<bool>; 12],
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn states_and_content_never_contradict_each_other(case in cases()) {
        let pipeline = pipeline_of(&case);
        let module = target(&pipeline);
        let view = view_of(&pipeline, &case);
        let verdict = decide(module, &view);
        let found = match &verdict {
            Judgement::Run(_) | Judgement::Failed(_) => None,
            Judgement::Skip(_) => Some(TaskState::Skipped),
            Judgement::UpstreamFailed { .. } => Some(TaskState::UpstreamFailed),
        };
        let index = pipeline.index_of(&module.name).unwrap();
        match run::decide(&pipeline.graph().nodes[index.at()], &row_of(&pipeline, &case)) {
            Ruling::Undecided => prop_assert!(false, "all upstream is settled"),
            Ruling::Run => {}
            Ruling::Settle(cause) => {
                prop_assert_eq!(found, Some(cause.state()), "{:?} by states, {} by content", cause, text(&verdict));
            }
        }
    }

    #[test]
    fn a_verdict_gives_every_declared_input_one_fate(case in cases()) {
        let pipeline = pipeline_of(&case);
        let module = target(&pipeline);
        if let Judgement::Run(staging) = decide(module, &view_of(&pipeline, &case)) {
            let declared = case.mandatory.len() + case.optional.len() + case.one_of.len() + usize::from(case.when.is_some());
            prop_assert_eq!(staging.staged.len() + staging.absent.len(), declared);
            let chosen = staging.staged.iter().filter(|staged| matches!(staged.role, InputRole::OneOf(_))).count();
            prop_assert_eq!(chosen, usize::from(!case.one_of.is_empty()));
        }
    }
}

fn cases() -> impl Strategy<Value = AgreementCase> {
    use TaskState as T;
    let condition = || proptest::option::of(proptest::sample::select(&CONDITIONS[..]));
    let sources = vec!["A", "B", "OFF", "X", "S", "A@previous"];
    let some = || proptest::sample::subsequence(sources.clone(), 0..3);
    let state = || {
        proptest::sample::select(vec![T::Succeeded, T::Succeeded, T::Skipped, T::Failed, T::Errored, T::UpstreamFailed])
    };
    (
        condition(),
        condition(),
        some(),
        some(),
        some(),
        [state(), state()],
        any::<[bool; 12]>(),
        any::<[Option<bool>; 12]>(),
    )
        .prop_map(|(run_if, when, mandatory, optional, one_of, states, there, flags)| {
            // A product is declared once, `Y` only as the conditional input.
            let optional = optional.into_iter().filter(|name| !mandatory.contains(name)).collect();
            AgreementCase { run_if, when, mandatory, optional, one_of, states, there, flags }
        })
}

fn pipeline_of(case: &AgreementCase) -> Pipeline {
    let list = |names: &[&str]| names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let mut module =
        format!("inputs.mandatory = [{}]\ninputs.optional = [{}]\n", list(&case.mandatory), list(&case.optional));
    if let Some(condition) = case.run_if {
        module += &format!("run_if = '''{condition}'''\n");
    }
    if let Some(when) = case.when {
        module += &format!("inputs.conditional = [{{ product = 'Y', when = '''{when}''' }}]\n");
    }
    if !case.one_of.is_empty() {
        module += &format!("inputs.one_of = [[{}]]\n", list(&case.one_of));
    }
    pipeline(&format!("{module}[modules.OFF]\nimage = 'o'\nenabled = false\noutputs.mandatory = ['OFF']\n"))
}

fn state_of(pipeline: &Pipeline, case: &AgreementCase, producer: ModuleIndex) -> TaskState {
    match pipeline.module(producer).name.as_str() {
        "A" => case.states[0],
        "B" => case.states[1],
        _ => TaskState::Skipped,
    }
}

fn row_of(pipeline: &Pipeline, case: &AgreementCase) -> Row {
    let mut row = Row::fresh(pipeline.modules.len());
    for (index, module) in pipeline.indexed() {
        let state = if module.name.as_str() == "T" { TaskState::Blocked } else { state_of(pipeline, case, index) };
        row.set(index, Cell { state, tag: 1 });
    }
    row
}

/// Any content that is consistent with the states: a success may have made its product or not.
fn view_of(pipeline: &Pipeline, case: &AgreementCase) -> View {
    let mut view = View::default();
    for (at, source) in needs(target(pipeline)).sources.into_iter().enumerate() {
        let made = Presence::Made(Digest::from_bytes([7; 32]));
        let presence = match source.origin {
            Origin::Module(producer) => {
                let state = state_of(pipeline, case, producer);
                assert!(state.is_settled(), "{state} is not settled");
                if state.is_lost() {
                    Presence::Lost
                } else if state == TaskState::Succeeded && case.there[at] {
                    made
                } else {
                    Presence::NotMade
                }
            }
            Origin::Previous if !case.there[at] => Presence::NotMade,
            Origin::StarExternal | Origin::SharedExternal if !case.there[at] => Presence::NotDelivered,
            Origin::Previous | Origin::StarExternal | Origin::SharedExternal => made,
        };
        let columns = case.flags[at]
            .map(|flag| [("flag".to_owned(), Scalar::Bool(flag)), ("value".to_owned(), Scalar::Float(1.0))]);
        view.columns.insert(source.clone(), columns.into_iter().flatten().collect());
        view.presence.insert(source, presence);
    }
    view
}
