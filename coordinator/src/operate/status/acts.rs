//! What waits for a person. Pure.

use std::collections::BTreeSet;
use std::iter::once;

use domain::id::ClassName;
use domain::text::moment;
use services::queue::Depth;
use store::runs::QuarterVerdict;

use super::answers::{answer, counted, lines, short};
use super::{Answer, Findings, Level, Question, WaitingTasks};
use crate::operate::view::RunPhase;

impl Findings {
    pub(super) fn act(&self) -> Answer {
        let mut act = Vec::new();
        // What stops most comes first.
        for (service, error) in [
            ("RabbitMQ", self.queues.as_ref().err()),
            ("Redis", self.workers.as_ref().err()),
            ("the store", self.store.as_ref().err()),
        ] {
            if error.is_some() {
                act.push(format!("bring {service} back: `sas doctor` says what is wrong"));
            }
        }
        if let Some(reason) = &self.unwritable {
            act.push(format!("make Redis writable again, nothing goes on before that: {reason}"));
        }
        for reason in &self.damaged {
            act.push(format!("mend what is damaged, it is taken up again then: {reason}"));
        }
        let classes: BTreeSet<&ClassName> = self.runs.iter().flat_map(|run| self.unserved(run)).collect();
        for class in classes {
            act.push(format!("start a worker with slots of class {class} (`[slots] {class} = N`)"));
        }
        if let Ok(queues) = &self.queues {
            act.extend(queue_acts(queues));
        }
        for task in &self.hanging {
            act.push(format!(
                "look at {} of {}: `sas star explain {} {}`; `sas task cancel --run {} --star {} --module {}` stops it",
                task.module, task.star, task.star, task.module, task.run, task.star, task.module
            ));
        }
        for lost in &self.lost {
            act.push(format!(
                "look at {} and start its worker again: {} was last seen at {}; `sas worker list` shows those that live",
                lost.host,
                lost.worker,
                moment(lost.seen)
            ));
        }
        for (worker, _) in self.silent() {
            act.push(format!("look at {}, if its worker stays silent: `sas worker list`", worker.host));
        }
        for waiting in &self.waiting {
            let WaitingTasks { module, star, run, reason, .. } = waiting;
            act.push(format!("make {module} run: {reason}; `sas star explain {star} {module} --run {run}`"));
        }
        for run in self.runs.iter().filter(|run| self.failures.iter().any(|group| group.run == run.run)) {
            let run = run.run;
            act.push(format!(
                "look at failures, and have the module or its data mended: `sas run failures {run}`; after that: `sas run failures {run} --retry`"
            ));
        }
        for run in self.runs.iter().filter(|run| run.phase == RunPhase::Paused) {
            act.push(format!("let run {} go on: `sas run resume {}`", short(run), run.run));
        }
        for run in &self.runs {
            for outside in &run.outside {
                let QuarterVerdict::Held { run: before, .. } = outside.verdict else { continue };
                act.push(format!(
                    "mend the quarter before of {} of run {}: `sas run failures {before} --retry`; or let them in as they are: \
                     `sas run resume {}`",
                    counted(outside.stars, "star", "stars"),
                    short(run),
                    run.run
                ));
            }
        }
        if let Some(clocks) = self.clocks() {
            act.push(format!("set the clocks of these hosts right, or that of Redis' host: {clocks}"));
        }
        for held in &self.held {
            let (pipeline, module) = (&held.pipeline, &held.module);
            act.push(format!(
                "{} holds {module} of {pipeline} since {}: `sas module release {pipeline} {module}`",
                held.by,
                moment(held.since)
            ));
        }
        for drained in &self.drained {
            act.push(format!(
                "{} drains {} since {}: `sas worker resume {}`",
                drained.by,
                drained.host,
                moment(drained.since),
                drained.host
            ));
        }
        if act.is_empty() {
            return answer(Question::Act, Level::Well, "nobody");
        }
        let is_quiet = self.hanging.is_empty() && self.failures.is_empty() && self.waiting.is_empty();
        let is_quiet = is_quiet && self.damaged.is_empty();
        let is_away = self.queues.is_err() || self.workers.is_err() || self.store.is_err();
        let is_away = is_away || self.unwritable.is_some();
        let level = if is_quiet && self.lost.is_empty() && !is_away { Level::Attention } else { Level::Bad };
        let first = format!("{} for a person", counted(act.len() as u64, "thing waits", "things wait"));
        lines(Question::Act, level, once(first).chain(act))
    }
}

/// What queues need of a person.
pub(super) fn queue_acts(queues: &[Depth]) -> Vec<String> {
    let mut acts = Vec::new();
    for depth in queues {
        if let Some(seconds) = depth.silent {
            acts.push(format!(
                "look at RabbitMQ: {} has taken no message for {seconds} s (`[queue] silent_for` says when one of tasks or completions \
                 is made anew)",
                depth.queue
            ));
            continue;
        }
        match depth.queue.as_str() {
            "sas.dead" if depth.ready > 0 => {
                acts.push(format!("{} messages could not be read: they are in sas.dead with the reason", depth.ready));
            }
            "sas.events" | "sas.completions" if depth.consumers == 0 => {
                acts.push(format!(
                    "no coordinator listens to {}: start `sas-coordinator`; where one runs, look at the queue in RabbitMQ, whose leader may hang",
                    depth.queue
                ));
            }
            _ => {}
        }
    }
    acts
}
