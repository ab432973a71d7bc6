//! From the text of a pipeline file to a [`Pipeline`], or to all of its mistakes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::definition::{self, Definition};
use super::names::{LEAST_MEMORY, NOBODY, Names, parse, parse_all};
use super::order::{Upstream, order};
use super::place::Mistake;
use super::{Class, Module, Pipeline, module, publishes, tolerance, trigger};
use crate::id::{ClassName, ModuleIndex, ModuleName, ProductName};
use crate::product::{Column, DataModel, Origin, ProductModel};

/// CPUs that a container may have: Docker takes no fewer.
const CPUS: std::ops::RangeInclusive<f64> = 0.01..=1024.0;

/// Most modules that a pipeline may have: a position in a row is one byte.
const MOST_MODULES: usize = 255;

/// Everything that is wrong with a pipeline file, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    /// The file, as the caller calls it.
    pub file: String,
    /// Each with its place.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.mistakes.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            match mistake.place {
                Some(place) => write!(f, "{newline}{}:{place}: {}", self.file, mistake.message)?,
                None => write!(f, "{newline}{}: {}", self.file, mistake.message)?,
            }
        }
        Ok(())
    }
}

/// The name of the data model file that a definition names, to be found beside it.
pub fn data_model_name(text: &str) -> Option<String> {
    Definition::read(text, &mut Vec::new())?.0.data_model
}

/// Reads and checks a definition. `file` is how messages call it, `data_model` the text of the file that it names.
pub fn load(file: &str, text: &str, data_model: Option<&str>) -> Result<Pipeline, Mistakes> {
    load_after(file, text, data_model, None)
}

/// The same of a definition that is only compared with the one before: modules and conditions may still read products and columns
/// that were there then.
pub fn load_after(
    file: &str,
    text: &str,
    data_model: Option<&str>,
    before: Option<&Pipeline>,
) -> Result<Pipeline, Mistakes> {
    let mut mistakes = Vec::new();
    let Some((definition, places)) = Definition::read(text, &mut mistakes) else {
        return Err(Mistakes { file: file.to_owned(), mistakes });
    };
    // Who checks further is told what was wrong so far: of what could not be read nothing is missed.
    let mut found: Vec<String> = mistakes.iter().map(|mistake| mistake.message.clone()).collect();
    let of_shape = found.len();
    let pipeline = check(definition, (text, data_model), before, &mut found);
    mistakes.extend(found.drain(of_shape..).map(|message| places.locate(message)));
    match pipeline {
        Some(pipeline) if mistakes.is_empty() => Ok(pipeline),
        _ => Err(Mistakes { file: file.to_owned(), mistakes }),
    }
}

fn check(
    definition: Definition,
    (text, data_model): (&str, Option<&str>),
    before: Option<&Pipeline>,
    mistakes: &mut Vec<String>,
) -> Option<Pipeline> {
    let name = definition.name.as_deref().and_then(|name| parse(name, "name", mistakes));
    let expression = definition.trigger.as_ref().and_then(|raw| trigger::read(raw, mistakes));
    let version = definition.version.as_deref().and_then(|version| check_version(version, mistakes));
    for (field, is_there) in [
        ("name", definition.name.is_some()),
        ("version", definition.version.is_some()),
        ("trigger", definition.trigger.is_some()),
    ] {
        if !is_there && !mistakes.iter().any(|mistake| mistake.starts_with(&format!("{field}:"))) {
            mistakes.push(format!("{field}: is missing"));
        }
    }
    let modules = named_modules(&definition, mistakes);
    let model = read_model(&definition, data_model, mistakes);
    let mut names = names(&definition, &modules, model, mistakes);
    let model = names.model.clone();
    if let Some(before) = before {
        names.vanished = vanished(&names, &before.origins());
        forget_changed(&mut names.model, &before.model);
    }
    let trigger = trigger::complete(expression, definition.trigger.as_ref(), &names, mistakes);
    let publishes = definition.publishes.as_ref().and_then(|raw| publishes::check(raw, &names, mistakes));
    let tolerances = tolerance::check(&definition.tolerances, &names, mistakes);
    // It makes no generation, so that there is none of the quarter before.
    let star_file = definition.star_file.unwrap_or(true);
    // Positions follow from the edges, and edges from conditions that name positions: once by name, once in order.
    let drafts = module::check_all(&modules, &names, mistakes);
    let order = in_order(&drafts, &names.order, mistakes);
    if !star_file {
        let previous = drafts.iter().filter(|module| module.sources().any(|source| source.origin == Origin::Previous));
        mistakes.extend(previous.map(|module| {
            format!(
                "module {}: reads what a quarter before made, of which there is no star file with `star_file = false`",
                module.name
            )
        }));
    }
    let looks_back = drafts.iter().any(|module| module.sources().any(|source| source.origin == Origin::Previous));
    if definition.previous.is_some() && !looks_back && mistakes.is_empty() {
        mistakes.push("previous: no module reads what a quarter before made, as `X@previous`".to_owned());
    }
    if !mistakes.is_empty() {
        return None;
    }
    names.order = positions(order);
    let mut modules = module::check_all(&modules, &names, mistakes);
    modules.sort_by_key(|module| names.order.get(&module.name).copied());
    Some(Pipeline {
        name: name?,
        version: version?,
        trigger: trigger?,
        strict_units: definition.strict_units,
        star_file,
        previous: definition.previous,
        publishes,
        tolerances,
        params: names.params,
        star_externals: names.star,
        shared_externals: names.shared,
        aliases: names.aliases,
        classes: names.classes,
        modules,
        model,
        definition: text.to_owned(),
        data_model: data_model.unwrap_or_default().to_owned(),
    })
}

