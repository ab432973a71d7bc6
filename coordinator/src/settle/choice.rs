//! Which generation the star file shows, and putting it in its place: after every generation and every rollback.

use std::collections::BTreeSet;
use std::path::Path;

use domain::id::{Generation, ProductName, Quarter, StarId};
use store::agent::{AgentError, Assemble, GenerationInfo, GenerationStatus, Manifest, Refusal, RefusalKind, Show};
use store::generations::{Choice, ChoiceBasis};
use store::{Store, paths};

use super::StarFiles;
use crate::trouble::Trouble;

/// A star's quarter in a store, for those who look at its generations.
#[derive(Clone, Copy)]
pub(crate) struct StarQuarter<'a> {
    pub(crate) store: &'a Store,
    pub(crate) star: StarId,
    pub(crate) quarter: Quarter,
}

/// The generations of a star as they stand.
pub(crate) struct GenerationsView {
    pub(crate) basis: ChoiceBasis,
    pub(crate) choice: Choice,
    /// The newest one, where it was opened and can be read.
    pub(crate) newest: Option<Manifest>,
}

impl StarQuarter<'_> {
    async fn ask<T: Send + 'static>(
        self,
        work: impl FnOnce(&Store, StarId, Quarter) -> Result<T, store::StoreError> + Send + 'static,
    ) -> Result<T, Trouble> {
        let Self { store, star, quarter } = self;
        Ok(store.ask(move |store| work(store, star, quarter)).await?)
    }

    fn generation(self, number: Generation) -> std::path::PathBuf {
        self.store.at(paths::generation(self.star, self.quarter, number))
    }

    /// What names alone tell of the generations; `None` when there is none.
    async fn basis(self) -> Result<Option<ChoiceBasis>, Trouble> {
        self.ask(|store, star, quarter| store.choice_basis(star, quarter)).await
    }

    /// How the generations stand; `None` when there is none.
    pub(crate) async fn look(self, files: &mut dyn StarFiles) -> Result<Option<GenerationsView>, Trouble> {
        match self.basis().await? {
            Some(basis) => self.look_from(files, basis, None).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same; `fresh` is what the caller knows of a generation that was just made, so that nobody need open it.
    async fn look_from(
        self,
        files: &mut dyn StarFiles,
        basis: ChoiceBasis,
        fresh: Option<&GenerationInfo>,
    ) -> Result<GenerationsView, Trouble> {
        let (last_complete, newest) = match fresh.filter(|info| info.number == basis.newest) {
            Some(info) => (info.last_complete, None),
            None => self.last_complete(files, basis.newest).await?,
        };
        let rollback = match basis.rollbacks {
            0 => None,
            number => self.ask(move |store, star, quarter| store.rollback(star, quarter, number)).await?,
        };
        Ok(GenerationsView { basis, choice: Choice::of(basis.newest, last_complete, rollback), newest })
    }

    /// The last complete generation, by what the newest one that can be read says, or an older one where that one is of an older
    /// version of this program; and the newest.
    async fn last_complete(
        self,
        files: &mut dyn StarFiles,
        newest: Generation,
    ) -> Result<(Option<Generation>, Option<Manifest>), Trouble> {
        let mut kept = None;
        for number in (1..=newest.0).rev().map(Generation) {
            let Some(manifest) = open(files, &self.generation(number)).await? else { continue };
            let known = manifest.generation.as_ref().map(|info| (info.status, info.last_complete));
            let is_complete = manifest.status() == Some(GenerationStatus::Complete);
            if number == newest {
                kept = Some(manifest);
            }
            match known {
                _ if is_complete => return Ok((Some(number), kept)),
                Some((Some(_), last_complete)) => return Ok((last_complete, kept)),
                Some((None, _)) | None => {}
            }
        }
        Ok((None, kept))
    }

    /// Writes into the order of a new generation how whole it is, beside what the star file shows now.
    pub(crate) async fn judge(
        self,
        files: &mut dyn StarFiles,
        view: Option<&GenerationsView>,
        order: &mut Assemble,
    ) -> Result<(), Trouble> {
        let lost = match view {
            Some(view) => {
                let shown = match &view.newest {
                    Some(newest) if view.choice.open == view.choice.newest => Some(newest.clone()),
                    Some(_) | None => open(files, &self.generation(view.choice.open)).await?,
                };
                shown.map(|shown| lost(&shown, order)).unwrap_or_default()
            }
            None => BTreeSet::new(),
        };
        let status = GenerationStatus::of(&order.modules, &lost);
        let info = &mut order.generation;
        info.last_complete = match status {
            GenerationStatus::Complete => Some(info.number),
            GenerationStatus::Smaller
            | GenerationStatus::Incomplete
            | GenerationStatus::Failed
            | GenerationStatus::Cancelled => view.and_then(|view| view.choice.last_complete),
        };
        (info.status, info.lost) = (Some(status), lost);
        Ok(())
    }

    /// Makes the star file show what it is to show, again until nothing newer is found; how the generations stand then.
    pub(crate) async fn show(
        self,
        files: &mut dyn StarFiles,
        scratch: &Path,
        fresh: Option<&GenerationInfo>,
    ) -> Result<Option<GenerationsView>, Trouble> {
        let mut done: Option<GenerationsView> = None;
        loop {
            let Some(basis) = self.basis().await?.filter(|basis| done.as_ref().is_none_or(|view| view.basis != *basis))
            else {
                return Ok(done);
            };
            let view = self.look_from(files, basis, fresh).await?;
            if view.choice.is_plain() {
                self.ask(move |store, star, quarter| store.show_newest(star, quarter, basis)).await?;
            } else {
                self.show_copy(files, scratch, &view).await?;
            }
            done = Some(view);
        }
    }

    async fn show_copy(self, files: &mut dyn StarFiles, scratch: &Path, view: &GenerationsView) -> Result<(), Trouble> {
        let dest = scratch.join(format!("{}.h5", uuid::Uuid::new_v4()));
        let (basis, open) = (view.basis, view.choice.open);
        let show = Show {
            open: self.generation(open),
            newest: self.generation(basis.newest),
            last_complete: view.choice.last_complete,
            rollback: view.choice.rollback.clone(),
            dest: dest.clone(),
        };
        let copy = dest.clone();
        let shown = match files.show(show).await {
            Ok(()) => self.ask(move |store, star, quarter| store.show_copy(star, quarter, (basis, open), &copy)).await,
            Err(error) => Err(error.into()),
        };
        let _ = self.ask(move |_, _, _| Ok(std::fs::remove_file(&dest))).await;
        shown
    }
}

/// What a generation holds; `None` when it cannot be read. One that a newer version of this program made is an error.
async fn open(files: &mut dyn StarFiles, file: &Path) -> Result<Option<Manifest>, Trouble> {
    match files.manifest(file).await {
        Ok(manifest) => Ok(Some(manifest)),
        Err(AgentError::Refused(Refusal { kind, .. })) if kind != RefusalKind::Newer => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Products that a generation has and one of the same pipeline would not have. A module's answer that there is no such product
/// is no loss: it stands in the file, with the reason.
fn lost(shown: &Manifest, order: &Assemble) -> BTreeSet<ProductName> {
    if shown.generation.as_ref().is_none_or(|info| info.pipeline != order.generation.pipeline) {
        return BTreeSet::new();
    }
    let answered: BTreeSet<&ProductName> = order.answered().collect();
    let had = shown.products.iter().filter(|(_, entry)| entry.not_produced.is_none()).map(|(product, _)| product);
    had.filter(|product| !answered.contains(product)).cloned().collect()
}
