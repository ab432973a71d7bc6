//! Failures that are alike: the same kind, and the same words but for what differs from star to star.
//!
//! Pure. Numbers, hashes, ids and paths count as equal; the rest of the words is hashed.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use strum::VariantArray;

use super::{Failure, FailureKind, Outcome, PlatformErrorKind};

/// Most characters of a failure's words that are kept.
const MOST: usize = 300;

/// Why a task was lost, in a word; whose fault it was follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FailureReason {
    /// The module's mistake.
    Module(FailureKind),
    /// The platform's trouble.
    Platform(PlatformErrorKind),
}

/// What is the same for all failures that are alike: 8 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FailureFingerprint(String);

/// Failures to look for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub enum FailurePattern {
    /// All of a kind.
    Reason(FailureReason),
    /// All that are alike.
    Alike(FailureFingerprint),
}

/// What a failure comes down to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureWords {
    /// Why, in a word.
    pub reason: FailureReason,
    /// Its words: the message, and the last line of the log where the program ended by itself.
    pub words: String,
    /// The same for all that are alike.
    pub fingerprint: FailureFingerprint,
}

impl FailureWords {
    /// Of an outcome that is a failure; `None` of any other.
    pub fn of(outcome: &Outcome) -> Option<Self> {
        let (reason, code, words) = match outcome {
            Outcome::Failed(failure) => (FailureReason::Module(failure.kind), failure.exit_code, said(failure)),
            Outcome::Errored(error) => (FailureReason::Platform(error.kind), None, error.message.clone()),
            Outcome::Succeeded(_) | Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } => return None,
        };
        let words: String = words.chars().take(MOST).collect();
        let hash = Sha256::digest(format!("{reason}\n{code:?}\n{}", without_particulars(&words)));
        Some(Self { reason, words, fingerprint: FailureFingerprint(hex::encode(&hash[..4])) })
    }
}

/// The message; of a program that ended by itself with the last line of its log, which says more.
fn said(failure: &Failure) -> String {
    let has_last_words = match failure.kind {
        FailureKind::Exit | FailureKind::TryAgain | FailureKind::Signal => true,
        FailureKind::OutOfMemory
        | FailureKind::TimeLimit
        | FailureKind::OutputMissing
        | FailureKind::OutputUndeclared
        | FailureKind::OutputCorrupt
        | FailureKind::UnsupportedType
        | FailureKind::OutputViolates
        | FailureKind::OutputTooLarge
        | FailureKind::Expression => false,
    };
    let last = failure.log_tail.lines().rev().map(str::trim).find(|line| !line.is_empty());
    match last.filter(|last| has_last_words && !failure.message.contains(last)) {
        Some(last) => format!("{}: {last}", failure.message),
        None => failure.message.clone(),
    }
}

/// The words with `#` in the place of numbers, hashes and ids, and `<path>` in that of paths.
fn without_particulars(words: &str) -> String {
    let word = |word: &str| if is_path(word) { "<path>".to_owned() } else { without_numbers(word) };
    words.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

fn is_path(word: &str) -> bool {
    let word = word.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '/' && c != '.');
    word.starts_with('/') || word.matches('/').count() > 1
}

fn without_numbers(word: &str) -> String {
    let (mut text, mut rest) = (String::new(), word);
    while let Some(first) = rest.chars().next() {
        let id = begin(rest, |c| c.is_ascii_hexdigit() || c == '-');
        let number = begin(rest, |c| c.is_ascii_digit() || matches!(c, '.' | ',' | ':' | '+' | '-' | 'e' | 'E'));
        let number = number.trim_end_matches(|c: char| !c.is_ascii_digit());
        let has_digit = |text: &str| text.contains(|c: char| c.is_ascii_digit());
        let length = if id.len() >= 8 && has_digit(id) {
            id.len()
        } else if first.is_ascii_digit() || (first == '-' && has_digit(number)) {
            number.len()
        } else {
            text.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        text.push('#');
        rest = &rest[length..];
    }
    text
}

/// The longest beginning of such characters.
fn begin(text: &str, is_of: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !is_of(c)).unwrap_or(text.len())]
}

impl FailureReason {
    /// Whether it is nobody's mistake but the platform's.
    pub const fn is_platforms(self) -> bool {
        matches!(self, Self::Platform(_))
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_modules = FailureKind::VARIANTS.iter().map(|kind| Self::Module(*kind));
        of_modules.chain(PlatformErrorKind::VARIANTS.iter().map(|kind| Self::Platform(*kind)))
    }
}

