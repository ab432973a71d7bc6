//! What a worker makes of a task: every end that an attempt can have, and what is left behind afterwards.

mod ahead;
mod answers;
mod committing;
mod field;
mod overspent;
mod rewritten;
mod serving;
mod stopping;
mod trouble;

use std::path::Path;

use domain::id::Key;
use domain::message::Report;
use domain::outcome::{Failure, FailureKind, Outcome, PlatformErrorKind, Skip, Success};
use domain::run::TaskState;
use field::{Field, PATIENCE, QUARTER, light};
use harness::{base_image, wait_until};
use services::queue::{Outgoing, Queue, QueueName};
use services::state::State;
use store::agent::WantedScalars;
use store::paths;
use worker::config::RunnerKind;

const QUIET: &str = "\"quiet\"";

fn script(act: &str) -> String {
    format!("{{ modules = {{ \"*\" = {act} }} }}")
}

/// One module that reads the external and makes `X`.
fn one(dir: &Path, act: &str, rest: &str) -> String {
    light(dir, "A", &script(act), &format!("inputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"X\"]\n{rest}"))
}

fn succeeded(outcome: Outcome) -> Success {
    let Outcome::Succeeded(success) = outcome else { panic!("{outcome}") };
    success
}

fn failed(outcome: Outcome) -> Failure {
    let Outcome::Failed(failure) = outcome else { panic!("{outcome}") };
    failure
}

fn product(field: &Field, module: &str, key: &Key) -> std::path::PathBuf {
    field.store.at(paths::product(field.star, QUARTER.try_into().unwrap(), &module.parse().unwrap(), key))
}

/// Runs module `A` of one module once and stops the worker.
async fn run_one(act: &str, rest: &str) -> (Field, Outcome) {
    let mut field = Field::new(|dir| one(dir, act, rest)).await;
    let worker = field.worker(|_| {}).await;
    let outcome = field.outcome("A").await;
    worker.stop();
    worker.ended().await;
    (field, outcome)
}

async fn check_failure(act: &str, rest: &str, expected: FailureKind, word: &str) {
    let (field, outcome) = run_one(act, rest).await;
    let failure = failed(outcome);
    assert_eq!(failure.kind, expected, "{}", failure.message);
    assert!(failure.message.contains(word), "{:?} does not name {word:?}", failure.message);
    assert!(field.files("products").is_empty());
    let quarter = QUARTER.try_into().unwrap();
    let recorded = field.store.failures(field.star, quarter).unwrap();
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].outcome, Outcome::Failed(failure));
    assert!(recorded[0].key.is_some());
}

