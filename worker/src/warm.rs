//! Sessions that are kept warm: any slot of this worker takes one that serves its module, has it for itself, and puts it back.
//!
//! What is asked for most recently stays. One ends that got enough requests, uses too much memory, said what nobody asked for,
//! or was not asked for a while; all do when no more tasks are taken.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gate::Gate;
use crate::runner::session::{Gauge, RequestSubject, ServedStar, Session, SessionKind, SessionSpec};
use crate::runner::{Ended, RunnerError, SharedRunner, Spec};

/// How often sessions are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long it may take to learn how much memory one uses.
const GAUGING: Duration = Duration::from_secs(5);

/// How long the last ones may take to end when the worker does; what is left then the sweep ends.
const CLOSING: Duration = Duration::from_secs(20);

/// Bounds of what is kept warm.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WarmBounds {
    /// Sessions at most, at work or idle; with none, programs are started for each star.
    pub(crate) sessions: usize,
    /// Requests that a session gets.
    pub(crate) requests: u32,
    /// How long it is kept without one.
    pub(crate) idle: Duration,
}

/// The sessions of a worker; clones are the same.
#[derive(Clone)]
pub(crate) struct Warm(Arc<WarmParts>);

struct WarmParts {
    bounds: WarmBounds,
    /// Where they have their directories.
    folder: PathBuf,
    held: Mutex<WarmSessions>,
    /// Sessions on their way out.
    closing: TaskTracker,
}

#[derive(Default)]
struct WarmSessions {
    /// Those that wait for a request, the one that was asked last at the end.
    idle: Vec<IdleSession>,
    /// All that may be on this host, by name.
    known: BTreeMap<String, KnownSession>,
    /// Whether none is kept any more.
    is_closed: bool,
}

struct IdleSession {
    session: Session,
    mark: KnownMark,
    since: Instant,
}

/// What is known of a session wherever it is.
#[derive(Default)]
struct KnownSession {
    gauge: Option<Arc<dyn Gauge>>,
    /// Bytes of memory above which it is used up.
    enough: u64,
    /// Whether it was asked since its memory was looked at.
    is_used: bool,
    is_used_up: bool,
}

/// Keeps a session known, until this is dropped: what nobody knows the sweep removes.
struct KnownMark {
    parts: Arc<WarmParts>,
    name: String,
}

impl Drop for KnownMark {
    fn drop(&mut self) {
        self.parts.lock().known.remove(&self.name);
    }
}

impl Warm {
    /// Keeps sessions in that directory.
    pub(crate) fn new(bounds: WarmBounds, folder: PathBuf) -> Self {
        if let Err(error) = std::fs::create_dir_all(&folder) {
            // Every session will say so.
            tracing::warn!(folder = %folder.display(), %error, "sessions have no directory");
        }
        Self(Arc::new(WarmParts { bounds, folder, held: Mutex::default(), closing: TaskTracker::new() }))
    }

