//! Layout: the directories of an attempt, made for it and removed after it.
//!
//! Each attempt has its own, under a name that never comes again, and a place to write that nobody wrote to before. Where nothing
//! can write any more to the directory that it read from, that goes to another attempt, with nothing but the parameters in it, which
//! are compared: what file systems take longest over is making directories and files.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use domain::contract::Staging;
use domain::pipeline;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use store::{Store, StoreError};

use super::desk::{Desk, Order};
use super::kept::KeptFolders;
use super::look::Seen;
use super::resolve::Plan;
use crate::removal;
use crate::runner::{INPUT, OUTPUT, PARAMETERS};

/// Where the links to files are that the input leads to, in its directory.
const FILES: &str = "files";

/// The directories of an attempt.
pub(super) struct Made {
    /// The attempt's own directory.
    pub(super) folder: PathBuf,
    /// What the module reads.
    pub(super) input: PathBuf,
    /// What it writes.
    pub(super) output: PathBuf,
    /// The committed files that it reads, and their numbers, looked at before they were linked.
    pub(super) inodes: BTreeMap<PathBuf, u64>,
    /// The links to them, in `input`.
    links: Vec<PathBuf>,
    /// What the module is told, in `input`.
    parameters: Vec<u8>,
    /// Where `folder` goes where nothing can write to what the program read.
    kept: Option<KeptFolders>,
}

/// What is to be made in these directories before anything is staged.
pub(super) struct AttemptLayout {
    folders: [PathBuf; 3],
    /// Where the program writes; none where the module serves, for the session's becomes it.
    output: Option<PathBuf>,
    kept: KeptFolders,
    /// Committed files, each with its link.
    links: Vec<(PathBuf, PathBuf)>,
    /// Where the parameters are to be, and they.
    parameters: (PathBuf, Vec<u8>),
}

/// Where an attempt reads and writes, and what is to be there.
pub(super) fn layout(desk: &Desk, order: &Order, plan: &Plan) -> (Made, AttemptLayout) {
    let folder = desk.folder_of(order);
    let (input, output) = (folder.join("in"), folder.join("out"));
    let files = files(&plan.staging, &plan.seen);
    let links: Vec<(PathBuf, PathBuf)> = files.iter().map(|(file, name)| ((*file).clone(), input.join(name))).collect();
    let parameters = serde_json::to_vec(&order.module().parameters).expect("parameters are JSON");
    let layout = AttemptLayout {
        kept: desk.kept.clone(),
        folders: [folder.clone(), input.clone(), input.join(FILES)],
        output: (order.module().mode == pipeline::Mode::Oneshot).then(|| output.clone()),
        parameters: (input.join(PARAMETERS), parameters.clone()),
        links: links.clone(),
    };
    let links = links.into_iter().map(|(_, link)| link).collect();
    (Made { folder, input, output, inodes: BTreeMap::new(), links, parameters, kept: None }, layout)
}

/// The committed files behind what is staged, each with its name below the input directory.
pub(super) fn files<'a>(staging: &Staging, seen: &'a Seen) -> BTreeMap<&'a PathBuf, String> {
    let mut files = BTreeMap::new();
    for place in staging.staged.iter().filter_map(|staged| seen.places.get(&staged.source)) {
        let next = files.len();
        files.entry(&place.file).or_insert_with(|| format!("{FILES}/{next}.h5"));
    }
    files
}

impl AttemptLayout {
    /// The committed files that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.links.iter().map(|(file, _)| file)
    }

    /// Makes it all. Never what is above: where the slot's own directory is gone, so is the store.
    pub(super) fn make(&self) -> Result<(), StoreError> {
        let is_kept = self.kept.take(&self.folders[0], &self.parameters.1);
        let missing = if is_kept { &[] } else { &self.folders[..] };
        for folder in missing.iter().chain(&self.output) {
            make_folder(folder)?;
        }
        for (from, to) in &self.links {
            link(from, to).map_err(failed("link", to))?;
        }
        self.write_parameters(is_kept)
    }

    /// Writes the parameters, unless they are there in a directory that was kept.
    fn write_parameters(&self, is_kept: bool) -> Result<(), StoreError> {
        let (path, parameters) = &self.parameters;
        if is_kept {
            if fs::read(path).is_ok_and(|there| there == *parameters) {
                return Ok(());
            }
            fs::remove_file(path).map_err(failed("remove", path))?;
        }
        let created = OpenOptions::new().write(true).create_new(true).mode(0o444).open(path);
        created.and_then(|mut file| file.write_all(parameters)).map_err(failed("write", path))?;
        reachable(path, 0o444)
    }
}

