//! From what was found to a light for each part of the installation. Pure.

use std::collections::BTreeSet;
use std::iter::once;

use domain::text::moment;
use services::queue::QueueName;

use super::acts::queue_acts;
use super::answers::counted;
use super::{Findings, Level, Light};
use crate::operate::view::RunPhase;

impl Findings {
    /// Events, queues, workers, Redis, store.
    pub(super) fn lights(&self) -> Vec<Light> {
        vec![self.events_light(), self.queues_light(), self.workers_light(), self.redis_light(), self.store_light()]
    }

    fn events_light(&self) -> Light {
        let name = "events";
        let events = match &self.queues {
            Err(error) => return Light { name, level: Level::Bad, words: error.to_string() },
            Ok(queues) => queues.iter().find(|depth| depth.queue == QueueName::Events.to_string()),
        };
        let ready = events.map_or(0, |depth| depth.ready);
        let waiting = counted(ready, "event waits", "events wait");
        match events {
            Some(depth) if depth.consumers == 0 => {
                Light { name, level: Level::Bad, words: format!("no coordinator takes them; {waiting}") }
            }
            _ if ready > 0 => Light { name, level: Level::Attention, words: format!("{waiting} for a coordinator") },
            _ => Light { name, level: Level::Well, words: "all that came are taken up".to_owned() },
        }
    }

    fn queues_light(&self) -> Light {
        let name = "queues";
        match &self.queues {
            Err(error) => Light { name, level: Level::Bad, words: error.to_string() },
            Ok(queues) => {
                let acts = queue_acts(queues);
                let ready: u64 =
                    queues.iter().filter(|depth| depth.queue.starts_with("sas.tasks.")).map(|depth| depth.ready).sum();
                let level = if acts.is_empty() { Level::Well } else { Level::Bad };
                let words = if acts.is_empty() { counted(ready, "ready task", "ready tasks") } else { acts.join("; ") };
                Light { name, level, words }
            }
        }
    }

    fn workers_light(&self) -> Light {
        let name = "workers";
        match &self.workers {
            // Why, Redis' own light says.
            Err(_) => {
                let words = "which of them live is not known: Redis does not say";
                Light { name, level: Level::Bad, words: words.to_owned() }
            }
            Ok(_) if self.unwritable.is_some() => {
                let words = "which of them live is not known: none can show itself while Redis takes no writes";
                Light { name, level: Level::Attention, words: words.to_owned() }
            }
            Ok(workers) => {
                let slots = || workers.iter().flat_map(|worker| worker.slots.values());
                let (busy, slots): (u32, u32) =
                    (slots().map(|slot| slot.busy).sum(), slots().map(|slot| slot.of).sum());
                let waiting = workers.iter().filter(|worker| worker.waits_for.is_some()).count();
                let words =
                    format!("{}, {busy} of {slots} slots busy", counted(workers.len() as u64, "worker", "workers"));
                let is_needed = self.runs.iter().any(|run| run.phase == RunPhase::Active);
                let lost: BTreeSet<&str> = self.lost.iter().map(|lost| lost.host.as_str()).collect();
                let lost: Vec<String> = lost.into_iter().map(|host| format!("{host} is lost")).collect();
                let idle = (waiting > 0).then(|| format!("{waiting} take nothing"));
                let silent = self.silent().map(|(worker, _)| format!("{} is silent", worker.worker));
                let odd: Vec<String> = lost.into_iter().chain(idle).chain(silent).collect();
                if workers.is_empty() && is_needed {
                    return Light { name, level: Level::Bad, words: joined(self.nobody(), odd) };
                }
                let level = if odd.is_empty() { Level::Well } else { Level::Attention };
                Light { name, level, words: joined(words, odd) }
            }
        }
    }

    /// That no worker lives. When Redis was away, those that live are unknown until they show themselves again.
    fn nobody(&self) -> String {
        match self.lost.iter().map(|lost| lost.seen).max() {
            Some(seen) => format!(
                "no worker has shown itself since {}; one that lives does so every few seconds, also after an outage of Redis",
                moment(seen)
            ),
            None => "no worker lives".to_owned(),
        }
    }

    fn redis_light(&self) -> Light {
        let name = "redis";
        match (&self.workers, &self.unwritable) {
            (Err(error), _) => Light { name, level: Level::Bad, words: error.to_string() },
            (Ok(_), Some(reason)) => Light { name, level: Level::Bad, words: format!("it takes no writes: {reason}") },
            (Ok(_), None) => Light { name, level: Level::Well, words: "it can be written to".to_owned() },
        }
    }

    fn store_light(&self) -> Light {
        match &self.store {
            Ok(()) => Light { name: "store", level: Level::Well, words: "it can be written to".to_owned() },
            Err(error) => Light { name: "store", level: Level::Bad, words: error.to_string() },
        }
    }
}

/// Words, and what there is to say besides.
fn joined(words: String, more: Vec<String>) -> String {
    once(words).chain(more).collect::<Vec<_>>().join("; ")
}
