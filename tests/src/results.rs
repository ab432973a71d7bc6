//! Figures beside what they must reach: as a table, and in `target/bench/results.json` beside those of other benchmarks.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a figure must reach.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Nothing: it is there to be compared.
    None,
    /// At least this.
    Least(f64),
    /// At most this.
    Most(f64),
}

/// One figure of several rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// The median.
    value: f64,
    unit: String,
    limit: Limit,
    /// The median as a multiple of the limit.
    ratio: Option<f64>,
    /// Least and most of all rounds.
    spread: [f64; 2],
    /// When: the file keeps what other benchmarks wrote before.
    measured: Timestamp,
}

/// All figures by name.
pub struct Results {
    file: PathBuf,
    all: BTreeMap<String, Figure>,
    /// Names of those that were added.
    added: Vec<&'static str>,
}

impl Figure {
    /// The figure that these rounds came to.
    pub fn new(unit: &str, mut rounds: Vec<f64>, limit: Limit) -> Self {
        rounds.sort_by(f64::total_cmp);
        let value = median(&rounds);
        let ratio = match limit {
            Limit::None => None,
            Limit::Least(limit) | Limit::Most(limit) => Some(value / limit),
        };
        let spread = [rounds.first().copied().unwrap_or(value), rounds.last().copied().unwrap_or(value)];
        Self { value, unit: unit.to_owned(), limit, ratio, spread, measured: Timestamp::now() }
    }
}

/// Of values in order; of an even number of them what lies between the middle two.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle)) {
        (_, None) => f64::NAN,
        (0, Some(upper)) => f64::midpoint(sorted[middle - 1], *upper),
        (_, Some(value)) => *value,
    }
}

impl Results {
    /// What other benchmarks wrote before.
    pub fn read() -> Result<Self> {
        let here = std::env::current_exe()?;
        let target = here.ancestors().nth(3).context("benchmarks lie in <target>/<profile>/deps")?;
        let file = target.join("bench/results.json");
        let all = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Ok(Self { file, all, added: Vec::new() })
    }

    /// Adds a figure, in place of an older one of this name.
    pub fn add(&mut self, name: &'static str, figure: Figure) {
        self.all.insert(name.to_owned(), figure);
        self.added.push(name);
    }

    /// Writes them where the next benchmark reads them.
    pub fn write(&self) -> Result<()> {
        fs::create_dir_all(self.file.parent().unwrap_or(Path::new(".")))?;
        Ok(fs::write(&self.file, serde_json::to_vec_pretty(&self.all)?)?)
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| name | median | least to most | must be |\n|---|---|---|---|")?;
        for name in &self.added {
            let Figure { value, unit, limit, spread: [least, most], .. } = &self.all[*name];
            let limit = match limit {
                Limit::None => String::new(),
                Limit::Least(limit) => format!("{limit} or more"),
                Limit::Most(limit) => format!("{limit} or less"),
            };
            let places = if *value < 10.0 { 2 } else { 0 };
            writeln!(f, "| `{name}` | {value:.places$} {unit} | {least:.places$} to {most:.places$} | {limit} |")?;
        }
        Ok(())
    }
}
