//! Which tasks of a run a decision is about, by position.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::id::{ModuleIndex, ModuleName, StarId, StarIndex};
use domain::run::{Row, TaskState};
use store::course::Course;
use store::runs::Selection;
use store::{Store, StoreError};

/// Tasks of a run; names that it does not have are left out.
#[derive(Debug, Clone)]
pub(super) struct SelectedTasks {
    selection: Selection,
    /// None: of all modules.
    modules: Option<BTreeSet<ModuleIndex>>,
    /// None: of all stars.
    stars: Option<BTreeSet<StarIndex>>,
    /// None: no others than the rest says.
    tasks: Option<BTreeMap<StarIndex, BTreeSet<ModuleIndex>>>,
}

impl SelectedTasks {
    /// By position in its run. Blocks on the disk.
    pub(super) fn of(course: &Course, selection: &Selection) -> Result<Self, StoreError> {
        let modules = |names: &BTreeSet<ModuleName>| -> BTreeSet<ModuleIndex> {
            names.iter().filter_map(|name| course.pipeline.index_of(name)).collect()
        };
        let position = |star: &StarId| course.stars.position(*star).transpose();
        let stars = selection.stars.iter().filter_map(position).collect::<Result<BTreeSet<_>, _>>()?;
        let tasks = match &selection.tasks {
            None => None,
            Some(tasks) => {
                let of_star = |(star, names): (&StarId, &BTreeSet<ModuleName>)| {
                    Some(position(star)?.map(|star| (star, modules(names))))
                };
                Some(tasks.iter().filter_map(of_star).collect::<Result<BTreeMap<_, _>, _>>()?)
            }
        };
        // What is looked at star by star is not needed in words any more.
        let words = Selection { stars: BTreeSet::new(), tasks: None, ..selection.clone() };
        Ok(Self {
            modules: (!selection.modules.is_empty()).then(|| modules(&selection.modules)),
            stars: (!selection.stars.is_empty()).then_some(stars),
            tasks,
            selection: words,
        })
    }

    /// The same where nobody is disturbed.
    pub(super) async fn ask(store: &Store, course: &Arc<Course>, selection: &Selection) -> Result<Self, StoreError> {
        let (course, selection) = (course.clone(), selection.clone());
        store.ask(move |_| Self::of(&course, &selection)).await
    }

    /// The stars that are named, where only these are meant.
    pub(super) fn only(&self) -> Option<Vec<StarIndex>> {
        match (&self.tasks, &self.stars) {
            (Some(tasks), _) => Some(tasks.keys().copied().collect()),
            (None, Some(stars)) => Some(stars.iter().copied().collect()),
            (None, None) => None,
        }
    }

    /// Whether these are all tasks of the stars that are named.
    pub(super) fn is_whole_stars(&self) -> bool {
        self.stars.is_some() && self.modules.is_none() && self.tasks.is_none()
    }

    /// The settled tasks of a star that are meant.
    pub(super) fn settled(&self, course: &Course, star: StarIndex, row: &Row) -> Vec<ModuleIndex> {
        self.of_star(course, star, row, |state| state.is_settled() && self.selection.wants(state))
    }

    /// The tasks of a star that are meant and have not ended.
    pub(super) fn open(&self, course: &Course, star: StarIndex, row: &Row) -> Vec<ModuleIndex> {
        self.of_star(course, star, row, |state| !state.is_settled())
    }

    fn of_star(
        &self,
        course: &Course,
        star: StarIndex,
        row: &Row,
        is_wanted: impl Fn(TaskState) -> bool,
    ) -> Vec<ModuleIndex> {
        if row.is_fresh() || self.stars.as_ref().is_some_and(|stars| !stars.contains(&star)) {
            return Vec::new();
        }
        let is_meant = |module: &ModuleIndex| {
            self.modules.as_ref().is_none_or(|modules| modules.contains(module))
                && self.tasks.as_ref().is_none_or(|tasks| tasks.get(&star).is_some_and(|of| of.contains(module)))
                && is_wanted(row.cell(*module).state)
        };
        course.graph.modules().filter(is_meant).collect()
    }
}
