//! What scripts take and answer: changes as lists of arguments, tries, leases and tasks as short texts. No connection here.

pub(super) mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use look::lease;
use redis::ScriptInvocation;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::state::{
    Admission, AnnouncedTask, Change, Claim, ClaimRefusal, ClaimWish, ClaimedTask, CursorMove, Detail, Due, Grant,
    PERIOD, PERIODS, RunInfo, Spent, StateError, Written,
};
use domain::id::{Attempt, Epoch, ModuleIndex, RunId, StarIndex, Task};
use domain::outcome::Remarks;
use domain::run::{Row, Star, Tries};

/// Something that no version of this program writes, and what it is; whoever asked knows of which run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Odd(pub(super) String);

impl Odd {
    pub(super) fn of(self, run: RunId) -> StateError {
        StateError::Damaged { run, reason: self.0 }
    }
}

/// What is added up of each module; the script knows the names in this order.
pub(super) const SPENT: [&str; 5] = ["tasks", "millis", "found", "warned", "unmade"];

fn spent(module: ModuleIndex, detail: &Detail) -> Option<(ModuleIndex, [u64; SPENT.len()])> {
    detail.spent().map(|spent| {
        let Spent { tasks, millis, found, remarks: Remarks { warned, unmade } } = spent;
        (module, [tasks, millis, found, warned, unmade])
    })
}

/// The arguments of `write.lua` before those of changes.
pub(super) fn head(call: &mut ScriptInvocation<'_>, epoch: Epoch, cursor: Option<CursorMove>) {
    call.arg(epoch.0).arg(millis(PERIOD)).arg(millis(PERIOD) * (PERIODS + 2));
    match cursor {
        Some(CursorMove { from, to }) => call.arg(from).arg(to),
        None => call.arg("").arg(""),
    };
}

/// The arguments of `write.lua` for a change, in the order in which it takes them.
pub(super) fn change(call: &mut ScriptInvocation<'_>, change: &Change) {
    let Change { star, expected, after, queue, wait, details, admission, close, lease_lost, claimed } = change;
    call.arg(star.0).arg(expected.row.as_bytes()).arg(after.row.as_bytes());
    call.arg(tries_text(&expected.tries)).arg(tries_text(&after.tries)).arg(u8::from(*close));
    call.arg(lease_lost.map_or_else(String::new, |module| module.0.to_string()));
    call.arg(admission.as_ref().map_or_else(String::new, json));
    call.arg(claimed.len());
    for ClaimedTask { module, nonce, may_be_gone } in claimed {
        call.arg(module.0).arg(nonce.to_string()).arg(u8::from(*may_be_gone));
    }
    call.arg(queue.len());
    for (module, _) in queue {
        call.arg(module.0);
    }
    call.arg(wait.len());
    for (module, delay) in wait {
        call.arg(module.0).arg(millis(*delay));
    }
    call.arg(details.len());
    for (module, detail) in details {
        call.arg(module.0).arg(json(detail));
    }
    let sums: Vec<_> = details.iter().filter_map(|(module, detail)| spent(*module, detail)).collect();
    call.arg(sums.len());
    for (module, sums) in &sums {
        call.arg(module.0).arg(&sums[..]);
    }
}

/// What `write.lua` answers for a change, and `closed.lua`; modules are counted in bytes, as in claims.
pub(super) fn written(answer: u32) -> Written {
    match answer {
        0 => Written::Lost,
        1 => Written::Done,
        other => Written::Unclaimed { module: ModuleIndex(((other - 2) / 2) as u8), is_held: other % 2 == 0 },
    }
}

/// JSON of what is kept.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what is kept has string keys and finite numbers only")
}

/// Reads back what [`json`] wrote.
pub(super) fn from_json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Odd> {
    serde_json::from_slice(bytes).map_err(|error| Odd(format!("{what}: {error}")))
}

/// Milliseconds, rounded up: nothing goes off early.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).min(MAX_MILLIS)
}

/// A century: times in milliseconds stay exact in the numbers of Lua and of sorted sets.
const MAX_MILLIS: u64 = 100 * 366 * 24 * 3600 * 1000;

/// `module:attempt:science:platform`, joined by spaces.
fn tries_text(tries: &BTreeMap<ModuleIndex, Tries>) -> String {
    let one = |(module, tries): (&ModuleIndex, &Tries)| {
        format!("{}:{}:{}:{}", module.0, tries.attempt, tries.science, tries.platform)
    };
    tries.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn parse_tries(text: &str) -> Option<BTreeMap<ModuleIndex, Tries>> {
    let one = |entry: &str| {
        let mut numbers = entry.split(':');
        let module = ModuleIndex(numbers.next()?.parse().ok()?);
        let mut count = || numbers.next()?.parse().ok();
        Some((module, Tries { attempt: Attempt(count()?), science: count()?, platform: count()? }))
    };
    text.split_whitespace().map(one).collect()
}

/// Modules, each followed by a space.
pub(super) fn modules_text<'a>(modules: impl IntoIterator<Item = &'a ModuleIndex>) -> String {
    modules.into_iter().map(|module| format!("{} ", module.0)).collect()
}

/// Held modules, each once and in order.
pub(super) fn held_text(modules: &[ModuleIndex]) -> String {
    modules_text(&modules.iter().copied().collect::<BTreeSet<ModuleIndex>>())
}

/// Held modules from their text.
pub(super) fn held(text: &str) -> Result<Vec<ModuleIndex>, Odd> {
    let modules = text.split_whitespace().map(|module| module.parse().map(ModuleIndex));
    modules.collect::<Result<_, _>>().map_err(|_| Odd(format!("held modules {text:?}")))
}

