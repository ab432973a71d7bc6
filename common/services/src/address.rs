//! Addresses of services, which hold passwords: whoever prints, logs or serializes one gets it without.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// Where a service is: `scheme://user:password@host:port/…`. It shows itself without user, password, query and whatever else may be
/// secret.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Address(String);

impl Address {
    /// The address of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// With user and password: for whoever connects, and nobody else.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// The same, where it has the form that addresses have. What is refused is said without user and password.
    ///
    /// A `@` behind the host is refused: it is one of a password that is not percent-encoded, of which the rest would be
    /// taken for host, port and path, and end up in messages.
    pub(crate) fn checked(&self, what: &str, expected: &str) -> Result<&str, String> {
        let rest = self.0.split_once("://").map(|(_, rest)| rest);
        let is_well = rest.is_some_and(|rest| {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            !rest[authority.len()..].contains('@') && authority.matches('@').count() <= 1
        });
        if is_well { Ok(&self.0) } else { Err(self.invalid(what, expected)) }
    }

    /// That it is no address of `what`, and what was expected. Of the text only what certainly is no password.
    pub(crate) fn invalid(&self, what: &str, expected: &str) -> String {
        format!(
            "the address of {what} (`{self}`) is not valid: expected {expected}, in which special characters of user and \
             password are percent-encoded (@ as %40, : as %3A, / as %2F, # as %23, ? as %3F, % as %25)"
        )
    }
}

/// User and password are all that stands before the last `@`. Where there is none, a text that does not begin as an address may be a
/// password, and what stands behind a colon, too; paths are shown where they name a virtual host or a database.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.0.split_once("://").filter(|(scheme, _)| is_word(scheme));
        let (scheme, rest) = named.map_or(("", self.0.as_str()), |(scheme, rest)| (scheme, rest));
        let (user, place) = rest.rsplit_once('@').map_or(("", rest), |(_, place)| ("***@", place));
        let place = place.split(['?', '#']).next().unwrap_or_default();
        let host = place.split('/').next().unwrap_or_default();
        let has_names = ["amqp", "amqps", "redis", "rediss"].contains(&scheme);
        // Behind the host only passwords have one: of other addresses it may be what a key holds.
        let is_odd = !has_names && rest.find(['/', '?', '#']).is_some_and(|end| rest[end..].contains('@'));
        if !scheme.is_empty() {
            write!(f, "{scheme}://")?;
        }
        if is_odd || !is_host(host) || scheme.is_empty() && user.is_empty() {
            return f.write_str("…");
        }
        write!(f, "{user}{}", if has_names { place } else { host })
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// A name or number of a host, with a port or without one.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port),
        _ => (text, "0"),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_number =
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(|host| !host.contains('@'));
    port.parse::<u16>().is_ok() && !host.is_empty() && (is_number || host.chars().all(is_name))
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_password_however_it_is_shown() {
        for (text, expected, is_well) in [
            ("amqp://op:S3cret@host:5672/%2f", "amqp://***@host:5672/%2f", true),
            ("redis://:S3cret@host:6379/0", "redis://***@host:6379/0", true),
            ("redis://host:6379/0", "redis://host:6379/0", true),
            ("op:S3cret@127.0.0.1:5672", "***@127.0.0.1:5672", false),
            ("redis://[::1]:6379/0", "redis://[::1]:6379/0", true),
            ("https://host/S3cret?key=S3cret", "https://host", true),
            ("amqp://op:S3cret@host/a?heartbeat=S3cret", "amqp://***@host/a", true),
            ("https://host/p?key=ab@S3cret", "https://…", false),
            ("amqp://op:S3cret", "amqp://…", true),
            ("amqp://op:S3cret%40host:1", "amqp://…", true),
            ("op:S3cret", "…", false),
            ("amqp:op:S3cret", "…", false),
            ("S3cret", "…", false),
            ("S3 cret://host", "…", true),
            // Of these a parser takes a part of the password for host, port or path.
            ("amqp://op:S3/cret@host:5672", "amqp://***@host:5672", false),
            ("amqp://op:12#S3cret@host", "amqp://***@host", false),
            ("amqp://op:S3@cret@host", "amqp://***@host", false),
        ] {
            let address = Address::new(text);
            let json = serde_json::to_string(&address).unwrap();
            let checked = address.checked("RabbitMQ", "amqp://…").map(str::to_owned);
            assert_eq!((address.to_string().as_str(), checked.is_ok()), (expected, is_well), "{text}");
            for shown in [format!("{address:?}"), json, checked.err().unwrap_or_default()] {
                assert!(!shown.contains("S3") && !shown.contains("cret"), "{shown}");
            }
        }
    }
}
