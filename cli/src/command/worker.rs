//! `sas worker`: which workers live, what they do, which stand out; drains and resumes their hosts.

use clap::{Args, Subcommand};
use coordinator::operate::workers::{self, AllWorkers, HostDecided, LostWorker, OneHost, WorkerSummary};
use domain::id::HostName;
use domain::text::moment;
use jiff::Timestamp;

use crate::connect::SiteArgs;
use crate::installation::Configured;
use crate::output::{Format, Table, note, table};
use crate::words::ago;

/// Workers and their hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// Workers that live: slots that are busy, when each was last seen, how its attempts ended beside the median worker, and why
    /// it takes no tasks.
    List,
    /// Let the workers of a host end what runs and take nothing new, until `resume`. They stay up.
    Drain(HostArg),
    /// Let the workers of a drained host take tasks again.
    Resume(HostArg),
}

#[derive(Debug, Args)]
pub(crate) struct HostArg {
    /// The host, as `sas worker list` shows it.
    host: HostName,
}

impl WorkerCommand {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let context = Configured::load(site)?.context()?;
        match self {
            Self::List => {
                let all = workers::list(&context).await?;
                format.print_list(&all, list);
                absent(&all).iter().chain(&lost(&all)).chain(&unshown(&all)).for_each(|line| note(line));
            }
            Self::Drain(HostArg { host }) => {
                format.print(&workers::drain(&context, OneHost { host }).await?, decided);
            }
            Self::Resume(HostArg { host }) => {
                format.print(&workers::resume(&context, OneHost { host }).await?, decided);
            }
        }
        Ok(())
    }
}

fn decided(answer: &HostDecided) -> String {
    format!("host {}: {}", answer.host, answer.effect)
}

fn list(all: &AllWorkers) -> Table {
    let headings =
        ["HOST", "WORKER", "VERSION", "BUSY", "SEEN", "SINCE", "ENDED", "FAILED", "LOST", "WAITS FOR, STANDS OUT"];
    let (mut table, now) = (table(headings), Timestamp::now());
    for worker in &all.workers {
        let slots = worker.slots.iter().map(|(class, slots)| format!("{class} {}/{}", slots.busy, slots.of));
        let words: Vec<&str> = worker.waits_for.iter().chain(&worker.odd).map(String::as_str).collect();
        table.add_row([
            worker.host.clone(),
            worker.worker.to_string(),
            worker.version.clone(),
            slots.collect::<Vec<_>>().join(", "),
            format!("{} ago", ago(worker.seen, now)),
            worker.began.map(moment).unwrap_or_default(),
            worker.ended.all.to_string(),
            share(worker, worker.ended.failed + worker.ended.errored, worker.median.failed),
            share(worker, worker.ended.lost, worker.median.lost),
            words.join("; "),
        ]);
    }
    table
}

/// A count of a worker's attempts, its share of all, and that of the median worker where there is one.
fn share(worker: &WorkerSummary, count: u64, median: Option<f64>) -> String {
    let beside = median.map(|median| format!(", median {:.0} %", median * 1e2)).unwrap_or_default();
    match worker.ended.all {
        0 => "0".to_owned(),
        all => format!("{count} ({:.0} %{beside})", count as f64 / all as f64 * 1e2),
    }
}

/// A line for each worker that is lost.
fn lost(all: &AllWorkers) -> Vec<String> {
    let words = |lost: &LostWorker| {
        let (host, worker, seen, ran) = (&lost.host, &lost.worker, moment(lost.seen), lost.running_words());
        format!("{host} is lost: {worker} was last seen at {seen}{ran}; look at the host, and start its worker again")
    };
    all.lost.iter().map(words).collect()
}

/// That nobody knows who lives, where no worker can show itself.
fn unshown(all: &AllWorkers) -> Option<String> {
    let reason = all.writes_refused.as_ref()?;
    Some(format!("which workers live is not known, none can show itself while Redis takes no writes: {reason}"))
}

/// A line for each host that is drained and where no worker lives.
fn absent(all: &AllWorkers) -> Vec<String> {
    let lives = |host: &HostName| all.workers.iter().any(|worker| worker.host == host.as_str());
    let absent = all.drained.iter().filter(|drained| !lives(&drained.host));
    absent
        .map(|drained| {
            let since = moment(drained.since);
            format!("host {} is drained since {since} by {}; no worker runs there now", drained.host, drained.by)
        })
        .collect()
}
