//! Stars that may not simply enter: what becomes of them while their quarter before goes on, or where it failed, is their
//! pipeline's policy.
//!
//! The store alone decides, and what was decided is on record in it before anything follows: other coordinators, and a state
//! that lost everything, let the same stars in, in the same way. Stars that stay outside keep the admission cursor where they
//! are; others behind them enter all the same.

mod policy;
mod runs;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::id::{RunId, StarIndex};
use domain::pipeline::PreviousPolicy;
use domain::run::Star;
use jiff::Timestamp;
use policy::{OwnDecisions, verdict};
use runs::EarlierRuns;
use services::state::{Phase, RunInfo, RunView};
use store::audit::{AuditRecord, Door, Target, Verb};
use store::course::Course;
use store::runs::{QuarterNote, QuarterVerdict};
use store::{Store, StoreError};
use tokio::time::{Duration, Instant};

use super::{BATCH, BLOCK};
use crate::running::Coordinator;
use crate::runs::follow;
use crate::trouble::Trouble;

/// How long stars are believed to be where they were: one that is withdrawn has to enter again, one that is cancelled ends.
const BELIEVED: Duration = Duration::from_secs(5);

/// How long nobody looks at stars again of whose quarter before there is nothing new.
const QUIET: Duration = Duration::from_secs(1);

/// Stars of a run that may enter, in their order, not more than enter in one step.
#[derive(Default)]
pub(super) struct EnteringStars {
    stars: Vec<StarIndex>,
    rows: Vec<Star>,
    /// What becomes of each, and whether that is to be noted.
    verdicts: Vec<(QuarterVerdict, bool)>,
    /// How many notes were read when they were looked at.
    notes: u64,
    /// The first star that stays outside.
    outside: Option<StarIndex>,
    /// All stars before this one were looked at.
    to: u32,
}

/// What is known of the runs whose pipelines have a policy.
#[derive(Default)]
pub(super) struct EarlierQuarters(BTreeMap<RunId, WeighedRun>);

#[derive(Default)]
struct WeighedRun {
    earlier: EarlierRuns,
    /// The last word on each star, and how many files of them were read.
    noted: Vec<Option<QuarterVerdict>>,
    notes: u64,
    own: OwnDecisions,
    /// Where stars were when they were looked at, since when that is believed, and where the cursor was then.
    seen: Vec<SeenStar>,
    believed: Option<Instant>,
    cursor: u32,
    /// When nobody could enter, last.
    quiet: Option<Instant>,
}

/// Where a star was when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum SeenStar {
    #[default]
    NotYet,
    Outside,
    In,
}

impl EarlierQuarters {
    /// Looks at the stars to come of all runs that go on and whose pipelines have a policy.
    pub(super) async fn weigh(
        &mut self,
        running: &Coordinator,
        views: &BTreeMap<RunId, RunView>,
        courses: &BTreeMap<RunId, Arc<Course>>,
    ) -> Result<BTreeMap<RunId, EnteringStars>, Trouble> {
        self.0.retain(|run, _| views.contains_key(run));
        let mut all = BTreeMap::new();
        for (run, view) in views {
            let course = &courses[run];
            let is_to_come = view.info.phase == Phase::Active && view.info.cursor < view.info.stars;
            let Some(policy) = course.pipeline.previous.filter(|_| is_to_come) else { continue };
            if course.record.quarter.previous().is_none() {
                continue;
            }
            let weighed = self.weigh_run(running, course, policy, &view.info).await;
            // One that is set aside lets nobody in.
            all.insert(*run, running.of_run(*run, weighed).await?.unwrap_or_default());
        }
        Ok(all)
    }

    async fn weigh_run(
        &mut self,
        running: &Coordinator,
        course: &Arc<Course>,
        policy: PreviousPolicy,
        info: &RunInfo,
    ) -> Result<EnteringStars, Trouble> {
        let run = info.run;
        let orders = follow::orders(running, run).await?;
        let own = OwnDecisions { newest: orders.newest, resumed: orders.resumed };
        // Whatever was half read when something went wrong is read again.
        let mut known = self.0.remove(&run).unwrap_or_default();
        let (remembered, read_course, now) = (running.remembered.clone(), course.clone(), Instant::now());
        let read = running.services.store.ask(move |store| {
            let is_new = known.read(store, read_course.record.run)?;
            let is_new = known.earlier.read(store, &remembered, &read_course, now)? || is_new;
            Ok((known, is_new))
        });
        let (mut known, is_new) = read.await?;
        known.begin(info, own, is_new, now);
        let ready =
            if known.quiet.is_some() { EnteringStars::default() } else { known.look(running, info, policy).await? };
        if ready.stars.is_empty() {
            known.quiet = known.quiet.or(Some(now));
        }
        self.0.insert(run, known);
        Ok(ready)
    }
}

