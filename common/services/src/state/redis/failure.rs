//! What an error of Redis means: it is away, it refuses, or what it holds has the wrong form. Pure.
//!
//! Only what speaks of the form of data is damage. Everything else that a server says is waited for, also what no version says
//! yet: a run that is set aside over it would stay so when the server is well again.

use redis::{ErrorKind, RedisError};

/// What an error of a command or a script means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RedisTrouble {
    /// Redis does not answer.
    Away,
    /// Redis answers, and does not do it now: it is full, read-only, busy, or loads its file.
    Refuses,
    /// Redis does not do it before somebody changes its settings or ours.
    Forbids,
    /// What Redis holds, or what it answered, has the wrong form.
    WrongForm,
}

/// How errors without a code of their own begin that say what may not be done.
const FORBIDDEN: &[&str] = &[
    // Within a script Redis 7.0 says so in these words, newer ones in those below.
    "The user executing the script can't",
    "ACL failure in script",
    "This Redis command is not allowed from script",
    "Unknown Redis command called from script",
    "unknown command",
    "DB index is out of range",
    // As the connection is made the library tells why a database is refused without the server's code.
    "Authentication required",
    "SELECT is not allowed in cluster mode",
];

/// What errors say, somewhere within, of a user who may not do it.
const MAY_NOT: &[&str] = &["NOPERM", "has no permissions to"];

/// How errors without a code of their own begin that say what form something has.
const WRONG_FORM: &[&str] = &[
    // A script of ours stumbles over what it found,
    "user_script:",
    "Lua redis lib command arguments must be",
    "Command arguments must be",
    "Wrong number of args calling",
    // or a command over what it was given from there, or found itself.
    "hash value is not",
    "increment or decrement would overflow",
    "invalid cursor",
    "min or max is not",
    "offset is out of range",
    "resulting score is not",
    "string exceeds maximum allowed size",
    "syntax error",
    "value is not",
    "value is out of range",
    "weight value is not",
];

impl RedisTrouble {
    /// What this error means.
    pub(super) fn of(error: &RedisError) -> Self {
        match (error.code(), error.kind()) {
            (Some(code), _) => Self::said(code, error.detail().unwrap_or_default()),
            (None, ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig) => Self::Forbids,
            // An answer that arrived and is not of the type that was asked for says nothing about the connection.
            (None, ErrorKind::Parse | ErrorKind::UnexpectedReturnType) => Self::WrongForm,
            (None, _) => Self::Away,
        }
    }

    /// What the server means who says this.
    fn said(code: &str, detail: &str) -> Self {
        let begins = |known: &[&str]| known.iter().any(|begin| detail.starts_with(*begin));
        match code {
            "WRONGTYPE" => Self::WrongForm,
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Self::Forbids,
            "ERR" if begins(FORBIDDEN) || MAY_NOT.iter().any(|said| detail.contains(*said)) => Self::Forbids,
            "ERR" if begins(WRONG_FORM) => Self::WrongForm,
            _ => Self::Refuses,
        }
    }
}

/// An error in the server's words, or in those of whoever asked it.
pub(super) fn words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some("ERR"), Some(detail)) => detail.to_owned(),
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (_, None) | (None, _) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use redis::{ServerErrorKind, parse_redis_value};

    use super::RedisTrouble::{Away, Forbids, Refuses, WrongForm};
    use super::*;

    /// What a server says, as it comes over the wire.
    fn said(line: &str) -> RedisError {
        parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap().extract_error().unwrap_err()
    }

    #[test]
    fn only_what_speaks_of_the_form_of_data_is_damage() {
        for (line, meaning) in [
            ("WRONGTYPE Operation against a key holding the wrong kind of value script: 9ed9", WrongForm),
            ("ERR user_script:2: attempt to perform arithmetic on a nil value script: 2238", WrongForm),
            ("ERR hash value is not an integer script: bc23, on @user_script:2.", WrongForm),
            ("ERR value is not a valid float script: 6881, on @user_script:2.", WrongForm),
            ("ERR Lua redis lib command arguments must be strings or integers script: 9b8b", WrongForm),
            ("ERR The user executing the script can't run this command or subcommand script: 9ed9", Forbids),
            ("ERR The user executing the script can't access at least one of the keys mentioned script: bf58", Forbids),
            ("ERR ACL failure in script: User default has no permissions to run the 'hset' command", Forbids),
            ("ERR Error running script (call to f_1): @user_script:2: -NOPERM no permissions", Forbids),
            ("ERR Unknown Redis command called from script script: a4dd, on @user_script:2.", Forbids),
            ("ERR unknown command 'HSET', with args beginning with: 'h'", Forbids),
            ("NOPERM this user has no permissions to run the 'hset' command", Forbids),
            ("NOAUTH Authentication required.", Forbids),
            ("WRONGPASS invalid username-password pair or user is disabled.", Forbids),
            ("OOM command not allowed when used memory > 'maxmemory'.", Refuses),
            ("READONLY You can't write against a read only replica.", Refuses),
            ("NOREPLICAS Not enough good replicas to write.", Refuses),
            ("MISCONF Redis is configured to save RDB snapshots, but it cannot write them.", Refuses),
            ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", Refuses),
            ("LOADING Redis is loading the dataset in memory", Refuses),
            ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Refuses),
            ("CLUSTERDOWN The cluster is down", Refuses),
            ("MOVED 1 other:6379", Refuses),
            ("ERR max number of clients reached", Refuses),
            ("ERR Script killed by user with SCRIPT KILL... script: 9fb2, on @user_script:2.", Refuses),
            ("TOMORROW what no version says yet", Refuses),
        ] {
            assert_eq!(RedisTrouble::of(&said(line)), meaning, "{line}");
        }
        for (kind, meaning) in [
            (ErrorKind::Io, Away),
            (ErrorKind::Client, Away),
            (ErrorKind::AuthenticationFailed, Forbids),
            (ErrorKind::InvalidClientConfig, Forbids),
            (ErrorKind::Parse, WrongForm),
            (ErrorKind::UnexpectedReturnType, WrongForm),
        ] {
            assert_eq!(RedisTrouble::of(&(kind, "simulated").into()), meaning, "{kind:?}");
        }
    }

    #[test]
    fn a_database_that_is_refused_is_forbidden_unless_redis_only_loads() {
        for (detail, meaning) in [
            ("Authentication required.", Forbids),
            ("User reader has no permissions to run the 'select' command", Forbids),
            ("this user has no permissions to run the 'select' command or its subcommand", Forbids),
            ("SELECT is not allowed in cluster mode", Forbids),
            ("DB index is out of range", Forbids),
            ("Redis is loading the dataset in memory", Refuses),
        ] {
            // As the library makes it from the server's answer.
            let kind = ErrorKind::from(ServerErrorKind::ResponseError);
            let refused = RedisError::from((kind, "Redis server refused to switch database", detail.to_owned()));
            assert_eq!((RedisTrouble::of(&refused), words(&refused).as_str()), (meaning, detail));
        }
    }

    #[test]
    fn an_error_is_told_in_the_servers_words() {
        for (line, told) in [
            ("OOM command not allowed", "OOM command not allowed"),
            ("ERR The user executing the script can't", "The user executing the script can't"),
            ("NOPERM no permissions", "NOPERM no permissions"),
        ] {
            assert_eq!(words(&said(line)), told);
        }
    }
}
