//! Requests that come twice because an answer was lost: the same key and the same body get the same answer.
//!
//! Answers are kept in memory, the newest of them, by each coordinator for itself: a repeat that reaches another one, or comes
//! after a restart, is done again. What that would do twice is little: decisions that are so already are said to be, events
//! are known by source and id; a start of a run would be refused while the first goes on.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use super::body::{self, LARGEST};
use super::caller::Caller;
use super::problem::Problem;

/// The header that names a request.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that an answer is that of a request before.
const REPEATED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key, in bytes.
const LONGEST: usize = 200;

/// How many answers are kept.
const KEPT: usize = 500;

/// How many bytes of answers are kept.
const KEPT_BYTES: usize = 4 << 20;

/// Answers to requests that had a key.
#[derive(Default)]
pub(super) struct Repeats(Mutex<Answers>);

#[derive(Default)]
struct Answers {
    /// Oldest first.
    given: VecDeque<KeptAnswer>,
    bytes: usize,
    /// Requests that are being answered.
    open: HashSet<RepeatKey>,
}

/// Who asks, where, by which key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RepeatKey {
    who: String,
    path: String,
    key: String,
}

struct KeptAnswer {
    named: RepeatKey,
    request: [u8; 32],
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Ends a request that is being answered, however that ends.
struct Open<'a>(&'a Repeats, RepeatKey);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.lock().open.remove(&self.1);
    }
}

/// Answers a POST with a key once.
pub(super) async fn answer_once(State(repeats): State<Arc<Repeats>>, request: Request, next: Next) -> Response {
    match answer(&repeats, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn answer(repeats: &Repeats, request: Request, next: Next) -> Result<Response, Problem> {
    let key = request.headers().get(KEY).filter(|_| *request.method() == Method::POST).cloned();
    let Some(key) = key else { return Ok(next.run(request).await) };
    let key = key.to_str().ok().filter(|key| (1..=LONGEST).contains(&key.len()));
    let key =
        key.ok_or_else(|| Problem::invalid(format!("`Idempotency-Key` is not 1 to {LONGEST} printable characters")))?;
    let who = request.extensions().get::<Caller>().map(|caller| caller.name.clone()).unwrap_or_default();
    let named = RepeatKey { who, path: request.uri().path().to_owned(), key: key.to_owned() };
    let (parts, body) = request.into_parts();
    let body = body::read(body, LARGEST).await?;
    let hash = hash(&parts.headers, &body);
    let open = match repeats.begin(&named, hash)? {
        Begun::Before(response) => return Ok(response),
        Begun::Now(open) => open,
    };
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (parts, body) = response.into_parts();
    let body = body::read(body, LARGEST).await?;
    // What a service that is away kept from being done may be asked for again.
    if !parts.status.is_server_error() {
        let (status, headers, body) = (parts.status, parts.headers.clone(), body.clone());
        repeats.keep(KeptAnswer { named, request: hash, status, headers, body });
    }
    drop(open);
    Ok(Response::from_parts(parts, Body::from(body)))
}

enum Begun<'a> {
    Before(Response),
    Now(Open<'a>),
}

impl Repeats {
    fn begin(&self, named: &RepeatKey, request: [u8; 32]) -> Result<Begun<'_>, Problem> {
        let mut answers = self.lock();
        if let Some(given) = answers.given.iter().find(|given| given.named == *named) {
            if given.request != request {
                return Err(Problem::other_request(&named.key));
            }
            let mut response = (given.status, given.headers.clone(), given.body.clone()).into_response();
            response.headers_mut().insert(REPEATED, HeaderValue::from_static("true"));
            return Ok(Begun::Before(response));
        }
        if !answers.open.insert(named.clone()) {
            return Err(Problem::not_answered_yet(&named.key));
        }
        Ok(Begun::Now(Open(self, named.clone())))
    }

    fn keep(&self, given: KeptAnswer) {
        let mut answers = self.lock();
        answers.bytes += given.body.len();
        answers.given.push_back(given);
        while answers.given.len() > KEPT || answers.bytes > KEPT_BYTES {
            let Some(oldest) = answers.given.pop_front() else { break };
            answers.bytes -= oldest.body.len();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request asks for: its body, and the attributes that events have in headers.
fn hash(headers: &HeaderMap, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("ce-")) {
        hash.update(name.as_str());
        hash.update([0]);
        hash.update(value.as_bytes());
        hash.update([0]);
    }
    hash.update(body);
    hash.finalize().into()
}