/// What changes of a run: phase, weight, cursor, held modules, newest amendment.
pub(super) type Changing = (String, u32, u32, String, u64);

/// A run with what changed of it since it was opened.
pub(super) fn current(known: &RunInfo, (phase, weight, cursor, held, amended): Changing) -> Result<RunInfo, Odd> {
    let phase = phase.parse().map_err(|_| Odd(format!("phase {phase:?}")))?;
    Ok(RunInfo { phase, weight, cursor, held: self::held(&held)?, amended, ..known.clone() })
}

/// A star from its row and its tries.
pub(super) fn star(row: Vec<u8>, tries: &[u8]) -> Result<Star, Odd> {
    let row = Row::from_bytes(row).map_err(|error| Odd(error.to_string()))?;
    let text = String::from_utf8_lossy(tries);
    let tries = parse_tries(&text).ok_or_else(|| Odd(format!("tries {text:?}")))?;
    Ok(Star { row, tries })
}

/// A task from `star:module`.
pub(super) fn task(text: &str) -> Result<Task, Odd> {
    let parse = || {
        let (star, module) = text.split_once(':')?;
        Some(Task { star: StarIndex(star.parse().ok()?), module: ModuleIndex(module.parse().ok()?) })
    };
    parse().ok_or_else(|| Odd(format!("task {text:?}")))
}

/// `star:module`.
pub(super) fn task_text(task: Task) -> String {
    format!("{}:{}", task.star.0, task.module.0)
}

/// Timers that went off: pairs of task and lease, tasks, stars.
pub(super) fn due(leases: &[(String, String)], waits: &[String], closing: &[u32]) -> Result<Due, Odd> {
    let lost = |(task_of, lease_of): &(String, String)| Ok((task(task_of)?, lease(lease_of)?));
    Ok(Due {
        leases: leases.iter().map(lost).collect::<Result<_, Odd>>()?,
        waits: waits.iter().map(|text| task(text)).collect::<Result<_, Odd>>()?,
        closing: closing.iter().copied().map(StarIndex).collect(),
    })
}

/// What `announce.lua` answers for a task.
pub(super) fn announced(answer: i64) -> AnnouncedTask {
    match u32::try_from(answer) {
        Ok(0) => AnnouncedTask::Kept,
        Ok(attempt) => AnnouncedTask::Queued(Attempt(attempt)),
        Err(_) => AnnouncedTask::Lost,
    }
}

/// The answer of `claim.lua` to a wish.
pub(super) fn claim(wish: &ClaimWish, answer: Vec<Vec<u8>>) -> Result<Claim, Odd> {
    let mut parts = answer.into_iter();
    let word = String::from_utf8(parts.next().unwrap_or_default()).unwrap_or_default();
    if word != "granted" {
        let refusal: Result<ClaimRefusal, _> = word.parse();
        return refusal.map(Claim::Refused).map_err(|_| Odd(format!("answer {word:?} to a claim")));
    }
    let mut part = || parts.next().unwrap_or_default();
    let star = star(part(), &part())?;
    let amended = String::from_utf8(part()).ok().and_then(|number| number.parse().ok());
    let amended = amended.ok_or_else(|| Odd("number of an amendment".to_owned()))?;
    // Empty where it is not known.
    let waited = String::from_utf8(part()).ok().and_then(|millis| millis.parse().ok()).map(Duration::from_millis);
    let reserve = String::from_utf8(part()).ok().and_then(|millis| millis.parse().ok()).map(Duration::from_millis);
    let admission = match part() {
        none if none.is_empty() => Admission::default(),
        json => from_json("admission", &json)?,
    };
    let first = Tries { attempt: wish.attempt, science: 0, platform: 0 };
    let mut grant = Grant {
        upstream: BTreeMap::new(),
        admission,
        tries: star.tries.get(&wish.task.module).copied().unwrap_or(first),
        row: star.row,
        amended,
        waited,
        reserve: reserve.ok_or_else(|| Odd("time of a reserve".to_owned()))?,
    };
    for (&module, json) in wish.reads.iter().zip(parts).filter(|(_, json)| !json.is_empty()) {
        grant.upstream.insert(module, from_json("detail", &json)?);
    }
    Ok(Claim::Granted(Box::new(grant)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_round_trip() {
        let tries = BTreeMap::from([
            (ModuleIndex(3), Tries { attempt: Attempt(17), science: 1, platform: 11 }),
            (ModuleIndex(30), Tries { attempt: Attempt(2), science: 0, platform: 1 }),
        ]);
        assert_eq!(parse_tries(&tries_text(&tries)), Some(tries));
        assert_eq!(parse_tries(""), Some(BTreeMap::new()));
        assert_eq!(parse_tries("3:1"), None);
    }

    #[test]
    fn held_modules_round_trip() {
        let text = held_text(&[ModuleIndex(12), ModuleIndex(2), ModuleIndex(12)]);
        assert_eq!(held(&text).unwrap(), [ModuleIndex(2), ModuleIndex(12)]);
        assert_eq!(held("").unwrap(), []);
        assert!(held("two").is_err());
    }

    #[test]
    fn times_round_up_and_stay_exact() {
        assert_eq!(millis(Duration::from_micros(1)), 1);
        assert_eq!(millis(Duration::from_millis(5)), 5);
        assert!(millis(Duration::MAX) < 1 << 52);
    }
}
