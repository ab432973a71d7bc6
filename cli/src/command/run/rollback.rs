//! `sas run rollback`: what a run did to star files is taken back.

use clap::Args;
use coordinator::operate::Context;
use coordinator::operate::called::{CalledRun, find_run};
use coordinator::operate::run::{LeftStar, RollBackRun, RunRolledBack, roll_back};

use crate::output::{Format, table};
use crate::progress::bar;

/// Let the star file of every star that settled in a run show what it showed before, where it shows what the run made. Nothing is
/// removed, and a star that a later run settles completely shows that. Stopped in between, it goes on where it is said again.
#[derive(Debug, Args)]
pub(crate) struct RollbackArguments {
    /// The run: its id, the first digits of it, or `newest`.
    run: CalledRun,
    /// Only count.
    #[arg(long)]
    dry_run: bool,
}

impl RollbackArguments {
    pub(super) async fn run(self, context: &Context, format: Format) -> anyhow::Result<()> {
        let Self { run, dry_run } = self;
        let asked = RollBackRun { run: find_run(context, &run).await?, dry_run };
        let bar = bar("stars");
        let mut progress = |done: u64, all: u64| {
            bar.set_length(all);
            bar.set_position(done);
        };
        let done = roll_back(context, asked, &mut progress).await;
        bar.finish_and_clear();
        format.print(&done?, words);
        Ok(())
    }
}

fn words(done: &RunRolledBack) -> String {
    let RunRolledBack { run, dry_run, stars, back, elsewhere, left, first_left, effect, .. } = done;
    let would = if *dry_run { "; nothing was done" } else { "" };
    let mut text = format!(
        "run {run}: {effect}{would}\nof {stars} stars with a generation of it {back} go back, {elsewhere} show another one already, \
         {left} are left"
    );
    if !first_left.is_empty() {
        let mut list = table(["LEFT", "WHY"]);
        for LeftStar { star, reason } in first_left {
            list.add_row([star.to_string(), reason.clone()]);
        }
        text += &format!("\n\n{list}");
    }
    text
}
