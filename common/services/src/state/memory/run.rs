//! One run in memory: plain maps and the rules of the port, with the time as an argument.
//!
//! No lock and no clock; the adapter above has both.

mod announced;
mod flow;
mod look;

use std::collections::BTreeMap;
use std::time::Duration;

use announced::Announcement;
pub(super) use look::BothClocks;
use tokio::time::Instant;

use crate::state::{
    Admission, CLOSING_PATIENCE, Change, Claim, ClaimRefusal, ClaimRequest, ClaimWish, ClaimedTask, CursorMove, Detail,
    Due, Grant, Lease, Moves, Phase, Ready, RunInfo, Spent, StateError, Written,
};
use domain::id::{Attempt, ClassName, ModuleIndex, Nonce, StarIndex, Task, WorkerName};
use domain::run::{Cell, Row, Star, TaskState, Tries};

/// A run and everything that the state knows of it.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) info: RunInfo,
    /// All rows, one after the other.
    all_rows: Vec<u8>,
    counts: BTreeMap<(ModuleIndex, TaskState), u64>,
    tries: BTreeMap<StarIndex, BTreeMap<ModuleIndex, Tries>>,
    in_flight: BTreeMap<StarIndex, InFlight>,
    /// Since when; `None` is longer than any age.
    outbox: BTreeMap<Task, Option<Instant>>,
    published: BTreeMap<Task, Instant>,
    /// Queued tasks of held modules, and since when.
    on_hold: BTreeMap<Task, Instant>,
    waits: BTreeMap<Task, Instant>,
    leases: BTreeMap<Task, LeaseHolder>,
    announced: BTreeMap<Task, Announcement>,
    closing: BTreeMap<StarIndex, Instant>,
    spent: BTreeMap<ModuleIndex, Spent>,
    /// By the period in which they were, counted from `opened`.
    moves: BTreeMap<u64, BTreeMap<ModuleIndex, Moves>>,
    opened: Instant,
    /// When a task was settled last.
    moved: Option<Instant>,
    /// The longest lease that was granted.
    lease: Duration,
    /// When timers were last asked for.
    swept: Option<Instant>,
    /// Until when no lease is named.
    mercy: Option<Instant>,
    /// Until when claims are granted under reserve.
    reserve: Instant,
}

#[derive(Clone, Default)]
struct InFlight {
    details: BTreeMap<ModuleIndex, Detail>,
    admission: Option<Admission>,
}

#[derive(Clone)]
struct LeaseHolder {
    attempt: Attempt,
    nonce: Nonce,
    worker: WorkerName,
    since: Instant,
    until: Instant,
}

impl Run {
    pub(super) fn open(info: &RunInfo, reserve: Duration) -> Self {
        let (modules, now) = ((0..=u8::MAX).map(ModuleIndex).take(info.modules.len()), Instant::now());
        Self {
            all_rows: vec![0; info.stars as usize * info.modules.len()],
            counts: modules.map(|module| ((module, TaskState::Blocked), info.stars.into())).collect(),
            info: info.clone(),
            tries: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            outbox: BTreeMap::new(),
            published: BTreeMap::new(),
            on_hold: BTreeMap::new(),
            waits: BTreeMap::new(),
            leases: BTreeMap::new(),
            announced: BTreeMap::new(),
            closing: BTreeMap::new(),
            spent: BTreeMap::new(),
            moves: BTreeMap::new(),
            opened: now,
            moved: None,
            lease: Duration::ZERO,
            swept: None,
            mercy: None,
            reserve: now + reserve,
        }
    }

