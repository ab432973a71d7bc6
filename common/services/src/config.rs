//! Configuration: one TOML file that all programs may share, and the environment on top of it. Read once, in `main`.
//!
//! A key of a program's own sections that it does not know is an error that names it; what else is odd in the file is a warning
//! ([`ConfigFile::strange_sections`]), for a slip in one program's section is no reason to stop another. `SAS_<SECTION>_<KEY>` sets `[section] key`, so `SAS_QUEUE_URL`
//! sets `url` of `[queue]`; variables of other programs' sections are left alone. Durations are written `"90s"`, sizes `"8GB"`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat, Map, Value};
use domain::text::did_you_mean;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::queue::amqp::AmqpConfig;
use crate::state::redis::RedisConfig;

/// Every section that some program reads; a shared file may hold them all.
pub const SECTIONS: &[&str] =
    &["store", "queue", "state", "log", "worker", "slots", "docker", "coordinator", "http", "cli", "traces"];

/// What the environment's variables start with.
const PREFIX: &str = "SAS_";

/// Why there is no configuration. The message names file or variable, key, and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("failed to read configuration `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("configuration `{}` is not TOML: {reason}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line and mistake.
        reason: String,
    },
    /// A key is unknown, missing, or has a value that it cannot have.
    #[error("configuration{from}: {reason}")]
    Invalid {
        /// Where it came from, as far as known.
        from: String,
        /// Key and mistake.
        reason: String,
    },
}

/// Where the store is (`[store]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Its root directory; the same path on every host and in every container.
    pub root: PathBuf,
    /// How many of the newest generations of a star and quarter `sas store gc` leaves, besides those that something refers to.
    #[serde(default)]
    pub keep_generations: Option<NonZeroU32>,
}

/// How the program logs (`[log]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// One line a record for people, or JSON for collectors.
    pub format: LogFormat,
    /// What is logged, in the syntax of `RUST_LOG`, which wins over it.
    pub filter: String,
}

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Human,
    /// A JSON object a line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Human, filter: "info".to_owned() }
    }
}

/// `[queue]` where the file has none: RabbitMQ as Debian installs it.
pub fn local_queue() -> AmqpConfig {
    AmqpConfig::at("amqp://guest:guest@127.0.0.1:5672/%2f")
}

/// `[state]` where the file has none: Redis as Debian installs it.
pub fn local_state() -> RedisConfig {
    RedisConfig { url: Address::new("redis://127.0.0.1:6379/0") }
}

/// The variables of this process, with the store that the command line names in place of another.
pub fn environment(store: Option<String>) -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .chain(store.map(|root| ("SAS_STORE_ROOT".to_owned(), root)))
}

/// A file of settings, or none. Read once, for it may be a pipe.
#[derive(Debug, Default)]
pub struct ConfigFile {
    path: Option<PathBuf>,
    tables: Map<String, Value>,
}

impl ConfigFile {
    /// Reads the file, if one is given.
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        Ok(Self { path: Some(path.to_owned()), tables: read(path)? })
    }

    /// A program's configuration, with `environment` on top of the file. `sections` are those that `T` has; all others are
    /// left alone.
    pub fn load<T: DeserializeOwned>(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
        sections: &[&str],
    ) -> Result<T, ConfigError> {
        let mut tables = self.tables.clone();
        tables.retain(|section, _| sections.contains(&section.as_str()));
        let variables = from_environment(environment, sections);
        let invalid = |error: config::ConfigError| ConfigError::Invalid {
            from: match &self.path {
                Some(path) if variables.is_empty() => format!(" `{}`", path.display()),
                Some(path) => format!(" `{}` and the environment", path.display()),
                None => " from the environment".to_owned(),
            },
            reason: without_values(&error.to_string()),
        };
        let mut builder = Config::builder().add_source(Tables(tables));
        for ((section, key), text) in &variables {
            // Texts of the environment are numbers and truths where the field is one: the crate converts them.
            builder = builder.set_override(format!("{section}.{key}"), text.as_str()).map_err(invalid)?;
        }
        builder.build().and_then(Config::try_deserialize).map_err(invalid)
    }

    /// Sections that no program reads, each as a warning that says what may have been meant.
    pub fn strange_sections(&self) -> Vec<String> {
        let Some(path) = &self.path else { return Vec::new() };
        let sections = self.tables.keys();
        let mut strange: Vec<&String> = sections.filter(|section| !SECTIONS.contains(&section.as_str())).collect();
        strange.sort();
        let warn = |section: &String| {
            let meant = did_you_mean(section, SECTIONS.iter().copied());
            format!("configuration `{}`: no program reads `{section}`{meant}", path.display())
        };
        strange.into_iter().map(warn).collect()
    }
}

/// What is wrong, without the texts that are: they may be passwords in a wrong place.
fn without_values(reason: &str) -> String {
    let (mut said, mut rest) = (String::new(), reason);
    while let Some((before, quoted)) = rest.split_once("string \"") {
        let mut is_escaped = false;
        let end = quoted.find(|c| {
            let ends = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            ends
        });
        said.push_str(before);
        said.push_str("a text");
        rest = end.map_or("", |end| &quoted[end + 1..]);
    }
    said + rest
}

