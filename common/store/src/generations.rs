//! Generations of a star: one star file per run that settled it; the newest is what scientists open (S2).
//!
//! The link decides who made generation n. The star file is the newest generation under a second name, put there by
//! rename; whoever finds a newer one after that does it again.

use std::path::Path;

use super::durable::{self, Commit};
use super::{Store, StoreError, io_error, names_in, paths};
use domain::id::{Generation, Quarter, StarId};

impl Store {
    /// The newest generation of a star; `None` when it has none. The next one has the number after it, or 1.
    pub fn latest_generation(&self, star: StarId, quarter: Quarter) -> Result<Option<Generation>, StoreError> {
        let names = names_in(&self.at(paths::generations(star, quarter)))?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(".h5")?.parse().ok()).max())
    }

    /// Makes a built file generation `generation` of a star, and the star file when it is the newest. `Exists`: somebody
    /// else made this generation; the file, which holds its number, must be built again for a later one.
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
        let commit = durable::commit_file(built, &self.at(paths::generation(star, quarter, generation)))?;
        self.refresh_star_file(star, quarter)?;
        Ok(commit)
    }

    /// Makes the star file the newest generation. Harmless when it is, or when there is none.
    pub fn refresh_star_file(&self, star: StarId, quarter: Quarter) -> Result<(), StoreError> {
        let mut done = None;
        loop {
            let newest = self.latest_generation(star, quarter)?;
            let Some(generation) = newest.filter(|_| newest != done) else { return Ok(()) };
            let from = self.at(paths::generation(star, quarter, generation));
            durable::replace(&from, &self.at(paths::star_file(star, quarter)), &self.beside())?;
            done = newest;
        }
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
