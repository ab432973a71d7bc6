//! `sas star generations` in words.

use coordinator::operate::star::{GenerationSummary, StarGenerations};
use domain::text::moment;

use crate::output::{Format, Table, note, table};

pub(crate) fn print(format: Format, star: &StarGenerations) {
    format.print_list(star, rows);
    if format == Format::Table {
        note(&words(star));
    }
}

fn rows(star: &StarGenerations) -> Table {
    let mut table = table(["GENERATION", "", "STATUS", "PIPELINE", "RUN", "MADE", "PRODUCTS", "NOT WHOLE FOR"]);
    for generation in &star.generations {
        let GenerationSummary { pipeline, version, run, made, status, .. } = generation;
        let pipeline = pipeline.as_ref().zip(version.as_ref());
        table.add_row([
            generation.generation.to_string(),
            if generation.is_open { "open" } else { "" }.to_owned(),
            status.map(|status| status.to_string()).unwrap_or_else(|| "unreadable".to_owned()),
            pipeline.map(|(name, version)| format!("{name} {version}")).unwrap_or_default(),
            run.map(|run| run.to_string()).unwrap_or_default(),
            made.map(moment).unwrap_or_default(),
            generation.products.to_string(),
            not_whole(generation),
        ]);
    }
    table
}

fn not_whole(generation: &GenerationSummary) -> String {
    // What lost modules would have made need not be said, too.
    let mut all: Vec<String> = generation.lost_modules.iter().map(ToString::to_string).collect();
    if all.is_empty() {
        all.extend(generation.lost_products.iter().map(ToString::to_string));
    }
    let more = all.len().saturating_sub(5);
    all.truncate(5);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    generation.damage.clone().unwrap_or_else(|| all.join(", "))
}

fn words(star: &StarGenerations) -> String {
    let StarGenerations { file, open, newest, last_complete, rollback, left_out, .. } = star;
    let why = match (rollback, last_complete) {
        (Some(decided), _) => format!("{} wanted it so at {}", decided.by, moment(decided.at)),
        (None, Some(_)) if open == newest => "the newest, and complete".to_owned(),
        (None, Some(_)) => "the last complete one".to_owned(),
        (None, None) => "the newest, since none is complete".to_owned(),
    };
    let older = if *left_out > 0 { format!("\n{left_out} older ones are not listed") } else { String::new() };
    format!("{file} shows generation {open}: {why}{older}")
}
