//! Which module of a crate names which: arrows, read from `use` and from paths in the code, outside of tests.

use std::collections::BTreeMap;

use crate::sources::{SourceFile, code};

/// A module by its path below the crate: `["runs", "end"]`; the crate itself is empty.
pub(crate) type RustModule = Vec<String>;

/// One place where a module names another.
#[derive(Debug)]
pub(crate) struct Arrow {
    /// The module that names.
    pub(crate) from: RustModule,
    /// The module that is named, or whose item is.
    pub(crate) to: RustModule,
    /// File and line, and what stands there.
    pub(crate) place: String,
}

/// All arrows of the crate whose sources lie below `folder`.
pub(crate) fn arrows(folder: &str, sources: &[SourceFile]) -> Vec<Arrow> {
    let mut modules: BTreeMap<RustModule, &SourceFile> = BTreeMap::new();
    for source in sources {
        // Where there is a library, `main.rs` is a program beside it.
        if let Some(module) = module_of(folder, source)
            && !modules.get(&module).is_some_and(|known| known.path.ends_with("/lib.rs"))
        {
            modules.insert(module, source);
        }
    }
    let offered = re_exports(&modules);
    let mut arrows = Vec::new();
    for (from, source) in &modules {
        for (line, path) in paths(source.without_tests()) {
            let to = resolve(absolute(from, &path), &modules, &offered);
            if to != *from {
                let place = format!("{}:{line} names {}", source.path, path.join("::"));
                arrows.push(Arrow { from: from.clone(), to, place });
            }
        }
    }
    arrows
}

/// `src/runs/end.rs` is `runs::end`. Files for tests and programs beside the library are no modules of it.
fn module_of(folder: &str, source: &SourceFile) -> Option<RustModule> {
    let path = source.path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".rs")?;
    let mut module: RustModule = path.split('/').map(str::to_owned).collect();
    if module.contains(&"tests".to_owned()) || path.starts_with("bin/") {
        return None;
    }
    module.retain(|name| !["lib", "main"].contains(&name.as_str()));
    Some(module)
}

type Offered = BTreeMap<(RustModule, String), RustModule>;

/// What modules offer under a name of their own by `pub use`, with what it really is.
fn re_exports(modules: &BTreeMap<RustModule, &SourceFile>) -> Offered {
    let mut offered = Offered::new();
    for (module, source) in modules {
        for statement in source.without_tests().split("\npub").skip(1) {
            let statement = statement.split_once("use ").filter(|(rank, _)| rank.len() <= "(in crate) ".len());
            let Some((_, statement)) = statement else { continue };
            let mut found = Vec::new();
            read(statement, &[], &mut found);
            for path in found {
                let target = absolute(module, &path);
                if let Some(name) = path.last() {
                    offered.insert((module.clone(), (*name).to_owned()), target);
                }
            }
        }
    }
    offered
}

/// A path as seen from `module`, from the crate's root on.
fn absolute(module: &[String], path: &[&str]) -> RustModule {
    let mut base = module.to_vec();
    let mut rest = path;
    if let Some((&"crate", below)) = rest.split_first() {
        base.clear();
        rest = below;
    }
    while let Some((&word @ ("self" | "super"), below)) = rest.split_first() {
        if word == "super" {
            base.pop();
        }
        rest = below;
    }
    base.extend(rest.iter().map(|name| (*name).to_owned()));
    base
}

/// The module in which an item is defined: the longest path that is a module, and on from there where that one only offers
/// what another defines.
fn resolve(mut path: RustModule, modules: &BTreeMap<RustModule, &SourceFile>, offered: &Offered) -> RustModule {
    for _ in 0..8 {
        let depth = (0..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth])).unwrap_or(0);
        let (module, item) = path.split_at(depth);
        let target = item.first().and_then(|name| offered.get(&(module.to_vec(), name.clone())));
        match target.filter(|target| **target != path) {
            Some(target) => path = [target, &item[1..]].concat(),
            None => return module.to_vec(),
        }
    }
    path
}

/// Every path that begins with `crate`, `super` or `self`, with its line.
fn paths(text: &str) -> Vec<(usize, Vec<&str>)> {
    let mut found = Vec::new();
    let mut end = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let start = end;
        end += line.len();
        let code = code(line);
        for word in ["crate::", "super::", "self::"] {
            for (at, _) in code.match_indices(word) {
                if !code[..at].ends_with(|c: char| is_word(c) || c == ':') {
                    let mut here = Vec::new();
                    read(&text[start + at..], &[], &mut here);
                    found.extend(here.into_iter().map(|path| (number + 1, path)));
                }
            }
        }
    }
    found
}

/// Reads a path, or a tree of them in braces, and returns what follows.
fn read<'a>(text: &'a str, above: &[&'a str], found: &mut Vec<Vec<&'a str>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            if !rest.starts_with(|c| is_word(c) || c == '{') {
                return rest.strip_prefix('}').unwrap_or_default();
            }
            rest = read(rest, above, found).trim_start();
            if let Some(alias) = rest.strip_prefix("as ") {
                rest = alias.trim_start().trim_start_matches(is_word);
            }
        }
    }
    let (name, rest) = text.split_at(text.find(|c| !is_word(c)).unwrap_or(text.len()));
    let path = [above, &[name]].concat();
    match rest.strip_prefix("::") {
        Some(below) if below.starts_with(|c| is_word(c) || c == '{') => read(below, &path, found),
        below => {
            found.push(path);
            below.and_then(|below| below.strip_prefix('*')).unwrap_or(rest)
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
