//! What coordinator and worker do alike as processes: wait for their services at the start, end on a signal.

use std::io;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::queue::QueueError;
use crate::queue::amqp::{AmqpConfig, AmqpQueue};
use crate::state::StateError;
use crate::state::redis::{RedisConfig, RedisState};

/// A service answered, and does not let us in or is not set up as it must be: waiting would not help.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// RabbitMQ.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Redis.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Lets the threads of this process share two heaps. Those that wait for the disk come and go, and by default up to eight
/// heaps per processor grow with them, of which little is ever given back. Comes before any thread begins.
pub fn share_heaps() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a plain call that sets a number.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// A token that SIGTERM and SIGINT cancel. The error is the operating system's, which listens for signals.
pub fn ended_by_signal() -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signals, token) = (signal(kind)?, token.clone());
        tokio::spawn(async move {
            signals.recv().await;
            tracing::info!("ends: finishes what it has begun");
            token.cancel();
        });
    }
    Ok(token)
}

/// Connects to RabbitMQ, as `name`, and to Redis; waits for both while they are out of reach, so that whoever starts
/// everything at once need not know in which order.
pub async fn connect(
    queue: &AmqpConfig,
    state: &RedisConfig,
    name: &str,
) -> Result<(AmqpQueue, RedisState), ConnectError> {
    let queue = (|| AmqpQueue::connect(queue, name))
        .retry(patience())
        .when(|error| matches!(error, QueueError::Unreachable(_)))
        .notify(|error, _| tracing::warn!(%error, "waits for RabbitMQ"));
    let state = (|| RedisState::connect(state))
        .retry(patience())
        .when(|error| matches!(error, StateError::Unreachable(_) | StateError::Refuses { .. }))
        .notify(|error, _| tracing::warn!(%error, "waits for Redis"));
    Ok((queue.await?, state.await?))
}

fn patience() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(10))
        .without_max_times()
}
