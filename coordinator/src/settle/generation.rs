//! The generation that a star settles with.

use std::sync::Arc;

use domain::id::{Generation, StarIndex};
use services::state::{Admission, StarView};
use store::Commit;
use store::agent::GenerationInfo;
use store::course::Course;
use store::crash::CrashPoint;

use super::choice::StarQuarter;
use super::end::assemble;
use super::{Settler, is_newer};
use crate::trouble::Trouble;

impl Settler {
    /// Makes the star's next generation, and the star file what it is to show then; the number of the one that holds this
    /// end. `None` when the newest one is of newer data already, as after a retry of an older run: its data are not hidden.
    pub(super) async fn build(
        &mut self,
        course: &Arc<Course>,
        star: StarIndex,
        view: &StarView,
        admission: &Admission,
    ) -> Result<Option<Generation>, Trouble> {
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
                return Ok(this);
            }
            let number = known.as_ref().map(|known| known.basis.newest).unwrap_or_default().next();
            let dest = self.scratch.path().join(format!("{}.h5", uuid::Uuid::new_v4()));
            order.dest.clone_from(&dest);
            order.generation.number = number;
            place.judge(&mut *self.files, known.as_ref(), &mut order).await?;
            let built = self.files.build(order.clone()).await;
            CrashPoint::GenerationBuilt.reached();
            let (file, quarter) = (dest.clone(), record.quarter);
            let commit = match built {
                Ok(()) => {
                    let committed = store.ask(move |store| store.commit_generation(name, quarter, number, &file));
                    committed.await.map_err(Trouble::from)
                }
                Err(error) => Err(error.into()),
            };
            // Its content has its final name by now, or is of no use.
            let _ = store.ask(move |_| Ok(std::fs::remove_file(&dest))).await;
            let info = (commit? == Commit::Created).then(|| order.generation.clone());
            CrashPoint::GenerationCommitted.reached();
            self.show(place, info.as_ref()).await?;
            CrashPoint::StarShown.reached();
            if info.is_some() {
                return Ok(Some(number));
            }
        }
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
