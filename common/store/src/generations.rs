//! Generations of a star: one file per run that the star settled in, and the star file, which shows one of them (S2).
//!
//! The link decides who made generation n, and nothing ever rewrites it. The star file shows the last complete generation, or
//! the one that operators chose since; until there is a complete one, the newest. Which that is follows from what the newest
//! generation says of itself and from the last rollback: whoever finds either newer than what he showed does it again.

mod folder;

use std::path::Path;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::durable::{self, Commit};
use super::{Store, StoreError, io_error, names_in, numbered, paths, read_json, to_json};
use domain::id::{Generation, Quarter, StarId};
pub use folder::StarFolder;

/// An operator's decision that the star file shows this generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rollback {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What the star file showed before.
    pub from: Generation,
    /// What it shows now.
    pub to: Generation,
    /// The newest generation then. A complete one after it ends the decision.
    pub newest: Generation,
}

/// What the choice of the generation to show rests on. Both only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChoiceBasis {
    /// The newest generation.
    pub newest: Generation,
    /// How many rollbacks were decided.
    pub rollbacks: u64,
}

/// Which generation the star file shows, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The generation that it shows.
    pub open: Generation,
    /// The newest one.
    pub newest: Generation,
    /// The last complete one, if there is any.
    pub last_complete: Option<Generation>,
    /// The decision that it follows.
    pub rollback: Option<Rollback>,
}

impl Choice {
    /// Pure.
    pub fn of(newest: Generation, last_complete: Option<Generation>, rollback: Option<Rollback>) -> Self {
        let rollback = rollback.filter(|decided| last_complete.is_none_or(|complete| complete <= decided.newest));
        let open = rollback.as_ref().map(|decided| decided.to).or(last_complete).unwrap_or(newest);
        Self { open, newest, last_complete, rollback }
    }

    /// Whether the newest generation says of itself all that the star file has to say.
    pub fn is_plain(&self) -> bool {
        self.open == self.newest && self.rollback.is_none()
    }
}

/// What is on record of a choice that is not plain, for those who cannot open a generation.
#[derive(Debug, Serialize, Deserialize)]
struct ChoiceRecord {
    open: Generation,
}

/// The generations that files of these names are.
pub(crate) fn numbers(names: &[String]) -> impl Iterator<Item = Generation> + '_ {
    names.iter().filter_map(|name| name.strip_suffix(".h5")?.parse().ok())
}

impl Store {
    /// The quarters that the store has anything of for a star, oldest first.
    pub fn quarters(&self, star: StarId) -> Result<Vec<Quarter>, StoreError> {
        let mut quarters: Vec<Quarter> =
            names_in(&self.at(paths::star(star)))?.iter().filter_map(|name| name.parse().ok()).collect();
        quarters.sort_unstable();
        Ok(quarters)
    }