impl FailurePattern {
    /// Whether a failure is meant.
    pub fn matches(&self, reason: FailureReason, fingerprint: &FailureFingerprint) -> bool {
        match self {
            Self::Reason(wanted) => *wanted == reason,
            Self::Alike(wanted) => wanted == fingerprint,
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(kind) => kind.fmt(f),
            Self::Platform(kind) => kind.fmt(f),
        }
    }
}

impl fmt::Display for FailureFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for FailurePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reason(reason) => reason.fmt(f),
            Self::Alike(fingerprint) => fingerprint.fmt(f),
        }
    }
}

/// Why a text names no failures: what would.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no reason: expected a kind ({kinds}) or the 8 hexadecimal digits that `sas run failures` shows",
    kinds = FailureReason::all().map(|reason| reason.to_string()).collect::<Vec<_>>().join(", ")
)]
pub struct NoReason {
    text: String,
}

impl FromStr for FailurePattern {
    type Err = NoReason;

    fn from_str(text: &str) -> Result<Self, NoReason> {
        if let Some(reason) = FailureReason::all().find(|reason| reason.to_string() == text) {
            return Ok(Self::Reason(reason));
        }
        if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self::Alike(FailureFingerprint(text.to_ascii_lowercase())));
        }
        Err(NoReason { text: text.chars().take(60).collect() })
    }
}

impl TryFrom<String> for FailurePattern {
    type Error = NoReason;

    fn try_from(text: String) -> Result<Self, NoReason> {
        text.parse()
    }
}

impl From<FailurePattern> for String {
    fn from(pattern: FailurePattern) -> String {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::PlatformError;

    fn failed(kind: FailureKind, message: &str, log: &str, code: Option<i64>) -> FailureWords {
        let failure = Failure { kind, message: message.to_owned(), exit_code: code, log_tail: log.to_owned() };
        FailureWords::of(&Outcome::Failed(failure)).unwrap()
    }

    #[test]
    fn failures_are_alike_but_for_numbers_hashes_ids_and_paths() {
        for (one, other) in [
            ("chi2 = 3.5 after 12 steps", "chi2 = -1.25e-3 after 7 steps"),
            (
                "no star PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7.",
                "no star PLATO_0a38cafe-abcd-5bee-bfed-a7a6f839c700.",
            ),
            ("cannot open '/data/a1/in.h5'", "cannot open '/scratch/x/y.h5'"),
            ("sha256:9f86d081884c7d65 differs", "sha256:60303ae22b998861 differs"),
        ] {
            assert_eq!(without_particulars(one), without_particulars(other));
        }
        let plain = "flux in km/s has 3 gaps (at 2026-11-29T01:12:45Z)";
        assert_eq!(without_particulars(plain), "flux in km/s has # gaps (at #T#Z)");
        assert_ne!(without_particulars("no flux"), without_particulars("no time"));
    }

    #[test]
    fn what_a_program_said_last_tells_failures_apart_and_so_do_kind_and_code() {
        let of = |code, log| failed(FailureKind::Exit, &format!("exit code {code}"), log, Some(code));
        let one = of(1, "Traceback\nValueError: nan at 17\n\n");
        assert_eq!(one.words, "exit code 1: ValueError: nan at 17");
        assert_eq!(one.fingerprint, of(1, "ValueError: nan at 4711").fingerprint);
        assert_ne!(one.fingerprint, of(1, "KeyError: 'x'").fingerprint);
        assert_ne!(of(1, "").fingerprint, of(2, "").fingerprint);
        let missing = failed(FailureKind::OutputMissing, "no X", "bye", None);
        assert_eq!(missing.words, "no X");
        let error = PlatformError::new(PlatformErrorKind::Store, "no X");
        let error = FailureWords::of(&Outcome::Errored(error)).unwrap();
        assert!(error.reason.is_platforms() && error.fingerprint != missing.fingerprint);
        assert_eq!(FailureWords::of(&Outcome::UpstreamFailed { lost: "X".to_owned() }), None);
    }

    #[test]
    fn a_pattern_is_a_kind_or_a_fingerprint() {
        for reason in FailureReason::all() {
            let text = reason.to_string();
            assert_eq!(text.parse(), Ok(FailurePattern::Reason(reason)));
            assert_eq!(serde_json::from_str::<FailureReason>(&format!("{text:?}")).unwrap(), reason);
        }
        let print = failed(FailureKind::Exit, "x", "", None).fingerprint;
        assert_eq!(print.to_string().to_uppercase().parse(), Ok(FailurePattern::Alike(print)));
        let error = "exot".parse::<FailurePattern>().unwrap_err().to_string();
        assert!(error.contains("out_of_memory") && error.contains("image_missing"), "{error}");
    }
}
