//! Workers and their hosts: what each does, which of them stand out, and draining a host from anywhere.

mod odd;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{ClassName, HostName, WorkerName};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use services::state::{AttemptCounts, RunningAttempt, WorkerInfo};
use store::Store;
use store::audit::{Target, Verb};
use store::drains::{Drain, DrainDecision, DrainedHost};

use super::audit::Deed;
use super::patience::soon;
use super::{Context, ErrorKind, Installation, OperateError};
use odd::{Median, median, oddities};

/// A worker is silent when it has not shown itself for so many seconds: it does so every three.
pub(super) const SILENT: i64 = 15;

/// How many attempts of a worker that is lost are named.
const NAMED: usize = 3;

/// The workers that live, and the hosts that are drained.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AllWorkers {
    /// By host and name.
    pub workers: Vec<WorkerSummary>,
    /// By name; also those where no worker lives now.
    pub drained: Vec<DrainedHost>,
    /// Those that ended in the last hour without taking leave, where none was started on their host since.
    pub lost: Vec<LostWorker>,
    /// Why Redis takes no writes. Then no worker can show itself, and which of them live, or are lost, is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes_refused: Option<String>,
}

/// A worker that shows itself no more, and did not take leave: its process was killed, its host died, or it cannot reach Redis.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LostWorker {
    /// Its host.
    pub host: String,
    /// Its name.
    pub worker: WorkerName,
    /// When it last showed itself.
    pub seen: Timestamp,
    /// How many attempts it ran then; each begins anew elsewhere when its lease has run out.
    pub running: u32,
    /// Some of them, oldest first.
    pub attempts: Vec<RunningAttempt>,
}

/// A worker as it showed itself last.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WorkerSummary {
    /// Its host.
    pub host: String,
    /// Its name.
    pub worker: WorkerName,
    /// The version of its program; empty where it is too old to say.
    pub version: String,
    /// Its slots by class.
    pub slots: BTreeMap<ClassName, WorkerSlots>,
    /// When it last showed itself.
    pub seen: Timestamp,
    /// When it began.
    pub began: Option<Timestamp>,
    /// How the attempts ended that it ran.
    pub ended: AttemptCounts,
    /// The share that went wrong on the median worker.
    pub median: Median,
    /// What of this stands out beside other workers, in words.
    pub odd: Vec<String>,
    /// Whether operators drain its host.
    pub drained: bool,
    /// Why it takes no tasks now; `None` while it does.
    pub waits_for: Option<String>,
    /// Seconds by which its host's clock is ahead of Redis', negative where it is behind; `None` where it is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_ahead: Option<i64>,
    /// What it runs now, oldest first.
    pub attempts: Vec<RunningAttempt>,
}

/// Slots of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WorkerSlots {
    /// How many run something.
    pub busy: u32,
    /// How many there are.
    pub of: u32,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneHost {
    /// The host, as its workers call it.
    pub host: HostName,
}

/// What was decided about a host, and what comes of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HostDecided {
    /// The host.
    pub host: HostName,
    /// The decision's number; none when it was so already.
    pub number: Option<u64>,
    /// The line of the audit that says so.
    pub audit: Option<u64>,
    /// The decision.
    #[serde(flatten)]
    pub decision: Option<DrainDecision>,
    /// What comes of it, in words.
    pub effect: String,
}

/// The workers that live.
pub async fn list(context: &Context) -> Result<AllWorkers, OperateError> {
    let (found, refused) = tokio::join!(find(context), writes_refused(&*context.installation));
    Ok(found?.told(context.ask(|store| store.drained_hosts()).await?, refused))
}

/// Workers as the state has them.
pub(super) struct FoundWorkers {
    living: Vec<WorkerInfo>,
    lost: Vec<WorkerInfo>,
}