/// Makes where a program writes that was to serve, and is run for its star alone.
pub(super) async fn make_output(desk: &Desk, order: &Order, output: &Path) -> Result<(), StoreError> {
    match order.module().mode {
        pipeline::Mode::Oneshot => Ok(()),
        pipeline::Mode::Serve => {
            let output = output.to_owned();
            desk.store.ask(move |_| make_folder(&output)).await
        }
    }
}

fn make_folder(folder: &Path) -> Result<(), StoreError> {
    DirBuilder::new().mode(0o755).create(folder).map_err(failed("make directory", folder))?;
    reachable(folder, 0o755)
}

/// Lets the module's user, who may be another, reach what was made with this mode, where this process' umask kept it from that.
fn reachable(path: &Path, mode: u32) -> Result<(), StoreError> {
    static IS_STRICT: LazyLock<bool> = LazyLock::new(umask_is_strict);
    match *IS_STRICT {
        true => fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("protect", path)),
        false => Ok(()),
    }
}

/// Whether this process' umask takes more than the right to write from others; what is not known is taken for that.
fn umask_is_strict() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok());
    umask.is_none_or(|umask| umask & !0o022 != 0)
}

impl Made {
    /// Nothing is seen any more that could write where the program read.
    pub(super) fn free_input(&mut self, desk: &Desk) {
        self.kept = Some(desk.kept.clone());
    }

    /// Removes it with all that is in it; what cannot be removed is left for the sweep.
    pub(super) fn remove(&self) {
        let is_done = match (self.remove_known(), &self.kept) {
            (Ok(()), Some(kept)) if self.can_be_kept() && kept.keep(&self.folder, &self.parameters) => true,
            (Ok(()), _) => self.remove_folders().is_ok(),
            (Err(_), _) => false,
        };
        if !is_done {
            remove(&self.folder);
        }
    }

    /// Whether nothing but the directories themselves and the parameters is where the program read: one that is not confined may
    /// write there.
    fn can_be_kept(&self) -> bool {
        let parameters = self.input.join(PARAMETERS).symlink_metadata();
        holds_only(&self.input, &[FILES, PARAMETERS])
            && holds_only(&self.input.join(FILES), &[])
            && parameters.is_ok_and(|facts| facts.is_file())
    }

    fn remove_folders(&self) -> io::Result<()> {
        fs::remove_file(self.input.join(PARAMETERS))?;
        [&self.input.join(FILES), &self.input, &self.folder].into_iter().try_for_each(fs::remove_dir)
    }

    /// Removes the files that are there as a rule, and the directory that the program wrote to; fails where there is more in it.
    fn remove_known(&self) -> io::Result<()> {
        let output = openat(CWD, &self.output, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::PATH, Mode::empty())?;
        match unlinkat(&output, OUTPUT, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        for file in self.links.iter().chain(&[self.input.join(INPUT)]) {
            fs::remove_file(file)?;
        }
        fs::remove_dir(&self.output)
    }
}

/// Whether this is a directory, no link to one, and has just these entries.
fn holds_only(folder: &Path, names: &[&str]) -> bool {
    let opened = openat(CWD, folder, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let is_known = |name: &[u8]| matches!(name, b"." | b"..") || names.iter().any(|known| known.as_bytes() == name);
    opened
        .and_then(Dir::new)
        .is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(|entry| is_known(entry.file_name().to_bytes()))))
}

/// A hard link, or a copy where there can be none: on another file system, of another user's file, of one with too many.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        Err(_) => fs::copy(from, to).map(drop),
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { doing, path, source }
}

/// Removes an attempt's directory, whatever is in it; what cannot be removed is left for the sweep.
pub(super) async fn clean_up(store: &Store, folder: PathBuf) {
    let removed = store.ask(move |_| {
        remove(&folder);
        Ok(())
    });
    let _ = removed.await;
}

