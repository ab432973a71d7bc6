//! The folder of a star, opened once, for whoever looks at the names of many stars: what lies in it is asked for from there. So
//! the way to it is gone once a star, and a name that is not found in it is not in the store, without a look at where the store is.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, open, openat, statat};
use rustix::io::Errno;

use super::numbers;
use crate::externals::{Deliveries, seen_from};
use crate::{Store, StoreError, absence, io_error, paths};
use domain::id::{Generation, Quarter, Sequence, StarId};

/// The folder of a star; see [`Store::star_folder`].
pub struct StarFolder<'a> {
    store: &'a Store,
    star: StarId,
    path: PathBuf,
    folder: OwnedFd,
}

impl Store {
    /// Opens the folder of a star; `None` where the store has nothing of it.
    pub fn star_folder(&self, star: StarId) -> Result<Option<StarFolder<'_>>, StoreError> {
        let path = self.at(paths::star(star));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = absence::found("open", &path, || Ok(open(&path, flags, Mode::empty())?))?;
        Ok(folder.map(|folder| StarFolder { store: self, star, path, folder }))
    }
}

impl StarFolder<'_> {
    /// What was delivered for the star, of a quarter and of none in particular, seen from a horizon. Reads names alone.
    pub fn deliveries(&self, quarter: Quarter, since: Sequence) -> Result<Deliveries, StoreError> {
        let mut found = Deliveries::default();
        for folder in [format!("{quarter}/externals"), "externals".to_owned()] {
            let seen = seen_from(since, &self.names(&folder)?, &folder);
            found.before.extend(seen.before);
            found.newer.extend(seen.newer);
        }
        Ok(found)
    }

    /// The same as [`Store::open_generation`].
    pub fn open_generation(&self, quarter: Quarter) -> Result<Option<Generation>, StoreError> {
        let Some(newest) = numbers(&self.names(&format!("{quarter}/generations"))?).max() else {
            return Ok(None);
        };
        // What shows another one than the newest is on record as a choice.
        if self.has(&format!("{quarter}/choices"))? {
            return self.store.open_generation(self.star, quarter);
        }
        Ok(Some(newest))
    }

    fn has(&self, name: &str) -> Result<bool, StoreError> {
        match statat(&self.folder, name, AtFlags::empty()) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(io_error("look at", &self.path.join(name), error.into())),
        }
    }

    /// Names in a folder, in any order; none where it is not there.
    fn names(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let failed = |error: Errno| io_error("list", &self.path.join(folder), error.into());
        let opened = openat(&self.folder, folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let opened = match opened {
            Ok(opened) => opened,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in Dir::new(opened).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = entry.file_name().to_str()
                && ![".", ".."].contains(&name)
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names in the order in which a sorted listing has them.
    fn sorted(mut names: Vec<String>) -> Vec<String> {
        names.sort();
        names
    }

    #[test]
    fn an_opened_folder_tells_what_the_store_tells_and_is_found_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        let store = Store::init(&root).unwrap();
        let star = "PLATO_00000000-0000-4000-8000-000000000001".parse().unwrap();
        let (quarter, before): (Quarter, Quarter) = ("Q003".parse().unwrap(), "Q002".parse().unwrap());
        assert!(store.star_folder(star).unwrap().is_none());
        for file in [
            paths::externals(star, quarter).join("l1.lc@1.h5"),
            paths::externals(star, quarter).join("l1.lc@7.h5"),
            paths::star_externals(star).join("gaia.dr4@2.h5"),
            paths::generation(star, before, Generation(9)),
            paths::generation(star, before, Generation(10)),
        ] {
            std::fs::create_dir_all(store.at(&file).parent().unwrap()).unwrap();
            std::fs::write(store.at(file), "").unwrap();
        }
        let folder = store.star_folder(star).unwrap().unwrap();
        // As `umount` leaves it: who has the folder need not look for it again.
        std::fs::rename(&root, dir.path().join("elsewhere")).unwrap();
        std::fs::create_dir(&root).unwrap();
        let Deliveries { before: used, newer } = folder.deliveries(quarter, Sequence(2)).unwrap();
        assert_eq!(sorted(used), ["Q003/externals/l1.lc@1.h5", "externals/gaia.dr4@2.h5"]);
        assert_eq!(newer.into_iter().map(|version| version.now).collect::<Vec<_>>(), ["Q003/externals/l1.lc@7.h5"]);
        assert_eq!(folder.open_generation(before).unwrap(), Some(Generation(10)));
        assert_eq!(folder.open_generation(quarter).unwrap(), None);
        assert!(matches!(store.star_folder(star), Err(StoreError::Away(_))), "what is not found there is not absent");
        std::fs::remove_dir(&root).unwrap();
        std::fs::rename(dir.path().join("elsewhere"), &root).unwrap();
        let choice = store.at(paths::choice(star, before, Generation(10), 0));
        std::fs::create_dir_all(choice.parent().unwrap()).unwrap();
        std::fs::write(choice, "{\"open\": 9}").unwrap();
        assert_eq!(folder.open_generation(before).unwrap(), Some(Generation(9)), "another one is chosen");
    }
}