fn read(path: &Path) -> Result<Map<String, Value>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    // The words of the crate quote the line, and with it passwords.
    if let Err(error) = toml::from_str::<toml::Table>(&text) {
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
        let (line, start) = (before.matches('\n').count() + 1, before.rfind('\n').map_or(0, |at| at + 1));
        let column = before[start..].chars().count() + 1;
        let reason = format!("line {line}, column {column}: {}", error.message());
        return Err(ConfigError::Syntax { path: path.to_owned(), reason });
    }
    let syntax = |error: config::ConfigError| ConfigError::Syntax { path: path.to_owned(), reason: error.to_string() };
    let parsed = Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build().map_err(syntax)?;
    parsed.cache.into_table().map_err(syntax)
}

/// Variables of these sections, by section and key.
fn from_environment(
    environment: impl IntoIterator<Item = (String, String)>,
    sections: &[&str],
) -> BTreeMap<(String, String), String> {
    let split = |(name, value): (String, String)| {
        let (section, key) = name.strip_prefix(PREFIX)?.split_once('_')?;
        let (section, key) = (section.to_lowercase(), key.to_lowercase());
        (sections.contains(&section.as_str()) && !key.is_empty()).then_some(((section, key), value))
    };
    environment.into_iter().filter_map(split).collect()
}

/// Parsed tables as a source.
#[derive(Debug, Clone)]
struct Tables(Map<String, Value>);

impl config::Source for Tables {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytesize::ByteSize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        store: StoreConfig,
        #[serde(default = "local_queue")]
        queue: AmqpConfig,
        #[serde(default)]
        log: LogConfig,
        #[serde(default)]
        worker: Part,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Part {
        #[serde(with = "humantime_serde")]
        lease_time: Duration,
        tmp: ByteSize,
        count: u32,
    }

    const PARTS: &[&str] = &["store", "queue", "log", "worker"];

    fn check(text: &str, environment: &[(&str, &str)]) -> Result<Sample, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let read = ConfigFile::read(Some(file.path()));
        read.and_then(|file| file.load(environment, PARTS)).map_err(|error| error.to_string())
    }

    #[test]
    fn durations_and_sizes_have_units_and_the_environment_wins() {
        let text = "[store]\nroot = '/s'\n[worker]\nlease_time = '60s'\ntmp = '8GB'\ncount = 3";
        let sample = check(text, &[("SAS_WORKER_COUNT", "4"), ("SAS_WORKER_LEASE_TIME", "2min")]).unwrap();
        assert_eq!(sample.worker, Part { lease_time: Duration::from_secs(120), tmp: ByteSize::gb(8), count: 4 });
        assert_eq!(sample.queue, local_queue());
    }

    #[test]
    fn an_unknown_key_is_named() {
        for (text, environment, word) in [
            ("[store]\nroot = '/s'\n[worker]\nlaese_time = '60s'", &[][..], "laese_time"),
            ("[store]\nroot = '/s'", &[("SAS_WORKER_CUONT", "4")], "cuont"),
            ("[store]\nroot = '/s'\n[log]\nformat = 'xml'", &[], "log.format"),
            ("[store]\nroot = '/s'\n[worker]\ncount = 'many'", &[], "worker.count"),
            ("[store]\nroot = '/s'\n[worker]\nlease_time = '60'", &[], "worker.lease_time"),
            ("", &[], "store"),
            ("[store", &[], "TOML: line 1, column 7"),
        ] {
            let error = check(text, environment).unwrap_err();
            assert!(error.contains(word), "{error:?} does not name {word}");
        }
    }

    #[test]
    fn what_is_in_the_wrong_place_is_not_repeated() {
        for text in [
            "queue = 'amqp://op:S3cret@h'\n[store]\nroot = '/s'",
            "[store]\nroot = '/s'\n[worker]\nlease_time = 'S3cret'",
            "[store]\nroot = '/s'\n[worker]\ncount = 'a \"S3cret\" one'",
            "[store]\nroot = '/s'\n[worker]\ntmp = 'S3cret'",
        ] {
            let error = check(text, &[]).unwrap_err();
            assert!(!error.contains("S3cret"), "{error}");
        }
    }

    #[test]
    fn sections_and_variables_of_other_programs_are_left_alone() {
        let text = "[store]\nroot = '/s'\n[coordinator]\nmax = 1";
        let sample = check(text, &[("SAS_COORDINATOR_MAX", "4"), ("SAS_REFERENCE_IMAGE", "x")]).unwrap();
        assert_eq!(sample.store.root, Path::new("/s"));
    }

    #[test]
    fn a_section_that_no_program_reads_stops_nothing_and_is_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[store]\nroot = '/s'\n[wroker]\ncount = 1\n[http]\n").unwrap();
        let file = ConfigFile::read(Some(file.path())).unwrap();
        file.load::<Sample>([], PARTS).unwrap();
        let strange = file.strange_sections();
        assert!(strange.len() == 1 && strange[0].ends_with("`wroker`; did you mean worker?"), "{strange:?}");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_what_it_holds() {
        let error = check("[store]\nroot = '/s'\n[queue]\nurl = \"amqp://op:S3cret@h\n", &[]).unwrap_err();
        assert!(error.contains("line 4") && !error.contains("S3cret"), "{error}");
    }
}
