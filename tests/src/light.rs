//! Light modules: star files, definitions in which light plays every module, and what star files say afterwards.
//!
//! All of it is Python of `deploy/modules/light`, run as a process of this machine.

use domain::id::{Attempt, Generation};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A directory with star files and a definition that a test makes, ingests and runs.
pub struct Campaign {
    directory: tempfile::TempDir,
    /// Kind of each star; `deliver` adds to it.
    pub kinds: BTreeMap<String, serde_json::Value>,
}

/// What a star file says.
#[derive(Debug, Clone, Deserialize)]
pub struct StarFile {
    /// Number of the generation.
    pub generation: Generation,
    /// By module.
    pub modules: BTreeMap<String, ModuleEnd>,
    /// Products whose data can be read.
    pub products: BTreeSet<String>,
    /// Those of them of which their module answered that there is none.
    pub not_produced: BTreeSet<String>,
    /// Externals whose data can be read.
    pub externals: BTreeSet<String>,
    /// Finite scalar columns of products and externals.
    pub scalars: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}

/// What a star file says of one module.
#[derive(Debug, Clone, Deserialize)]
pub struct ModuleEnd {
    /// The word for the task's state.
    pub state: String,
    /// Why, in one line.
    #[serde(default)]
    pub reason: String,
    /// The newest attempt.
    pub attempt: Attempt,
    /// What is odd about its output but allowed.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Products that it made.
    pub outputs: BTreeSet<String>,
    /// Products that it read, by where they came from.
    pub inputs: BTreeMap<String, BTreeSet<String>>,
}

impl Campaign {
    /// An empty one.
    pub fn new() -> Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    /// An empty one, below `place`.
    pub fn new_in(place: &Path) -> Result<Self> {
        Ok(Self { directory: tempfile::tempdir_in(place)?, kinds: BTreeMap::new() })
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes star files of a quarter, `stars` as in `quiet=2,mixed=1`; returns the ids of these stars by kind. The same
    /// seed gives the same stars.
    pub fn deliver(&mut self, quarter: u16, stars: &str, seed: u32) -> Result<BTreeMap<String, Vec<String>>> {
        let delivered = self.path(&format!("delivered-{quarter}-{seed}"));
        let (quarter, seed) = (quarter.to_string(), seed.to_string());
        let arguments = ["light.stars", "--quarter", &quarter, "--stars", stars, "--seed", &seed];
        python(Command::new("/usr/bin/python3").arg("-m").args(arguments).arg(&delivered))?;
        let kinds: BTreeMap<String, String> = serde_json::from_str(&fs::read_to_string(delivered.join("stars.json"))?)?;
        let mut by_kind: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (star, kind) in kinds {
            self.kinds.insert(star.clone(), kind.clone().into());
            by_kind.entry(kind).or_default().push(star);
        }
        Ok(by_kind)
    }

    /// The star files that were delivered.
    pub fn star_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for folder in self.delivered()? {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                let is_star = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("PLATO_"));
                files.extend(is_star.then_some(path));
            }
        }
        files.sort();
        Ok(files)
    }

    /// A file with the externals that are the same for all stars.
    pub fn shared_file(&self) -> Result<PathBuf> {
        let folders = self.delivered()?;
        Ok(folders.first().context("nothing was delivered")?.join("shared.h5"))
    }

    /// Writes a definition in which light plays every module of `definition`, by the scripts of the stars.
    pub fn rewrite(&self, definition: &Path, options: &[&str]) -> Result<PathBuf> {
        let (scripts, target) = (self.path("stars.json"), self.path("light.toml"));
        fs::write(&scripts, serde_json::to_vec(&self.kinds)?)?;
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-m", "light.pipeline"]).arg(definition).arg(&target).arg("--stars").arg(scripts).args(options);
        python(&mut command)?;
        Ok(target)
    }

    fn delivered(&self) -> Result<Vec<PathBuf>> {
        let mut folders: Vec<PathBuf> =
            fs::read_dir(self.directory.path())?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        folders.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("delivered-")));
        folders.sort();
        Ok(folders)
    }
}

/// What the star files of a store say of these stars in a quarter.
pub fn star_files(store: &Path, quarter: u16, stars: &[&String]) -> Result<BTreeMap<String, StarFile>> {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-m", "light.starfile"]);
    let mut by_path = BTreeMap::new();
    for star in stars {
        let path = star_file(store, quarter, star)?;
        command.arg(&path);
        by_path.insert(path.display().to_string(), (*star).clone());
    }
    let answer: BTreeMap<String, StarFile> = serde_json::from_slice(&python(&mut command)?.stdout)?;
    Ok(answer.into_iter().filter_map(|(path, file)| Some((by_path.get(&path)?.clone(), file))).collect())
}

/// Where a star's file is.
pub fn star_file(store: &Path, quarter: u16, star: &str) -> Result<PathBuf> {
    let shard = star.strip_prefix("PLATO_").and_then(|uuid| uuid.get(..2)).context("a star has a UUID")?;
    Ok(store.join("stars").join(shard).join(star).join(format!("Q{quarter:03}")).join(format!("{star}.h5")))
}

/// The modules of a star that are in this state.
pub fn in_state(file: &StarFile, state: &str) -> BTreeSet<String> {
    file.modules.iter().filter(|(_, end)| end.state == state).map(|(name, _)| name.clone()).collect()
}

/// Where the packages of modules are; the `PYTHONPATH` of process runners.
pub fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/modules")
}

/// `sas`, whose process runner finds light.
pub fn sas() -> Command {
    let mut command = Command::new(crate::program("sas-cli", "sas"));
    command.env("PYTHONPATH", modules()).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a program of light; what it says on stderr is the error.
fn python(command: &mut Command) -> Result<Output> {
    let done = command.env("PYTHONPATH", modules()).env("PYTHONDONTWRITEBYTECODE", "1").output()?;
    ensure!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(done)
}

/// Makes an output without products in `directory`, for programs that copy it.
pub fn empty_output(directory: &Path) -> Result<PathBuf> {
    let path = directory.join("empty.h5");
    let program = format!("import h5py; h5py.File({:?}, 'w').create_group('PRODUCTS')", path.display().to_string());
    ensure!(Command::new("/usr/bin/python3").args(["-c", &program]).status()?.success(), "h5py made no file");
    Ok(path)
}