fn check_version(version: &str, mistakes: &mut Vec<String>) -> Option<String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if (1..=64).contains(&version.len()) && version.chars().all(is_good) {
        return Some(version.to_owned());
    }
    mistakes.push(format!("version: {version:?} is not valid: expected 1 to 64 letters, digits, `.`, `_`, `+` or `-`"));
    None
}

fn named_modules<'a>(
    definition: &'a Definition,
    mistakes: &mut Vec<String>,
) -> BTreeMap<ModuleName, &'a definition::RawModule> {
    if definition.modules.is_empty() && !mistakes.iter().any(|mistake| mistake.starts_with("module")) {
        mistakes.push("modules: the pipeline has none, expected at least one `[modules.NAME]`".to_owned());
    }
    if definition.modules.len() > MOST_MODULES {
        mistakes.push(format!("modules: {} are too many, at most {MOST_MODULES}", definition.modules.len()));
    }
    let parsed = definition.modules.iter().take(MOST_MODULES);
    parsed.filter_map(|(name, module)| Some((parse(name, "modules", mistakes)?, module))).collect()
}

fn read_model(definition: &Definition, text: Option<&str>, mistakes: &mut Vec<String>) -> DataModel {
    match (&definition.data_model, text) {
        (Some(name), Some(text)) if !text.is_empty() => {
            let mut found = Vec::new();
            let model = DataModel::read(text, &mut found);
            mistakes.extend(found.into_iter().map(|mistake| format!("data_model: `{name}`: {mistake}")));
            model
        }
        (Some(name), None) => {
            mistakes.push(format!("data_model: `{name}` is not beside the pipeline file"));
            DataModel::default()
        }
        (Some(_), Some(_)) | (None, _) => DataModel::default(),
    }
}

fn names(
    definition: &Definition,
    modules: &BTreeMap<ModuleName, &definition::RawModule>,
    model: DataModel,
    mistakes: &mut Vec<String>,
) -> Names {
    let star: BTreeSet<ProductName> = parse_all(&definition.externals.star, "externals.star", mistakes);
    let shared: BTreeSet<ProductName> = parse_all(&definition.externals.shared, "externals.shared", mistakes);
    for product in star.intersection(&shared) {
        mistakes.push(format!("externals: product `{product}` is in both `star` and `shared`"));
    }
    let mut names = Names {
        order: positions(modules.keys().cloned()),
        producers: BTreeMap::new(),
        star,
        shared,
        disabled: modules.iter().filter(|(_, module)| !module.enabled).map(|(name, _)| name.clone()).collect(),
        classes: classes(definition, mistakes),
        params: definition.params.clone(),
        model: DataModel::default(),
        aliases: BTreeMap::new(),
        orphans: BTreeSet::new(),
        vanished: BTreeMap::new(),
    };
    let nameless = definition.modules.iter().filter(|(name, _)| name.parse::<ModuleName>().is_err());
    names.orphans =
        nameless.flat_map(|(_, module)| module.outputs.names()).filter_map(|name| name.parse().ok()).collect();
    let aliases = aliases(definition, mistakes);
    for (name, module) in modules {
        for product in module.outputs.names() {
            let Ok(product) = product.parse::<ProductName>() else { continue };
            let product = aliases.get(&product).cloned().unwrap_or(product);
            if names.star.contains(&product) || names.shared.contains(&product) {
                mistakes.push(format!("module {name}: outputs: product `{product}` is an external, it cannot be made"));
                continue;
            }
            match names.producers.get(&product) {
                Some(other) if other != name => {
                    mistakes.push(format!("module {name}: outputs: product `{product}` is made by {other} already"));
                }
                Some(_) => mistakes.push(format!("module {name}: outputs: product `{product}` is declared twice")),
                None => drop(names.producers.insert(product, name.clone())),
            }
        }
    }
    for (alias, product) in &aliases {
        if names.origin(product).is_none() {
            mistakes.push(format!("aliases: `{alias}` stands for `{product}`, which is neither made nor an external"));
        }
        if names.origin(alias).is_some() {
            mistakes.push(format!("aliases: `{alias}` is a product itself, it cannot stand for `{product}`"));
        }
    }
    names.model = under_their_names(model, &aliases);
    names.aliases = aliases;
    names
}

