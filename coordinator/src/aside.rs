//! Damage stays where it is: what is a run's own, or an event's, sets that run or event aside, is said once, and stops nobody
//! else.
//!
//! Nothing is mended here. What was set aside over a file is taken up again when the file is another; what was set aside over
//! the state, when the state has forgotten the run.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::error::chain;
use domain::id::{EventId, RunId};
use services::state::StateError;
use store::{Store, StoreError, paths};

use crate::trouble::Trouble;

/// Whose trouble it may be besides everybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    /// A run's.
    Run(RunId),
    /// A dataset event's.
    Event(EventId),
}

/// What is set aside, and over what; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Aside {
    known: Arc<Mutex<BTreeMap<Party, Over>>>,
}

/// Over what something is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Over {
    /// A file of the store that was as `seen` says.
    File { path: PathBuf, seen: Option<FileStamp> },
    /// What the state holds.
    State,
}

/// A file at one time: number, length, and when it or its permissions changed last.
type FileStamp = (u64, u64, i64, i64);

fn look(path: &Path) -> Option<FileStamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
}

impl Aside {
    /// Whether nothing is to be done for `party` now.
    pub(crate) fn holds(&self, party: Party) -> bool {
        self.known().contains_key(&party)
    }

    /// How many runs, and how many events, are set aside.
    pub(crate) fn count(&self) -> (usize, usize) {
        let known = self.known();
        let runs = known.keys().filter(|party| matches!(party, Party::Run(_))).count();
        (runs, known.len() - runs)
    }

    /// Sets aside, and says so unless it is already.
    fn set(&self, party: Party, over: Over, trouble: &Trouble) {
        if self.known().insert(party, over).is_some() {
            return;
        }
        match party {
            Party::Run(run) => {
                tracing::error!(%run, error = chain(trouble), "the run is set aside: all others go on");
            }
            Party::Event(event) => {
                tracing::error!(%event, error = chain(trouble), "the event is set aside: all others go on");
            }
        }
    }

    /// Runs that are set aside over what the state holds of them.
    pub(crate) fn over_state(&self) -> Vec<RunId> {
        let of_run = |(party, over): (&Party, &Over)| match (party, over) {
            (Party::Run(run), Over::State) => Some(*run),
            (Party::Run(_), Over::File { .. }) | (Party::Event(_), _) => None,
        };
        self.known().iter().filter_map(of_run).collect()
    }

    /// Takes up again what is not any more as it was when it was set aside; `forgotten` are runs that the state does not know
    /// any more. Looks at files, and blocks on the disk.
    pub(crate) fn take_up(&self, forgotten: &BTreeSet<RunId>) {
        let is_mended = |party: &Party, over: &Over| match (over, party) {
            (Over::File { path, seen }, _) => look(path) != *seen,
            (Over::State, Party::Run(run)) => forgotten.contains(run),
            (Over::State, Party::Event(_)) => true,
        };
        // Nobody waits for the disk with the lock.
        let before = self.known().clone();
        for (party, _) in before.iter().filter(|(party, over)| is_mended(party, over)) {
            self.known().remove(party);
            match party {
                Party::Run(run) => {
                    tracing::info!(%run, "what was damaged is not as it was: it is taken up again");
                }
                Party::Event(event) => {
                    tracing::info!(%event, "what was damaged is not as it was: it is taken up again");
                }
            }
        }
    }