    /// Whether this is the name of one that is kept, or at work.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.0.lock().known.contains_key(name)
    }

    /// Asks a session for one star, as a runner runs a program for it; `None` where it must be run so.
    pub(crate) async fn run(
        &self,
        runner: &SharedRunner,
        kind: &SessionKind,
        spec: &Spec,
        subject: RequestSubject,
        cancel: &CancellationToken,
    ) -> Result<Option<Ended>, RunnerError> {
        if self.0.bounds.sessions == 0 {
            return Ok(None);
        }
        let found = self.take(kind);
        let opened = match found {
            Some(found) => Some(found),
            None => self.open(runner, kind).await?,
        };
        let Some((mut session, mark)) = opened else { return Ok(None) };
        match session.ask(spec, subject, cancel).await {
            Ok(ServedStar { ended, goes_on: true }) => {
                self.put(session, mark);
                Ok(Some(ended))
            }
            Ok(ServedStar { ended, goes_on: false }) => {
                self.close_later(session, mark);
                Ok(Some(ended))
            }
            Err(error) => {
                self.close_later(session, mark);
                Err(error)
            }
        }
    }

    /// Ends what is not asked any more, and what uses too much memory; all, while no tasks may be taken. Never returns.
    pub(crate) async fn tend(&self, gate: &Gate) {
        let obstacles = gate.watch();
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let is_open = obstacles.borrow().is_open();
            let over = |idle: &IdleSession| !is_open || idle.since.elapsed() >= self.0.bounds.idle;
            self.close_where(over);
            self.look_at_memory().await;
            self.close_where(|idle| self.0.is_used_up(&idle.mark.name));
        }
    }

    /// Ends all of them, and keeps no more.
    pub(crate) async fn close(&self) {
        self.0.lock().is_closed = true;
        self.close_where(|_| true);
        self.0.closing.close();
        if timeout(CLOSING, self.0.closing.wait()).await.is_err() {
            tracing::warn!("sessions do not end; the next sweep on this host ends them");
        }
    }

    /// An idle one of this kind that can be asked.
    fn take(&self, kind: &SessionKind) -> Option<(Session, KnownMark)> {
        loop {
            let found = {
                let mut held = self.0.lock();
                let at = held.idle.iter().rposition(|idle| idle.session.spec().kind == *kind)?;
                held.idle.remove(at)
            };
            let IdleSession { mut session, mark, .. } = found;
            if session.is_idle() && !self.0.is_used_up(&mark.name) {
                return Some((session, mark));
            }
            tracing::debug!(
                session = mark.name,
                module = kind.module,
                "a session ended, or said what nobody asked for"
            );
            self.close_later(session, mark);
        }
    }

    /// Starts one; another one ends for it where there are too many.
    async fn open(
        &self,
        runner: &SharedRunner,
        kind: &SessionKind,
    ) -> Result<Option<(Session, KnownMark)>, RunnerError> {
        let name = uuid::Uuid::new_v4().to_string();
        let oldest = {
            let mut held = self.0.lock();
            held.known.insert(name.clone(), KnownSession::default());
            let too_many = held.known.len() > self.0.bounds.sessions && !held.idle.is_empty();
            too_many.then(|| held.idle.remove(0))
        };
        let mark = KnownMark { parts: Arc::clone(&self.0), name: name.clone() };
        if let Some(IdleSession { session, mark, .. }) = oldest {
            self.close_later(session, mark);
        }
        let folder = self.0.folder.join(&name);
        let spec = SessionSpec { name: name.clone(), kind: kind.clone(), folder };
        let Some(session) = Session::open(runner.as_ref(), spec).await? else { return Ok(None) };
        let enough = kind.limits.memory / 5 * 4;
        let known = KnownSession { gauge: Some(session.gauge()), enough, is_used: false, is_used_up: false };
        self.0.lock().known.insert(name, known);
        Ok(Some((session, mark)))
    }

    /// Keeps one for the next request, unless it is used up.
    fn put(&self, session: Session, mark: KnownMark) {
        let is_used_up = session.requests() >= self.0.bounds.requests;
        {
            let mut held = self.0.lock();
            let known = held.known.get_mut(&mark.name);
            let is_used_up = known.is_none_or(|known| {
                known.is_used = true;
                is_used_up || known.is_used_up
            });
            if !is_used_up && !held.is_closed {
                held.idle.push(IdleSession { session, mark, since: Instant::now() });
                return;
            }
        }
        self.close_later(session, mark);
    }

    fn close_later(&self, session: Session, mark: KnownMark) {
        self.0.closing.spawn(async move {
            session.close().await;
            drop(mark);
        });
    }

    fn close_where(&self, over: impl Fn(&IdleSession) -> bool) {
        // Asked outside of the lock, which the answer may need.
        let idle = std::mem::take(&mut self.0.lock().idle);
        let (over, kept): (Vec<_>, Vec<_>) = idle.into_iter().partition(over);
        {
            let mut held = self.0.lock();
            let newer = std::mem::replace(&mut held.idle, kept);
            held.idle.extend(newer);
        }
        over.into_iter().for_each(|IdleSession { session, mark, .. }| self.close_later(session, mark));
    }

    async fn look_at_memory(&self) {
        let looked: Vec<_> = {
            let mut held = self.0.lock();
            let used = held.known.iter_mut().filter(|(_, known)| known.is_used);
            used.filter_map(|(name, known)| {
                known.is_used = false;
                Some((name.clone(), known.gauge.clone()?, known.enough))
            })
            .collect()
        };
        let looks = looked.into_iter().map(async |(name, gauge, enough)| {
            let used = timeout(GAUGING, gauge.memory()).await.ok().flatten();
            if let Some(used) = used.filter(|used| *used > enough)
                && let Some(known) = self.0.lock().known.get_mut(&name)
            {
                tracing::debug!(session = name, used, "a session uses too much memory");
                known.is_used_up = true;
            }
        });
        join_all(looks).await;
    }
}

impl WarmParts {
    fn is_used_up(&self, name: &str) -> bool {
        self.lock().known.get(name).is_none_or(|known| known.is_used_up)
    }

    fn lock(&self) -> MutexGuard<'_, WarmSessions> {
        // Every change leaves the lists whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