/// What there was before, and nobody makes or delivers now.
fn vanished(names: &Names, before: &BTreeMap<ProductName, Origin>) -> BTreeMap<ProductName, Origin> {
    let origin = |origin: Origin| match origin {
        Origin::Module(_) => Origin::Module(NOBODY),
        Origin::StarExternal | Origin::SharedExternal | Origin::Previous => origin,
    };
    let gone = before.iter().filter(|(product, _)| names.origin(product).is_none());
    gone.map(|(product, was)| (product.clone(), origin(*was))).collect()
}

/// Leaves out products that lost a column since, or have one of another kind or shape: of what the data model does not know,
/// conditions may read any column.
fn forget_changed(model: &mut DataModel, before: &DataModel) {
    let is_kept = |now: &ProductModel, (column, was): (&String, &Column)| {
        now.columns.get(column).is_some_and(|now| (now.kind, now.ndim) == (was.kind, was.ndim))
    };
    model.products.retain(|product, now| {
        let was = before.products.get(product);
        was.is_none_or(|was| was.columns.iter().all(|column| is_kept(now, column)))
    });
}

fn positions(names: impl IntoIterator<Item = ModuleName>) -> BTreeMap<ModuleName, ModuleIndex> {
    names.into_iter().zip((0..=u8::MAX).map(ModuleIndex)).collect()
}

/// The data model with every product under the name that counts; an entry under that name comes before one under an alias.
fn under_their_names(mut model: DataModel, aliases: &BTreeMap<ProductName, ProductName>) -> DataModel {
    for (alias, product) in aliases {
        if let Some(columns) = model.products.remove(alias) {
            model.products.entry(product.clone()).or_insert(columns);
        }
    }
    model
}

fn classes(definition: &Definition, mistakes: &mut Vec<String>) -> BTreeMap<ClassName, Class> {
    let mut classes = BTreeMap::new();
    for (name, class) in &definition.classes {
        if !CPUS.contains(&class.cpus) {
            mistakes.push(format!(
                "class {name}: cpus: {:?} is not from {:?} to {:?}",
                class.cpus,
                CPUS.start(),
                CPUS.end()
            ));
        }
        if class.memory < LEAST_MEMORY {
            let least = bytesize::ByteSize(LEAST_MEMORY);
            mistakes.push(format!("class {name}: memory: is less than {least}, in which no container starts"));
        }
        let class = Class { cpus: class.cpus, memory: class.memory };
        classes.extend(parse(name, "classes", mistakes).map(|name: ClassName| (name, class)));
    }
    if let Ok(default) = "default".parse() {
        classes.entry(default).or_insert(Class { cpus: 1.0, memory: 1_000_000_000 });
    }
    classes
}

fn aliases(definition: &Definition, mistakes: &mut Vec<String>) -> BTreeMap<ProductName, ProductName> {
    let parsed = definition.aliases.iter().map(|(alias, product)| {
        let alias: Option<ProductName> = parse(alias, "aliases", mistakes);
        alias.zip(parse(product, "aliases", mistakes))
    });
    parsed.flatten().collect()
}

/// The modules in order; circles go to the mistakes.
fn in_order(
    drafts: &[Module],
    positions: &BTreeMap<ModuleName, ModuleIndex>,
    mistakes: &mut Vec<String>,
) -> Vec<ModuleName> {
    let at: BTreeMap<ModuleIndex, &ModuleName> = positions.iter().map(|(name, at)| (*at, name)).collect();
    let is_draft = |name: &ModuleName| drafts.iter().any(|module| module.name == *name);
    let names = |module: &Module| {
        module.upstream.iter().filter_map(|up| at.get(up)).filter(|up| is_draft(up)).map(|up| (*up).clone()).collect()
    };
    let upstream: Upstream = drafts.iter().map(|module| (module.name.clone(), names(module))).collect();
    order(&upstream).unwrap_or_else(|circles| {
        for circle in circles {
            let next = circle.iter().cycle().skip(1);
            let links: Vec<String> =
                circle.iter().zip(next).map(|(name, up)| link(drafts, positions, name, up)).collect();
            mistakes.push(match circle.as_slice() {
                [alone] => format!("module {alone}: depends on itself: {}", links.join(", ")),
                _ => format!("modules: depend on each other in a circle: {}", links.join(", ")),
            });
        }
        Vec::new()
    })
}

/// Why a module waits for another one, in words.
fn link(
    drafts: &[Module],
    positions: &BTreeMap<ModuleName, ModuleIndex>,
    name: &ModuleName,
    upstream: &ModuleName,
) -> String {
    let module = drafts.iter().find(|module| module.name == *name);
    let wanted = positions.get(upstream).copied();
    let product = module.and_then(|module| {
        module.sources().find(|source| source.producer().is_some_and(|producer| Some(producer) == wanted))
    });
    match product {
        Some(source) => format!("{name} needs `{source}` of {upstream}"),
        None => format!("{name} is after {upstream}"),
    }
}
