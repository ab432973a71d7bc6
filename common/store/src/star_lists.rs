//! Lists of stars, for events of many: text files with a star id a line, which anyone may lay below the store's root.
//!
//! What is named comes from outside: no link is followed, nothing but a regular file is opened for reading, and how much is
//! read has a bound, so that a list can be wrong, but cannot hold up or fill who reads it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Component, Path};
use std::{fmt, str};

use domain::id::{InvalidName, StarId};
use domain::message::StarSelection;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::absence::found;
use super::{Store, StoreError, durable, io_error, is_for_good, paths};

/// The largest list that is read: a million stars and a half.
pub const MOST_BYTES: u64 = 64 << 20;

/// The longest line that is read, comments included.
const LONGEST_LINE: u64 = 4096;

/// A line that names a star: `PLATO_`, a UUID, and its end.
const SHORTEST_LINE: u64 = 43;

/// Bytes of a list that are read, and written, at once.
const AT_ONCE: usize = 64 << 10;

/// Mistakes of a list that are shown; the rest is counted.
const SHOWN: usize = 5;

/// Why a list of stars cannot be used: line numbers, counted from 1, and what is wrong there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BadList {
    mistakes: Vec<String>,
    more: usize,
}

/// Stars that travel in the event itself; of more a list is laid into the store.
pub const INLINE: usize = 1000;

impl Store {
    /// How an event names its stars; many are laid into the store beside it, under this name.
    pub fn name_stars(&self, name: &str, stars: Vec<StarId>) -> Result<StarSelection, StoreError> {
        if stars.len() <= INLINE {
            return Ok(StarSelection::Inline(stars));
        }
        Ok(StarSelection::File(self.keep_star_list(name, &stars)?))
    }

    /// The stars that an event names, sorted, each once; or why they cannot be read.
    pub fn stars_of(&self, named: &StarSelection) -> Result<Result<Vec<StarId>, String>, StoreError> {
        match named {
            StarSelection::Inline(stars) => {
                let mut stars = stars.clone();
                stars.sort_unstable();
                stars.dedup();
                Ok(Ok(stars))
            }
            StarSelection::File(list) => self.read_star_list(list),
        }
    }

    /// Lays a list of stars into the store for an event of many; returns its path below the root. `name` is a word without
    /// slashes that nobody else uses.
    pub fn keep_star_list(&self, name: &str, stars: &[StarId]) -> Result<String, StoreError> {
        durable::make_dir(&self.at(paths::star_lists()))?;
        let path = paths::name_of_star_list(name);
        durable::create_with(&self.at(&path), &self.beside(), |file| {
            let mut list = BufWriter::with_capacity(AT_ONCE, file);
            stars.iter().try_for_each(|star| writeln!(list, "{star}"))?;
            list.flush()
        })?;
        Ok(path)
    }

    /// The stars of a list below the root, sorted, each once; or why it cannot be read, which waiting does not mend.
    pub fn read_star_list(&self, path: &str) -> Result<Result<Vec<StarId>, String>, StoreError> {
        let wrong = |reason: &dyn fmt::Display| Ok(Err(format!("star list `{path}`: {reason}")));
        let open = || open_below(self.root(), Path::new(path)).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = match found("read", &self.at(path), open) {
            Ok(Some(found)) => found,
            Ok(None) => return wrong(&io::Error::from(Errno::NOENT)),
            Err(StoreError::Io { source, .. }) if is_for_good(&source) => return wrong(&source),
            Err(error) => return Err(error),
        };
        if !metadata.is_file() {
            return wrong(&"expected a regular file");
        }
        if metadata.len() > MOST_BYTES {
            return wrong(&format_args!("it has {} bytes, expected {MOST_BYTES} at most", metadata.len()));
        }
        // As many as there can be, at once: growing step by step takes three times the memory.
        let room = usize::try_from(metadata.len() / SHORTEST_LINE).unwrap_or_default() + 1;
        match read_into(Vec::with_capacity(room), BufReader::with_capacity(AT_ONCE, file.take(MOST_BYTES))) {
            Ok(Ok(stars)) => Ok(Ok(stars)),
            Ok(Err(bad)) => wrong(&bad),
            Err(error) => Err(io_error("read", &self.at(path), error)),
        }
    }
}

/// Reads a list of stars: a star id a line; empty lines and lines that start with `#` mean nothing. The stars are sorted, each
/// once.
pub fn read(list: impl BufRead) -> io::Result<Result<Vec<StarId>, BadList>> {
    read_into(Vec::new(), list)
}

