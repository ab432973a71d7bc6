//! Tokens of those who ask over HTTP: made here, and known by a file that holds only their hashes.
//!
//! A line of the file is a name, a role and the SHA-256 of the token in hexadecimal digits; `#` begins a comment. The file may
//! be changed at any time: it is read again within seconds, so that a line that is taken away is a token that is void.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// What somebody may do; each may also do what those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display, strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Publish dataset events.
    Ingestion,
    /// Everything.
    Operator,
}

/// How often a file of tokens is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The longest file of tokens that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// A token that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewToken {
    /// The token: shown once, kept nowhere.
    pub token: String,
    /// The line for the file of tokens.
    pub line: String,
}

/// Makes a token for somebody.
pub fn issue(name: &str, role: Role) -> Result<NewToken> {
    require_name(name)?;
    let token = format!("sas_{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let line = format!("{name} {role} {}", hex::encode(hash(&token)));
    Ok(NewToken { token, line })
}

/// A name stands in lines and on record.
fn require_name(name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    let is_name = (1..=64).contains(&name.len()) && name.chars().all(is_plain);
    ensure!(is_name, "{name:?} is no name for a token: expected 1 to 64 letters, digits, `.`, `_`, `-` or `@`");
    Ok(())
}

/// Who has tokens.
#[derive(Debug, Default, PartialEq, Eq)]
struct Holders(Vec<Holder>);

#[derive(Debug, PartialEq, Eq)]
struct Holder {
    name: String,
    role: Role,
    hash: [u8; 32],
}

/// A file of tokens, as it was read last.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    known: Mutex<KnownHolders>,
}

#[derive(Debug)]
struct KnownHolders {
    holders: Arc<Holders>,
    /// Length and time of the file that was read.
    stamp: Option<(u64, SystemTime)>,
    looked: Instant,
}

impl TokenFile {
    /// Reads the file.
    pub fn open(path: &Path) -> Result<Self> {
        let stamp = stamp(path);
        let holders = Arc::new(Holders::read(path)?);
        let known = KnownHolders { holders, stamp, looked: Instant::now() };
        Ok(Self { path: path.to_owned(), known: Mutex::new(known) })
    }

    /// Whether nobody has a token.
    pub fn is_empty(&self) -> bool {
        self.holders().0.is_empty()
    }

    /// Whose token this is.
    pub fn holder_of(&self, token: &str) -> Option<(String, Role)> {
        self.holders().find(token).map(|holder| (holder.name.clone(), holder.role))
    }

    /// Those of the file as it is now; where that cannot be read, those of before.
    fn holders(&self) -> Arc<Holders> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.looked.elapsed() >= LOOK_AGAIN {
            known.looked = Instant::now();
            let stamp = stamp(&self.path);
            if stamp != known.stamp {
                known.stamp = stamp;
                match Holders::read(&self.path) {
                    Ok(holders) => known.holders = Arc::new(holders),
                    Err(error) => tracing::error!("the tokens that were read before stay in force: {error:#}"),
                }
            }
        }
        known.holders.clone()
    }
}

impl Holders {
    fn read(path: &Path) -> Result<Self> {
        let failed = || format!("failed to read the file of tokens `{}` (`[http] tokens`)", path.display());
        let length = fs::metadata(path).with_context(failed)?.len();
        ensure!(
            length <= LARGEST,
            "the file of tokens `{}` has {length} bytes, {LARGEST} are the most",
            path.display()
        );
        let text = fs::read_to_string(path).with_context(failed)?;
        Self::parse(&text).with_context(failed)
    }

    fn parse(text: &str) -> Result<Self> {
        let (mut holders, mut names) = (Vec::new(), BTreeSet::new());
        for (number, line) in (1..).zip(text.lines()) {
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            let &[name, role, hash] = words.as_slice() else {
                if words.is_empty() {
                    continue;
                }
                bail!(
                    "line {number}: expected a name, a role and the SHA-256 of a token, as `sas token new` prints them"
                );
            };
            require_name(name).with_context(|| format!("line {number}"))?;
            let role = role.parse().ok();
            let role =
                role.with_context(|| format!("line {number}: no such role, expected viewer, ingestion or operator"))?;
            let mut bytes = [0; 32];
            hex::decode_to_slice(hash, &mut bytes)
                .with_context(|| format!("line {number}: expected the SHA-256 of a token, 64 hexadecimal digits"))?;
            ensure!(names.insert(name.to_owned()), "line {number}: {name} is there already");
            holders.push(Holder { name: name.to_owned(), role, hash: bytes });
        }
        Ok(Self(holders))
    }

    /// Looks at every one, so that the time it takes tells nothing.
    fn find(&self, token: &str) -> Option<&Holder> {
        let hash = hash(token);
        let mut found = None;
        for holder in &self.0 {
            if bool::from(holder.hash.ct_eq(&hash)) {
                found = Some(holder);
            }
        }
        found
    }
}

fn stamp(path: &Path) -> Option<(u64, SystemTime)> {
    let facts = fs::metadata(path).ok()?;
    Some((facts.len(), facts.modified().ok()?))
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_line_and_by_nothing_else() {
        let (first, second) = (issue("control", Role::Operator).unwrap(), issue("robot@x", Role::Ingestion).unwrap());
        let text = format!("# people\n{} # since May\n\n{}\n", first.line, second.line);
        let holders = Holders::parse(&text).unwrap();
        let who = |token: &str| holders.find(token).map(|holder| (holder.name.as_str(), holder.role));
        assert_eq!(who(&first.token), Some(("control", Role::Operator)));
        assert_eq!(who(&second.token), Some(("robot@x", Role::Ingestion)));
        let hash = first.line.split(' ').next_back().unwrap();
        assert_eq!([who(""), who("sas_"), who(hash)], [None; 3]);
        assert!(!text.contains(&first.token) && Role::Viewer < Role::Ingestion && Role::Ingestion < Role::Operator);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        let line = issue("control", Role::Viewer).unwrap().line;
        for (text, word) in [
            ("control viewer".to_owned(), "line 1: expected a name, a role"),
            (line.replace("viewer", "admin"), "no such role"),
            (line.replace("control", "../x"), "line 1"),
            ("\ncontrol viewer 12".to_owned(), "line 2: expected the SHA-256"),
            (format!("{line}\n{line}"), "line 2: control is there already"),
        ] {
            let error = format!("{:#}", Holders::parse(&text).unwrap_err());
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_file_that_was_broken_since_leaves_what_was_known_in_force() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let NewToken { token, line } = issue("control", Role::Viewer).unwrap();
        fs::write(file.path(), line).unwrap();
        let tokens = TokenFile::open(file.path()).unwrap();
        let look = || {
            tokens.known.lock().unwrap().looked -= LOOK_AGAIN;
            tokens.holder_of(&token)
        };
        assert!(look().is_some());
        fs::write(file.path(), "broken").unwrap();
        assert!(look().is_some());
        fs::write(file.path(), "").unwrap();
        assert!(look().is_none());
    }
}
