//! `sas store scrub`: every committed file is digested again, slowly; what is damaged is made again.

use bytesize::ByteSize;
use clap::Args;
use coordinator::operate::OperateError;
use coordinator::operate::scrub::{DamagedFile, ScrubProgress, ScrubReport, ScrubRequest, scrub};

use crate::connect::SiteArgs;
use crate::installation::Configured;
use crate::output::{Format, table};
use crate::progress::bar;

/// Look at every committed file of the store: products are digested again, and compared with what is on record. What is damaged is
/// moved aside, and the run that last used it makes it again. A delivery is moved aside, too; nobody here can make it again, and tasks
/// that read it end as errored until it is delivered again. Ends with 1 where something is damaged.
///
/// It goes through the store in parts and notes each: stopped at any time, the next call goes on with the part it was in, and begins
/// again when all are done. It may run beside everything else; coordinators follow what it decides.
#[derive(Debug, Args)]
pub(crate) struct Scrub {
    /// Most bytes of files that are read in a second.
    #[arg(long, value_name = "SIZE", default_value = "50MB")]
    rate: ByteSize,
    /// Only look, from the first part to the last: nothing is moved, decided or noted.
    #[arg(long)]
    dry_run: bool,
    /// Begin with the first part, although others are still to come.
    #[arg(long)]
    again: bool,
}

impl Scrub {
    pub(super) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let Self { rate, dry_run, again } = self;
        let mut context = Configured::load(site)?.context()?;
        if context.reason.is_none() {
            context = context.because(Some("sas store scrub: results were damaged or gone".to_owned()));
        }
        let rate = Some(rate.as_u64()).filter(|rate| *rate > 0);
        let bar = bar("parts  {msg}");
        let mut progress = |now: ScrubProgress| {
            bar.set_length(now.parts.1 as u64);
            bar.set_position(now.parts.0 as u64);
            let size = ByteSize(now.bytes);
            bar.set_message(format!("{} files, {size}, {} damaged", now.files, now.damaged));
        };
        let report = scrub(&context, ScrubRequest { rate, dry_run, again }, &mut progress).await;
        bar.finish_and_clear();
        let report = report?;
        format.print(&report, words);
        match report.damaged.len() {
            0 => Ok(()),
            count => Err(OperateError::refused(format!("{count} files are damaged or gone")).into()),
        }
    }
}

fn words(report: &ScrubReport) -> String {
    let ScrubReport { pass, parts, before, files, bytes, damaged, decided } = report;
    let earlier = if *before > 0 { format!(" ({before} parts earlier)") } else { String::new() };
    let mut text = format!("pass {pass}: {files} files, {}, in {parts} parts{earlier}\n", ByteSize(*bytes));
    if !damaged.is_empty() {
        let mut list = table(["FILE", "PRODUCT", "WHAT", "WHAT COMES OF IT"]);
        for DamagedFile { file, differences, comes, .. } in damaged {
            for found in differences {
                let product = found.product.as_ref().map(ToString::to_string).unwrap_or_default();
                list.add_row([file.display().to_string(), product, found.what.clone(), comes.clone()]);
            }
        }
        text += &format!("\n{list}\n");
    }
    for (run, effect) in decided {
        text += &format!("\nrun {run}: {effect}");
    }
    text
}
