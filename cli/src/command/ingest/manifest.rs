//! The manifest of a delivery: every file of it with its size and digest. A delivery is as its manifest says, or it is bad.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

/// What the manifest of a delivery is called.
pub(super) const MANIFEST: &str = "manifest.json";

/// The largest manifest that is read, in bytes: some 300,000 files.
const LARGEST: u64 = 64 << 20;

/// What a delivery says that it holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeliveryManifest {
    files: Vec<DeclaredFile>,
}

/// A file of a delivery.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredFile {
    /// Relative to the delivery.
    path: PathBuf,
    bytes: u64,
    /// In hexadecimal digits.
    sha256: String,
}

/// A file for which a delivery is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct BadFile {
    /// As the manifest calls it, or where it is.
    pub(super) file: String,
    /// What is bad about it.
    pub(super) reason: String,
}

/// The files of a delivery, or everything that is not as its manifest says.
pub(super) fn verify(folder: &Path) -> Result<Vec<PathBuf>, Vec<BadFile>> {
    let bad = |file: &Path, reason: String| BadFile { file: file.display().to_string(), reason };
    let manifest = read(&folder.join(MANIFEST)).map_err(|reason| vec![bad(Path::new(MANIFEST), reason)])?;
    let (mut files, mut wrong, mut declared) = (Vec::new(), Vec::new(), BTreeSet::new());
    for file in manifest.files {
        if !declared.insert(file.path.clone()) {
            wrong.push(bad(&file.path, "the manifest lists it twice".to_owned()));
            continue;
        }
        match check(folder, &file) {
            Ok(path) => files.push(path),
            Err(reason) => wrong.push(bad(&file.path, reason)),
        }
    }
    if declared.is_empty() {
        wrong.push(bad(Path::new(MANIFEST), "it lists no file".to_owned()));
    }
    for entry in WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) => {
                let path = entry.path().strip_prefix(folder).unwrap_or(entry.path());
                if path != Path::new(MANIFEST) && !declared.contains(path) {
                    wrong.push(bad(path, "it is not in the manifest".to_owned()));
                }
            }
            Err(error) => wrong.push(bad(error.path().unwrap_or(folder), error.to_string())),
        }
    }
    if wrong.is_empty() { Ok(files) } else { Err(wrong) }
}

fn read(path: &Path) -> Result<DeliveryManifest, String> {
    let facts = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !facts.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if facts.len() > LARGEST {
        return Err(format!("it has {} bytes, expected {LARGEST} at most", facts.len()));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    serde_json::from_str(&text)
        .map_err(|error| format!("{error}; expected {{\"files\": [{{\"path\": …, \"bytes\": …, \"sha256\": …}}, …]}}"))
}

/// Where a declared file is, if it is what the manifest says. No link is followed out of the delivery.
fn check(folder: &Path, declared: &DeclaredFile) -> Result<PathBuf, String> {
    let is_below = declared.path.components().all(|part| matches!(part, Component::Normal(_)));
    if !is_below || declared.path.as_os_str().is_empty() {
        return Err("expected a path within the delivery, without `..`".to_owned());
    }
    let mut path = folder.to_owned();
    for part in declared.path.components() {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err("it is not there".to_owned()),
            Err(error) => return Err(error.to_string()),
            Ok(facts) if facts.is_symlink() => return Err("it is a link, expected the file itself".to_owned()),
            Ok(_) => {}
        }
    }
    let facts = path.metadata().map_err(|error| error.to_string())?;
    if !facts.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if facts.len() != declared.bytes {
        return Err(format!("it has {} bytes, the manifest says {}", facts.len(), declared.bytes));
    }
    let digest = digest(&path).map_err(|error| error.to_string())?;
    if digest != declared.sha256.to_ascii_lowercase() {
        return Err(format!("its SHA-256 is {digest}, the manifest says {}", declared.sha256));
    }
    Ok(path)
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let (mut file, mut block) = (File::open(path)?, vec![0; 1 << 20]);
    loop {
        match io::Read::read(&mut file, &mut block)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&block[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is bad about a delivery of these files with this manifest.
    fn check(manifest: &str, files: &[(&str, &str)], expected: &[(&str, &str)]) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MANIFEST), manifest).unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let bad = verify(folder.path()).map_or_else(|bad| bad, |_| Vec::new());
        assert_eq!(bad.len(), expected.len(), "{bad:?}");
        for (bad, (file, word)) in bad.iter().zip(expected) {
            assert!(bad.file == *file && bad.reason.contains(word), "{bad:?} does not name {file} and {word}");
        }
    }

    #[test]
    fn a_delivery_is_as_its_manifest_says_or_everything_that_is_not_is_named() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let file = |path: &str, bytes: u64, digest: &str| {
            format!("{{\"path\": \"{path}\", \"bytes\": {bytes}, \"sha256\": \"{digest}\"}}")
        };
        let manifest = |files: &[String]| format!("{{\"files\": [{}]}}", files.join(", "));
        let good = manifest(&[file("a.h5", 3, abc), file("b/c.h5", 3, &abc.to_uppercase())]);
        check(&good, &[("a.h5", "abc"), ("b/c.h5", "abc")], &[]);
        let other = abc.replace('b', "c");
        let bad = [
            file("a.h5", 4, abc),
            file("b.h5", 3, &other),
            file("c.h5", 3, abc),
            file("../d.h5", 3, abc),
            file("/e.h5", 3, abc),
            file("c.h5", 3, abc),
        ];
        let expected = [
            ("a.h5", "it has 3 bytes, the manifest says 4"),
            ("b.h5", "its SHA-256 is ba78"),
            ("c.h5", "it is not there"),
            ("../d.h5", "within the delivery"),
            ("/e.h5", "within the delivery"),
            ("c.h5", "lists it twice"),
            ("x.txt", "not in the manifest"),
        ];
        check(&manifest(&bad), &[("a.h5", "abc"), ("b.h5", "abc"), ("x.txt", "")], &expected);
        check("{\"files\": [", &[], &[(MANIFEST, "expected {\"files\"")]);
        check("{\"files\": []}", &[], &[(MANIFEST, "lists no file")]);
    }

    #[test]
    fn links_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("etc")).unwrap();
        let text = "{\"files\": [{\"path\": \"etc/hostname\", \"bytes\": 1, \"sha256\": \"\"}]}";
        fs::write(folder.path().join(MANIFEST), text).unwrap();
        let bad = verify(folder.path()).unwrap_err();
        assert!(bad[0].reason.contains("it is a link"), "{bad:?}");
    }
}
