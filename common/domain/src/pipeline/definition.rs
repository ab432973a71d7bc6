//! A pipeline file as it is written: the shape of the TOML, before anything is checked.
//!
//! Every field is read on its own, so that a mistake in one hides no other. What is missing has its default here; whether
//! it may be missing is asked where the rest is checked.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;
use serde::de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer};
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::place::{Mistake, Place, Places};
use super::{Mode, PreviousPolicy, PublishTime};
use crate::product::Tolerance;

/// The whole file but for its modules.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Definition {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) data_model: Option<String>,
    pub(super) trigger: Option<RawTrigger>,
    pub(super) strict_units: bool,
    pub(super) star_file: Option<bool>,
    pub(super) previous: Option<PreviousPolicy>,
    pub(super) publishes: Option<RawPublishes>,
    pub(super) params: BTreeMap<String, Value>,
    pub(super) externals: Externals,
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) classes: BTreeMap<String, RawClass>,
    pub(super) tolerances: BTreeMap<String, Tolerance>,
    /// By name.
    #[serde(skip)]
    pub(super) modules: BTreeMap<String, RawModule>,
}

/// `trigger`: an expression alone, or a table with more to say.
#[derive(Debug, Default)]
pub(super) struct RawTrigger {
    pub(super) on: String,
    pub(super) only_if: BTreeMap<String, String>,
    pub(super) deadline: Option<Duration>,
    pub(super) debounce: Option<Duration>,
    pub(super) is_table: bool,
}

impl<'de> Deserialize<'de> for RawTrigger {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TriggerShape)
    }
}

/// Takes either shape of a trigger.
struct TriggerShape;

