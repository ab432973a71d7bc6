//! What is in a fingerprint and what is not: a star whose fingerprint is equal is not computed again.

use super::*;
use crate::id::{Fingerprint, Generation, ModuleIndex, Quarter, StarId};
use crate::run::{Cell, Row, TaskState};

const MODULE: &str = "command = ['run']\nenvironment = { W = '1' }\nparameters = { steps = 5 }\nrun_if = 'P.A.n >= params.least'\n\
                      inputs.mandatory = ['A']\ninputs.optional = ['S', 'A@previous']\ninputs.one_of = [['B', 'X']]\n\
                      inputs.conditional = [{ product = 'Y', when = 'P.A.flag' }]\noutputs.mandatory = ['F']";

const EXTERNALS: [&str; 2] = ["Q003/externals/l1.lc@4.h5", "shared/grid@2.h5"];

/// The identities of the images of A, B and T.
const IMAGES: [&str; 3] = ["sha256:a", "sha256:b", "sha256:t"];

struct FingerprintCase<'a> {
    pipeline: Pipeline,
    images: &'a [&'a str],
    star: u64,
    quarter: u32,
    externals: &'a [&'a str],
    previous: Option<Generation>,
}

impl Default for FingerprintCase<'_> {
    fn default() -> Self {
        Self {
            pipeline: pipeline(MODULE),
            images: &IMAGES,
            star: 1,
            quarter: 3,
            externals: &EXTERNALS,
            previous: Some(Generation(2)),
        }
    }
}

fn print(case: &FingerprintCase<'_>) -> Fingerprint {
    let ran = (0..).map(ModuleIndex).zip(case.images).filter(|(_, image)| !image.is_empty());
    let externals: Vec<String> = case.externals.iter().map(|name| (*name).to_owned()).collect();
    Definitions::of(&case.pipeline).fingerprint(
        &ran.map(|(module, image)| (module, image.parse().unwrap())).collect(),
        StarInputs {
            star: StarId::of_simulator(case.star),
            quarter: Quarter::try_from(case.quarter).unwrap(),
            externals: &externals,
            previous: case.previous,
        },
    )
}

fn with(module: &str) -> Fingerprint {
    print(&FingerprintCase { pipeline: pipeline(module), ..FingerprintCase::default() })
}

#[test]
fn the_same_definitions_over_the_same_inputs_have_the_same_fingerprint() {
    let this = print(&FingerprintCase::default());
    assert_eq!(print(&FingerprintCase::default()), this);
    assert_eq!(
        print(&FingerprintCase { externals: &[EXTERNALS[1], EXTERNALS[0]], ..FingerprintCase::default() }),
        this,
        "in any order"
    );
    for not_in_it in ["doc = 'x'", "group = 'g'", "time_limit = '7s'", "retry.max_attempts = 9", "mode = 'serve'"] {
        assert_eq!(with(&format!("{MODULE}\n{not_in_it}")), this, "{not_in_it}");
    }
    let mut versioned = pipeline(MODULE);
    versioned.version = "2".to_owned();
    assert_eq!(
        print(&FingerprintCase { pipeline: versioned, ..FingerprintCase::default() }),
        this,
        "a version is a name"
    );
}

#[test]
fn another_input_is_another_fingerprint() {
    let this = print(&FingerprintCase::default());
    let newer = ["Q003/externals/l1.lc@5.h5", EXTERNALS[1]];
    let cases = [
        FingerprintCase { externals: &newer, ..FingerprintCase::default() },
        FingerprintCase { externals: &EXTERNALS[..1], ..FingerprintCase::default() },
        FingerprintCase { previous: Some(Generation(3)), ..FingerprintCase::default() },
        FingerprintCase { previous: None, ..FingerprintCase::default() },
        FingerprintCase { star: 2, ..FingerprintCase::default() },
        FingerprintCase { quarter: 4, ..FingerprintCase::default() },
    ];
    for (at, case) in cases.iter().enumerate() {
        assert_ne!(print(case), this, "case {at}");
    }
}

