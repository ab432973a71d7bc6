//! What an outcome means for a task: the module's retry policy, and the words for what states alone decided.
//!
//! Pure.

use std::fmt::Write as _;

use domain::id::{Attempt, ModuleIndex};
use domain::outcome::{Outcome, Skip};
use domain::pipeline::{Module, Pipeline};
use domain::product::Source;
use domain::run::{Cause, Row, TaskState, Verdict};

/// What the core is told of an attempt of a module that ended.
pub(crate) fn verdict(pipeline: &Pipeline, module: &Module, attempt: Attempt, outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Succeeded(_) => Verdict::Succeeded,
        Outcome::Skipped(_) => Verdict::Skipped,
        Outcome::UpstreamFailed { .. } => Verdict::UpstreamFailed,
        Outcome::Failed(failure) => Verdict::Failed { again: pipeline.is_worth_another_try(module, attempt, failure) },
        Outcome::Errored(_) => Verdict::Errored,
    }
}

/// How a task ended that was settled without an attempt, when the star's tasks are as `row` says.
pub(crate) fn outcome_of(pipeline: &Pipeline, row: &Row, module: ModuleIndex, cause: Cause) -> Outcome {
    let lost = |lost: String| Outcome::UpstreamFailed { lost };
    match cause {
        Cause::Disabled => Outcome::Skipped(match &pipeline.module(module).outside_of {
            Some(group) => Skip::NotOfGroup { group: group.clone() },
            None => Skip::Disabled,
        }),
        Cause::Condition => Outcome::Skipped(Skip::Condition { detail: condition(pipeline, row, module) }),
        Cause::NotMade(producer) => {
            Outcome::Skipped(Skip::NotMade { product: mandatory_from(pipeline, module, producer) })
        }
        Cause::Lost(producer) => {
            let product = mandatory_from(pipeline, module, producer);
            lost(format!("{product} of {}", pipeline.module(producer).name))
        }
        Cause::ConditionLost => lost(condition(pipeline, row, module)),
        Cause::RuleSkips(rule) => Outcome::Skipped(Skip::TriggerRule { rule: rule.to_string() }),
        Cause::RuleFails(rule) => lost(format!("trigger rule {rule}")),
    }
}

/// A module's condition on one line, with what it looks at and no module made.
fn condition(pipeline: &Pipeline, row: &Row, module: ModuleIndex) -> String {
    let Some(condition) = &pipeline.module(module).run_if else { return "run_if".to_owned() };
    let mut detail = condition.text().split_whitespace().collect::<Vec<_>>().join(" ");
    for read in condition.reads() {
        let producer = read.source.producer();
        let state = producer.map(|producer| row.cell(producer).state);
        if let Some((producer, state)) = producer.zip(state.filter(|state| *state != TaskState::Succeeded)) {
            let absent = if state.is_lost() { "lost" } else { "not made" };
            _ = write!(detail, "; {read} {absent}: {} {state}", pipeline.module(producer).name);
        }
    }
    detail
}

/// The mandatory inputs of a module that another one makes.
fn mandatory_from(pipeline: &Pipeline, module: ModuleIndex, producer: ModuleIndex) -> String {
    let inputs = pipeline.module(module).inputs.mandatory.iter();
    let names: Vec<String> =
        inputs.filter(|source| Source::producer(source) == Some(producer)).map(ToString::to_string).collect();
    if names.is_empty() { pipeline.module(producer).name.to_string() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use domain::outcome::{Failure, FailureKind, PlatformError, PlatformErrorKind};
    use domain::pipeline::load;
    use domain::run::Cell;

    use super::*;

    const PIPELINE: &str = "
name = 'P'
version = '1'
trigger = 'l1/lightcurve'
[externals]
star = ['LC']
[classes.default]
cpus = 1
memory = '1GB'
[modules.A]
image = 'i'
class = 'default'
memory = '300MB'
time_limit = '1m'
inputs.mandatory = ['LC']
outputs.mandatory = ['X']
retry = { retry_on = [3, 139] }
[modules.B]
image = 'i'
class = 'default'
time_limit = '1m'
run_if = 'made(\"X\")'
inputs.mandatory = ['X']
outputs.mandatory = ['Y']
";

    fn pipeline() -> Pipeline {
        load("p.toml", PIPELINE, None).unwrap()
    }

    fn failed(kind: FailureKind, exit_code: Option<i64>) -> Outcome {
        Outcome::Failed(Failure { kind, message: String::new(), exit_code, log_tail: String::new() })
    }

    #[test]
    fn only_what_may_end_differently_is_tried_again() {
        let pipeline = pipeline();
        let (a, b) = (pipeline.module(ModuleIndex(0)), pipeline.module(ModuleIndex(1)));
        for (outcome, expected) in [
            (failed(FailureKind::TryAgain, Some(75)), Verdict::Failed { again: true }),
            (failed(FailureKind::Exit, Some(3)), Verdict::Failed { again: true }),
            (failed(FailureKind::Exit, Some(1)), Verdict::Failed { again: false }),
            (failed(FailureKind::Signal, Some(139)), Verdict::Failed { again: true }),
            (failed(FailureKind::Signal, Some(137)), Verdict::Failed { again: false }),
            (failed(FailureKind::TimeLimit, None), Verdict::Failed { again: false }),
            (failed(FailureKind::OutputMissing, None), Verdict::Failed { again: false }),
            (Outcome::UpstreamFailed { lost: "X".to_owned() }, Verdict::UpstreamFailed),
            (Outcome::Skipped(Skip::Disabled), Verdict::Skipped),
        ] {
            assert_eq!(verdict(&pipeline, a, Attempt(1), &outcome), expected, "{outcome}");
        }
        // A begins with 300 MB of its class's 1 GB: 600 MB, 1 GB, and there is no more. B has all of it from the start.
        let out_of_memory = failed(FailureKind::OutOfMemory, None);
        for (module, attempt, again) in [(a, 1, true), (a, 2, true), (a, 3, false), (a, 90, false), (b, 1, false)] {
            let verdict = verdict(&pipeline, module, Attempt(attempt), &out_of_memory);
            assert_eq!(verdict, Verdict::Failed { again }, "{} {attempt}", module.name);
        }
    }

    #[test]
    fn the_platforms_trouble_is_never_blamed_on_the_module() {
        let trouble = PlatformError::new(PlatformErrorKind::ImageMissing, "");
        let pipeline = pipeline();
        let verdict = verdict(&pipeline, pipeline.module(ModuleIndex(0)), Attempt(1), &Outcome::Errored(trouble));
        assert_eq!(verdict, Verdict::Errored);
    }

    #[test]
    fn what_states_decided_names_product_and_producer() {
        let pipeline = pipeline();
        let (a, b) = (ModuleIndex(0), ModuleIndex(1));
        let mut row = Row::fresh(2);
        row.set(a, Cell { state: TaskState::Skipped, tag: 1 });
        let skipped = outcome_of(&pipeline, &row, b, Cause::Condition).to_string();
        assert_eq!(skipped, "skipped (condition): made(\"X\"); made(X) not made: A skipped");
        assert_eq!(outcome_of(&pipeline, &row, b, Cause::NotMade(a)).to_string(), "skipped (not_made): X");
        assert_eq!(outcome_of(&pipeline, &row, b, Cause::Lost(a)).to_string(), "upstream failed: X of A");
    }
}
