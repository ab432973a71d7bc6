//! `sas status`: one screen for whoever comes to work; `sas top`: the same, again and again.

use clap::Args;
use coordinator::operate::status::{self, Answer, Level, Light, Status};

use crate::connect::Site;
use crate::installation::Configured;
use crate::output::Format;
use crate::top;

/// One screen: is it moving, is something red, where is it stuck, when is it done, who must act.
#[derive(Debug, Args)]
pub(crate) struct StatusCommand {}

impl StatusCommand {
    pub(crate) async fn run(self, site: &Site, format: Format) -> anyhow::Result<()> {
        let context = Configured::load(site)?.context()?;
        format.print(&status::status(&context).await?, show);
        Ok(())
    }
}

/// The same every second, with rates: runs, workers, failures, tasks that hang. `q` ends it.
#[derive(Debug, Args)]
pub(crate) struct TopCommand {
    /// How often it looks.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "1s", value_name = "TIME")]
    every: std::time::Duration,
}

impl TopCommand {
    pub(crate) async fn run(self, site: &Site) -> anyhow::Result<()> {
        let context = Configured::load(site)?.context()?;
        top::run(&context, self.every).await
    }
}

fn show(status: &Status) -> String {
    let lights = status.lights.iter().map(light).collect::<Vec<_>>().join("\n");
    let answers = status.answers.iter().map(answer).collect::<Vec<_>>().join("\n\n");
    format!("{answers}\n\n{lights}")
}

fn answer(answer: &Answer) -> String {
    let question = answer.question.to_string();
    let mut lines = answer.lines.iter();
    let first = lines.next().map(String::as_str).unwrap_or_default();
    let mut text = format!("{} {question:<20}{first}", mark(answer.level));
    for line in lines {
        text += &format!("\n    {line}");
    }
    text
}

fn light(light: &Light) -> String {
    format!("{} {:<20}{}", mark(light.level), light.name, light.words)
}

/// A mark that needs no colour to be told apart.
fn mark(level: Level) -> &'static str {
    match level {
        Level::Well => "ok",
        Level::Attention => "! ",
        Level::Bad => "!!",
    }
}
