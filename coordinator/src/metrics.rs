//! What is counted and shown at `/metrics`, in the words of the design.
//!
//! [`Counters`] are of this process; gauges are read from state and broker when they are asked for, so that every replica
//! shows the same.

use std::collections::BTreeMap;

use domain::run::TaskState;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use services::queue::QueueName;
use services::state::RunView;

use crate::counters::Counters;
use crate::running::{Coordinator, Services};
use crate::trouble::Trouble;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunGauges {
    run: String,
    pipeline: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTasks {
    run: String,
    pipeline: String,
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfQueue {
    queue: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClass {
    class: String,
}

/// All metrics in the text format of OpenMetrics.
pub(crate) async fn text(running: &Coordinator) -> Result<String, Trouble> {
    let mut registry = Registry::with_prefix("sas");
    counters(&mut registry, &running.counters);
    on_hosts(&mut registry, &running.counters);
    aside(&mut registry, running.aside.count());
    let mut views = Vec::new();
    for info in running.services.state.runs().await? {
        views.extend(running.view(info.run).await?);
    }
    runs(&mut registry, &views);
    queues(&mut registry, &running.services, &views).await?;
    workers(&mut registry, &running.services).await?;
    let mut text = String::new();
    // Writing to a string cannot fail.
    _ = encode(&mut text, &registry);
    Ok(text)
}

fn counters(registry: &mut Registry, counters: &Counters) {
    for (name, help, counter) in [
        ("events", "Dataset events received", &counters.events),
        ("completions", "Completions received", &counters.completions),
        ("unreadable", "Messages sent to the dead letters", &counters.unreadable),
        ("published", "Task messages confirmed by the broker", &counters.published),
        ("stars_admitted", "Stars that entered a run", &counters.admitted),
        ("stars_closed", "Stars whose end is on record", &counters.closed),
        ("leases_lost", "Leases that ran out", &counters.leases_lost),
        ("nondeterministic", "Results that differ from an earlier one of equal inputs", &counters.nondeterministic),
        ("hooks_told", "Hooks that were told and content", &counters.hooks_told),
        ("hooks_failed", "Hooks that failed at every try", &counters.hooks_failed),
        ("hooks_dropped", "Moments that no hook was told, for too many waited", &counters.hooks_dropped),
    ] {
        registry.register(name, help, counter.clone());
    }
    let help = "Completions of results with warnings: another unit than the data model's, an extra column";
    registry.register("warned_results", help, counters.warned.clone());
    let help = "How long the last comparison of store and state took";
    registry.register("comparison_seconds", help, counters.comparison.clone());
}

/// Attempts that did not end well, by host: on one whose numbers stand out, look there.
fn on_hosts(registry: &mut Registry, counters: &Counters) {
    for (name, help, on) in [
        ("attempts_failed", "Attempts that ended by the module's fault", &counters.failed_on),
        ("attempts_errored", "Attempts that ended by the platform's fault", &counters.errored_on),
        ("attempts_lost", "Attempts whose lease ran out", &counters.lost_on),
    ] {
        registry.register(name, help, on.family.clone());
    }
}

fn aside(registry: &mut Registry, (runs, events): (usize, usize)) {
    for (name, help, count) in [
        ("runs_set_aside", "Runs that are left alone, for something of theirs is damaged", runs),
        ("events_set_aside", "Dataset events on record that are left alone, for they are damaged", events),
    ] {
        let held: Gauge = Gauge::default();
        held.set(gauge(count as u64));
        registry.register(name, help, held);
    }
}

fn runs(registry: &mut Registry, views: &[RunView]) {
    let tasks = Family::<OfTasks, Gauge>::default();
    let (in_flight, to_come, running) =
        <(Family<RunGauges, Gauge>, Family<RunGauges, Gauge>, Family<RunGauges, Gauge>)>::default();
    for view in views {
        let (run, pipeline) = (view.info.run.to_string(), view.info.pipeline.to_string());
        let mut by_state: BTreeMap<TaskState, u64> = BTreeMap::new();
        for (state, count) in view.counts.values().flatten() {
            *by_state.entry(*state).or_default() += count;
        }
        for (state, count) in by_state {
            let labels = OfTasks { run: run.clone(), pipeline: pipeline.clone(), state: state.to_string() };
            tasks.get_or_create(&labels).set(gauge(count));
        }
        let labels = RunGauges { run, pipeline };
        in_flight.get_or_create(&labels).set(view.in_flight.into());
        to_come.get_or_create(&labels).set(view.info.stars.saturating_sub(view.info.cursor).into());
        running.get_or_create(&labels).set(view.running.into());
    }
    registry.register("tasks", "Tasks by state", tasks);
    registry.register("stars_in_flight", "Stars admitted and not closed", in_flight);
    registry.register("stars_to_come", "Stars not admitted yet", to_come);
    registry.register("attempts_running", "Attempts with a live lease", running);
}

async fn queues(registry: &mut Registry, services: &Services, views: &[RunView]) -> Result<(), Trouble> {
    let ready = Family::<OfQueue, Gauge>::default();
    let unacknowledged = Family::<OfQueue, Gauge>::default();
    let consumers = Family::<OfQueue, Gauge>::default();
    let mut names = vec![QueueName::Events, QueueName::Completions, QueueName::Dead];
    names.extend(views.iter().flat_map(|view| view.ready.keys().cloned().map(QueueName::Tasks)));
    names.sort();
    names.dedup();
    for depth in services.queue.depths(&names).await? {
        let labels = OfQueue { queue: depth.queue };
        ready.get_or_create(&labels).set(gauge(depth.ready));
        if let Some(count) = depth.unacknowledged {
            unacknowledged.get_or_create(&labels).set(gauge(count));
        }
        consumers.get_or_create(&labels).set(gauge(depth.consumers));
    }
    registry.register("queue_ready", "Messages that wait", ready);
    registry.register("queue_unacknowledged", "Messages delivered and not answered", unacknowledged);
    registry.register("queue_consumers", "Consumers", consumers);
    Ok(())
}

async fn workers(registry: &mut Registry, services: &Services) -> Result<(), Trouble> {
    let slots = Family::<OfClass, Gauge>::default();
    let workers = services.state.workers().await?;
    for worker in workers.iter().filter(|worker| !worker.drained) {
        for (class, count) in &worker.slots {
            slots.get_or_create(&OfClass { class: class.to_string() }).inc_by((*count).into());
        }
    }
    let live: Gauge = Gauge::default();
    live.set(gauge(workers.len() as u64));
    let drained: Gauge = Gauge::default();
    drained.set(gauge(workers.iter().filter(|worker| worker.drained).count() as u64));
    registry.register("workers", "Workers that live", live);
    registry.register("workers_drained", "Workers that live on hosts that operators drain", drained);
    registry.register("slots", "Slots of workers that live and are not drained", slots);
    Ok(())
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
