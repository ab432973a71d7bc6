//! `sas local --verify-serve`: every module that serves runs both ways, warm over all stars and alone for each, and what comes
//! of it is compared. A module that carries something from one star to the next is found so.
//!
//! Both ways have the same keys: how a module is run is not in them. So what is compared was made from equal inputs, whatever
//! went before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coordinator::operate::OperateError;
use coordinator::operate::compare::{ResultDifference, compare_results, two_store_reader};
use coordinator::operate::star::ColumnDifference;
use domain::id::{Key, ModuleName, ProductName, Quarter, StarId};
use domain::outcome::Outcome;
use domain::pipeline::{Mode, Pipeline};
use serde::Serialize;
use store::agent::Agent;
use store::{Store, paths};

use crate::command::star::{by, value};
use crate::output::{Format, Table, note, table};

/// The folders of the two stores.
pub(super) const WAYS: [&str; 2] = ["serve", "oneshot"];

/// What came of both ways.
#[derive(Debug, Serialize)]
pub(super) struct Verified {
    /// Results that both ways made from equal inputs.
    compared: usize,
    /// Results that only one way has, for what it was made from differs: a module before it is in `differences`.
    not_compared: usize,
    differences: Vec<ServeDifference>,
}

/// One thing in which serving differs from running alone.
#[derive(Debug, Serialize)]
struct ServeDifference {
    module: ModuleName,
    star: StarId,
    quarter: Quarter,
    /// The product; none where the attempt itself ended otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<ProductName>,
    /// The column; none where the product itself is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<ColumnDifference>,
    /// How both ways ended, where not by columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<[String; 2]>,
}

/// What the two stores say of a star in a quarter.
struct Pair<'a> {
    stores: &'a [Store; 2],
    star: StarId,
    quarter: Quarter,
}

/// How a module ended for a key.
enum WayEnd {
    Made(PathBuf),
    Failed(String),
}

/// The modules of a pipeline that serve, in its order.
pub(super) fn serving(pipeline: &Pipeline) -> Vec<ModuleName> {
    let serves = |mode| match mode {
        Mode::Serve => true,
        Mode::Oneshot => false,
    };
    let modules = pipeline.modules.iter().filter(|module| module.enabled && serves(module.mode));
    modules.map(|module| module.name.clone()).collect()
}

/// Compares what these modules made in two stores, the first of which is that of the sessions.
pub(super) async fn compare(stores: &[Store; 2], modules: &[ModuleName]) -> anyhow::Result<Verified> {
    let (mut agent, _scratch) = two_store_reader(stores)?;
    let mut verified = Verified { compared: 0, not_compared: 0, differences: Vec::new() };
    for module in modules {
        for (quarter, stars) in stores[1].known_stars()? {
            for star in stars {
                Pair { stores, star, quarter }.compare(module, &mut agent, &mut verified).await?;
            }
        }
    }
    Ok(verified)
}

