//! Why tasks of a run wait before their next try. A reason that many have is said once, with one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coordinator::operate::Context;
use coordinator::operate::selection::{ShownState, TaskSelection};
use coordinator::operate::task::{self, ListTasks, ListedTask};
use domain::id::RunId;

/// How often tasks that wait are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How many of them are looked at.
const LOOKED_AT: usize = 20;
/// How many reasons are said at most.
const SAID: usize = 10;
/// How many of them where the watch ends.
const SAID_LAST: usize = 3;

/// The reasons that were said already.
#[derive(Default)]
pub(super) struct SaidReasons {
    said: BTreeSet<String>,
    looked: Option<Instant>,
}

impl SaidReasons {
    /// Why tasks of a run wait, as far as that was not said before: a line for each reason.
    pub(super) async fn news(&mut self, context: &Context, run: RunId) -> Vec<String> {
        if self.said.len() >= SAID || self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Vec::new();
        }
        self.looked = Some(Instant::now());
        self.unsaid(waiting(context, run).await)
    }

    fn unsaid(&mut self, tasks: Vec<ListedTask>) -> Vec<String> {
        let mut lines = Vec::new();
        for (reason, line) in by_reason(tasks) {
            if self.said.len() < SAID && self.said.insert(reason) {
                lines.push(line);
            }
        }
        lines
    }
}

/// Why tasks of a run wait now: the first reasons.
pub(super) async fn reasons(context: &Context, run: RunId) -> Vec<String> {
    by_reason(waiting(context, run).await).into_values().take(SAID_LAST).collect()
}

/// The first tasks that wait. Who only watches does without them where they cannot be told.
async fn waiting(context: &Context, run: RunId) -> Vec<ListedTask> {
    let selection = TaskSelection { run: Some(run), states: vec![ShownState::Waiting], ..TaskSelection::default() };
    match task::list(context, ListTasks { selection, limit: LOOKED_AT }).await {
        Ok(found) => found.tasks,
        Err(_) => Vec::new(),
    }
}

/// Each reason, with a line about the first of the tasks that have it.
fn by_reason(tasks: Vec<ListedTask>) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    for ListedTask { star, module, reason, .. } in tasks {
        let Some(reason) = reason else { continue };
        let line = format!("{module} of {star} waits before its next try: {reason}");
        lines.entry(reason).or_insert(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use domain::id::{Attempt, StarId};

    use super::*;

    fn waits(star: u64, module: &str, reason: Option<&str>) -> ListedTask {
        ListedTask {
            star: StarId::of_simulator(star),
            module: module.parse().unwrap(),
            state: ShownState::Waiting,
            attempt: Attempt(1),
            host: None,
            since: None,
            due: None,
            reason: reason.map(ToOwned::to_owned),
            last_line: String::new(),
        }
    }

    #[test]
    fn a_reason_is_said_once() {
        let mut said = SaidReasons::default();
        let refused = "errored (refused): the program of image `x:1` is for arm64 and this host is amd64";
        let lines = said.unsaid(vec![waits(1, "A", Some(refused)), waits(2, "B", Some(refused)), waits(3, "B", None)]);
        let first = StarId::of_simulator(1);
        assert_eq!(lines, [format!("A of {first} waits before its next try: {refused}")]);
        assert_eq!(said.unsaid(vec![waits(2, "B", Some(refused))]), Vec::<String>::new());
        let missing = vec![waits(2, "B", Some("errored (image_missing): y"))];
        assert!(said.unsaid(missing)[0].ends_with("try: errored (image_missing): y"));

        let many = (0..20).map(|n| waits(n, "A", Some(&format!("reason {n}")))).collect();
        assert_eq!(said.unsaid(many).len(), SAID - 2, "no more than a screen takes");
    }
}
