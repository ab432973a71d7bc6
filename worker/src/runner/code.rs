//! What a program without an image consists of, as one hash: edited code gets a new key.
//!
//! Counted are the program itself, every argument that names an existing file or directory, and for Python's `-m NAME`
//! the module or package of that name below `PYTHONPATH`. What these load in turn (libraries, the interpreter's own files)
//! is not seen.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// SHA-256 over the code of a command; `search` and `python` are `PATH` and `PYTHONPATH`.
pub(super) fn hash(command: &[String], search: &str, python: &str) -> io::Result<String> {
    let mut hash = Sha256::new();
    let Some(program) = command.first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the module has no command"));
    };
    add(&mut hash, &find(program, search)?)?;
    for (at, argument) in command.iter().enumerate().skip(1) {
        let path = match command[at - 1].as_str() {
            "-m" => find_module(argument, python),
            _ => Some(PathBuf::from(argument)).filter(|path| path.exists()),
        };
        if let Some(path) = path {
            hash.update(format!("{at} {argument}\n"));
            add(&mut hash, &path)?;
        }
    }
    Ok(hex::encode(hash.finalize()))
}

fn find(program: &str, search: &str) -> io::Result<PathBuf> {
    if program.contains('/') {
        return Ok(PathBuf::from(program));
    }
    let found = std::env::split_paths(search).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("`{program}` is not in PATH")))
}

fn find_module(name: &str, python: &str) -> Option<PathBuf> {
    let path = name.replace('.', "/");
    let places = std::env::split_paths(python);
    places.flat_map(|place| [place.join(&path), place.join(format!("{path}.py"))]).find(|path| path.exists())
}

/// Adds a file, or the files of a directory in the order of their names; caches and hidden files are left out.
fn add(hash: &mut Sha256, path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        let mut file = BufReader::with_capacity(64 << 10, File::open(path)?);
        hash.update(format!("{}\n", file.get_ref().metadata()?.len()));
        loop {
            let read = file.fill_buf()?;
            if read.is_empty() {
                return Ok(());
            }
            hash.update(read);
            let length = read.len();
            file.consume(length);
        }
    }
    let mut names: Vec<_> = std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    names.sort();
    for name in names.iter().filter(|name| !name.as_encoded_bytes().starts_with(b".") && *name != "__pycache__") {
        hash.update(name.as_encoded_bytes());
        hash.update(b"\n");
        add(hash, &path.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edited_code_has_another_hash_wherever_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script.sh");
        let package = folder.path().join("package");
        std::fs::create_dir(&package).unwrap();
        let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
        write(&script, "echo 1");
        write(&package.join("a.py"), "a = 1");
        let python = folder.path().to_str().unwrap();
        let by_script = [String::from("sh"), script.to_str().unwrap().to_owned()];
        let by_module = [String::from("sh"), String::from("-m"), String::from("package")];
        let code = |command: &[String]| hash(command, "/usr/bin:/bin", python).unwrap();
        let before = (code(&by_script), code(&by_module));
        assert_eq!(before, (code(&by_script), code(&by_module)));
        write(&script, "echo 2");
        write(&package.join("a.py"), "a = 2");
        assert_ne!(before.0, code(&by_script));
        assert_ne!(before.1, code(&by_module));
        assert!(hash(&["no-such-program".to_owned()], "/usr/bin", "").is_err());
    }
}