/// Asks the state for its workers, and nothing else: an error is the state's.
pub(super) async fn find(context: &Context) -> Result<FoundWorkers, OperateError> {
    let state = context.installation.state().await?;
    Ok(FoundWorkers { living: state.workers().await?, lost: state.lost_workers().await? })
}

/// Why Redis takes no writes, as `/readyz` finds it out; `None` where it takes them.
pub(super) async fn writes_refused(installation: &dyn Installation) -> Option<String> {
    let probe = async {
        let state = installation.state().await?;
        Ok::<_, OperateError>(state.probe().await.err().map(|error| error.reason()))
    };
    soon("Redis", probe).await.unwrap_or_else(|error| Some(error.message))
}

impl FoundWorkers {
    /// What there is to say of them, with the hosts that are drained. While Redis takes no writes nobody can show himself: who is
    /// silent may live.
    pub(super) fn told(self, drained: Vec<DrainedHost>, writes_refused: Option<String>) -> AllWorkers {
        let Self { living: mut workers, mut lost } = self;
        let can_show = writes_refused.is_none();
        workers.iter_mut().chain(&mut lost).for_each(set_right);
        let is_replaced = |lost: &WorkerInfo| {
            workers
                .iter()
                .any(|other| host_of(other) == host_of(lost) && other.began.is_some_and(|began| began > lost.seen))
        };
        lost.retain(|worker| can_show && !is_replaced(worker));
        let lost = lost.into_iter().map(LostWorker::of).collect();
        workers.sort_by(|a, b| (host_of(a), &a.worker).cmp(&(host_of(b), &b.worker)));
        let (median, now) = (median(&workers), Timestamp::now());
        let summary = |worker: WorkerInfo| WorkerSummary {
            host: host_of(&worker).to_owned(),
            slots: slots(&worker),
            odd: oddities(&worker, median).into_iter().chain(silence(&worker, now).filter(|_| can_show)).collect(),
            median,
            worker: worker.worker,
            version: worker.version,
            seen: worker.seen,
            began: worker.began,
            ended: worker.ended,
            drained: worker.drained,
            waits_for: worker.waits_for,
            clock_ahead: worker.clock_ahead,
            attempts: worker.attempts,
        };
        AllWorkers { workers: workers.into_iter().map(summary).collect(), drained, lost, writes_refused }
    }
}

impl LostWorker {
    /// What becomes of what it ran, to be put behind what is said of it; empty where it ran nothing.
    pub fn running_words(&self) -> String {
        let named: Vec<String> =
            self.attempts.iter().take(NAMED).map(|ran| format!("{} of {}", ran.module, ran.star)).collect();
        let more = u64::from(self.running).saturating_sub(named.len() as u64);
        match (named.join(", "), more) {
            (named, 0) if named.is_empty() => String::new(),
            (named, 0) => format!("; it ran {named}, to be begun anew elsewhere when the lease has run out"),
            (named, more) if named.is_empty() => {
                format!("; it ran {more} attempts, to be begun anew elsewhere when their leases have run out")
            }
            (named, more) => {
                format!("; it ran {named} and {more} more, to be begun anew elsewhere when their leases have run out")
            }
        }
    }

    fn of(worker: WorkerInfo) -> Self {
        let host = host_of(&worker).to_owned();
        Self { host, worker: worker.worker, seen: worker.seen, running: worker.running, attempts: worker.attempts }
    }
}

/// Lets a host's workers end what runs and take nothing new, until it is resumed.
pub async fn drain(context: &Context, which: OneHost) -> Result<HostDecided, OperateError> {
    decide(context, which.host, Drain::Drain).await
}

/// Lets a drained host's workers take tasks again.
pub async fn resume(context: &Context, which: OneHost) -> Result<HostDecided, OperateError> {
    decide(context, which.host, Drain::Resume).await
}

