//! Outputs as weapons: each is a violation or costs the agent, and the next request is served.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use domain::outcome::FailureKind::{self, OutputCorrupt, OutputTooLarge, OutputUndeclared, UnsupportedType};
use store::agent::{AgentError, Check, Checked, OutputLimits, RefusalKind};

use crate::{Workbench, script};

/// Kinds of `hostile.py` and what is said of them. What is not here is in `flipped`.
const KINDS: [(&str, FailureKind, &str); 41] = [
    ("external_link", OutputCorrupt, "/PRODUCTS/X/value is an external link"),
    ("external_link_as_product", OutputCorrupt, "/PRODUCTS/X is a soft, external or user-defined link"),
    ("external_link_as_products", OutputCorrupt, "/PRODUCTS is a link"),
    ("soft_link", OutputCorrupt, "/PRODUCTS/X/value is a soft link"),
    ("soft_link_inside", OutputCorrupt, "/PRODUCTS/X/value is a soft link"),
    ("external_storage", OutputCorrupt, "/PRODUCTS/X/value is stored in other files"),
    ("virtual", OutputCorrupt, "/PRODUCTS/X/value is a virtual dataset"),
    ("sparse", OutputTooLarge, "[1250000000000]"),
    ("overflowing", OutputTooLarge, "[1099511627776, 1099511627776]"),
    ("huge_chunk", OutputTooLarge, "60000000"),
    ("deep", OutputTooLarge, "nested deeper than 16 groups"),
    ("cycle", OutputTooLarge, "nested deeper than 16 groups"),
    ("fan", OutputTooLarge, "/PRODUCTS/X"),
    ("many", OutputTooLarge, "more than 1000 objects"),
    ("filter_unknown", OutputCorrupt, "filter 32000"),
    ("filter_scale", OutputCorrupt, "filter 6"),
    ("named_type", OutputCorrupt, "neither a group nor a dataset"),
    ("reference", UnsupportedType, "/PRODUCTS/X/value has a type that is not supported: the type `reference`"),
    ("opaque", UnsupportedType, "the type `opaque`"),
    ("complex_number", UnsupportedType, "not IEEE"),
    ("half", UnsupportedType, "a float of 16 bits"),
    ("bomb", OutputTooLarge, "/PRODUCTS/X/value cannot be read: it takes more memory"),
    ("large_chunk", OutputTooLarge, "640000000 bytes at once"),
    ("large_chunk_of_little", OutputTooLarge, "4000000000 bytes at once"),
    ("columns_of_chunks", OutputTooLarge, "1600000000 bytes at once"),
    ("shared_text", OutputTooLarge, "more memory"),
    ("long_text", OutputTooLarge, "more memory"),
    ("long_list", OutputTooLarge, "more memory"),
    ("large_attribute", OutputTooLarge, "more than 16777216 bytes"),
    ("endless_heap", OutputCorrupt, ""),
    ("odd_name", OutputCorrupt, "not UTF-8"),
    ("outside", OutputUndeclared, "/elsewhere"),
    ("undeclared", OutputUndeclared, "/PRODUCTS/Y"),
    ("truncated", OutputCorrupt, "truncated"),
    ("random_bytes", OutputCorrupt, "signature"),
    ("random_tail", OutputCorrupt, "output.h5"),
    ("empty_file", OutputCorrupt, "signature"),
    ("symlink", OutputCorrupt, "not a regular file"),
    ("fifo", OutputCorrupt, "not a regular file"),
    ("directory", OutputCorrupt, "not a regular file"),
    ("flipped", OutputCorrupt, ""),
];

/// The kind over which the library goes round for ever: the kernel ends its agent when it has used its time.
const ENDLESS: &str = "endless_heap";

/// Long enough for the few seconds of a CPU that each may take, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// The names of all kinds.
pub(crate) fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(kind, ..)| *kind)
}

pub(crate) fn check(output: PathBuf) -> Check {
    Check {
        output,
        mandatory: vec!["X".parse().unwrap()],
        optional: vec![],
        nullable: vec![],
        conditional: vec![],
        aliases: Default::default(),
        model: Default::default(),
        strict_units: false,
        scalars_of: BTreeMap::new(),
        limits: OutputLimits { objects: 1000, ..OutputLimits::default() },
    }
}

#[tokio::test]
async fn every_hostile_output_is_a_violation_that_says_what_is_wrong() {
    let listed = script("hostile.py", &["list".as_ref()]);
    let mut listed: Vec<&str> = listed.lines().collect();
    let mut known: Vec<&str> = KINDS.iter().map(|(kind, ..)| *kind).collect();
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);

    let mut bench = Workbench::with_deadline(PATIENCE);
    for (kind, expected, words) in KINDS.into_iter().filter(|(kind, ..)| *kind != "flipped") {
        let output = bench.path(kind).join("output.h5");
        std::fs::create_dir(output.parent().unwrap()).unwrap();
        script("hostile.py", &[kind.as_ref(), &output]);
        let answer = bench.seal(check(output)).await;
        if kind == ENDLESS {
            assert!(matches!(answer, Err(AgentError::Overspent { .. })), "{kind}: {answer:?}");
            continue;
        }
        let Checked { violation, .. } = answer.unwrap();
        let violation = violation.unwrap_or_else(|| panic!("{kind} passed"));
        assert_eq!(violation.kind, expected, "{kind}: {}", violation.message);
        assert!(violation.message.contains(words), "{kind}: {}", violation.message);
    }
}

#[tokio::test]
async fn flipped_bits_cost_no_more_than_the_agent() {
    let mut bench = Workbench::with_deadline(Duration::from_secs(3));
    let output = bench.path("output.h5");
    script("hostile.py", &["flipped".as_ref(), &output]);
    let (mut refused, mut passed) = (0, 0);
    for index in 0..200 {
        match bench.seal(check(flipped(&bench, index))).await {
            Ok(Checked { violation: Some(_), .. })
            | Err(AgentError::Died { .. } | AgentError::Hung { .. } | AgentError::Overspent { .. }) => {
                refused += 1;
            }
            // The bits changed values, or nothing that is read.
            Ok(_) => passed += 1,
            // What cannot be copied is damaged: writing goes well.
            Err(AgentError::Refused(refusal)) if refusal.kind == RefusalKind::Damaged => refused += 1,
            Err(error) => panic!("{index}: {error}"),
        }
        let good = bench.seal(check(output.clone())).await.unwrap();
        assert_eq!(good.violation, None, "after {index}");
    }
    assert!(refused > 50 && passed > 10, "{refused} refused, {passed} passed");
}

fn flipped(bench: &Workbench, index: u32) -> PathBuf {
    bench.path(&format!("output.h5.d/{index}.h5"))
}