    /// What came of something that was done for `party`: `None` when the trouble is its own, and it is set aside. Everybody's
    /// trouble is an error.
    pub(crate) async fn of<T>(
        &self,
        store: &Store,
        party: Party,
        done: Result<T, Trouble>,
    ) -> Result<Option<T>, Trouble> {
        let trouble = match done {
            Ok(done) => return Ok(Some(done)),
            Err(trouble) => trouble,
        };
        let Some((party, over)) = party_of(store, party, &trouble) else { return Err(trouble) };
        let over = store.ask(move |store| seen_now(store, over)).await?;
        self.set(party, over, &trouble);
        Ok(None)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Party, Over>> {
        // Entries are inserted and removed whole, whatever panics between two of them.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose trouble it is that came up in what was done for `party`, and over what; `None` when it is everybody's.
fn party_of(store: &Store, party: Party, trouble: &Trouble) -> Option<(Party, Over)> {
    let file = |path: &Path| Over::File { path: path.to_owned(), seen: None };
    match trouble {
        // The one that is named, whoever's work brought it up.
        Trouble::State(StateError::Damaged { run, .. }) => Some((Party::Run(*run), Over::State)),
        Trouble::Store(StoreError::Damaged { path, .. } | StoreError::Newer { path, .. }) => Some((party, file(path))),
        Trouble::Store(StoreError::Io { path, source, .. }) => {
            let its_own = match party {
                Party::Run(run) => paths::run(run),
                Party::Event(event) => paths::event(event).with_extension(""),
            };
            let name = its_own.file_name()?.to_string_lossy().into_owned();
            let below = path.strip_prefix(store.root()).ok()?;
            let is_its_own = below.components().any(|part| part.as_os_str().to_string_lossy().starts_with(&name));
            (is_its_own && store::is_for_good(source)).then(|| (party, file(path)))
        }
        Trouble::Store(
            StoreError::NotAStore(_)
            | StoreError::Away(_)
            | StoreError::Format { .. }
            | StoreError::Unusable { .. }
            | StoreError::NotFound { .. }
            | StoreError::BadPath { .. },
        )
        | Trouble::State(
            StateError::Unreachable(_)
            | StateError::Refuses { .. }
            | StateError::Epoch { .. }
            | StateError::NoRun(_)
            | StateError::Misconfigured(_)
            | StateError::Unexpected(_),
        )
        | Trouble::Queue(_)
        | Trouble::Agent(_)
        | Trouble::Contended { .. }
        | Trouble::Foreign { .. } => None,
    }
}

/// Looks at the file. In the place of a store that went away every file looks damaged, which is everybody's trouble.
fn seen_now(store: &Store, over: Over) -> Result<Over, StoreError> {
    match over {
        Over::File { path, .. } => {
            Store::open(store.root())?;
            Ok(Over::File { seen: look(&path), path })
        }
        Over::State => Ok(Over::State),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunId {
        "8a6e0804-2bd0-4672-b79d-d97027f9071a".parse().unwrap()
    }

    fn other() -> RunId {
        "8a6e0804-2bd0-4672-b79d-d97027f9071b".parse().unwrap()
    }

    fn io(path: PathBuf, kind: std::io::ErrorKind) -> Trouble {
        StoreError::Io { doing: "read", path, source: kind.into() }.into()
    }

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::init(directory.path()).unwrap();
        (directory, store)
    }

    #[test]
    fn trouble_is_somebodys_or_everybodys() {
        use std::io::ErrorKind as E;
        let (_directory, store) = store();
        let mine = store.at(paths::run(run())).join("control/000001.json");
        let party = |trouble: Trouble| party_of(&store, Party::Run(run()), &trouble).map(|(party, _)| party);
        let damaged = |path: &Path| StoreError::Damaged { path: path.to_owned(), reason: String::new() };
        let own = Some(Party::Run(run()));
        assert_eq!(party(damaged(&mine).into()), own);
        assert_eq!(party(StoreError::Newer { path: mine.clone(), found: 9, reads: 2 }.into()), own);
        assert_eq!(party(io(mine.clone(), E::PermissionDenied)), own);
        assert_eq!(party(io(mine, E::TimedOut)), None, "a network file system that does not answer");
        assert_eq!(party(io(store.at("control/sequence"), E::PermissionDenied)), None, "not the run's");
        let rivals = StateError::Damaged { run: other(), reason: String::new() };
        assert_eq!(party(rivals.into()), Some(Party::Run(other())), "the one that is named");
        assert_eq!(party(StateError::Unreachable(String::new()).into()), None);
    }

    #[test]
    fn what_is_set_aside_is_taken_up_when_its_file_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run.json");
        std::fs::write(&path, "{").unwrap();
        let aside = Aside::default();
        let over = Over::File { path: path.clone(), seen: look(&path) };
        let trouble = Trouble::from(StoreError::Damaged { path: path.clone(), reason: String::new() });
        aside.set(Party::Run(run()), over, &trouble);
        aside.set(Party::Run(other()), Over::State, &trouble);
        assert_eq!(aside.count(), (2, 0));
        assert_eq!(aside.over_state(), [other()]);
        aside.take_up(&BTreeSet::new());
        assert_eq!(aside.count(), (2, 0), "nothing is another");
        std::fs::write(&path, "{}").unwrap();
        aside.take_up(&BTreeSet::new());
        assert!(!aside.holds(Party::Run(run())) && aside.holds(Party::Run(other())));
        aside.take_up(&BTreeSet::from([other()]));
        assert_eq!(aside.count(), (0, 0), "the state forgot it");
    }
}
