//! One connection to Redis, made anew when it breaks or does not answer, and what its errors mean.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, ScriptInvocation};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::address::Address;
use crate::state::StateError;
use domain::id::RunId;

/// Longest wait for an answer: scripts take milliseconds, a restart with its load of the file seconds.
const RESPONSE: Duration = Duration::from_secs(5);

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// After a failed attempt to connect, callers get its error for this long.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection that all callers share; their commands are pipelined.
pub(super) struct RedisLink {
    client: Client,
    slot: Mutex<OpenedLink>,
}

#[derive(Default)]
struct OpenedLink {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that a caller gives up only the one that failed it.
    generation: u64,
    failed: Option<(Instant, String)>,
}

/// What to ask; both kinds may be asked twice.
pub(super) enum RedisRequest<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptInvocation<'a>),
}

impl RedisLink {
    pub(super) fn new(address: &Address) -> Result<Self, StateError> {
        let (what, expected) = ("Redis (`[state] url`)", "redis://user:password@host:port/database");
        let opened = address.checked(what, expected).and_then(|url| {
            // What the parser says of a text that is none may have all of it.
            Client::open(url).map_err(|_| address.invalid(what, expected))
        });
        let client = opened.map_err(StateError::Misconfigured)?;
        Ok(Self { client, slot: Mutex::default() })
    }

    /// Host and port, without the password.
    pub(super) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// Asks; where the connection turns out to be dead (Redis was restarted), once more on a new one.
    pub(super) async fn ask<T: FromRedisValue>(&self, request: RedisRequest<'_>) -> Result<T, RedisError> {
        match self.ask_once(&request).await {
            Err(error) if error.is_connection_dropped() => self.ask_once(&request).await,
            answer => answer,
        }
    }

    async fn ask_once<T: FromRedisValue>(&self, request: &RedisRequest<'_>) -> Result<T, RedisError> {
        let (generation, mut connection) = self.connection().await?;
        let answer = match request {
            RedisRequest::Command(command) => command.query_async(&mut connection).await,
            RedisRequest::Script(script) => script.invoke_async(&mut connection).await,
        };
        if let Err(error) = &answer
            && (error.is_io_error() || error.is_unrecoverable_error() || error.is_timeout())
        {
            self.discard(generation).await;
        }
        answer
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), RedisError> {
        let mut slot = self.slot.lock().await;
        if let Some(connection) = &slot.connection {
            return Ok((slot.generation, connection.clone()));
        }
        if let Some((at, reason)) = &slot.failed
            && at.elapsed() < PAUSE
        {
            return Err((ErrorKind::Io, "not connected", reason.clone()).into());
        }
        let config =
            AsyncConnectionConfig::new().set_response_timeout(Some(RESPONSE)).set_connection_timeout(Some(CONNECT));
        match self.client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => {
                slot.failed = None;
                slot.generation += 1;
                slot.connection = Some(connection.clone());
                Ok((slot.generation, connection))
            }
            Err(error) => {
                slot.failed = Some((Instant::now(), error.to_string()));
                Err(error)
            }
        }
    }

    async fn discard(&self, generation: u64) {
        let mut slot = self.slot.lock().await;
        if slot.generation == generation {
            slot.connection = None;
        }
    }

    /// What an error of a command or script on a run's own keys means: what is unknown is that run's trouble.
    pub(super) fn failure_of(&self, run: RunId, error: &RedisError) -> StateError {
        match self.failure(error) {
            StateError::Unexpected(reason) => StateError::Damaged { run, reason },
            known @ (StateError::Unreachable(_)
            | StateError::Epoch { .. }
            | StateError::NoRun(_)
            | StateError::Misconfigured(_)
            | StateError::Damaged { .. }) => known,
        }
    }

    /// What an error means to the caller.
    pub(super) fn failure(&self, error: &RedisError) -> StateError {
        let message = format!("Redis at {}: {error}", self.address());
        match (error.code(), error.kind()) {
            (Some("NOAUTH" | "WRONGPASS" | "NOPERM"), _) => StateError::Misconfigured(message),
            (
                Some(
                    "LOADING" | "BUSY" | "MISCONF" | "OOM" | "READONLY" | "NOREPLICAS" | "MASTERDOWN" | "TRYAGAIN"
                    | "CLUSTERDOWN",
                ),
                _,
            )
            | (_, ErrorKind::Io) => StateError::Unreachable(message),
            (_, ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig) => StateError::Misconfigured(message),
            // An answer that arrived and is not of the type that was asked for says nothing about the connection.
            (_, ErrorKind::Parse) => StateError::Unexpected(message),
            _ if error.is_timeout() || error.is_unrecoverable_error() => StateError::Unreachable(message),
            _ => StateError::Unexpected(message),
        }
    }
}