fn remove(folder: &Path) {
    if let Err(error) = removal::remove(folder) {
        tracing::warn!(folder = %folder.display(), %error, "an attempt's directory stays behind");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// An attempt's directory whose program read one file and has ended.
    fn laid_out(slot: &Path, name: &str, kept: &KeptFolders, parameters: &[u8]) -> Made {
        let folder = slot.join(name);
        let (input, output) = (folder.join("in"), folder.join("out"));
        let (file, link) = (slot.with_file_name("file.h5"), input.join(FILES).join("0.h5"));
        fs::write(&file, "").unwrap();
        let layout = AttemptLayout {
            folders: [folder.clone(), input.clone(), input.join(FILES)],
            output: Some(output.clone()),
            kept: kept.clone(),
            links: vec![(file, link.clone())],
            parameters: (input.join(PARAMETERS), parameters.to_owned()),
        };
        layout.make().unwrap();
        fs::write(input.join(INPUT), "").unwrap();
        fs::write(output.join(OUTPUT), "").unwrap();
        assert_eq!(fs::read(input.join(PARAMETERS)).unwrap(), parameters);
        let parameters = parameters.to_owned();
        Made { folder, input, output, inodes: BTreeMap::new(), links: vec![link], parameters, kept: None }
    }

    fn inode(path: &Path) -> u64 {
        path.metadata().unwrap().ino()
    }

    #[test]
    fn parameters_stay_where_they_are_the_same_and_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let (slot, place) = (dir.path().join("slot"), dir.path().join("kept"));
        [&slot, &place].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
        let kept = KeptFolders::new(place);
        let done = |name: &str, parameters: &[u8], after: &dyn Fn(&Path)| {
            let mut attempt = laid_out(&slot, name, &kept, parameters);
            let (path, input) = (attempt.input.join(PARAMETERS), inode(&attempt.input));
            let file = inode(&path);
            after(&path);
            attempt.kept = Some(kept.clone());
            attempt.remove();
            (input, file)
        };
        let same = |_: &Path| {};
        let first = done("1", b"{}", &same);
        assert_eq!(done("2", b"{}", &same), first, "nothing is made for the next");
        let other = done("3", b"other", &same);
        assert_eq!(other.0, first.0, "only its parameters are others");
        let changed = |path: &Path| fs::write(path, "changed").unwrap();
        let replaced = |path: &Path| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("/nowhere", path).unwrap();
        };
        for after in [&changed as &dyn Fn(&Path), &replaced, &|path| fs::remove_file(path).unwrap(), &same] {
            // That each finds its own parameters `laid_out` sees.
            done("4", b"other", after);
        }
        assert!(slot.read_dir().unwrap().next().is_none(), "what cannot be kept is gone");
    }

    #[test]
    fn only_a_directory_that_nobody_is_left_to_write_to_is_used_again_and_never_the_place_of_an_output() {
        let dir = tempfile::tempdir().unwrap();
        let (slot, place) = (dir.path().join("slot"), dir.path().join("kept"));
        [&slot, &place].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
        let kept = KeptFolders::new(place.clone());
        let entries = |folder: &Path| folder.read_dir().unwrap().count();

        let first = laid_out(&slot, "1", &kept, b"{}");
        first.remove();
        assert_eq!((entries(&slot), entries(&place)), (0, 0), "something may write to it: it is gone");

        let mut second = laid_out(&slot, "2", &kept, b"{}");
        let input = inode(&second.input);
        fs::set_permissions(&second.output, Permissions::from_mode(0o700)).unwrap();
        second.kept = Some(kept.clone());
        second.remove();
        assert_eq!((entries(&slot), entries(&place)), (0, 1));

        let mut third = laid_out(&slot, "3", &kept, b"{}");
        assert_eq!((inode(&third.input), entries(&place)), (input, 0));
        let mode = third.output.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode, entries(&third.output)), (0o755, 1), "a place to write is always new");
        assert_eq!(entries(&third.input), 3, "files, input and parameters, and nothing of another");

        third.kept = Some(kept.clone());
        fs::write(third.output.join("more"), "").unwrap();
        third.remove();
        assert_eq!((entries(&slot), entries(&place)), (0, 0), "what is not as a rule is removed whole");

        for left in ["in/left", "in/files/left"] {
            let mut attempt = laid_out(&slot, "4", &kept, b"{}");
            attempt.kept = Some(kept.clone());
            fs::write(attempt.folder.join(left), "").unwrap();
            attempt.remove();
            assert_eq!((entries(&slot), entries(&place)), (0, 0), "what a process left is read by no other");
        }
    }
}