    pub(super) fn hold(&mut self, modules: &[ModuleIndex], now: Instant) {
        self.info.held = modules.to_vec();
        self.info.held.sort_unstable();
        let is_held = |task: &Task| modules.contains(&task.module);
        let ready = self.published.keys().chain(self.outbox.keys());
        let aside: Vec<Task> = ready.copied().filter(is_held).collect();
        self.published.retain(|task, _| !is_held(task));
        self.outbox.retain(|task, _| !is_held(task));
        let released = self.on_hold.keys().copied().filter(|task| !is_held(task));
        self.outbox.extend(released.map(|task| (task, None)));
        self.on_hold.retain(|task, _| is_held(task));
        self.on_hold.extend(aside.into_iter().map(|task| (task, now)));
    }

    pub(super) fn set_phase(&mut self, phase: Phase, weight: u32) {
        if phase == Phase::Active && self.info.phase != Phase::Active {
            self.outbox.extend(std::mem::take(&mut self.published).into_keys().map(|task| (task, None)));
        }
        (self.info.phase, self.info.weight) = (phase, weight);
    }

    pub(super) fn amend(&mut self, number: u64) {
        self.info.amended = self.info.amended.max(number);
    }

    pub(super) fn load(&self, star: StarIndex) -> Result<Star, StateError> {
        let bytes = self.bytes(star).map_or_else(|| vec![0; self.info.modules.len()], <[u8]>::to_vec);
        let row = Row::from_bytes(bytes)
            .map_err(|error| StateError::Damaged { run: self.info.run, reason: error.to_string() })?;
        Ok(Star { row, tries: self.tries.get(&star).cloned().unwrap_or_default() })
    }

    pub(super) fn write(&mut self, cursor: Option<CursorMove>, changes: &[Change], now: Instant) -> Vec<Written> {
        if let Some(cursor) = cursor {
            if self.info.cursor != cursor.from {
                return vec![Written::Lost; changes.len()];
            }
            self.info.cursor = cursor.to;
        }
        changes.iter().map(|change| self.change(change, now)).collect()
    }

    fn change(&mut self, change: &Change, now: Instant) -> Written {
        let star = change.star;
        let after = change.after.row.as_bytes();
        let expected = change.expected.row.as_bytes();
        let none = BTreeMap::new();
        let is_as_read =
            self.bytes(star) == Some(expected) && *self.tries.get(&star).unwrap_or(&none) == change.expected.tries;
        if !is_as_read || after.len() != expected.len() {
            return Written::Lost;
        }
        let lease_lives = |module| self.leases.get(&Task { star, module }).is_some_and(|held| held.until > now);
        if change.lease_lost.is_some_and(lease_lives) {
            return Written::Lost;
        }
        for &ClaimedTask { module, nonce, may_be_gone } in &change.claimed {
            let holder = self.leases.get(&Task { star, module });
            if holder.map_or(!may_be_gone, |holder| holder.nonce != nonce) {
                return Written::Unclaimed { module, is_held: holder.is_some() };
            }
        }
        for ((module, old), new) in
            (0..=u8::MAX).map(ModuleIndex).zip(change.expected.row.cells()).zip(change.after.row.cells())
        {
            if old != new {
                self.forget_task(Task { star, module });
                self.count(module, old.state, new.state);
                if old.state == TaskState::Queued {
                    self.moves_of(module, now).left += 1;
                }
                if new.state.is_settled() {
                    self.moved = Some(now);
                }
            }
        }
        let at = star.0 as usize * after.len();
        self.all_rows[at..at + after.len()].copy_from_slice(after);
        if change.after.tries.is_empty() {
            self.tries.remove(&star);
        } else {
            self.tries.insert(star, change.after.tries.clone());
        }
        for (module, spent) in change.details.iter().filter_map(|(module, detail)| Some((*module, detail.spent()?))) {
            *self.spent.entry(module).or_default() += spent;
        }
        let is_fresh = change.after.row.is_fresh();
        if is_fresh || change.after.is_settled() && !change.close {
            self.in_flight.remove(&star);
            self.closing.remove(&star);
            if is_fresh {
                self.info.cursor = self.info.cursor.min(star.0);
            }
            return Written::Done;
        }
        let known = self.in_flight.entry(star).or_default();
        known.details.extend(change.details.iter().cloned());
        if change.admission.is_some() {
            known.admission.clone_from(&change.admission);
        }
        for &(module, _) in &change.queue {
            self.published.remove(&Task { star, module });
            self.moves_of(module, now).entered += 1;
            if self.info.held.contains(&module) {
                self.on_hold.insert(Task { star, module }, now);
            } else {
                self.outbox.insert(Task { star, module }, Some(now));
            }
        }
        self.waits.extend(change.wait.iter().map(|&(module, delay)| (Task { star, module }, now + delay)));
        if change.close {
            self.closing.insert(star, now);
        } else {
            self.closing.remove(&star);
        }
        Written::Done
    }

