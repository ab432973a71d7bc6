//! `sas run failures`: what failed in a run, by what the failures have in common.

use clap::Args;
use coordinator::operate::Context;
use coordinator::operate::called::CalledRun;
use coordinator::operate::failures::{self, FailureGroup, ListFailures, RunFailures};
use coordinator::operate::selection::ShownState;
use coordinator::operate::task;
use domain::id::StarId;
use domain::text::moment;

use crate::output::{Format, Table, note, table};
use crate::selection::{Consent, SelectionArguments, carry_out};

/// How many stars of each group are named where not all are asked for.
const FEW: usize = 3;

/// Which failures.
#[derive(Debug, Args)]
pub(crate) struct FailuresArguments {
    /// The run; the newest unless given.
    run: Option<CalledRun>,
    #[command(flatten)]
    selection: SelectionArguments,
    /// At most so many groups, the largest first.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// The ids of all stars, not of the first ones alone.
    #[arg(long = "stars")]
    all_stars: bool,
    /// Run exactly these tasks again, and what depends on them.
    #[arg(long)]
    retry: bool,
    #[command(flatten)]
    consent: Consent,
}

pub(super) async fn run(context: &Context, asked: FailuresArguments, format: Format) -> anyhow::Result<()> {
    let FailuresArguments { run, selection, limit, all_stars, retry, consent } = asked;
    let mut selection = selection.of(context, run.as_ref()).await?;
    if retry {
        if selection.states.is_empty() {
            selection.states = vec![ShownState::Failed, ShownState::Errored];
        }
        let plan = task::plan_retry(context, selection).await?;
        return carry_out(context, plan, consent, format).await;
    }
    let stars = if all_stars { usize::MAX } else { FEW };
    let found = failures::list(context, ListFailures { selection, groups: limit, stars }).await?;
    match format {
        // Words and stars are long: they have lines of their own.
        Format::Table => format.print(&found, |found| found.groups.iter().map(block).collect::<Vec<_>>().join("\n")),
        Format::Json | Format::Csv => format.print_list(&found, |found| list(&found.groups)),
    }
    remarks(&found).iter().for_each(|words| note(words));
    Ok(())
}

/// What is to be said besides the list.
fn remarks(found: &RunFailures) -> Vec<String> {
    let mut remarks = Vec::new();
    let counts: Vec<String> = found.all.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let counts = match counts.as_slice() {
        [] if found.why_not.is_some() => "how many failed in all is not known".to_owned(),
        [] => "nothing failed".to_owned(),
        counts => counts.join(", "),
    };
    remarks.push(format!("run {}: {counts}; {} are listed", found.run, found.listed));
    if found.groups_left_out > 0 {
        remarks.push(format!("{} smaller groups are not shown; --limit shows more", found.groups_left_out));
    }
    remarks.extend(found.why_not.as_ref().map(|why| match found.not_listed {
        0 => why.clone(),
        count => format!("{count} are not listed: {why}"),
    }));
    remarks
}

/// How many of which module, where and why.
fn headline(group: &FailureGroup) -> String {
    let host = group.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
    format!("{} × {}{host}: {}: {}", group.count, group.module, reason(group), group.sample)
}

/// A group on lines: what and where, since when and of which image, of which stars.
fn block(group: &FailureGroup) -> String {
    format!(
        "{}\n    first {}, last {}, image {}, fingerprint {}\n    {}\n",
        headline(group),
        moment(group.first),
        moment(group.last),
        group.image,
        group.fingerprint,
        stars(group)
    )
}

fn list(groups: &[FailureGroup]) -> Table {
    let mut table =
        table(["COUNT", "REASON", "MODULE", "IMAGE", "HOST", "FIRST", "LAST", "FINGERPRINT", "ONE OF THEM", "STARS"]);
    for group in groups {
        table.add_row([
            group.count.to_string(),
            reason(group),
            group.module.to_string(),
            group.image.to_string(),
            group.host.clone().unwrap_or_else(|| "-".to_owned()),
            moment(group.first),
            moment(group.last),
            group.fingerprint.to_string(),
            group.sample.clone(),
            stars(group),
        ]);
    }
    table
}

/// Why, and that the platform is to blame where it is.
fn reason(group: &FailureGroup) -> String {
    if group.is_platforms { format!("{} (platform)", group.reason) } else { group.reason.to_string() }
}

fn stars(group: &FailureGroup) -> String {
    let mut names: Vec<String> = group.stars.iter().map(StarId::to_string).collect();
    names.extend((group.stars_left_out > 0).then(|| format!("and {} more", group.stars_left_out)));
    names.join(" ")
}

/// The largest groups, a line each, and how to see more; empty where nothing failed.
pub(crate) fn in_few_words(found: &RunFailures, store: Option<&str>) -> String {
    let mut text = String::new();
    for group in &found.groups {
        text += &format!("{}\n    {}\n", headline(group), stars(group));
    }
    if !text.is_empty() {
        let store = store.map(|store| format!(" --store {store}")).unwrap_or_default();
        text = format!("failures, the largest groups of `sas run failures {}{store}`:\n{text}", found.run);
    }
    text
}
