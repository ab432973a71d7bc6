//! `sas run start`: a run over stars that the store has already.

use std::path::Path;

use clap::Args;
use coordinator::operate::expansion::{self, Expansion};
use coordinator::operate::run::{self, StartRun, StartedRun};
use coordinator::operate::{Context, OperateError};
use domain::id::{GroupName, PipelineName, Quarter, StarId};
use services::definition::load_file;

use crate::output::Format;
use crate::selection::stars_in;

/// Start a run over stars that the store has already, without new data.
///
/// The stars' newest externals are used; what was computed from the same inputs is taken from the store by its key and ends
/// at once. With --only-group the modules of that group run, and everything upstream of them; all other modules are shown
/// as skipped (not of group …). Such a run makes no star file: the star files stay as the last whole run left them, its
/// results are in the store, and the next whole run takes them from there.
#[derive(Debug, Args)]
pub(crate) struct StartArguments {
    /// The pipeline: a name that the coordinator knows, or a file that it has loaded in the same version.
    #[arg(long, value_name = "NAME|FILE")]
    pipeline: String,
    /// Stars, or text files with one a line.
    #[arg(long, required = true, num_args = 1.., value_name = "STAR|FILE")]
    stars: Vec<String>,
    /// The quarter; of each star its newest unless given.
    #[arg(long)]
    quarter: Option<Quarter>,
    /// Run only the modules of this group, and what they need.
    #[arg(long, value_name = "GROUP")]
    only_group: Option<GroupName>,
    /// Take stars over from runs of this pipeline and quarter that still go on.
    #[arg(long)]
    take_over: bool,
    /// Start nothing: say how many stars and tasks it would be, and for how many hours of CPUs.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn start(context: &Context, asked: StartArguments, format: Format) -> anyhow::Result<()> {
    let StartArguments { pipeline: named, stars, quarter, only_group, take_over, dry_run } = asked;
    let stars = read_stars(&stars)?;
    let of = |pipeline, version| StartRun { pipeline, version, stars, quarter, only_group, take_over };
    let started = if Path::new(&named).is_file() {
        let pipeline = load_file(Path::new(&named))?;
        let asked = of(pipeline.name.clone(), Some(pipeline.version.clone()));
        if dry_run {
            print_expansions(&expansion::of_start_defined(context, asked, &pipeline).await?, format);
            return Ok(());
        }
        run::start_defined(context, asked, &pipeline).await?
    } else {
        let asked = of(name(&named)?, None);
        if dry_run {
            print_expansions(&expansion::of_start(context, asked).await?, format);
            return Ok(());
        }
        run::start(context, asked).await?
    };
    print(&started, format);
    Ok(())
}

/// Says what would be started.
pub(crate) fn print_expansions(expansions: &[Expansion], format: Format) {
    format.print(&expansions, |expansions| expansions.iter().map(would_be).collect::<Vec<_>>().join("\n"));
}

/// What an event would come to in one pipeline, as a line.
pub(crate) fn would_be(expansion: &Expansion) -> String {
    let Expansion { pipeline, version, quarter, stars, tasks, cpu_hours, unmeasured, trigger } = expansion;
    let hours = match cpu_hours {
        Some(hours) if unmeasured.is_empty() => format!("about {} CPU-hours as earlier runs took", count(*hours)),
        Some(hours) => {
            format!("about {} CPU-hours and {} modules that never ran", count(*hours), unmeasured.len())
        }
        None => "for how long nobody knows: no run of it made anything yet".to_owned(),
    };
    let entry = trigger.as_ref().map(|trigger| format!("; stars enter when there is {trigger}")).unwrap_or_default();
    let (stars, tasks) = (count(*stars as f64), count(*tasks as f64));
    format!("{pipeline} {version} over {quarter}: {stars} stars, {tasks} tasks at most, {hours}{entry}")
}

/// A number as people say it: 290,000, 9.9 million.
fn count(number: f64) -> String {
    if number >= 1e6 {
        return format!("{:.1} million", number / 1e6);
    }
    if number < 10.0 && number.fract() > 0.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// Says what was started.
pub(crate) fn print(started: &[StartedRun], format: Format) {
    format.print(&started, |started| started.iter().map(line).collect::<Vec<_>>().join("\n"));
}

fn line(started: &StartedRun) -> String {
    match started.run {
        Some(run) => {
            format!("run {run} over {} stars of {}; `sas run watch {run}` follows it", started.stars, started.quarter)
        }
        None => format!(
            "event {} over {} stars of {} is published; no coordinator took it up yet",
            started.event, started.stars, started.quarter
        ),
    }
}

fn name(named: &str) -> Result<PipelineName, OperateError> {
    named
        .parse()
        .map_err(|error| OperateError::not_found(format!("`{named}` is no file and no name of a pipeline: {error}")))
}

/// Stars that are named, and those in files that are.
pub(crate) fn read_stars(named: &[String]) -> Result<Vec<StarId>, OperateError> {
    let mut stars = Vec::new();
    for text in named {
        match text.parse() {
            Ok(star) => stars.push(star),
            Err(_) => stars.extend(
                stars_in(Path::new(text)).map_err(|error| error.within(&format!("`{text}` is not a star's id")))?,
            ),
        }
    }
    Ok(stars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_people_say_them() {
        let told = [0.0, 0.25, 7.0, 999.0, 1_000.0, 290_000.0, 9_860_000.0].map(count);
        assert_eq!(told, ["0", "0.2", "7", "999", "1,000", "290,000", "9.9 million"]);
    }
}
