//! One connection to Redis, made anew when it breaks or does not answer, and what its errors mean.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, ScriptInvocation};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::failure::{RedisTrouble, words};
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

    /// What an error of a command or script on a run's own keys means: data of the wrong form is that run's trouble.
    pub(super) fn failure_of(&self, run: RunId, error: &RedisError) -> StateError {
        match self.failure(error) {
            StateError::Unexpected(reason) => StateError::Damaged { run, reason },
            known @ (StateError::Unreachable(_)
            | StateError::Refuses { .. }
            | StateError::Epoch { .. }
            | StateError::NoRun(_)
            | StateError::Misconfigured(_)
            | StateError::Damaged { .. }) => known,
        }
    }

    /// What an error means to the caller.
    pub(super) fn failure(&self, error: &RedisError) -> StateError {
        let (address, words) = (self.address(), words(error));
        match RedisTrouble::of(error) {
            RedisTrouble::Away => StateError::Unreachable(format!("Redis at {address}: {words}")),
            RedisTrouble::Refuses => StateError::Refuses { service: format!("Redis at {address}"), reason: words },
            RedisTrouble::Forbids => StateError::Misconfigured(format!("Redis at {address} refuses: {words}")),
            RedisTrouble::WrongForm => StateError::Unexpected(format!("Redis at {address}: {words}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    #[test]
    fn what_redis_refuses_is_everybodys_trouble_and_what_has_the_wrong_form_a_runs() {
        let link = RedisLink::new(&Address::new("redis://127.0.0.1:6379/0")).unwrap();
        let run: RunId = "8a6e0804-2bd0-4672-b79d-d97027f9071a".parse().unwrap();
        let of = |line: &str| {
            let answer = parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
            link.failure_of(run, &answer.extract_error().unwrap_err())
        };
        let forbidden = of("ERR The user executing the script can't run this command or subcommand script: 9ed9");
        assert!(matches!(forbidden, StateError::Misconfigured(_)) && forbidden.is_away(), "{forbidden:?}");
        assert!(forbidden.reason().contains("refuses: The user executing"), "{forbidden}");
        let full = of("OOM command not allowed when used memory > 'maxmemory'.");
        assert!(matches!(full, StateError::Refuses { .. }) && full.is_away(), "{full:?}");
        assert!(full.reason().contains("refuses: OOM command"), "{full}");
        let away = link.failure(&(ErrorKind::Io, "not connected", "Connection refused: x".to_owned()).into());
        assert!(matches!(away, StateError::Unreachable(_)), "{away:?}");
        let damaged = of("WRONGTYPE Operation against a key holding the wrong kind of value");
        assert!(matches!(&damaged, StateError::Damaged { run: of, .. } if *of == run), "{damaged:?}");
        assert!(!damaged.is_away());
    }
}
