//! `sas audit`: who changed what, through which door, and why.

use std::num::NonZeroUsize;

use clap::Args;
use coordinator::operate::audit::{self, AuditLine, AuditPage};
use domain::text::moment;
use store::audit::Target;

use crate::connect::SiteArgs;
use crate::installation::Configured;
use crate::output::{Format, Table, note, table};

/// Who changed what, and why: by command line, HTTP or page, newest first.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// How many lines.
    #[arg(short = 'n', long, value_name = "N", default_value = "20")]
    last: NonZeroUsize,
    /// Only lines before this one.
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
}

impl Audit {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let context = Configured::load(site)?.context()?;
        let page = audit::list(&context, self.last.get(), self.before).await?;
        format.print_list(&page, list);
        page.damaged.iter().for_each(|damage| note(&format!("not listed: {damage}")));
        if let Some(older) = page.older {
            note(&format!("older lines: `sas audit --before {older}`"));
        }
        Ok(())
    }
}

fn list(page: &AuditPage) -> Table {
    let mut table = table(["LINE", "AT", "WHO", "DOOR", "DID", "TO", "MANY", "WHY", "EFFECT"]);
    for AuditLine { number, record } in &page.lines {
        table.add_row([
            number.to_string(),
            moment(record.at),
            record.who.clone(),
            record.door.to_string(),
            record.verb.to_string(),
            words(&record.target),
            record.count.map(|count| count.to_string()).unwrap_or_default(),
            record.reason.clone().unwrap_or_default(),
            record.effect.clone(),
        ]);
    }
    table
}

fn words(target: &Target) -> String {
    match target {
        Target::Event { event } => format!("event {event}"),
        Target::Run { run } => format!("run {run}"),
        Target::Module { pipeline, module } => format!("module {module} of {pipeline}"),
        Target::Host { host } => format!("host {host}"),
        Target::Store => "the store".to_owned(),
        Target::Star { star, quarter } => format!("{star} {quarter}"),
    }
}
