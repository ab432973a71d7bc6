//! `sas store compare`: the star files of another store beside those of this one.

use std::path::PathBuf;

use clap::Args;
use coordinator::operate::OperateError;
use coordinator::operate::called::CalledStar;
use coordinator::operate::compare::{CompareStores, StoresCompared, compare_stores};
use domain::id::Quarter;

use crate::connect::SiteArgs;
use crate::installation::Configured;
use crate::output::{Format, Table, table};

/// Lay the star files of another store beside those of this one: a replay elsewhere of the same deliveries with the same images
/// must hold the same. Where it does not, module, product and column are named, with the largest difference. Ends with 1 then, and
/// with 3 where nothing is in both.
///
/// A module that made something else from the same, under the same key, is not deterministic. One that ran with another image or
/// other parameters is named as that, and so is a product that stands for an earlier one in one of the stores; what only reads what
/// differs is counted.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Root of the other store; nothing is written there.
    #[arg(value_name = "OTHER STORE")]
    other: PathBuf,
    /// Only this quarter.
    #[arg(long, value_name = "Q")]
    quarter: Option<Quarter>,
    /// Only these stars, or those with these first digits of their UUIDs.
    #[arg(long, value_name = "STAR")]
    star: Vec<CalledStar>,
}

impl Compare {
    pub(super) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let Self { other, quarter, star } = self;
        let context = Configured::load(site)?.context()?;
        let asked = CompareStores { other, quarter, stars: star };
        let compared = compare_stores(&context, asked).await?;
        format.print_page(&compared, |compared| (head(compared), rows(compared)));
        if compared.compared == 0 && compared.unreadable.is_empty() {
            return Err(OperateError::not_found("nothing was compared: no star file is in both stores").into());
        }
        if compared.is_same() {
            return Ok(());
        }
        let mut names: Vec<&str> = compared.differing.iter().map(|found| found.module.as_str()).collect();
        names.dedup();
        let reason = match names.is_empty() {
            true if compared.follow > 0 && !compared.names_a_cause() => {
                "the stores do not hold the same, for a reason that is in nothing that was compared, as a quarter before".to_owned()
            }
            true => "the stores do not hold the same".to_owned(),
            false => format!("made otherwise from the same, and so not deterministic: {}", names.join(", ")),
        };
        Err(OperateError::refused(reason).into())
    }
}

fn head(compared: &StoresCompared) -> String {
    let StoresCompared { compared: both, same, only_here, only_there, follow, externals, unreadable, .. } = compared;
    let mut lines = vec![format!("{both} star files are in both, {same} of them hold the same")];
    if only_here + only_there > 0 {
        lines.push(format!("{only_here} are only here, {only_there} only there"));
    }
    if *follow > 0 {
        lines.push(format!("{follow} results differ for what they were made from does"));
    }
    lines.extend(unreadable.iter().map(|why| format!("not compared: {why}")));
    lines.extend(externals.iter().map(|(name, stars)| format!("{name} was delivered otherwise, {stars} star files")));
    lines.join("\n")
}

fn rows(compared: &StoresCompared) -> Table {
    let mut table = table(["MODULE", "PRODUCT", "COLUMN", "STARS", "LARGEST", "FIRST"]);
    for found in &compared.differing {
        let largest = found.largest.map(|by| format!("{by:e}")).unwrap_or_default();
        table.add_row([
            found.module.to_string(),
            found.product.to_string(),
            found.column.clone().unwrap_or_default(),
            found.stars.to_string(),
            largest,
            format!("{} {}", found.first, found.quarter),
        ]);
    }
    for found in &compared.otherwise {
        let first = format!("{} {}", found.first, found.quarter);
        let what = found.what.clone();
        let product = found.product.as_ref().map(ToString::to_string).unwrap_or_default();
        table.add_row([found.module.to_string(), product, what, found.stars.to_string(), String::new(), first]);
    }
    for (what, first) in [("only here", &compared.first_here), ("only there", &compared.first_there)] {
        for place in first {
            let empty = String::new;
            table.add_row([empty(), empty(), what.to_owned(), empty(), empty(), place.clone()]);
        }
    }
    table
}
