//! The generation that a star settles with.

use std::path::PathBuf;
use std::sync::Arc;

use domain::id::{Generation, RunId, StarIndex};
use services::state::{Admission, StarView};
use store::Commit;
use store::agent::GenerationInfo;
use store::course::Course;
use store::crash::CrashPoint;

use super::choice::StarQuarter;
use super::end::assemble;
use super::{Settler, is_newer};
use crate::trouble::Trouble;

/// What came of the order to make a star's next generation.
pub(super) enum NextGeneration {
    /// This one holds the end.
    Made(Generation),
    /// The newest one is of newer data already, as after a retry of an older run: its data are not hidden.
    Late,
    /// Somebody else closed the star meanwhile, or its tasks are not done any more: this end needs no generation.
    NotAsked,
}

impl Settler {
    /// Makes the star's next generation, and the star file what it is to show then.
    pub(super) async fn build(
        &mut self,
        course: &Arc<Course>,
        star: StarIndex,
        view: &StarView,
        admission: &Admission,
    ) -> Result<NextGeneration, Trouble> {
        let (record, store) = (&course.record, self.running.services.store.clone());
        let names = course.clone();
        let name = store.ask(move |_| names.stars.star(star)).await?;
        let place = StarQuarter { store: &store, star: name, quarter: record.quarter };
        let mut order = assemble(course, name, view, admission);
        store.root().clone_into(&mut order.store);
        loop {
            let known = place.look(&mut *self.files).await?;
            // One that cannot be read is not this end; the next one does not need it.
            let newest = known.as_ref().and_then(|known| known.newest.as_ref()?.generation.as_deref());
            let is_this = |info: &&GenerationInfo| {
                info.run == record.run && info.row == order.generation.row && info.ends == order.generation.ends
            };
            let this = newest.filter(is_this).map(|info| info.number);
            let is_late = newest.is_some_and(|info| info.pipeline == record.pipeline && info.horizon > record.horizon);
            if this.is_some() || is_late {
                self.show(place, None).await?;
                return Ok(this.map_or(NextGeneration::Late, NextGeneration::Made));
            }
            let number = known.as_ref().map(|known| known.basis.newest).unwrap_or_default().next();
            let dest = self.scratch.path().join(format!("{}.h5", uuid::Uuid::new_v4()));
            order.dest.clone_from(&dest);
            order.generation.number = number;
            place.judge(&mut *self.files, known.as_ref(), &mut order).await?;
            let built = self.files.build(order.clone()).await;
            CrashPoint::GenerationBuilt.reached();
            let commit = match built {
                Ok(()) => self.commit(place, (record.run, star), view, (number, dest.clone())).await,
                Err(error) => Err(error.into()),
            };
            // Its content has its final name by now, or is of no use.
            let _ = store.ask(move |_| Ok(std::fs::remove_file(&dest))).await;
            let Some(commit) = commit? else { return Ok(NextGeneration::NotAsked) };
            let info = (commit == Commit::Created).then(|| order.generation.clone());
            CrashPoint::GenerationCommitted.reached();
            self.show(place, info.as_ref()).await?;
            CrashPoint::StarShown.reached();
            if info.is_some() {
                return Ok(NextGeneration::Made(number));
            }
        }
    }

    /// Commits a built generation; `None` where the star is not to be closed with this end any more. Whoever took long to build
    /// it would make an end again that is on record, after that of another run perhaps, and nobody may look at it again.
    async fn commit(
        &mut self,
        place: StarQuarter<'_>,
        (run, index): (RunId, StarIndex),
        view: &StarView,
        (number, built): (Generation, PathBuf),
    ) -> Result<Option<Commit>, Trouble> {
        let now = self.running.services.state.star(run, index).await?;
        if now.admission.is_none() || now.star.row != view.star.row {
            return Ok(None);
        }
        let StarQuarter { store, star, quarter } = place;
        let commit = store.ask(move |store| store.commit_generation(star, quarter, number, &built)).await?;
        Ok(Some(commit))
    }

    /// Makes the star file what it is to show. What cannot be read leaves it as it is: it is whole, and the generation is there.
    async fn show(&mut self, place: StarQuarter<'_>, fresh: Option<&GenerationInfo>) -> Result<(), Trouble> {
        match place.show(&mut *self.files, self.scratch.path(), fresh).await {
            Err(Trouble::Agent(error @ store::agent::AgentError::Refused(_))) if !is_newer(&error) => {
                tracing::warn!(star = %place.star, quarter = %place.quarter, %error, "the star file stays as it was");
                Ok(())
            }
            shown => shown.map(drop),
        }
    }
}
