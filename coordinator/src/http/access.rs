//! Who may ask what: by token, by role, and by where a request comes from.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, header};
use store::audit::Door;
use tokio::net::TcpListener;

use super::caller::Caller;
use super::problem::Problem;
use crate::config::HttpConfig;
use crate::tokens::{Role, TokenFile};

/// The cookie that holds the token of a browser.
pub(super) const COOKIE: &str = "sas_token";

/// Names by which a host calls itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What anybody may ask: whether it lives, its metrics, how to log in, and how that page looks.
const OPEN: [&str; 6] = ["/livez", "/readyz", "/health", "/metrics", "/login", "/logout"];

/// Who may ask.
pub(crate) struct Access {
    /// Without a file everybody may do everything: only the same host can ask.
    tokens: Option<TokenFile>,
    /// Names by which requests may call this host; any where there are none.
    hosts: Vec<String>,
}

impl Access {
    /// As it is configured, for this address: one that other hosts reach needs tokens.
    pub(super) fn open(config: &HttpConfig, listener: &TcpListener) -> Result<Self> {
        let address = listener.local_addr().context("failed to look at the address of HTTP")?;
        let is_loopback = address.ip().is_loopback();
        let tokens = config.tokens.as_ref().map(|path: &PathBuf| TokenFile::open(path)).transpose()?;
        if !is_loopback && tokens.is_none() {
            bail!(
                "`[http] listen` is {:?}, which other hosts reach, and nobody is known who may ask: name a file of tokens by \
                 `[http] tokens` (`sas token new NAME --role operator` makes one), or listen on 127.0.0.1",
                config.listen
            );
        }
        if tokens.as_ref().is_some_and(TokenFile::is_empty) {
            tracing::warn!("nobody has a token: only probes and metrics are answered (`sas token new` makes one)");
        }
        let mut hosts: Vec<String> = config.hosts.iter().map(|host| host.to_lowercase()).collect();
        if is_loopback || !hosts.is_empty() {
            hosts.extend(LOOPBACK.map(str::to_owned));
        }
        Ok(Self { tokens, hosts })
    }

    /// Whether tokens are asked for.
    pub(super) fn needs_token(&self) -> bool {
        self.tokens.is_some()
    }

    /// Who has this token, asking through this door.
    pub(super) fn holder(&self, token: &str, door: Door) -> Option<Caller> {
        let (name, role) = self.tokens.as_ref()?.holder_of(token)?;
        Some(Caller { name, role, door })
    }

    /// Who makes a request, after it was found to be one that may be answered; `None` where anybody may ask.
    pub(super) fn admit(&self, request: &Request) -> Result<Option<Caller>, Problem> {
        let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
        self.require_host(request)?;
        let is_change = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if is_change {
            require_same_origin(request)?;
        }
        let caller = self.caller(path, headers);
        if OPEN.contains(&path) || path.starts_with("/assets/") {
            return Ok(caller);
        }
        let caller = caller.ok_or_else(Problem::unknown_caller)?;
        let needed = match path {
            // It asks for more than an address can hold, and changes nothing.
            "/api/v1/replays/plan" => Role::Viewer,
            _ if !is_change => Role::Viewer,
            "/api/v1/events" => Role::Ingestion,
            _ => Role::Operator,
        };
        if !caller.may(needed) {
            return Err(Problem::forbidden(format!(
                "{} is a {}, and this needs the role {needed}: ask for another token, or somebody who has one",
                caller.name, caller.role
            )));
        }
        Ok(Some(caller))
    }

    fn caller(&self, path: &str, headers: &HeaderMap) -> Option<Caller> {
        let door = if path.starts_with("/api/") { Door::Http } else { Door::Page };
        if self.tokens.is_none() {
            return Some(Caller { name: "local".to_owned(), role: Role::Operator, door });
        }
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| value.split_once(' '));
        match bearer {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => self.holder(token.trim(), door),
            Some(_) => None,
            None => self.holder(cookie(headers)?, door),
        }
    }

    /// A page of another host whose name was made to mean this one (DNS rebinding) calls it by that name.
    fn require_host(&self, request: &Request) -> Result<(), Problem> {
        if self.hosts.is_empty() {
            return Ok(());
        }
        let called = host_of(request).map(|authority| authority.host().to_lowercase());
        if called.as_ref().is_some_and(|called| self.hosts.contains(called)) {
            return Ok(());
        }
        let called = called.unwrap_or_else(|| "nothing".to_owned());
        Err(Problem::misdirected(format!(
            "this host is not called {called}: expected {}; further names stand in `[http] hosts`",
            self.hosts.join(", ")
        )))
    }
}

