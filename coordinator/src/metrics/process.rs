//! What this process counted since it began.

use prometheus_client::metrics::counter::ConstCounter;

use crate::metrics::list::List;
use crate::running::Coordinator;

pub(super) fn add(list: &mut List, running: &Coordinator) {
    let counters = &running.counters;
    list.gauges(
        "build_info",
        "Always 1; the version of this coordinator",
        [([("version", env!("CARGO_PKG_VERSION"))], 1.0)],
    );
    for (name, help, counter) in [
        ("events", "Dataset events received", &counters.events),
        ("completions", "Completions received", &counters.completions),
        (
            "completions_unclaimed",
            "Completions of tasks that who sent them had not claimed: not believed",
            &counters.unclaimed,
        ),
        ("unreadable", "Messages sent to the dead letters", &counters.unreadable),
        ("published", "Task messages confirmed by the broker", &counters.published),
        ("republished", "Task messages sent once more: unconfirmed, or lost in a queue", &counters.republished),
        ("stars_admitted", "Stars that entered a run", &counters.admitted),
        ("stars_closed", "Stars whose end is on record", &counters.closed),
        ("leases_lost", "Leases that ran out", &counters.leases_lost),
        ("nondeterministic", "Results that differ from an earlier one of equal inputs", &counters.nondeterministic),
        ("hooks_told", "Hooks that were told and content", &counters.hooks_told),
        ("hooks_failed", "Hooks that failed at every try", &counters.hooks_failed),
        ("hooks_dropped", "Moments that no hook was told, for too many waited", &counters.hooks_dropped),
    ] {
        list.add(name, help, counter.clone());
    }
    let (sent, dropped) = running.traces.counts();
    for (name, help, count) in [
        ("spans_sent", "Spans that the collector of traces took", sent),
        ("spans_dropped", "Spans that it did not take in time", dropped),
    ] {
        list.add(name, help, ConstCounter::new(count));
    }
    for (name, help, family) in [
        ("event_dispositions", "What became of dataset events; each is one", &counters.dispositions),
        ("attempts", "Attempts that were reported, by result", &counters.attempts),
        ("stars_ended", "Stars by how they ended", &counters.ended),
        ("attempts_failed", "Attempts that ended by the module's fault, by host", &counters.failed_on.family),
        ("attempts_errored", "Attempts that ended by the platform's fault, by host", &counters.errored_on.family),
        ("attempts_lost", "Attempts whose lease ran out, by host", &counters.lost_on.family),
        ("contract_violations", "Outputs that broke the module's contract", &counters.violations),
        (
            "warned_results",
            "Results with warnings: another unit than the data model's, an extra column",
            &counters.warned,
        ),
        ("http_requests", "HTTP requests that were answered", &counters.requests),
    ] {
        list.add(name, help, family.clone());
    }
    for (name, help, family) in [
        (
            "module_duration_seconds",
            "From claim to commit of attempts that ran, succeeded or failed",
            &counters.durations,
        ),
        ("queue_wait_seconds", "How long attempts were ready before they were claimed", &counters.queue_waits),
        ("http_request_duration_seconds", "How long HTTP requests took", &counters.request_times),
    ] {
        list.add(name, help, family.clone());
    }
    list.add("claim_seconds", "How long claims took that were granted, as workers measured", counters.claims.clone());
    let help = "From taking a completion to the confirm of what it unlocked";
    list.add("unlock_seconds", help, counters.unlocks.clone());
    for (name, help, gauge) in [
        ("comparison_seconds", "How long the last comparison of store and state took", &counters.comparison),
        ("comparison_timestamp_seconds", "When the last comparison came to its end; 0: never", &counters.compared),
        ("sweep_timestamp_seconds", "When the last sweep of timers came to its end; 0: never", &counters.swept),
    ] {
        list.add(name, help, gauge.clone());
    }
    let (runs, events) = running.aside.count();
    for (name, help, count) in [
        ("runs_set_aside", "Runs that are left alone, for something of theirs is damaged", runs),
        ("events_set_aside", "Dataset events on record that are left alone, for they are damaged", events),
    ] {
        list.gauge(name, help, Some(count as f64));
    }
}
