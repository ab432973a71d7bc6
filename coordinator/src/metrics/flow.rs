//! Queues and the tasks behind them.

use crate::metrics::list::List;
use crate::operate::flow::{ClassFlow, Flow, QueueFlow};

pub(super) fn add(list: &mut List, flow: &Flow) {
    type Number<T> = fn(&T) -> Option<f64>;
    let of_queues: [(&str, &str, Number<QueueFlow>); 4] = [
        ("queue_ready", "Messages that wait, as the broker says", |queue| queue.ready.map(|n| n as f64)),
        ("queue_unacknowledged", "Messages delivered and not answered, as the broker says", |queue| {
            queue.unacknowledged.map(|n| n as f64)
        }),
        (
            "queue_silent_seconds",
            "For how long a queue that is silent has taken no message of this coordinator",
            |queue| queue.silent.map(|seconds| seconds as f64),
        ),
        ("queue_consumers", "Consumers, as the broker says", |queue| queue.consumers.map(|n| n as f64)),
    ];
    for (name, help, number) in of_queues {
        let numbers = flow.queues.iter().filter_map(|queue| Some(([("queue", queue.queue.as_str())], number(queue)?)));
        list.gauges(name, help, numbers);
    }
    let classes: Vec<(&str, &ClassFlow)> = flow
        .queues
        .iter()
        .filter_map(|queue| Some((queue.queue.strip_prefix("sas.tasks.")?, queue.class.as_ref()?)))
        .collect();
    let places = classes.iter().flat_map(|(class, flow)| {
        let tasks = &flow.tasks;
        [
            ("ready", tasks.ready),
            ("in_progress", tasks.in_progress),
            ("lease_lost", tasks.lease_lost),
            ("waiting", tasks.waiting),
            ("on_hold", tasks.on_hold),
            ("to_come", tasks.to_come),
        ]
        .map(|(place, count)| ([("class", *class), ("place", place)], count as f64))
    });
    list.gauges("class_tasks", "Tasks that are not settled, by where they are, as the state says", places);
    let at = flow.at;
    type OfClass<'a> = &'a dyn Fn(&ClassFlow) -> f64;
    let of_classes: [(&str, &str, OfClass<'_>); 5] = [
        ("class_oldest_seconds", "For how long the oldest ready task is ready; 0 where none is", &|class| {
            class.tasks.oldest.map_or(0.0, |oldest| at.duration_since(oldest).as_secs_f64().max(0.0))
        }),
        ("class_work_seconds", "Slot time that all tasks to do are expected to take", &|class| class.tasks.work),
        ("class_unmeasured_modules", "Modules with tasks to do whose time is not known yet", &|class| {
            class.tasks.unmeasured.into()
        }),
        ("slots", "Slots of workers that live and are not drained", &|class| class.slots as f64),
        ("slots_busy", "Slots of these that run something", &|class| class.busy as f64),
    ];
    for (name, help, number) in of_classes {
        list.gauges(name, help, classes.iter().map(|(class, flow)| ([("class", *class)], number(flow))));
    }
}
