//! What is on record of a star's tasks that failed for good.

use store::failures::FailureRecord;

use super::OneQuarter;
use crate::operate::{Context, OperateError};

/// How many are told.
const MOST: usize = 200;

/// The newest tries that were the last of a task that failed, with their logs, oldest first; none where no quarter is named.
pub async fn failed_attempts(context: &Context, asked: OneQuarter) -> Result<Vec<FailureRecord>, OperateError> {
    let OneQuarter { star, quarter: Some(quarter) } = asked else { return Ok(Vec::new()) };
    let mut failures = context.ask(move |store| store.failures(star, quarter)).await?;
    failures.drain(..failures.len().saturating_sub(MOST));
    Ok(failures)
}