    fn forget_task(&mut self, task: Task) {
        self.outbox.remove(&task);
        self.published.remove(&task);
        self.on_hold.remove(&task);
        self.waits.remove(&task);
        self.leases.remove(&task);
    }

    fn count(&mut self, module: ModuleIndex, old: TaskState, new: TaskState) {
        *self.counts.entry((module, old)).or_default() -= 1;
        *self.counts.entry((module, new)).or_default() += 1;
    }

    pub(super) fn closed(&mut self, star: StarIndex, row: &Row) -> Written {
        if self.bytes(star) != Some(row.as_bytes()) {
            return Written::Lost;
        }
        self.in_flight.remove(&star);
        self.closing.remove(&star);
        Written::Done
    }

    pub(super) fn outbox(&self, age: Duration, limit: u32, now: Instant) -> Vec<Ready> {
        let old = |since: &Option<Instant>| since.is_none_or(|since| since + age <= now);
        let mut entries: Vec<_> = self.outbox.iter().filter(|(_, since)| old(since)).collect();
        entries.sort_by_key(|(_, since)| **since);
        let mut counts: BTreeMap<ClassName, u32> = BTreeMap::new();
        let ready = |(&task, _)| Ready { task, attempt: self.attempt(task), class: self.class(task.module).clone() };
        let of_class = |ready: &Ready| {
            let count = counts.entry(ready.class.clone()).or_default();
            *count += 1;
            *count <= limit
        };
        entries.into_iter().map(ready).filter(of_class).collect()
    }

    pub(super) fn published(&mut self, tasks: &[Ready], now: Instant) {
        for ready in tasks {
            if self.attempt(ready.task) == ready.attempt && self.outbox.remove(&ready.task).is_some() {
                self.published.insert(ready.task, now);
            }
        }
    }

    pub(super) fn republish(&mut self, class: &ClassName, age: Duration, limit: u32, now: Instant) -> u32 {
        let excess = |(task, since): &(&Task, &Instant)| self.class(task.module) == class && **since + age <= now;
        let mut entries: Vec<_> = self.published.iter().filter(excess).map(|(&task, &since)| (since, task)).collect();
        entries.sort_unstable();
        entries.truncate(limit as usize);
        for (_, task) in &entries {
            self.published.remove(task);
            self.outbox.insert(*task, None);
        }
        count(entries.len())
    }