/// What a browser says of a change that a page of another site asks for is enough to refuse it.
fn require_same_origin(request: &Request) -> Result<(), Problem> {
    let said = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let foreign = |from: &str| {
        Problem::forbidden(format!("a change must be asked for by this site itself, and this comes from {from}"))
    };
    match said("sec-fetch-site") {
        None | Some("same-origin" | "none") => {}
        Some(_) => return Err(foreign("another site")),
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin.split_once("://").and_then(|(_, authority)| authority.parse::<Authority>().ok());
    match (authority, host_of(request)) {
        (Some(origin), Some(host)) if origin == host => Ok(()),
        _ => Err(foreign(if origin.is_empty() { "nowhere" } else { origin })),
    }
}

/// How a request calls this host.
fn host_of(request: &Request) -> Option<Authority> {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    header.and_then(|host| host.parse().ok()).or_else(|| request.uri().authority().cloned())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, token)| token)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::tokens::issue;

    fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
        let mut builder = Request::builder().method(method).uri(path).header("host", "localhost:8080");
        for (name, value) in headers {
            if *name == "host" {
                builder.headers_mut().unwrap().remove("host");
            }
            builder = builder.header(*name, *value);
        }
        builder.body(Body::empty()).unwrap()
    }

    fn check(access: &Access, request: &Request) -> Result<String, u16> {
        match access.admit(request) {
            Ok(caller) => Ok(caller.map_or_else(String::new, |caller| format!("{} {}", caller.name, caller.door))),
            Err(problem) => Err(problem.status()),
        }
    }

    #[test]
    fn without_tokens_this_host_alone_may_ask_by_its_own_names() {
        let access = Access { tokens: None, hosts: LOOPBACK.map(str::to_owned).to_vec() };
        let check = |method, headers: &[(&str, &str)]| check(&access, &request(method, "/api/v1/runs", headers));
        assert_eq!(check("GET", &[]), Ok("local http".to_owned()));
        assert_eq!(check("POST", &[("origin", "http://localhost:8080")]), Ok("local http".to_owned()));
        assert_eq!(check("GET", &[("host", "[::1]:1")]), Ok("local http".to_owned()));
        assert_eq!(check("GET", &[("host", "evil.example")]), Err(421));
        assert_eq!(check("GET", &[("host", "")]), Err(421));
        for foreign in [("origin", "http://localhost:9"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
            assert_eq!((check("POST", &[foreign]), check("GET", &[foreign]).is_ok()), (Err(403), true), "{foreign:?}");
        }
    }

    #[test]
    fn a_role_decides_what_a_token_is_good_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let roles = [Role::Viewer, Role::Ingestion, Role::Operator];
        let issued = roles.map(|role| issue(&role.to_string(), role).unwrap());
        let lines: Vec<&str> = issued.iter().map(|issued| issued.line.as_str()).collect();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        let access = Access { tokens: Some(TokenFile::open(file.path()).unwrap()), hosts: Vec::new() };
        let may = |method, path| {
            let bearers = issued.each_ref().map(|issued| format!("Bearer {}", issued.token));
            bearers
                .each_ref()
                .map(|bearer| check(&access, &request(method, path, &[("authorization", bearer)])).is_ok())
        };
        assert_eq!(may("GET", "/api/v1/runs"), [true; 3]);
        assert_eq!(may("POST", "/api/v1/events"), [false, true, true]);
        assert_eq!(may("POST", "/api/v1/events/x"), [false, false, true]);
        assert_eq!(may("POST", "/runs/x/pause"), [false, false, true]);
        let of = |headers: &[(&str, &str)], path| check(&access, &request("GET", path, headers));
        assert_eq!(of(&[], "/api/v1/runs"), Err(401));
        assert_eq!(of(&[], "/"), Err(401));
        assert_eq!(of(&[], "/livez"), Ok(String::new()));
        let cookie = format!("a=b; sas_token={}", issued[0].token);
        assert_eq!(of(&[("cookie", &cookie)], "/"), Ok("viewer page".to_owned()));
        let wrong = [("authorization", "Bearer no"), ("cookie", cookie.as_str())];
        assert_eq!(of(&wrong, "/"), Err(401), "a wrong token is not passed over");
    }
}