/// LC → A → X → B → Y; C waits for a condition on X, D for what was never delivered, E takes the first that is there.
#[tokio::test]
async fn a_star_runs_to_its_end_and_every_module_finds_what_its_contract_promises() {
    let mut field = Field::new(|dir| {
        let values = "{ values = { X = { flag = true, level = 2 } } }";
        [
            light(
                dir,
                "A",
                values,
                "inputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"X\"]\noutputs.optional = [\"O\"]",
            ),
            light(
                dir,
                "B",
                QUIET,
                "inputs.mandatory = [\"X\"]\ninputs.optional = [\"LC\", \"NEVER\"]\noutputs.mandatory = [\"Y\"]",
            ),
            light(
                dir,
                "C",
                QUIET,
                "run_if = \"P.X.level > 5\"\ninputs.mandatory = [\"X\"]\noutputs.mandatory = [\"Z\"]",
            ),
            light(dir, "D", QUIET, "inputs.mandatory = [\"NEVER\"]\noutputs.mandatory = [\"N\"]"),
            light(
                dir,
                "E",
                QUIET,
                "inputs.mandatory = [\"Y\"]\ninputs.one_of = [[\"X@previous\", \"Z\", \"X\"]]\n\
                 inputs.conditional = [{ product = \"LC\", when = \"P.X.flag\" }]\noutputs.mandatory = [\"W\"]",
            ),
        ]
        .concat()
    })
    .await;
    let worker = field.worker(|_| {}).await;
    let outcomes = field.outcomes().await;
    assert_eq!(outcomes["D"], Outcome::Skipped(Skip::MissingExternal { product: "NEVER".to_owned() }));
    let Outcome::Skipped(Skip::Condition { detail }) = &outcomes["C"] else { panic!("{}", outcomes["C"]) };
    assert!(detail.contains("P.X.level > 5") && detail.contains("X.level = 2"), "{detail}");
    // A light module ends with a code of its own when anything about its input differs from its contract.
    let [a, b, e] = ["A", "B", "E"].map(|name| succeeded(outcomes[name].clone()));
    assert_eq!(field.files("products").len(), 3);
    field.cleaned_up(&worker).await;

    let file = product(&field, "E", &e.key);
    let manifest = field.agent().manifest(&file).await.unwrap();
    let provenance = manifest.provenance.expect("a result says how it was made");
    let read: Vec<(&str, Option<String>)> =
        provenance.inputs.iter().map(|input| (input.product.as_str(), input.absent.clone())).collect();
    assert!(read.contains(&("Y", None)) && read.contains(&("X", None)) && read.contains(&("LC", None)), "{read:?}");
    assert!(read.contains(&("Z", Some("not_made".to_owned()))), "{read:?}");
    let digest = |name: &str| {
        provenance.inputs.iter().find(|input| input.product.as_str() == name && input.digest.is_some()).unwrap().digest
    };
    assert_eq!(digest("Y"), b.products.get(&"Y".parse().unwrap()).copied());
    assert_eq!(digest("X"), a.products.get(&"X".parse().unwrap()).copied());
    assert_eq!(provenance.expressions["X.flag"], serde_json::json!(true));
    assert_eq!((provenance.worker.as_str(), provenance.host.as_str()), (worker.name.as_str(), "here"));

    worker.stop();
    worker.ended().await;
    let left = std::fs::read_dir(field.store.at("scratch")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("here-")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(field.state.workers().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_external_under_an_older_name_is_found_by_the_alias() {
    let mut field =
        Field::new(|dir| light(dir, "A", QUIET, "inputs.mandatory = [\"METALLICITY\"]\noutputs.mandatory = [\"X\"]"))
            .await;
    let worker = field.worker(|_| {}).await;
    let success = succeeded(field.outcome("A").await);
    let file = product(&field, "A", &success.key);
    let manifest = field.agent().manifest(&file).await.unwrap();
    let inputs = manifest.provenance.unwrap().inputs;
    assert_eq!(inputs.iter().map(|input| input.product.as_str()).collect::<Vec<_>>(), ["METALLICITY"]);
    worker.stop();
    worker.ended().await;
}

#[tokio::test]
async fn a_key_that_is_in_the_store_ends_the_attempt_without_a_container() {
    // Other values every time: only a result that is used again can be equal.
    let mut field = Field::new(|dir| one(dir, "{ fail = \"nondeterministic\" }", "")).await;
    let worker = field.worker(|_| {}).await;
    let first = succeeded(field.outcome("A").await);
    assert!(!first.reused);
    field.begin("second").await;
    let second = succeeded(field.outcome("A").await);
    assert_eq!(second, Success { reused: true, ..first });
    worker.stop();
    worker.ended().await;
}

/// A result that was taken away, and comes back while the same is computed again.
#[tokio::test]
async fn of_two_results_under_one_key_the_first_counts_and_the_difference_is_reported() {
    let mut field = Field::new(|dir| one(dir, "{ fail = \"nondeterministic\", seconds = 2 }", "")).await;
    let worker = field.worker(|_| {}).await;
    let first = succeeded(field.outcome("A").await);
    assert!(!first.nondeterministic);
    let file = product(&field, "A", &first.key);
    let away = file.with_extension("away");
    std::fs::rename(&file, &away).unwrap();
    field.begin("second").await;
    wait_until(PATIENCE, "A is under way again", async || !field.attempts(&worker).is_empty()).await.unwrap();
    std::fs::rename(&away, &file).unwrap();
    assert_eq!(succeeded(field.outcome("A").await), Success { nondeterministic: true, ..first });
    worker.stop();
    worker.ended().await;
}

#[tokio::test]
async fn a_module_that_asks_for_it_is_tried_again() {
    let mut field = Field::new(|dir| {
        let retry = "retry = { max_attempts = 3, backoff = \"1s\" }";
        one(dir, "{ fail = \"exit 75\", attempts = 2 }", retry)
    })
    .await;
    let worker = field.worker(|_| {}).await;
    for _ in 0..2 {
        let failure = failed(field.outcome("A").await);
        assert_eq!((failure.kind, failure.exit_code), (FailureKind::TryAgain, Some(75)));
    }
    succeeded(field.outcome("A").await);
    assert_eq!(field.state_of("A").await, TaskState::Succeeded);
    worker.stop();
    worker.ended().await;
}

#[tokio::test]
async fn what_a_module_does_wrong_is_its_failure_with_kind_and_place() {
    let checks = [
        ("{ fail = \"exit 3\" }", FailureKind::Exit, "exit code 3"),
        ("{ fail = \"signal SEGV\" }", FailureKind::Signal, "signal 11"),
        ("{ fail = \"no_output\" }", FailureKind::OutputMissing, "output.h5 was not written"),
        ("{ fail = \"missing\" }", FailureKind::OutputMissing, "/PRODUCTS/X"),
        ("{ fail = \"undeclared\" }", FailureKind::OutputUndeclared, "LIGHT_UNDECLARED"),
        ("{ fail = \"outside\" }", FailureKind::OutputUndeclared, "/EXTERNALS"),
        ("{ fail = \"corrupt\" }", FailureKind::OutputCorrupt, "output.h5"),
        ("{ fail = \"truncated\" }", FailureKind::OutputCorrupt, "output.h5"),
        ("{ fail = \"link\" }", FailureKind::OutputCorrupt, "/PRODUCTS/X"),
    ];
    for (act, kind, word) in checks {
        check_failure(act, "", kind, word).await;
    }
    check_failure("{ fail = \"hang\" }", "time_limit = \"1s\"", FailureKind::TimeLimit, "1s").await;
}

#[tokio::test]
async fn a_condition_over_own_outputs_is_held_against_what_was_written() {
    let conditional = "outputs.conditional = [{ product = \"C\", when = \"P.X.more\" }]";
    for (more, made, expected) in [
        ("True", "True", None),
        ("False", "False", None),
        ("True", "False", Some((FailureKind::OutputMissing, "/PRODUCTS/C is missing"))),
        ("False", "True", Some((FailureKind::OutputUndeclared, "/PRODUCTS/C is there"))),
    ] {
        let program = format!(
            "import h5py, os; f = h5py.File(os.environ['SAS_OUTPUT'], 'w'); f['PRODUCTS/X/more'] = {more}; \
             {made} and f.create_dataset('PRODUCTS/C/value', data=1.0)"
        );
        let mut field = Field::new(|_| {
            format!(
                "[modules.A]\nimage = \"none\"\ncommand = [\"/usr/bin/python3\", \"-c\", {program:?}]\nclass = \"default\"\n\
                 time_limit = \"1m\"\ninputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"X\"]\n{conditional}"
            )
        })
        .await;
        let worker = field.worker(|_| {}).await;
        let outcome = field.outcome("A").await;
        match expected {
            None => drop(succeeded(outcome)),
            Some((kind, word)) => {
                let failure = failed(outcome);
                assert_eq!(failure.kind, kind);
                assert!(failure.message.contains(word), "{}", failure.message);
            }
        }
        worker.stop();
        worker.ended().await;
    }
}

#[tokio::test]
async fn an_input_that_is_lost_is_the_platforms_trouble() {
    let mut field = Field::new(|dir| {
        [one(dir, "{}", ""), light(dir, "B", QUIET, "inputs.mandatory = [\"X\"]\noutputs.mandatory = [\"Y\"]")].concat()
    })
    .await;
    let first = field.worker(|config| config.grace = PATIENCE).await;
    wait_until(PATIENCE, "A is under way", async || !field.attempts(&first).is_empty()).await.unwrap();
    first.stop();
    first.ended().await;
    let success = succeeded(field.outcome("A").await);
    std::fs::remove_file(product(&field, "A", &success.key)).unwrap();
    let worker = field.worker(|_| {}).await;
    let outcome = field.outcome("B").await;
    let Outcome::Errored(error) = outcome else { panic!("{outcome}") };
    assert_eq!(error.kind, PlatformErrorKind::InputLost);
    assert!(error.message.contains("not there after 1 s"), "{}", error.message);
    worker.stop();
    worker.ended().await;
}

#[tokio::test]
async fn messages_that_make_no_sense_disturb_nobody() {
    let mut field = Field::new(|dir| one(dir, "{}", "")).await;
    let queue = || QueueName::Tasks("default".parse().unwrap());
    let run = field.run;
    let odd = [
        "not json".to_owned(),
        format!(r#"{{"v":1,"epoch":1,"run":"{run}","star":0,"module":200,"name":"{}","attempt":1}}"#, field.star),
        format!(r#"{{"v":1,"epoch":1,"run":"{run}","star":77,"module":0,"name":"{}","attempt":1}}"#, field.star),
        format!(r#"{{"v":9,"epoch":1,"run":"{run}","star":0,"module":0,"name":"{}","attempt":1}}"#, field.star),
    ];
    let unknown = format!(
        r#"{{"v":1,"epoch":1,"run":"{}","star":0,"module":0,"name":"{}","attempt":1}}"#,
        domain::id::RunId::of(domain::id::EventId::of("x", "y"), "P", "1"),
        field.star
    );
    let late = format!(r#"{{"v":1,"epoch":1,"run":"{run}","star":0,"module":0,"name":"{}","attempt":9}}"#, field.star);
    let bodies = odd.iter().chain([&unknown, &late]);
    let messages =
        bodies.map(|body| Outgoing { queue: queue(), body: body.clone().into_bytes(), trace: None }).collect();
    assert!(field.queue.publish(messages).await.iter().all(Result::is_ok));
    let worker = field.worker(|_| {}).await;
    succeeded(field.outcome("A").await);
    wait_until(PATIENCE, "what cannot be read is among the dead letters", async || {
        let depths = field.queue.depths(&[QueueName::Dead, queue()]).await.unwrap();
        depths.iter().map(|depth| depth.ready).collect::<Vec<_>>() == [odd.len() as u64, 0]
    })
    .await
    .unwrap();
    worker.stop();
    worker.ended().await;
}

/// The whole path in containers: 64 MB and 128 MB are too little, 256 MB are enough.
#[tokio::test]
async fn in_containers_an_attempt_that_ran_out_of_memory_gets_more_the_next_time() {
    let program = "import h5py, os; eat = bytearray(140 << 20); eat[::4096] = b'x' * len(eat[::4096]); \
                   i = h5py.File('/sas/in/input.h5'); o = h5py.File('/sas/out/output.h5', 'w'); \
                   o['PRODUCTS/X/sum'] = i['EXTERNALS/LC/flux'][()].sum(); \
                   print('given', os.environ['SAS_MEMORY_BYTES'], 'seed', os.environ['SAS_SEED'])";
    let mut field = Field::new(|_| {
        format!(
            "[modules.A]\nimage = {:?}\ncommand = [\"python3\", \"-c\", {program:?}]\nclass = \"default\"\nmemory = \"64MB\"\n\
             time_limit = \"1m\"\nretry = {{ max_attempts = 3, backoff = \"1s\" }}\n\
             inputs.mandatory = [\"LC\"]\noutputs.mandatory = [\"X\"]",
            base_image()
        )
    })
    .await;
    let worker = field.worker(|config| config.runner = RunnerKind::Docker).await;
    for _ in 0..2 {
        let failure = failed(field.outcome("A").await);
        assert_eq!(failure.kind, FailureKind::OutOfMemory, "{}", failure.message);
    }
    let success = succeeded(field.outcome("A").await);
    let at = store::agent::At { file: product(&field, "A", &success.key), path: "/PRODUCTS/X".to_owned() };
    let read = field.agent().scalars(vec![WantedScalars { at, columns: None }]).await.unwrap();
    assert_eq!(read[0].scalars["sum"], store::agent::Scalar::Float(6.0));
    worker.stop();
    worker.ended().await;
}

/// A → X → B. What is amended is seen by the attempts that are claimed after it, and by no other.
#[tokio::test]
async fn an_attempt_runs_the_image_that_was_amended_before_its_claim() {
    let mut field = Field::new(|dir| {
        let a = one(dir, "{}", "");
        let rest = "inputs.mandatory = [\"X\"]\noutputs.mandatory = [\"Y\"]\n";
        [a, light(dir, "B", &script("{}"), rest)].join("\n")
    })
    .await;
    field.amend("A", "first").await;
    let worker = field.worker(|_| {}).await;
    let a = field.committed_by("A").await;
    assert_eq!(field.made_with(&a).await, ("first".parse().unwrap(), "process:first".parse().unwrap()));
    // The worker knows the run by now, and must look again.
    field.amend("B", "second").await;
    succeeded(field.outcome("A").await);
    let key = succeeded(field.outcome("B").await).key;
    let b = product(&field, "B", &key);
    assert_eq!(field.made_with(&b).await, ("second".parse().unwrap(), "process:second".parse().unwrap()));
    worker.stop();
    worker.ended().await;
}

/// Nobody may ever build on an attempt that leaves nothing.
#[tokio::test]
async fn a_dispatch_runner_makes_nothing_and_only_for_runs_that_make_no_star_files() {
    let mut field = Field::new(|dir| one(dir, QUIET, "group = \"G\"")).await;
    let worker = field.worker(|config| config.runner = RunnerKind::Dispatch).await;
    let of_all_groups = field.completion().await.result;
    assert_eq!(of_all_groups, Report::GivenBack, "it costs no try");
    field.only_group = Some("G".parse().unwrap());
    field.begin("limited").await;
    let outcome = loop {
        // What was given back before the second run began may come again.
        if let Report::Ended(outcome) = field.completion().await.result {
            break outcome;
        }
    };
    let success = succeeded(outcome);
    assert!(success.products.is_empty() && !product(&field, "A", &success.key).exists());
    assert!(field.files("products").is_empty() && field.files("generations").is_empty());
    worker.stop();
    worker.ended().await;
}