impl WeighedRun {
    /// Reads what was noted since. Blocks on the disk.
    fn read(&mut self, store: &Store, run: RunId) -> Result<bool, StoreError> {
        let (notes, last) = store.quarter_notes(run, self.notes)?;
        let is_new = last > self.notes;
        self.notes = last;
        notes.iter().for_each(|note| self.note(note));
        Ok(is_new)
    }

    fn note(&mut self, note: &QuarterNote) {
        for star in &note.stars {
            let at = star.0 as usize;
            if self.noted.len() <= at {
                self.noted.resize(at + 1, None);
            }
            // How it enters is said once.
            if self.noted[at].is_none_or(stays_outside) {
                self.noted[at] = Some(note.verdict);
            }
        }
    }

    /// Forgets what may not hold any more.
    fn begin(&mut self, info: &RunInfo, own: OwnDecisions, is_new: bool, now: Instant) {
        let is_old = |since: Option<Instant>, most| since.is_none_or(|since| now.duration_since(since) >= most);
        if is_new || self.own != own || info.cursor != self.cursor || is_old(self.quiet, QUIET) {
            self.quiet = None;
        }
        if info.cursor < self.cursor || is_old(self.believed, BELIEVED) {
            self.seen = vec![SeenStar::NotYet; info.stars as usize];
            self.believed = Some(now);
        }
        (self.own, self.cursor) = (own, info.cursor);
    }

    fn verdict(&self, policy: PreviousPolicy, star: StarIndex) -> QuarterVerdict {
        verdict(policy, self.earlier.before(star), self.noted(star), self.own)
    }

    fn noted(&self, star: StarIndex) -> Option<QuarterVerdict> {
        self.noted.get(star.0 as usize).copied().flatten()
    }

    /// Looks at stars from the cursor on until there are enough that may enter; what becomes of the others is noted.
    async fn look(
        &mut self,
        running: &Coordinator,
        info: &RunInfo,
        policy: PreviousPolicy,
    ) -> Result<EnteringStars, Trouble> {
        let mut ready = EnteringStars { to: info.cursor, notes: self.notes, ..EnteringStars::default() };
        let mut outside = Vec::new();
        while ready.to < info.stars && ready.stars.len() < BATCH as usize {
            let block = ready.to..ready.to.saturating_add(BLOCK).min(info.stars);
            ready.to = block.end;
            let mut asked = Vec::new();
            for star in block.map(StarIndex) {
                let verdict = self.verdict(policy, star);
                match self.seen[star.0 as usize] {
                    SeenStar::In => {}
                    SeenStar::Outside if stays_outside(verdict) => outside.push((star, verdict)),
                    SeenStar::Outside | SeenStar::NotYet => asked.push((star, verdict)),
                }
            }
            let stars: Vec<StarIndex> = asked.iter().map(|(star, _)| *star).collect();
            for ((star, verdict), row) in asked.into_iter().zip(running.services.state.load(info.run, &stars).await?) {
                self.seen[star.0 as usize] = if row.row.is_fresh() { SeenStar::Outside } else { SeenStar::In };
                if !row.row.is_fresh() {
                    continue;
                }
                if stays_outside(verdict) {
                    outside.push((star, verdict));
                } else if ready.stars.len() < BATCH as usize {
                    ready.stars.push(star);
                    ready.rows.push(row);
                    ready.verdicts.push((verdict, self.noted(star) != Some(verdict)));
                } else {
                    ready.to = ready.to.min(star.0);
                }
            }
        }
        ready.outside = outside.iter().map(|(star, _)| *star).min();
        outside.retain(|(star, verdict)| self.noted(*star) != Some(*verdict));
        note(running, info.run, by_verdict(outside)).await?;
        Ok(ready)
    }
}

fn stays_outside(verdict: QuarterVerdict) -> bool {
    match verdict {
        QuarterVerdict::Waits { .. } | QuarterVerdict::Held { .. } => true,
        QuarterVerdict::Enters | QuarterVerdict::Without { .. } => false,
    }
}

