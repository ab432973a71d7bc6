//! How long a service may take to answer an operator: one that is away is named, and nobody waits for it for long.

use std::time::Duration;

use tokio::time::timeout;

use super::{ErrorKind, OperateError};

/// How long a service has to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a service answers, if it does so soon.
pub(crate) async fn soon<T>(
    service: &str,
    answer: impl Future<Output = Result<T, OperateError>>,
) -> Result<T, OperateError> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => {
            let reason = format!("{service} did not answer within {} s", PATIENCE.as_secs());
            Err(OperateError::new(ErrorKind::OutOfReach, reason))
        }
    }
}
