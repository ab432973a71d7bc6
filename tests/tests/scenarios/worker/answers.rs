//! Outputs that need not be made: what becomes of those who read a nullable product of which there is none. And what a
//! container may get wrong in its output.

use std::collections::BTreeMap;

use domain::outcome::{FailureKind, Outcome};
use harness::base_image;
use worker::config::RunnerKind;

use super::field::{Field, light};
use super::{QUIET, failed, product, succeeded};

/// A answers for N, with data or with the reason why there is none, and makes X. Who asks for N finds out.
#[tokio::test]
async fn a_product_that_was_answered_by_a_reason_is_not_made_for_anybody() {
    let made = [
        ("mandatory", "succeeded"),
        ("optional", "succeeded and read N, X"),
        ("one_of", "succeeded and read N"),
        ("if_made", "succeeded and read X"),
        ("unless_made", "skipped (condition)"),
    ];
    let not_made = [
        ("mandatory", "skipped (not_made): N"),
        ("optional", "succeeded and read X"),
        ("one_of", "succeeded and read X"),
        ("if_made", "skipped (condition)"),
        ("unless_made", "succeeded and read X"),
    ];
    check_readers("true", made).await;
    check_readers("false", not_made).await;
}

/// Runs everybody who reads N or X of A, and checks how they end; light fails when its input is not as announced.
async fn check_readers(answer: &str, expected: [(&str, &str); 5]) {
    let mut field = Field::new(|dir| {
        let script = format!("{{ make = {{ N = {answer} }} }}");
        let a = "inputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"X\"]\noutputs.nullable = [\"N\"]";
        let reader =
            |name: &str, rest: &str| light(dir, name, QUIET, &format!("{rest}\noutputs.mandatory = [\"OF_{name}\"]"));
        [
            light(dir, "A", &script, a),
            reader("mandatory", "inputs.mandatory = [\"N\"]"),
            reader("optional", "inputs.mandatory = [\"X\"]\ninputs.optional = [\"N\", \"N@previous\"]"),
            reader("one_of", "inputs.one_of = [[\"N@previous\", \"N\", \"X\"]]"),
            reader("if_made", "run_if = 'made(\"N\")'\ninputs.mandatory = [\"X\"]"),
            reader("unless_made", "run_if = '!made(\"N\")'\ninputs.mandatory = [\"X\"]"),
        ]
        .concat()
    })
    .await;
    let worker = field.worker(|_| {}).await;
    let outcomes = field.outcomes().await;
    check_answer(&mut field, &outcomes, answer).await;
    for (reader, expected) in expected {
        let mut found = outcomes[reader].to_string();
        if let Outcome::Succeeded(success) = &outcomes[reader] {
            let file = product(&field, reader, &success.key);
            let provenance = field.agent().manifest(&file).await.unwrap().provenance.unwrap();
            let read = provenance.inputs.iter().filter(|input| input.digest.is_some());
            let mut read: Vec<&str> = read.map(|input| input.product.as_str()).collect();
            read.sort_unstable();
            found = format!("succeeded and read {}", read.join(", "));
        }
        assert!(found.starts_with(expected), "{reader} with N = {answer}: {found}, expected {expected}");
    }
    worker.stop();
    worker.ended().await;
}

/// The reason is kept with A's result, and no digest of what is not there is reported.
async fn check_answer(field: &mut Field, outcomes: &BTreeMap<String, Outcome>, answer: &str) {
    let success = succeeded(outcomes["A"].clone());
    let file = product(field, "A", &success.key);
    let manifest = field.agent().manifest(&file).await.unwrap();
    let reason = manifest.products[&"N".parse().unwrap()].not_produced.as_deref();
    let has_data = answer == "true";
    assert_eq!(reason, (!has_data).then_some("the script makes none"));
    assert_eq!(success.products.contains_key(&"N".parse().unwrap()), has_data);
}

/// Where several clauses of a contract choose one product it is staged once.
#[tokio::test]
async fn two_lists_of_alternatives_may_choose_the_same_product() {
    let mut field = Field::new(|dir| {
        let a = "inputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"X\"]";
        let b = "inputs.mandatory = [\"X\"]\ninputs.one_of = [[\"NEVER\", \"X\"], [\"X@previous\", \"LC\"], [\"X\"]]\n\
                 outputs.mandatory = [\"Y\"]";
        [light(dir, "A", QUIET, a), light(dir, "B", QUIET, b)].concat()
    })
    .await;
    let worker = field.worker(|_| {}).await;
    let outcomes = field.outcomes().await;
    succeeded(outcomes["B"].clone());
    worker.stop();
    worker.ended().await;
}

/// Under an older name a module may also write; what is committed has the name that counts.
#[tokio::test]
async fn an_output_under_an_older_name_is_committed_under_the_one_that_counts() {
    let mut field = Field::new(|dir| {
        let write = "import h5py, os; h5py.File(os.environ['SAS_OUTPUT'], 'w')['PRODUCTS/OLD X [1] /value'] = 1.0";
        let a = format!(
            "[modules.A]\nimage = \"none\"\ncommand = [\"/usr/bin/python3\", \"-c\", {write:?}]\ntime_limit = \"1m\"\n\
             inputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"OLD X [1] \"]\n"
        );
        a + &light(dir, "B", QUIET, "inputs.mandatory = [\"X1\"]\noutputs.mandatory = [\"Y\"]")
    })
    .await;
    let worker = field.worker(|_| {}).await;
    let outcomes = field.outcomes().await;
    let made = succeeded(outcomes["A"].clone()).products;
    assert_eq!(made.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["X1"]);
    succeeded(outcomes["B"].clone());
    worker.stop();
    worker.ended().await;
}

/// As with processes: the checks are the same, and so are kind and place.
#[tokio::test]
async fn in_containers_an_output_that_is_missing_undeclared_or_corrupt_is_the_modules_failure() {
    let output = "import h5py; o = h5py.File('/sas/out/output.h5', 'w'); ";
    let checks = [
        ("pass".to_owned(), FailureKind::OutputMissing, "output.h5 was not written"),
        (format!("{output}o.create_group('PRODUCTS')"), FailureKind::OutputMissing, "/PRODUCTS/X"),
        (
            format!("{output}o['PRODUCTS/X/v'] = 1.0; o['PRODUCTS/Y/v'] = 1.0"),
            FailureKind::OutputUndeclared,
            "/PRODUCTS/Y",
        ),
        ("open('/sas/out/output.h5', 'w').write('no HDF5')".to_owned(), FailureKind::OutputCorrupt, "output.h5"),
    ];
    for (program, kind, word) in checks {
        let mut field = Field::new(|_| {
            format!(
                "[modules.A]\nimage = {:?}\ncommand = [\"python3\", \"-c\", {program:?}]\nclass = \"default\"\n\
                 time_limit = \"1m\"\ninputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"X\"]",
                base_image()
            )
        })
        .await;
        let worker = field.worker(|config| config.runner = RunnerKind::Docker).await;
        let failure = failed(field.outcome("A").await);
        assert_eq!(failure.kind, kind, "{}", failure.message);
        assert!(failure.message.contains(word), "{:?} does not name {word:?}", failure.message);
        assert!(field.files("products").is_empty());
        worker.stop();
        worker.ended().await;
    }
}
