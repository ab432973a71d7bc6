//! What workers run of a run that has forgotten their claims: kept for them until they have claimed it anew.

use std::time::Duration;

use domain::id::{Attempt, Nonce, Task};
use domain::run::TaskState;
use tokio::time::Instant;

use super::Run;
use crate::state::{AnnouncedTask, Lease, StateError};

/// Somebody says that it runs a task.
#[derive(Clone)]
pub(super) struct Announcement {
    /// The attempt that it was when it was claimed.
    attempt: Attempt,
    nonce: Nonce,
    until: Instant,
}

impl Run {
    /// Keeps a task for whoever runs it, until then.
    pub(in crate::state::memory) fn announce(
        &mut self,
        lease: &Lease,
        until: Instant,
        now: Instant,
    ) -> Result<AnnouncedTask, StateError> {
        let Lease { task, attempt, nonce, .. } = *lease;
        if task.star.0 >= self.info.stars || task.module.at() >= self.info.modules.len() {
            return Ok(AnnouncedTask::Lost);
        }
        let star = self.load(task.star)?;
        let (current, state) = (star.attempt(task.module), star.row.cell(task.module).state);
        let is_queued = state == TaskState::Queued;
        // Nothing was begun under reserve: a newer attempt that is queued was claimed and given back.
        let is_given_back = is_queued && !self.reserve_left(now).is_zero();
        let has_moved_on =
            state.is_settled() || current > attempt && !is_given_back || current == attempt && !is_queued;
        let is_others = self.leases.get(&task).is_some_and(|held| held.until > now && held.nonce != nonce);
        let goes_first = |other: &Announcement| other.until > now && other.nonce != nonce && other.attempt >= attempt;
        if has_moved_on
            || is_others && self.reserve_left(now).is_zero()
            || self.announced.get(&task).is_some_and(goes_first)
        {
            return Ok(AnnouncedTask::Lost);
        }
        if is_others {
            // Who claimed it has not begun.
            self.leases.remove(&task);
            match self.info.held.contains(&task.module) {
                true => self.on_hold.insert(task, now),
                false => self.published.insert(task, now),
            };
        }
        self.announced.insert(task, Announcement { attempt, nonce, until });
        Ok(if is_queued { AnnouncedTask::Queued(current) } else { AnnouncedTask::Kept })
    }

    /// For whom a task is kept.
    pub(super) fn kept_for(&self, task: Task, now: Instant) -> Option<Nonce> {
        self.announced.get(&task).filter(|announced| announced.until > now).map(|announced| announced.nonce)
    }

    /// How long claims are under reserve from now on.
    pub(super) fn reserve_left(&self, now: Instant) -> Duration {
        self.reserve.saturating_duration_since(now)
    }

    /// Claims are granted under reserve from now on.
    pub(in crate::state::memory) fn begin_reserve(&mut self, reserve: Duration, now: Instant) {
        self.reserve = self.reserve.max(now + reserve);
    }
}
