//! What scripts answer to who only looks: leases, stars, counts, times, open tasks.

use std::collections::BTreeMap;

use domain::id::{Attempt, ModuleIndex};
use domain::run::TaskState;
use jiff::Timestamp;

use super::{Odd, from_json, star, task};
use crate::state::{Counts, OpenPlace, OpenTask, RunningTask, Spent, StarView};

/// A star in flight from its row, its tries, what is known of its tasks, leases that live, and when tasks are due.
pub(in crate::state::redis) fn star_view(
    row: Vec<u8>,
    tries: &[u8],
    known: &BTreeMap<String, Vec<u8>>,
    running: &[(u8, String)],
    due: &[(u8, f64)],
) -> Result<StarView, Odd> {
    let mut view = StarView {
        star: star(row, tries)?,
        details: BTreeMap::new(),
        admission: None,
        running: BTreeMap::new(),
        due: due.iter().filter_map(|&(module, at)| Some((ModuleIndex(module), time(at)?))).collect(),
    };
    for (field, value) in known {
        match field.parse() {
            Ok(module) => _ = view.details.insert(ModuleIndex(module), from_json("detail", value)?),
            Err(_) => view.admission = Some(from_json("admission", value)?),
        }
    }
    for (module, text) in running {
        view.running.insert(ModuleIndex(*module), lease(text)?);
    }
    Ok(view)
}

/// A lease, `attempt nonce @since worker`; versions before wrote no `@since`.
pub(in crate::state::redis) fn lease(text: &str) -> Result<RunningTask, Odd> {
    let parse = || {
        let mut parts = text.splitn(3, ' ');
        let attempt = parts.next()?.parse().ok()?;
        let rest = parts.nth(1)?;
        let since = rest.strip_prefix('@').and_then(|rest| rest.split_once(' '));
        let since = since.and_then(|(at, worker)| Some((time(at.parse().ok()?)?, worker)));
        let (since, worker) = since.map_or((None, rest), |(at, worker)| (Some(at), worker));
        Some(RunningTask { attempt, worker: worker.parse().ok()?, since })
    };
    parse().ok_or_else(|| Odd(format!("lease {text:?}")))
}

/// A time from milliseconds; 0 is none.
pub(in crate::state::redis) fn time(millis: f64) -> Option<Timestamp> {
    if millis <= 0.0 { None } else { Timestamp::from_millisecond(millis as i64).ok() }
}

/// Task, attempt, time and lease of an open task.
pub(in crate::state::redis) type OpenReply = (String, u32, f64, String);

/// Open tasks, at most `limit`, those that came first, or are due first, in front.
pub(in crate::state::redis) fn open_tasks(
    place: OpenPlace,
    found: Vec<OpenReply>,
    limit: u32,
) -> Result<Vec<OpenTask>, Odd> {
    let open = |(which, attempt, at, held): OpenReply| {
        let open = OpenTask { task: task(&which)?, attempt: Attempt(attempt), worker: None, since: None, due: None };
        Ok(match place {
            OpenPlace::Running => {
                let RunningTask { attempt, worker, since } = lease(&held)?;
                OpenTask { attempt, worker: Some(worker), since, ..open }
            }
            OpenPlace::Queued | OpenPlace::OnHold => OpenTask { since: time(at), ..open },
            OpenPlace::Waiting => OpenTask { due: time(at), ..open },
        })
    };
    let mut open = found.into_iter().map(open).collect::<Result<Vec<_>, Odd>>()?;
    open.sort_by_key(|open| (open.since, open.due, open.task));
    open.truncate(limit as usize);
    Ok(open)
}

/// Counts from their `module:state` fields; none is left out.
pub(in crate::state::redis) fn counts(fields: &BTreeMap<String, u64>) -> Result<Counts, Odd> {
    let mut counts = Counts::new();
    for (field, &count) in fields.iter().filter(|(_, count)| **count > 0) {
        let parse = || {
            let (module, state) = field.split_once(':')?;
            Some((ModuleIndex(module.parse().ok()?), TaskState::from_repr(state.parse().ok()?)?))
        };
        let (module, state) = parse().ok_or_else(|| Odd(format!("count {field:?}")))?;
        counts.entry(module).or_default().insert(state, count);
    }
    Ok(counts)
}

/// What modules took, from the fields `module:tasks` and so on.
pub(in crate::state::redis) fn spent(fields: &BTreeMap<String, u64>) -> Result<BTreeMap<ModuleIndex, Spent>, Odd> {
    let mut spent: BTreeMap<ModuleIndex, Spent> = BTreeMap::new();
    for (field, &number) in fields {
        let odd = || Odd(format!("time {field:?}"));
        let (module, what) = field.split_once(':').ok_or_else(odd)?;
        let of_module = spent.entry(ModuleIndex(module.parse().map_err(|_| odd())?)).or_default();
        match what {
            "tasks" => of_module.tasks = number,
            "millis" => of_module.millis = number,
            "found" => of_module.found = number,
            "warned" => of_module.remarks.warned = number,
            "unmade" => of_module.remarks.unmade = number,
            _ => return Err(odd()),
        }
    }
    Ok(spent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_of_this_version_and_of_the_one_before_are_read() {
        let nonce = "8a6e0804-2bd0-4672-b79d-d97027f9071a";
        let of = |text: &str| lease(text).map(|held| (held.attempt.0, held.worker.to_string(), held.since));
        let old = of(&format!("2 {nonce} worker 1 of host")).unwrap();
        assert_eq!(old, (2, "worker 1 of host".to_owned(), None));
        let new = of(&format!("3 {nonce} @1764378000123 worker 1 of host")).unwrap();
        assert_eq!(new, (3, "worker 1 of host".to_owned(), Some("2025-11-29T01:00:00.123Z".parse().unwrap())));
        assert!(of("3").is_err());
    }
}
