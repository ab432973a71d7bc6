//! `sas status`: one screen for whoever comes to work; `sas top`: the same, again and again.

use clap::Args;
use coordinator::operate::status::{self, Answer, Level, Light, Status};

use crate::connect::SiteArgs;
use crate::installation::Configured;
use crate::output::{Format, Table, table};
use crate::top;

/// One screen: is it moving, is something red, where is it stuck, when is it done, who must act.
#[derive(Debug, Args)]
pub(crate) struct StatusCommand {}

impl StatusCommand {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let context = Configured::load(site)?.context()?;
        let status = status::status(&context).await?;
        match format {
            Format::Csv => format.print_list(&status, rows),
            Format::Table | Format::Json => format.print(&status, show),
        }
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
    pub(crate) async fn run(self, site: &SiteArgs) -> anyhow::Result<()> {
        let context = Configured::load(site)?.context()?;
        top::run(&context, self.every).await
    }
}

fn show(status: &Status) -> String {
    let lights = status.lights.iter().map(light).collect::<Vec<_>>().join("\n");
    let answers = status.answers.iter().map(answer).collect::<Vec<_>>().join("\n\n");
    format!("{answers}\n\n{lights}")
}

/// A row for each line of an answer, and one for each light.
fn rows(status: &Status) -> Table {
    let mut table = table(["ABOUT", "LEVEL", "WORDS"]);
    for answer in &status.answers {
        for line in &answer.lines {
            table.add_row([answer.question.to_string(), answer.level.to_string(), line.clone()]);
        }
    }
    for light in &status.lights {
        table.add_row([light.name.to_owned(), light.level.to_string(), light.words.clone()]);
    }
    table
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