impl Pair<'_> {
    async fn compare(&self, module: &ModuleName, agent: &mut Agent, verified: &mut Verified) -> anyhow::Result<()> {
        let [served, alone] = [self.ends(0, module)?, self.ends(1, module)?];
        for (key, served) in &served {
            match (served, alone.get(key)) {
                (WayEnd::Made(served), Some(WayEnd::Made(alone))) => {
                    verified.compared += 1;
                    let found = self.products(module, agent, [served, alone]).await?;
                    verified.differences.extend(found);
                }
                (WayEnd::Failed(served), Some(WayEnd::Failed(alone))) if served == alone => verified.compared += 1,
                (served, Some(alone)) => {
                    verified.compared += 1;
                    let ends = [served, alone].map(WayEnd::words);
                    verified.differences.push(self.difference(module, None, None, Some(ends)));
                }
                (WayEnd::Made(_) | WayEnd::Failed(_), None) => verified.not_compared += 1,
            }
        }
        // What the other way has and this one has not is counted there where both have something.
        let missing = alone.keys().filter(|key| !served.contains_key(*key)).count();
        if missing > 0 && served.is_empty() {
            verified.not_compared += missing;
        }
        Ok(())
    }

    /// How a module ended in one of the stores, by what it was made from.
    fn ends(&self, which: usize, module: &ModuleName) -> anyhow::Result<BTreeMap<Key, WayEnd>> {
        let store = &self.stores[which];
        let failures = store.failures(self.star, self.quarter)?;
        let failed = failures.into_iter().filter(|failure| failure.module == *module);
        let mut ends: BTreeMap<Key, WayEnd> =
            failed.filter_map(|failure| Some((failure.key?, WayEnd::Failed(reason(&failure.outcome))))).collect();
        let folder = store.at(paths::products(self.star, self.quarter));
        let Ok(entries) = folder.read_dir() else { return Ok(ends) };
        for entry in entries {
            let path = entry?.path();
            if let Some(key) = key_of(&path, module) {
                ends.insert(key, WayEnd::Made(path));
            }
        }
        Ok(ends)
    }

    /// In which products and columns two results differ.
    async fn products(
        &self,
        module: &ModuleName,
        agent: &mut Agent,
        [served, alone]: [&Path; 2],
    ) -> anyhow::Result<Vec<ServeDifference>> {
        let found = compare_results(agent, [alone, served]).await.map_err(OperateError::from)?.into_iter();
        let difference = |ResultDifference { product, column, ends }: ResultDifference| {
            let ends = ends.map(|[alone, served]| [served, alone]);
            self.difference(module, Some(&product), column, ends)
        };
        Ok(found.map(difference).collect())
    }

    fn difference(
        &self,
        module: &ModuleName,
        product: Option<&ProductName>,
        column: Option<ColumnDifference>,
        ends: Option<[String; 2]>,
    ) -> ServeDifference {
        let (star, quarter) = (self.star, self.quarter);
        ServeDifference { module: module.clone(), star, quarter, product: product.cloned(), column, ends }
    }
}

impl WayEnd {
    fn words(&self) -> String {
        match self {
            Self::Made(_) => "succeeded".to_owned(),
            Self::Failed(reason) => format!("failed: {reason}"),
        }
    }
}

fn reason(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(failure) => failure.message.clone(),
        Outcome::Succeeded(_) | Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Errored(_) => {
            outcome.to_string()
        }
    }
}

/// The key in a result's name, where it is of this module.
fn key_of(path: &Path, module: &ModuleName) -> Option<Key> {
    let (of, key) = path.file_stem()?.to_str()?.rsplit_once('-')?;
    (of == module.as_str()).then(|| key.parse().ok()).flatten()
}

/// Says what was found; an error where anything differs.
pub(super) fn report(verified: &Verified, format: Format) -> anyhow::Result<()> {
    format.print_list(verified, rows);
    let Verified { compared, not_compared, differences } = verified;
    if differences.is_empty() && *not_compared == 0 {
        note(&format!("{compared} results are the same, served and alone"));
        return Ok(());
    }
    let first = differences.first().map(|first| format!(", first of {} for {}", first.module, first.star));
    anyhow::bail!(
        "{} differences between modules that serve and the same alone{}; {compared} results compared, {not_compared} not, for \
         what they are made from differs. Such a module carries something from one star to the next, or is not deterministic",
        differences.len(),
        first.unwrap_or_default()
    )
}

fn rows(verified: &Verified) -> Table {
    let mut table = table(["MODULE", "STAR", "QUARTER", "PRODUCT", "COLUMN", "SERVED", "ALONE", "DIFFERENCE"]);
    for found in &verified.differences {
        let place = [found.module.to_string(), found.star.to_string(), found.quarter.to_string()];
        let product = found.product.as_ref().map(ToString::to_string).unwrap_or_default();
        let [served, alone] = found.ends.clone().unwrap_or_default();
        let shown = match &found.column {
            None => [String::new(), served, alone, String::new()],
            Some(column) => {
                let value = |facts: &Option<_>| facts.as_ref().map_or_else(|| "-".to_owned(), value);
                [column.column.clone(), value(&column.after), value(&column.before), by(column)]
            }
        };
        table.add_row(place.into_iter().chain([product]).chain(shown));
    }
    table
}