impl EnteringStars {
    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        self.stars.len() as u32
    }

    /// The first `count` of them.
    pub(super) fn first(mut self, count: u32) -> Self {
        let count = count as usize;
        self.to = self.stars.get(count).map_or(self.to, |next| next.0);
        self.stars.truncate(count);
        self.rows.truncate(count);
        self.verdicts.truncate(count);
        self
    }

    /// Where the cursor is when they are in.
    pub(super) fn to(&self) -> u32 {
        self.outside.map_or(self.to, |outside| outside.0.min(self.to))
    }

    /// The stars with their rows, each with whether it enters without a quarter before, which is noted.
    pub(super) async fn enter(
        self,
        running: &Coordinator,
        run: RunId,
    ) -> Result<(Vec<StarIndex>, Vec<Star>, Vec<bool>), Trouble> {
        let Self { stars, rows, mut verdicts, notes, .. } = self;
        let new: Vec<(StarIndex, QuarterVerdict)> = stars
            .iter()
            .zip(&verdicts)
            .filter(|(_, (_, is_new))| *is_new)
            .map(|(star, (said, _))| (*star, *said))
            .collect();
        if !new.is_empty() {
            note(running, run, by_verdict(new)).await?;
            let said = running.services.store.ask(move |store| store.quarter_notes(run, notes)).await?.0;
            follow_first(&stars, &mut verdicts, &said);
        }
        let without = verdicts.iter().map(|(verdict, _)| matches!(verdict, QuarterVerdict::Without { .. })).collect();
        Ok((stars, rows, without))
    }
}

/// How stars enter is what was said of them first: another coordinator may have said something else since they were looked at, and
/// whoever of both writes the row, it is what the notes say.
fn follow_first(stars: &[StarIndex], verdicts: &mut [(QuarterVerdict, bool)], said: &[QuarterNote]) {
    let mut first: BTreeMap<StarIndex, QuarterVerdict> = BTreeMap::new();
    for note in said.iter().filter(|note| !stays_outside(note.verdict)) {
        for star in &note.stars {
            first.entry(*star).or_insert(note.verdict);
        }
    }
    for (star, (verdict, is_new)) in stars.iter().zip(verdicts) {
        if let Some(said) = first.get(star).filter(|_| *is_new) {
            *verdict = *said;
        }
    }
}

fn by_verdict(stars: impl IntoIterator<Item = (StarIndex, QuarterVerdict)>) -> Vec<QuarterNote> {
    let mut notes: Vec<QuarterNote> = Vec::new();
    for (star, verdict) in stars {
        match notes.iter_mut().find(|note| note.verdict == verdict) {
            Some(note) => note.stars.push(star),
            None => notes.push(QuarterNote { verdict, stars: vec![star] }),
        }
    }
    notes
}

/// Puts on record what becomes of stars; of those that are held the audit says so, too.
async fn note(running: &Coordinator, run: RunId, notes: Vec<QuarterNote>) -> Result<(), Trouble> {
    if notes.is_empty() {
        return Ok(());
    }
    let write = move |store: &Store| {
        store.note_quarters(run, &notes)?;
        for note in &notes {
            let QuarterVerdict::Held { run: before, end, .. } = note.verdict else { continue };
            let stars = note.stars.len();
            tracing::warn!(
                %run, stars, %before, %end,
                "stars are held: their quarter before did not end well; `sas run resume {run}` lets them in"
            );
            store.audit(&AuditRecord {
                at: Timestamp::now(),
                who: "sas-coordinator".to_owned(),
                door: Door::Setting,
                verb: Verb::Hold,
                target: Target::Run { run },
                count: Some(stars as u64),
                reason: Some(format!("their quarter before ended as {end} in run {before}; `previous` is `hold`")),
                decision: None,
                effect: format!("they do not enter: `sas run resume {run}` lets them in"),
            })?;
        }
        Ok(())
    };
    Ok(running.services.store.ask(write).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another coordinator said of the first star before us how it enters, of the second after us, of the third only that it waits.
    #[test]
    fn stars_enter_as_was_said_first_whoever_said_it() {
        let stars = [0, 1, 2, 3].map(StarIndex);
        let run = RunId::of(domain::id::EventId::of("s", "1"), "P", "1");
        let (without, waits) = (QuarterVerdict::Without { run, end: None }, QuarterVerdict::Waits { run });
        let said = |verdict, stars: &[StarIndex]| QuarterNote { verdict, stars: stars.to_vec() };
        let notes = [
            said(waits, &stars[2..3]),
            said(without, &[stars[0], stars[3]]),
            said(QuarterVerdict::Enters, &stars[..3]),
            said(without, &stars[1..2]),
        ];
        // Of the last one it was said before, and then by somebody who had not read that.
        let mut verdicts = [true, true, true, false].map(|is_new| (QuarterVerdict::Enters, is_new));
        follow_first(&stars, &mut verdicts, &notes);
        let enters = QuarterVerdict::Enters;
        assert_eq!(verdicts.map(|(verdict, _)| verdict), [without, enters, enters, enters]);
    }
}
