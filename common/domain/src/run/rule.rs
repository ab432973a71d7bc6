//! When a blocked task runs, is skipped or is given up, decided from the states of its upstream tasks alone.
//!
//! `contract` is the project's own rule; the others have Airflow's names and meanings. Positive answers of the early
//! rules come as soon as they are certain; everything else waits until all upstream tasks are settled, so that timing
//! never enters a result.

use serde::{Deserialize, Serialize};

use crate::id::ModuleIndex;
use crate::run::{Formula, Node, Row, TaskState, Truth};

/// When a module runs.
#[derive(Debug, Clone)]
pub enum Rule {
    /// By its contract.
    Contract(StateNeeds),
    /// By one of Airflow's rules, once these are settled: the upstream modules whose products it cannot do without. So what
    /// an early rule finds of them does not depend on timing.
    Airflow(TriggerRule, Vec<ModuleIndex>),
}

/// The part of a contract that states can decide.
#[derive(Debug, Clone, Default)]
pub struct StateNeeds {
    /// Its `run_if`.
    pub run_if: Option<Formula>,
    /// Producers of its mandatory inputs, switched-off ones included.
    pub mandatory: Vec<ModuleIndex>,
}

/// Airflow's trigger rules.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::EnumString, strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TriggerRule {
    /// All upstream succeeded.
    AllSuccess,
    /// All upstream failed.
    AllFailed,
    /// All upstream ended.
    AllDone,
    /// All upstream ended, at least one in success.
    AllDoneMinOneSuccess,
    /// All upstream were skipped.
    AllSkipped,
    /// One succeeded; does not wait for the others.
    OneSuccess,
    /// One failed; does not wait for the others.
    OneFailed,
    /// One succeeded or failed itself; does not wait for the others.
    OneDone,
    /// All upstream ended and none failed.
    NoneFailed,
    /// All upstream ended, none failed and at least one succeeded.
    NoneFailedMinOneSuccess,
    /// All upstream ended and none was skipped.
    NoneSkipped,
    /// At once.
    Always,
}

impl TriggerRule {
    /// Whether it can say yes before all upstream tasks are settled.
    pub const fn is_early(self) -> bool {
        matches!(self, Self::OneSuccess | Self::OneFailed | Self::OneDone | Self::Always)
    }
}

/// Why a task was settled without running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The pipeline has it switched off.
    Disabled,
    /// Its `run_if` is false whatever the products hold.
    Condition,
    /// The producer of a mandatory input was skipped.
    NotMade(ModuleIndex),
    /// The producer of a mandatory input failed.
    Lost(ModuleIndex),
    /// Its `run_if` cannot be answered: what it names was lost to a failure.
    ConditionLost,
    /// Its trigger rule cannot hold any more.
    RuleSkips(TriggerRule),
    /// Its trigger rule cannot hold any more because of a failure.
    RuleFails(TriggerRule),
}

impl Cause {
    /// The state in which it settles the task.
    pub const fn state(self) -> TaskState {
        match self {
            Self::Disabled | Self::Condition | Self::NotMade(_) | Self::RuleSkips(_) => TaskState::Skipped,
            Self::Lost(_) | Self::ConditionLost | Self::RuleFails(_) => TaskState::UpstreamFailed,
        }
    }
}

/// What states say of a blocked task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// Wait.
    Undecided,
    /// Queue it; what needs content the worker decides.
    Run,
    /// It ends here.
    Settle(Cause),
}

/// Decides a blocked task from the states in `row`.
pub fn decide(node: &Node, row: &Row) -> Ruling {
    if !node.enabled {
        return Ruling::Settle(Cause::Disabled);
    }
    let settled = |modules: &[ModuleIndex]| modules.iter().all(|&module| row.cell(module).state.is_settled());
    let all_settled = settled(&node.upstream);
    match &node.rule {
        Rule::Contract(_) if !all_settled => Ruling::Undecided,
        Rule::Contract(needs) => by_contract(needs, row),
        Rule::Airflow(_, needed) if !settled(needed) => Ruling::Undecided,
        Rule::Airflow(rule, _) => airflow(*rule, &UpstreamTally::of(&node.upstream, row), all_settled),
    }
}

/// `run_if` first, then mandatory inputs, a failure before a skip. What is not certain here the worker decides in the
/// same order.
fn by_contract(needs: &StateNeeds, row: &Row) -> Ruling {
    match needs.run_if.as_ref().map_or(Truth::True, |formula| formula.truth(row)) {
        Truth::False => return Ruling::Settle(Cause::Condition),
        Truth::Lost => return Ruling::Settle(Cause::ConditionLost),
        Truth::Unknown => return Ruling::Run,
        Truth::True => {}
    }
    let producer =
        |wanted: fn(TaskState) -> bool| needs.mandatory.iter().copied().find(|&module| wanted(row.cell(module).state));
    if let Some(module) = producer(TaskState::is_lost) {
        Ruling::Settle(Cause::Lost(module))
    } else if let Some(module) = producer(|state| state == TaskState::Skipped) {
        Ruling::Settle(Cause::NotMade(module))
    } else {
        Ruling::Run
    }
}

struct UpstreamTally {
    all: usize,
    succeeded: usize,
    failed: usize,
    /// Of the failed, those that failed because of something upstream.
    below_failed: usize,
    skipped: usize,
}

impl UpstreamTally {
    fn of(upstream: &[ModuleIndex], row: &Row) -> Self {
        let count = |wanted: fn(TaskState) -> bool| upstream.iter().filter(|m| wanted(row.cell(**m).state)).count();
        Self {
            all: upstream.len(),
            succeeded: count(|state| state == TaskState::Succeeded),
            failed: count(TaskState::is_lost),
            below_failed: count(|state| state == TaskState::UpstreamFailed),
            skipped: count(|state| state == TaskState::Skipped),
        }
    }
}

fn airflow(rule: TriggerRule, tally: &UpstreamTally, all_settled: bool) -> Ruling {
    use TriggerRule as R;
    let &UpstreamTally { all, succeeded, failed, below_failed, skipped } = tally;
    let holds = match rule {
        R::Always => true,
        _ if all == 0 => true,
        R::OneSuccess => succeeded > 0,
        R::OneFailed => failed > 0,
        R::OneDone => succeeded + failed > below_failed,
        _ if !all_settled => false,
        R::AllSuccess => succeeded == all,
        R::AllFailed => failed == all,
        R::AllDone => true,
        R::AllDoneMinOneSuccess => succeeded > 0,
        R::AllSkipped => skipped == all,
        R::NoneFailed => failed == 0,
        R::NoneFailedMinOneSuccess => failed == 0 && succeeded > 0,
        R::NoneSkipped => skipped == 0,
    };
    if holds {
        return Ruling::Run;
    }
    if !all_settled {
        return Ruling::Undecided;
    }
    let blames_failure = match rule {
        R::AllSuccess | R::AllDoneMinOneSuccess | R::OneSuccess | R::NoneFailed | R::NoneFailedMinOneSuccess => {
            failed > 0
        }
        R::AllFailed | R::AllDone | R::AllSkipped | R::OneFailed | R::OneDone | R::NoneSkipped | R::Always => false,
    };
    Ruling::Settle(if blames_failure { Cause::RuleFails(rule) } else { Cause::RuleSkips(rule) })
}
