//! Names: they say what a thing is, and a type's name says one thing only.

use std::collections::BTreeMap;

use crate::sources::{check, rust};

/// Names that say nothing about what a thing is.
const EMPTY_NAMES: &[&str] = &["Manager", "Helper", "Handler", "Util"];

/// Names that several types may have, since they mean the same everywhere.
const SAME_MEANING: &[(&str, &str)] = &[("Config", "what the file that a program is started with says")];

/// The word that declares a thing, and the thing's name.
fn declared(line: &str) -> Option<(&str, &str)> {
    let mut rest = line.trim_start();
    if let Some(public) = rest.strip_prefix("pub") {
        rest = match public.strip_prefix('(') {
            Some(within) => within.split_once(") ")?.1,
            None => public.trim_start(),
        };
    }
    let (word, named) = rest.trim_start_matches("async ").trim_start_matches("unsafe ").split_once(' ')?;
    let name = named.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (["struct", "enum", "union", "trait", "type", "mod", "fn"].contains(&word) && !name.is_empty())
        .then_some((word, name))
}

#[test]
fn names_say_what_a_thing_is() {
    let mut breaches = Vec::new();
    for source in rust() {
        for (word, name) in source.text.lines().filter_map(declared) {
            let is_empty = EMPTY_NAMES.iter().any(|empty| name.ends_with(empty)) || ["util", "utils"].contains(&name);
            if is_empty || word == "fn" && name.starts_with("get_") {
                breaches.push(format!("{}: {word} {name}", source.path));
            }
        }
    }
    check("a name that says nothing", breaches);
}

/// Associated types are left out: traits give them their names.
#[test]
fn a_type_has_a_name_of_its_own() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for source in rust() {
        for line in source.text.lines() {
            let is_type = |word: &str| ["struct", "enum", "union", "trait"].contains(&word);
            match declared(line) {
                Some((word, name)) if is_type(word) || word == "type" && !line.starts_with(' ') => {
                    places.entry(name.to_owned()).or_default().push(source.path.clone());
                }
                _ => {}
            }
        }
    }
    places.retain(|name, places| places.len() > 1 && !SAME_MEANING.iter().any(|(same, _)| same == name));
    let breaches = places.into_iter().map(|(name, places)| format!("{name}: {}", places.join(", ")));
    check("a name of several types; rename all but one", breaches.collect());
}

#[test]
fn a_declaration_is_found_whatever_stands_before_it() {
    for (line, found) in [
        ("struct A;", Some(("struct", "A"))),
        ("pub(in crate::http) enum Topic {", Some(("enum", "Topic"))),
        ("    pub(super) type Pair<T> = (T, T);", Some(("type", "Pair"))),
        ("pub async fn status(", Some(("fn", "status"))),
        ("// struct A", None),
        ("let struct_a = 1;", None),
    ] {
        assert_eq!(declared(line), found, "{line}");
    }
}
