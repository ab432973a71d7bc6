//! `sas run start`: a run over stars that the store has already.

use std::path::Path;

use clap::Args;
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
}

pub(super) async fn start(context: &Context, asked: StartArguments, format: Format) -> anyhow::Result<()> {
    let StartArguments { pipeline: named, stars, quarter, only_group, take_over } = asked;
    let stars = read_stars(&stars)?;
    let of = |pipeline, version| StartRun { pipeline, version, stars, quarter, only_group, take_over };
    let started = if Path::new(&named).is_file() {
        let pipeline = load_file(Path::new(&named))?;
        let asked = of(pipeline.name.clone(), Some(pipeline.version.clone()));
        run::start_defined(context, asked, &pipeline).await?
    } else {
        run::start(context, of(name(&named)?, None)).await?
    };
    print(&started, format);
    Ok(())
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