impl<'de> Visitor<'de> for TriggerShape {
    type Value = RawTrigger;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a dataset, an expression over datasets or a table with `on`")
    }

    fn visit_str<E>(self, on: &str) -> Result<RawTrigger, E> {
        Ok(RawTrigger { on: on.to_owned(), ..RawTrigger::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawTrigger, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct TriggerTable {
            on: String,
            #[serde(default)]
            only_if: BTreeMap<String, String>,
            #[serde(default, with = "humantime_serde")]
            deadline: Option<Duration>,
            #[serde(default, with = "humantime_serde")]
            debounce: Option<Duration>,
        }
        let TriggerTable { on, only_if, deadline, debounce } =
            Deserialize::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RawTrigger { on, only_if, deadline, debounce, is_table: true })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPublishes {
    pub(super) dataset: String,
    #[serde(default)]
    pub(super) when: PublishTime,
    #[serde(default)]
    pub(super) products: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Externals {
    pub(super) star: Vec<String>,
    pub(super) shared: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClass {
    pub(super) cpus: f64,
    #[serde(deserialize_with = "size")]
    pub(super) memory: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawModule {
    pub(super) group: String,
    pub(super) doc: String,
    pub(super) image: String,
    pub(super) command: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) parameters: BTreeMap<String, Value>,
    pub(super) class: String,
    #[serde(deserialize_with = "some_size")]
    pub(super) memory: Option<u64>,
    #[serde(with = "humantime_serde")]
    pub(super) time_limit: Duration,
    pub(super) mode: Mode,
    pub(super) enabled: bool,
    pub(super) run_if: Option<String>,
    pub(super) after: Vec<String>,
    pub(super) trigger_rule: String,
    pub(super) retry: RawRetry,
    pub(super) inputs: RawInputs,
    pub(super) outputs: RawOutputs,
}

impl Default for RawModule {
    fn default() -> Self {
        Self {
            group: String::new(),
            doc: String::new(),
            image: String::new(),
            command: Vec::new(),
            environment: BTreeMap::new(),
            parameters: BTreeMap::new(),
            class: "default".to_owned(),
            memory: None,
            time_limit: Duration::from_secs(3600),
            mode: Mode::Oneshot,
            enabled: true,
            run_if: None,
            after: Vec::new(),
            trigger_rule: "contract".to_owned(),
            retry: RawRetry::default(),
            inputs: RawInputs::default(),
            outputs: RawOutputs::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRetry {
    pub(super) max_attempts: u32,
    #[serde(with = "humantime_serde")]
    pub(super) backoff: Duration,
    pub(super) retry_on: Vec<i64>,
}

impl Default for RawRetry {
    fn default() -> Self {
        Self { max_attempts: 3, backoff: Duration::from_secs(30), retry_on: Vec::new() }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawInputs {
    pub(super) mandatory: Vec<String>,
    pub(super) optional: Vec<String>,
    pub(super) one_of: Vec<Vec<String>>,
    pub(super) conditional: Vec<Conditional>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawOutputs {
    pub(super) mandatory: Vec<String>,
    pub(super) optional: Vec<String>,
    pub(super) nullable: Vec<String>,
    pub(super) conditional: Vec<Conditional>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Conditional {
    pub(super) product: String,
    pub(super) when: String,
}

impl RawOutputs {
    /// All products that it declares.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let lists = self.mandatory.iter().chain(&self.optional).chain(&self.nullable).map(String::as_str);
        lists.chain(self.conditional.iter().map(|output| output.product.as_str()))
    }
}

impl Definition {
    /// Reads a definition, and where everything in it is; `None` when it is not TOML. What has a wrong shape goes to the
    /// mistakes and is left out.
    pub(super) fn read<'a>(text: &'a str, mistakes: &mut Vec<Mistake>) -> Option<(Self, Places<'a>)> {
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            mistakes.extend(errors.iter().map(|error| syntax(text, error)));
            return None;
        }
        let mut table = document.into_inner();
        let places = Places::of(text, &table);
        let modules = table.remove("modules");
        let mut reader = Reader { text, mistakes };
        let sections = ["params", "externals", "aliases", "classes", "tolerances"];
        let mut definition: Self = reader.fields(String::new(), table, &sections);
        definition.modules = modules.map(|modules| reader.modules(modules)).unwrap_or_default();
        Some((definition, places))
    }
}

/// Reads tables field by field, so that a mistake in one hides no other.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) mistakes: &'a mut Vec<Mistake>,
}

impl Reader<'_> {
    fn modules(&mut self, modules: Spanned<DeValue<'_>>) -> BTreeMap<String, RawModule> {
        let mut read = BTreeMap::new();
        let at = modules.span().start;
        let DeValue::Table(modules) = modules.into_inner() else {
            self.wrong(at, "modules: expected tables `[modules.NAME]`".to_owned());
            return read;
        };
        for (name, module) in modules {
            let at = name.span().start;
            let name = name.into_inner().into_owned();
            let DeValue::Table(fields) = module.into_inner() else {
                self.wrong(at, format!("module {name}: expected a table `[modules.{name}]`"));
                continue;
            };
            let sections = ["environment", "parameters", "retry", "inputs", "outputs"];
            let module = self.fields(format!("module {name}: "), fields, &sections);
            read.insert(name, module);
        }
        read
    }

    /// Reads a table field by field, `sections` entry by entry, and leaves out what has a wrong shape.
    pub(super) fn fields<T: DeserializeOwned + Default>(
        &mut self,
        prefix: String,
        table: DeTable<'_>,
        sections: &[&str],
    ) -> T {
        let mut good = DeTable::new();
        for (name, value) in table {
            let field = format!("{prefix}{}", name.get_ref());
            let is_section = sections.contains(&name.get_ref().as_ref());
            if let (true, DeValue::Table(entries)) = (is_section, value.get_ref()) {
                let section = |entries| Spanned::new(value.span(), DeValue::Table(entries));
                let mut fitting = DeTable::new();
                for (entry, value) in entries {
                    let field = format!("{field}.{}", entry.get_ref());
                    let alone = section(DeTable::from_iter([(entry.clone(), value.clone())]));
                    if self.fits::<T>(&field, value, DeTable::from_iter([(name.clone(), alone)])) {
                        fitting.insert(entry.clone(), value.clone());
                    }
                }
                good.insert(name, section(fitting));
            } else if is_section {
                // Serde would take a list for the fields in their order.
                self.wrong(value.span().start, format!("{field}: expected a table"));
            } else if self.fits::<T>(&field, &value, DeTable::from_iter([(name.clone(), value.clone())])) {
                good.insert(name, value);
            }
        }
        T::deserialize(Deserializer::from(Spanned::new(0..self.text.len(), good))).unwrap_or_default()
    }

    /// Whether a table that holds one field alone can be read.
    fn fits<T: DeserializeOwned>(&mut self, field: &str, value: &Spanned<DeValue<'_>>, alone: DeTable<'_>) -> bool {
        if let Some(strange) = not_json(value.get_ref()) {
            self.wrong(value.span().start, format!("{field}: {strange}"));
            return false;
        }
        match T::deserialize(Deserializer::from(Spanned::new(value.span(), alone))) {
            Ok(_) => true,
            Err(error) => {
                let at = error.span().unwrap_or(value.span()).start;
                self.wrong(at, format!("{field}: {}", one_line(error.message())));
                false
            }
        }
    }

    pub(super) fn wrong(&mut self, at: usize, message: String) {
        self.mistakes.push(Mistake { place: Some(Place::of(self.text, at)), message });
    }
}

/// Bytes, written with a unit.
fn size<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    let size: Result<ByteSize, String> = text.parse();
    size.map(|size| size.as_u64())
        .map_err(|_| serde::de::Error::custom(format!("{text:?} is no size, expected one like \"8GB\" or \"512MiB\"")))
}

fn some_size<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    size(from).map(Some)
}

/// What modules and conditions, which see JSON, cannot be given.
fn not_json(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Datetime(date) => Some(format!("{date} is a date, expected text")),
        DeValue::Float(number) if number.as_str().contains(['n', 'N']) => {
            Some(format!("{} is not allowed, expected a finite number", number.as_str()))
        }
        DeValue::Array(values) => values.iter().find_map(|value| not_json(value.get_ref())),
        DeValue::Table(values) => values.values().find_map(|value| not_json(value.get_ref())),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => None,
    }
}

/// What is no TOML.
pub(super) fn syntax(text: &str, error: &toml::de::Error) -> Mistake {
    Mistake { place: error.span().map(|span| Place::of(text, span.start)), message: one_line(error.message()) }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