async fn decide(context: &Context, host: HostName, what: Drain) -> Result<HostDecided, OperateError> {
    let hosts = Hosts::known(context).await?;
    let drained = context.ask(|store| store.drained_hosts()).await?;
    let is_drained = drained.iter().any(|drained| drained.host == host);
    if is_drained == (what == Drain::Drain) {
        if !is_drained && hosts.lacks(&host) {
            return Err(OperateError::not_found(format!("no worker runs on host {host} now; {}", hosts.words())));
        }
        let effect = "nothing was decided: it is so already".to_owned();
        return Ok(HostDecided { host, number: None, audit: None, decision: None, effect });
    }
    let by = context.doer()?;
    let effect = effect(&host, what, &hosts);
    let write = move |store: &Store| {
        let decision = DrainDecision { at: Timestamp::now(), by: by.who.clone(), what };
        let number = store.decide_drain(&host, &decision)?;
        let verb = match what {
            Drain::Drain => Verb::Drain,
            Drain::Resume => Verb::Resume,
        };
        let target = Target::Host { host: host.clone() };
        let deed = Deed { verb, target, count: None, decision: Some(number), effect: &effect };
        let audit = Some(by.record(store, deed)?);
        Ok::<_, OperateError>(HostDecided { host, number: Some(number), audit, decision: Some(decision), effect })
    };
    context.ask(write).await
}

/// The hosts of workers that live; `None` where the state does not answer.
struct Hosts(Option<BTreeSet<String>>);

impl Hosts {
    async fn known(context: &Context) -> Result<Self, OperateError> {
        let look = async {
            let workers = context.installation.state().await?.workers().await?;
            Ok::<_, OperateError>(workers.iter().map(|worker| host_of(worker).to_owned()).collect())
        };
        match look.await {
            Ok(hosts) => Ok(Self(Some(hosts))),
            // The decision is followed when the state answers again.
            Err(error) if error.kind == ErrorKind::OutOfReach => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }

    fn lacks(&self, host: &HostName) -> bool {
        self.0.as_ref().is_some_and(|hosts| !hosts.contains(host.as_str()))
    }

    fn words(&self) -> String {
        let names: Vec<&str> = self.0.iter().flatten().map(String::as_str).collect();
        if names.is_empty() { "no worker lives".to_owned() } else { format!("workers run on {}", names.join(", ")) }
    }
}

fn effect(host: &HostName, what: Drain, hosts: &Hosts) -> String {
    let follows = match what {
        Drain::Drain => {
            "its workers end what runs, take nothing new and stay up, until `sas worker resume`; `sas worker list` shows them \
             as drained"
        }
        Drain::Resume => "its workers take tasks again",
    };
    match &hosts.0 {
        None => format!("{follows}; that begins when the state answers again, which it does not now"),
        Some(_) if hosts.lacks(host) => {
            format!("note that no worker runs on {host} now ({}): it holds for those that start there", hosts.words())
        }
        Some(_) => follows.to_owned(),
    }
}

/// Sets right when a worker was seen: it says so by its own clock, which may be wrong.
fn set_right(worker: &mut WorkerInfo) {
    let ahead = SignedDuration::from_secs(worker.clock_ahead.unwrap_or_default());
    worker.seen = worker.seen.checked_sub(ahead).unwrap_or(worker.seen);
}

/// That a worker shows itself less often than it should.
fn silence(worker: &WorkerInfo, now: Timestamp) -> Option<String> {
    let seconds = now.duration_since(worker.seen).as_secs();
    (seconds >= SILENT).then(|| format!("has not shown itself for {seconds} s"))
}

fn host_of(worker: &WorkerInfo) -> &str {
    if worker.host.is_empty() { worker.worker.host() } else { &worker.host }
}

fn slots(worker: &WorkerInfo) -> BTreeMap<ClassName, WorkerSlots> {
    let busy = |class: &ClassName| worker.busy.get(class).copied().unwrap_or(0);
    worker.slots.iter().map(|(class, of)| (class.clone(), WorkerSlots { busy: busy(class), of: *of })).collect()
}
