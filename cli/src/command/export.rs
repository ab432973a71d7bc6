//! `sas export`: a table of stars for scientists.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use coordinator::operate::called::{CalledRun, CalledStar, find_named_run, find_stars};
use coordinator::operate::export::{self, TableFormat, TableRequest, WrittenTable};
use domain::id::ProductName;

use crate::connect::SiteArgs;
use crate::exit::usage;
use crate::installation::Configured;
use crate::output::{Format, note, table};
use crate::progress::bar;
use crate::selection::stars_in;

/// Write a table: a row per star, columns by product with units, and for what is missing the reason.
///
/// The end of the file's name says its form: .csv, .ecsv, .vot or .parquet; units and descriptions of columns are in all but CSV,
/// which has units behind the names. `PRODUCT.why` says why something of a product is missing for a star.
#[derive(Debug, Args)]
pub(crate) struct ExportTable {
    /// The file to write: .csv, .ecsv, .vot or .parquet.
    #[arg(long, value_name = "FILE")]
    table: PathBuf,
    /// What the stars ended with in this run; unless given, what scientists open of the stars of the newest run.
    #[arg(long)]
    run: Option<CalledRun>,
    /// Only these stars, or those with these first digits of their UUIDs.
    #[arg(long, value_name = "STAR", num_args = 1..)]
    star: Vec<CalledStar>,
    /// Only the stars in this file, one a line.
    #[arg(long, value_name = "FILE")]
    stars_from: Option<PathBuf>,
    /// All scalar columns of these products.
    #[arg(long, value_name = "PRODUCT", value_delimiter = ',')]
    products: Vec<ProductName>,
    /// These columns, each PRODUCT.column. Without products and columns: all scalar columns of the data model.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    columns: Vec<String>,
    /// Only stars for which this holds, as in a pipeline file: `P.DP3_SAS_NU_MAX.value > 2000.0 && made("DP4_SAS_PROT")`.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
}

impl ExportTable {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let Some(form) = TableFormat::of_file(&self.table) else {
            let reason =
                format!("--table {}: the name must end in .csv, .ecsv, .vot or .parquet", self.table.display());
            return Err(usage(reason).into());
        };
        let context = Configured::load(site)?.context()?;
        let mut stars = find_stars(&context, &self.star, self.run.as_ref()).await?;
        if let Some(file) = &self.stars_from {
            stars.extend(stars_in(file)?);
        }
        let request = TableRequest {
            run: find_named_run(&context, self.run.as_ref()).await?,
            stars: (!stars.is_empty() || self.stars_from.is_some()).then_some(stars),
            products: self.products,
            columns: self.columns,
            condition: self.condition,
        };
        // A table that is not whole never has the name of one.
        let part = part(&self.table);
        let file = File::create(&part).with_context(|| format!("failed to make `{}`", part.display()))?;
        let mut out = BufWriter::new(file);
        let bar = bar("stars");
        let mut progress = |done, of| {
            bar.set_length(of);
            bar.set_position(done);
        };
        let written = export::table(&context, request, form, &mut out, &mut progress).await;
        bar.finish_and_clear();
        let whole = written.map_err(anyhow::Error::from).and_then(|written| {
            out.flush()?;
            std::fs::rename(&part, &self.table)?;
            Ok(written)
        });
        if whole.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        let written = whole?;
        if let Some(why) = &written.undecided_for {
            note(&format!("{} stars are left out, for the condition could not be decided: {why}", written.undecided));
        }
        format.print(&written, |written| words(&self.table, written));
        Ok(())
    }
}

fn words(file: &Path, written: &WrittenTable) -> String {
    let WrittenTable { run, rows, left_out, columns, missing, .. } = written;
    let left_out = if *left_out > 0 { format!("; left out by the condition: {left_out}") } else { String::new() };
    let head = format!("{}: {rows} rows of {columns} columns, run {run}{left_out}", file.display());
    if missing.is_empty() {
        return head;
    }
    let mut list = table(["PRODUCT", "MISSING IN", "WHY"]);
    for (product, count) in missing {
        list.add_row([product.to_string(), count.to_string(), format!("column {product}.why")]);
    }
    format!("{head}\n\n{list}")
}

/// The name of a file that is not whole.
pub(crate) fn part(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}
