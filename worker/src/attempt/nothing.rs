//! Nothing: an attempt of a runner that leaves nothing ends before anything is looked at, staged or committed.

use std::collections::BTreeMap;

use domain::contract::{self, Staging};
use domain::outcome::{Outcome, Success};
use store::runs::RunRecord;

use super::desk::{Desk, Order};
use super::ending::Ending;
use super::identity::program;
use crate::runner::{Effect, SharedRunner};

/// Why this runner may have no attempts of a run; it may have them of one that makes no star files, for these would lack what is
/// said to be made.
pub(crate) fn refusal(runner: &SharedRunner, run: &RunRecord) -> Option<&'static str> {
    let makes_star_files = run.only_group.is_none();
    (runner.effect() == Effect::Nothing && makes_star_files).then_some(
        "the worker has `runner = \"dispatch\"`, which makes no results: only runs that are limited to a group \
         (`sas run start --only-group`) may have such attempts",
    )
}

/// How such an attempt ends: well, with a key that no result has.
pub(super) async fn end(desk: &Desk, order: &Order) -> Result<Outcome, Ending> {
    let identity = desk.runner.identify(&program(order.module())).await?;
    let key = contract::key(order.module(), &identity, &Staging::default());
    Ok(Outcome::Succeeded(Success::new(key, BTreeMap::new())))
}
