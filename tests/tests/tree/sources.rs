//! The tree as it lies on the disk: every text file below the root, and what of it is code.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Where it is, from the root of the tree.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

impl SourceFile {
    /// The code above the first `#[cfg(test)] mod`.
    pub(crate) fn without_tests(&self) -> &str {
        self.text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default()
    }

    /// The comment that the file opens with, as one text.
    pub(crate) fn head(&self) -> String {
        self.text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect::<Vec<_>>().join(" ")
    }

    /// Whether all of it is for tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }
}

/// A line without its comment.
pub(crate) fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Where the tree lies.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

/// Every text file but those that builds and demos made.
pub(crate) fn tree() -> Vec<SourceFile> {
    let mut sources = Vec::new();
    collect(&root(), &mut sources);
    assert!(sources.len() > 20, "the tree was not found");
    sources
}

/// Every Rust file.
pub(crate) fn rust() -> impl Iterator<Item = SourceFile> {
    tree().into_iter().filter(|source| source.path.ends_with(".rs"))
}

/// Fails when there are breaches, with all of them.
pub(crate) fn check(rule: &str, breaches: Vec<String>) {
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}

fn collect(dir: &Path, sources: &mut Vec<SourceFile>) {
    let skipped = ["target", ".git", ".tools", "demo", "__pycache__"];
    for entry in fs::read_dir(dir).expect("the tree is readable").map(|entry| entry.expect("the tree is readable")) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            if !skipped.contains(&name.as_str()) {
                collect(&path, sources);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            sources.push(SourceFile { path, text });
        }
    }
}