#[test]
fn another_image_is_another_fingerprint_where_it_ran() {
    let this = print(&FingerprintCase::default());
    assert_ne!(
        print(&FingerprintCase { images: &["sha256:a", "sha256:b", "sha256:u"], ..FingerprintCase::default() }),
        this
    );
    assert_ne!(
        print(&FingerprintCase { images: &["sha256:b", "sha256:a", "sha256:t"], ..FingerprintCase::default() }),
        this
    );
    assert_ne!(
        print(&FingerprintCase { images: &["sha256:a", "sha256:b"], ..FingerprintCase::default() }),
        this,
        "T did not run"
    );
    assert_ne!(
        print(&FingerprintCase { images: &["", "sha256:a", "sha256:t"], ..FingerprintCase::default() }),
        print(&FingerprintCase { images: &["sha256:a", "", "sha256:t"], ..FingerprintCase::default() }),
        "which module ran counts"
    );
}

#[test]
fn what_the_platform_or_operators_ended_has_no_fingerprint() {
    let ran_of = |states: [TaskState; 3]| {
        let mut row = Row::fresh(3);
        for (index, state) in (0..).map(ModuleIndex).zip(states) {
            row.set(index, Cell { state, tag: 1 });
        }
        ran(&row).map(|modules| modules.iter().map(|module| module.0).collect::<Vec<_>>())
    };
    use TaskState as T;
    assert_eq!(ran_of([T::Succeeded, T::Failed, T::UpstreamFailed]), Some(vec![0, 1]));
    assert_eq!(ran_of([T::Skipped, T::Skipped, T::Succeeded]), Some(vec![2]));
    for state in [T::Errored, T::Cancelled, T::Superseded, T::Queued, T::Waiting, T::Blocked] {
        assert_eq!(ran_of([T::Succeeded, T::Skipped, state]), None, "{state}");
    }
}

#[test]
fn another_definition_is_another_fingerprint() {
    let this = print(&FingerprintCase::default());
    for (old, new) in [
        ("command = ['run']", "command = ['run', 'x']"),
        ("W = '1'", "W = '2'"),
        ("steps = 5", "steps = 6"),
        ("params.least", "params.most"),
        ("n >= ", "n > "),
        ("inputs.mandatory = ['A']", "inputs.optional = ['A']"),
        ("inputs.optional = ['S', 'A@previous']", "inputs.optional = ['S']"),
        ("[['B', 'X']]", "[['X', 'B']]"),
        ("P.A.flag", "!P.A.flag"),
        ("outputs.mandatory", "outputs.optional"),
        ("outputs.mandatory", "after = ['B']\noutputs.mandatory"),
        ("outputs.mandatory", "trigger_rule = 'all_done'\noutputs.mandatory"),
        ("outputs.mandatory", "enabled = false\noutputs.mandatory"),
    ] {
        let changed = MODULE.replacen(old, new, 1);
        // Sources of an early or other kind may be declared once.
        let changed = if new == "inputs.optional = ['A']" {
            changed.replace("inputs.optional = ['S', 'A@previous']\n", "")
        } else {
            changed
        };
        assert_ne!(changed, MODULE, "{old}");
        assert_ne!(with(&changed), this, "{new}");
    }
}

#[test]
fn a_run_that_is_limited_to_a_group_is_another_matter() {
    let limited = pipeline(&format!("{MODULE}\ngroup = 'g'")).limited_to(&"g".parse().unwrap());
    let whole = FingerprintCase { pipeline: pipeline(&format!("{MODULE}\ngroup = 'g'")), ..FingerprintCase::default() };
    // A and B are upstream of T, so that all run either way.
    assert_eq!(print(&FingerprintCase { pipeline: limited, ..FingerprintCase::default() }), print(&whole));
    let other = pipeline(&format!("{MODULE}\ngroup = 'g'")).limited_to(&"none".parse().unwrap());
    assert_ne!(print(&FingerprintCase { pipeline: other, ..FingerprintCase::default() }), print(&whole));
}

#[test]
fn a_contract_has_another_version_where_it_promises_something_else_and_not_where_others_keep_it() {
    let of = |module: &str| {
        let pipeline = pipeline(module);
        let module = pipeline.modules.iter().find(|module| module.name.as_str() == "T").unwrap();
        contract_version(&pipeline, module)
    };
    let this = of(MODULE);
    assert_eq!(this.len(), 16);
    for (old, new) in [("['run']", "['walk']"), ("W = '1'", "W = '2'"), ("steps = 5", "steps = 6")] {
        assert_eq!(of(&MODULE.replace(old, new)), this, "{new}");
    }
    let changed =
        [("n >= ", "n > "), ("'S', ", ""), ("[['B', 'X']]", "[['X', 'B']]"), ("outputs.mandatory", "outputs.optional")];
    for (old, new) in changed {
        assert_ne!(of(&MODULE.replacen(old, new, 1)), this, "{new}");
    }
}