    /// The generations of a star, oldest first.
    pub fn generations(&self, star: StarId, quarter: Quarter) -> Result<Vec<Generation>, StoreError> {
        let names = names_in(&self.at(paths::generations(star, quarter)))?;
        let mut found: Vec<Generation> = numbers(&names).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// The newest generation of a star; `None` when it has none. The next one has the number after it, or 1.
    pub fn latest_generation(&self, star: StarId, quarter: Quarter) -> Result<Option<Generation>, StoreError> {
        Ok(self.generations(star, quarter)?.pop())
    }

    /// The generation that scientists see, as far as names tell: what `@previous` means to stars that are admitted now.
    pub fn open_generation(&self, star: StarId, quarter: Quarter) -> Result<Option<Generation>, StoreError> {
        let Some(basis) = self.choice_basis(star, quarter)? else { return Ok(None) };
        let path = paths::choice(star, quarter, basis.newest, basis.rollbacks);
        let record: Option<ChoiceRecord> = read_json(&self.at(path))?;
        Ok(Some(record.map_or(basis.newest, |record| record.open)))
    }

    /// What the star file showed when this generation came, as far as names tell and it is still there; `None` where nothing older is.
    pub fn shown_before(
        &self,
        star: StarId,
        quarter: Quarter,
        generation: Generation,
    ) -> Result<Option<Generation>, StoreError> {
        let mut older = self.generations(star, quarter)?;
        older.retain(|number| *number < generation);
        let Some(newest) = older.last().copied() else { return Ok(None) };
        let first = self.at(paths::choice(star, quarter, newest, 0));
        let folder = first.parent().unwrap_or(Path::new("/"));
        let number =
            |name: &String| name.strip_prefix(&format!("{newest}-"))?.strip_suffix(".json")?.parse::<u64>().ok();
        let last = names_in(folder)?.iter().filter_map(number).max();
        let record: Option<ChoiceRecord> = match last {
            Some(rollbacks) => read_json(&self.at(paths::choice(star, quarter, newest, rollbacks)))?,
            None => None,
        };
        Ok(record.map(|record| record.open).filter(|open| older.contains(open)).or(Some(newest)))
    }

    /// Makes a built file generation `generation` of a star; the star file stays as it is. `Exists`: somebody else made this
    /// generation; the file, which holds its number, must be built again for a later one.
    pub fn commit_generation(
        &self,
        star: StarId,
        quarter: Quarter,
        generation: Generation,
        built: &Path,
    ) -> Result<Commit, StoreError> {
        let folder = self.at(paths::generations(star, quarter));
        durable::make_dir(&folder)?;
        durable::make_dir(&self.at(paths::externals(star, quarter)))?;
        link_base(&folder)?;
        durable::commit_file(built, &self.at(paths::generation(star, quarter, generation)))
    }

    /// What the choice of the generation to show rests on now; `None` when there is no generation.
    pub fn choice_basis(&self, star: StarId, quarter: Quarter) -> Result<Option<ChoiceBasis>, StoreError> {
        let Some(newest) = self.latest_generation(star, quarter)? else { return Ok(None) };
        let rollbacks = numbered::last(&self.at(paths::rollbacks(star, quarter)), "json", 0)?;
        Ok(Some(ChoiceBasis { newest, rollbacks }))
    }

    /// Makes the newest generation the star file, under a second name, unless `basis` holds no more.
    pub fn show_newest(&self, star: StarId, quarter: Quarter, basis: ChoiceBasis) -> Result<(), StoreError> {
        self.show(star, quarter, basis, &self.at(paths::generation(star, quarter, basis.newest)))
    }

    /// Makes a copy of generation `open` the star file, unless `basis` holds no more, and puts the choice on record before it.
    pub fn show_copy(
        &self,
        star: StarId,
        quarter: Quarter,
        (basis, open): (ChoiceBasis, Generation),
        copy: &Path,
    ) -> Result<(), StoreError> {
        let record = paths::choice(star, quarter, basis.newest, basis.rollbacks);
        durable::create(&self.at(record), &self.beside(), &to_json(&ChoiceRecord { open }))?;
        durable::seal(copy)?;
        self.show(star, quarter, basis, copy)
    }

    /// Puts a file in the star file's place. Who was held up since he looked must not put an older one over that of somebody
    /// else, and end before he can look again.
    fn show(&self, star: StarId, quarter: Quarter, basis: ChoiceBasis, file: &Path) -> Result<(), StoreError> {
        if self.choice_basis(star, quarter)? != Some(basis) {
            return Ok(());
        }
        durable::replace(file, &self.at(paths::star_file(star, quarter)), &self.beside())
    }

    /// Forgets what the star file showed while this generation was the newest: it was moved aside, and another may get its number.
    pub fn forget_choices(&self, star: StarId, quarter: Quarter, newest: Generation) -> Result<(), StoreError> {
        let first = self.at(paths::choice(star, quarter, newest, 0));
        let Some(folder) = first.parent() else { return Ok(()) };
        for name in names_in(folder)?.iter().filter(|name| name.starts_with(&format!("{newest}-"))) {
            let path = folder.join(name);
            std::fs::remove_file(&path).map_err(|source| io_error("remove", &path, source))?;
        }
        Ok(())
    }

    /// Writes down that the star file is to show another generation, before it does; returns the decision's number.
    pub fn decide_rollback(&self, star: StarId, quarter: Quarter, decided: &Rollback) -> Result<u64, StoreError> {
        let folder = self.at(paths::rollbacks(star, quarter));
        durable::make_dir(&folder)?;
        self.append(&folder, "json", &to_json(decided))
    }

    /// The rollback with this number; `None` when there is none.
    pub fn rollback(&self, star: StarId, quarter: Quarter, number: u64) -> Result<Option<Rollback>, StoreError> {
        read_json(&numbered::path(&self.at(paths::rollbacks(star, quarter)), "json", number))
    }
}

/// External links in a generation start with `externals/../`, so that they lead to the same place from the folder of the
/// quarter, where the star file is, and from the folder of the generations, where this link stands for `externals`.
fn link_base(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join("externals");
    match std::os::unix::fs::symlink("../externals", &path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(io_error("link", &path, source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_complete_generation_is_shown_until_operators_choose_and_a_complete_one_follows() {
        let to = |to, newest| {
            let (from, at) = (Generation(1), Timestamp::UNIX_EPOCH);
            Some(Rollback { at, by: "o".to_owned(), from, to: Generation(to), newest: Generation(newest) })
        };
        let open = |newest, complete: Option<u32>, rollback| {
            Choice::of(Generation(newest), complete.map(Generation), rollback).open.0
        };
        assert_eq!(open(3, None, None), 3, "there is no complete one yet");
        assert_eq!(open(3, Some(2), None), 2);
        assert_eq!(open(3, Some(2), to(1, 3)), 1);
        assert_eq!(open(4, Some(2), to(1, 3)), 1, "one that is not whole does not end the decision");
        assert_eq!(open(4, Some(4), to(1, 3)), 4);
        assert_eq!(open(3, None, to(1, 3)), 1);
    }
}