    pub(super) fn claim(
        &mut self,
        request: &ClaimRequest,
        wish: &ClaimWish,
        now: Instant,
    ) -> Result<Claim, StateError> {
        let task = wish.task;
        let star = self.load(task.star)?;
        let is_current = task.star.0 < self.info.stars
            && task.module.at() < self.info.modules.len()
            && star.row.cell(task.module) == Cell::queued(wish.attempt)
            && star.attempt(task.module) == wish.attempt;
        if !is_current {
            return Ok(Claim::Refused(ClaimRefusal::Stale));
        }
        let kept_for = self.kept_for(task, now);
        let is_announced = kept_for == Some(wish.nonce);
        if kept_for.is_some() && !is_announced {
            return Ok(Claim::Refused(ClaimRefusal::Held));
        }
        match self.leases.get(&task).filter(|held| held.until > now) {
            Some(held) if held.nonce == wish.nonce => {}
            Some(_) => return Ok(Claim::Refused(ClaimRefusal::Held)),
            // It runs already.
            None if is_announced => {}
            None if self.info.phase != Phase::Active => return Ok(Claim::Refused(ClaimRefusal::NotActive)),
            None if self.info.held.contains(&task.module) => return Ok(Claim::Refused(ClaimRefusal::OnHold)),
            None => {}
        }
        let queued = self.outbox.remove(&task).flatten();
        let since = self.published.remove(&task).or(queued);
        if is_announced {
            self.announced.remove(&task);
            self.on_hold.remove(&task);
        }
        let held = LeaseHolder {
            attempt: wish.attempt,
            nonce: wish.nonce,
            worker: request.worker.clone(),
            since: now,
            until: now + request.lease,
        };
        self.leases.insert(task, held);
        self.lease = self.lease.max(request.lease);
        let known = self.in_flight.get(&task.star);
        let detail = |module: &ModuleIndex| Some((*module, known?.details.get(module)?.clone()));
        Ok(Claim::Granted(Box::new(Grant {
            upstream: wish.reads.iter().filter_map(detail).collect(),
            admission: known.and_then(|known| known.admission.clone()).unwrap_or_default(),
            tries: star.tries.get(&task.module).copied().unwrap_or(Tries {
                attempt: wish.attempt,
                science: 0,
                platform: 0,
            }),
            row: star.row,
            amended: self.info.amended,
            waited: since.map(|since| now - since),
            reserve: if is_announced { Duration::ZERO } else { self.reserve_left(now) },
        })))
    }

    pub(super) fn renew(&mut self, lease: &Lease, until: Instant) -> bool {
        match self.leases.get_mut(&lease.task) {
            Some(held) if held.nonce == lease.nonce && held.attempt == lease.attempt => {
                held.until = until;
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn due(&mut self, limit: u32, closing: u32, silence: Duration, moment: BothClocks) -> Due {
        let now = moment.instant;
        let limit = limit as usize;
        if self.swept.is_some_and(|swept| now - swept > silence.max(self.lease / 3)) {
            self.mercy = Some(now + self.lease + 2 * silence);
        }
        self.swept = Some(now);
        let leases = if self.mercy.is_some_and(|until| now < until) { 0 } else { limit };
        let due = Due {
            leases: first(
                self.leases.iter().map(|(&task, held)| (held.until, (task, held.running(moment)))),
                leases,
                now,
            ),
            waits: first(self.waits.iter().map(|(&task, &at)| (at, task)), limit, now),
            closing: first(self.closing.iter().map(|(&star, &at)| (at, star)), closing as usize, now),
        };
        for &star in &due.closing {
            self.closing.insert(star, now + CLOSING_PATIENCE);
        }
        due
    }

    /// The row of a star; `None` when the run has no such star.
    fn bytes(&self, star: StarIndex) -> Option<&[u8]> {
        let width = self.info.modules.len();
        let at = (star.0 as usize).checked_mul(width)?;
        self.all_rows.get(at..at.checked_add(width)?)
    }

    fn attempt(&self, task: Task) -> Attempt {
        self.tries.get(&task.star).and_then(|tries| tries.get(&task.module)).map_or(Attempt(1), |tries| tries.attempt)
    }

    fn class(&self, module: ModuleIndex) -> &ClassName {
        &self.info.modules[module.at()].1
    }
}

/// What is due, the longest overdue first.
fn first<T: Ord>(timers: impl Iterator<Item = (Instant, T)>, limit: usize, now: Instant) -> Vec<T> {
    let mut due: Vec<_> = timers.filter(|(at, _)| *at <= now).collect();
    due.sort_unstable();
    due.into_iter().take(limit).map(|(_, what)| what).collect()
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
