//! `sas task`: single tasks of a run, and what is to become of those that are selected.

use clap::{Args, Subcommand};
use coordinator::operate::called::CalledRun;
use coordinator::operate::selection::TaskSelection;
use coordinator::operate::task::{self, ListTasks, ListedTask};
use coordinator::operate::{Context, OperateError};
use domain::text::moment;
use jiff::Timestamp;

use crate::connect::SiteArgs;
use crate::installation::Configured;
use crate::output::{Format, Table, note, table};
use crate::selection::{Consent, SelectionArguments, carry_out};

/// Tasks: one module for one star in one run.
#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Tasks that run, wait, failed or could not be run: where, since when, and the last line of their log.
    ///
    /// What has been as it is for longest comes first; of tasks that failed, the last. Blocked tasks are listed where --state blocked asks for them; all
    /// others are counted by `run show`.
    List {
        #[command(flatten)]
        of: OfRun,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Run settled tasks again, and what depends on them; a run that has ended is opened again.
    ///
    /// Without --state those that were lost: failed, errored, upstream_failed, cancelled. Selected by reason, host or age,
    /// exactly those that are shown before are tried again.
    Retry {
        #[command(flatten)]
        of: OfRun,
        #[command(flatten)]
        consent: Consent,
    },
    /// Cancel tasks that have not ended, of stars in flight; what runs is stopped, and what cannot do without them is given
    /// up.
    Cancel {
        #[command(flatten)]
        of: OfRun,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OfRun {
    /// Of this run; of the newest unless given.
    #[arg(long, value_name = "RUN")]
    run: Option<CalledRun>,
    #[command(flatten)]
    selection: SelectionArguments,
}

impl OfRun {
    async fn find(self, context: &Context) -> Result<TaskSelection, OperateError> {
        self.selection.of(context, self.run.as_ref()).await
    }
}

impl TaskCommand {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let context = Configured::load(site)?.context()?;
        match self {
            Self::List { of, limit } => {
                let selection = of.find(&context).await?;
                let found = task::list(&context, ListTasks { selection, limit }).await?;
                format.print_list(&found, |found| list(&found.tasks));
                if found.left_out > 0 {
                    note(&format!("{} more; --limit shows more of them", found.left_out));
                }
                found.notes.iter().for_each(|words| note(words));
                Ok(())
            }
            Self::Retry { of, consent } => {
                let plan = task::plan_retry(&context, of.find(&context).await?).await?;
                carry_out(&context, plan, consent, format).await
            }
            Self::Cancel { of, consent } => {
                let plan = task::plan_cancel(&context, of.find(&context).await?).await?;
                carry_out(&context, plan, consent, format).await
            }
        }
    }
}

fn list(tasks: &[ListedTask]) -> Table {
    let mut table = table(["STAR", "MODULE", "STATE", "TRY", "HOST", "SINCE", "NEXT TRY", "WHY, LAST LINE"]);
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), moment);
    for task in tasks {
        let said = task.reason.iter().chain(Some(&task.last_line).filter(|line| !line.is_empty()));
        let said: Vec<&str> = said.map(String::as_str).collect();
        table.add_row([
            task.star.to_string(),
            task.module.to_string(),
            task.state.to_string(),
            task.attempt.to_string(),
            task.host.clone().unwrap_or_else(|| "-".to_owned()),
            time(task.since),
            time(task.due),
            said.join(": "),
        ]);
    }
    table
}
