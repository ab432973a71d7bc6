//! Nothing: an attempt of a runner that leaves nothing ends before anything is looked at, staged or committed.

use std::collections::BTreeMap;

use domain::contract::{self, Staging};
use domain::outcome::{Outcome, PlatformErrorKind, Success};

use super::desk::{Desk, Order};
use super::ending::Ending;
use super::identity::program;

/// How such an attempt ends: well, with a key that no result has. Refused where the run makes star files, for these would
/// lack what is said to be made.
pub(super) async fn end(desk: &Desk, order: &Order) -> Result<Outcome, Ending> {
    if order.run.course.record.only_group.is_none() {
        let message = "the worker has `runner = \"dispatch\"`, which makes no results: only runs that are limited to a \
                       group (`sas run start --only-group`) may have such attempts";
        return Err(Ending::errored(PlatformErrorKind::Refused, message));
    }
    let identity = desk.runner.identify(&program(order.module())).await?;
    let key = contract::key(order.module(), &identity, &Staging::default());
    Ok(Outcome::Succeeded(Success::new(key, BTreeMap::new())))
}