fn read_into(mut stars: Vec<StarId>, mut list: impl BufRead) -> io::Result<Result<Vec<StarId>, BadList>> {
    let (mut bad, mut line) = (BadList::default(), Vec::new());
    for number in 1_u64.. {
        line.clear();
        let length = list.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? as u64;
        if length == 0 {
            break;
        }
        if length == LONGEST_LINE && !line.ends_with(b"\n") {
            bad.add(number, &format_args!("it has more than {LONGEST_LINE} bytes; no more of the list is read"));
            break;
        }
        match star_in(&line) {
            Ok(star) => stars.extend(star),
            Err(reason) => bad.add(number, &reason),
        }
    }
    if bad.mistakes.is_empty() && stars.is_empty() {
        bad.mistakes.push("it names no star".to_owned());
    }
    if !bad.mistakes.is_empty() {
        return Ok(Err(bad));
    }
    stars.sort_unstable();
    stars.dedup();
    Ok(Ok(stars))
}

/// The star of a line, where it names one.
fn star_in(line: &[u8]) -> Result<Option<StarId>, String> {
    let line = str::from_utf8(line).map_err(|_| "expected text in UTF-8".to_owned())?.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    line.parse().map(Some).map_err(|error: InvalidName| error.to_string())
}

/// Opens a file below a directory through directories only: no link is followed on the way, and what is no file does not make
/// the caller wait.
fn open_below(root: &Path, path: &Path) -> io::Result<File> {
    let folder = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = openat(CWD, root, folder, Mode::empty())?;
    let mut parts = path.components().filter(|part| *part != Component::CurDir).peekable();
    while let Some(part) = parts.next() {
        let flags = match parts.peek() {
            Some(_) => folder | OFlags::NOFOLLOW,
            None => OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        };
        here = openat(&here, part.as_os_str(), flags, Mode::empty())?;
    }
    Ok(File::from(here))
}

impl BadList {
    fn add(&mut self, line: u64, reason: &dyn fmt::Display) {
        if self.mistakes.len() < SHOWN {
            self.mistakes.push(format!("line {line}: {reason}"));
        } else {
            self.more += 1;
        }
    }
}

impl fmt::Display for BadList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mistakes.join("; "))?;
        if self.more > 0 {
            write!(f, "; and {} more lines", self.more)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    fn star(number: u64) -> StarId {
        StarId::of_simulator(number)
    }

    #[test]
    fn a_list_is_sorted_and_each_star_is_in_it_once() {
        let (first, second) = (star(1).min(star(2)), star(1).max(star(2)));
        let text = format!("# stars\n{second}\n\n{first}\r\n{second}");
        assert_eq!(read(text.as_bytes()).unwrap().unwrap(), [first, second]);
    }

    #[test]
    fn what_is_wrong_with_a_list_is_said_by_line() {
        let bad = |text: &[u8]| read(text).unwrap().unwrap_err().to_string();
        let said = bad(format!("{}\nKIC 1\n", star(1)).as_bytes());
        assert!(said.contains("line 2") && said.contains("KIC 1"), "{said}");
        assert!(bad("x\n".repeat(7).as_bytes()).contains("2 more lines"));
        assert!(bad(b"\n# none\n").contains("no star"));
        assert!(bad(b"\xff\n").contains("line 1: expected text"));
        let long = bad("x".repeat(1 << 20).as_bytes());
        assert!(long.len() < 200 && long.contains("more than 4096 bytes"), "{long}");
    }

    #[test]
    fn what_is_no_file_of_the_store_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path()).unwrap();
        let path = store.keep_star_list("list", &[star(1)]).unwrap();
        assert_eq!(store.read_star_list(&path).unwrap().unwrap(), [star(1)]);

        let at = |name: &str| dir.path().join(name);
        symlink(at("loop"), at("loop")).unwrap();
        symlink("/etc/hostname", at("link")).unwrap();
        symlink("/etc", at("folder")).unwrap();
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        _ = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        File::create(at("huge")).unwrap().set_len(4 << 30).unwrap();
        std::fs::create_dir(at("empty")).unwrap();
        for (name, words) in [
            ("loop", "symbolic links"),
            ("link", "symbolic links"),
            ("folder/hostname", "Not a directory"),
            ("pipe", "expected a regular file"),
            ("socket", "No such device"),
            ("empty", "expected a regular file"),
            ("huge", "4294967296 bytes"),
            ("none", "No such file"),
        ] {
            let reason = store.read_star_list(name).unwrap().unwrap_err();
            assert!(reason.contains(words) && reason.contains(name), "{name}: {reason}");
        }
        std::fs::remove_file(at("store.json")).unwrap();
        assert!(store.read_star_list("none").is_err(), "a store that is away is no mistake of the list");
    }
}
