//! `sas store gc`: what nobody refers to any more is removed.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use coordinator::operate::called::{CalledStar, find_stars};
use coordinator::operate::gc::{GcReport, GcRequest, LeftAlone, ReferredGeneration, collect};

use crate::connect::SiteArgs;
use crate::exit::usage;
use crate::installation::Configured;
use crate::output::{Format, note, table};
use crate::selection::{Consent, stars_in};

/// Remove generations beyond the newest, and results that no generation has. First it says what would go, how much, and what of
/// what is old stays since something refers to it: the star file, the last complete generation, a later quarter.
///
/// Deliveries stay, as does everything of stars that a run goes on with, and everything that led to what stays.
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// So many of the newest generations of every star and quarter stay; `[store] keep_generations` unless given.
    #[arg(long, value_name = "N")]
    keep: Option<NonZeroUsize>,
    /// What is younger than this stays.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1day")]
    grace: Duration,
    /// Only of these stars, or those with these first digits of their UUIDs.
    #[arg(long, value_name = "STAR", num_args = 1..)]
    star: Vec<CalledStar>,
    /// Only of the stars in this text file, one a line.
    #[arg(long, value_name = "FILE")]
    stars_from: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
}

impl Gc {
    pub(super) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let configured = Configured::load(site)?;
        let configured_keep = configured.config.keep_generations().and_then(|keep| usize::try_from(keep.get()).ok());
        let Some(keep) = self.keep.map(NonZeroUsize::get).or(configured_keep) else {
            let reason = "how many generations are to stay is not said: `[store] keep_generations` in the configuration, or --keep";
            return Err(usage(reason).into());
        };
        let context = configured.context()?;
        let mut stars = find_stars(&context, &self.star, None).await?;
        if let Some(file) = &self.stars_from {
            stars.extend(stars_in(file)?);
        }
        let stars = (!stars.is_empty() || self.stars_from.is_some()).then_some(stars);
        let request = GcRequest { keep, grace: self.grace, stars, dry_run: true };
        if !self.consent.is_given() {
            let plan = collect(&context, request.clone(), &mut |_| ()).await?;
            if self.consent.is_dry_run() {
                format.print(&plan, words);
                return Ok(());
            }
            note(&words(&plan));
            self.consent.ask("remove this? [y/N] ", "this would remove what it lists")?;
        }
        let done = collect(&context, GcRequest { dry_run: false, ..request }, &mut |_| ()).await?;
        format.print(&done, words);
        Ok(())
    }
}

fn words(report: &GcReport) -> String {
    let GcReport { dry_run, stars, generations, results, going, kept, referred_to, results_kept, left_alone } = report;
    let verb = if *dry_run { "would go" } else { "went" };
    let all = ByteSize(generations.bytes + results.bytes);
    let mut text = format!(
        "{stars} stars: {} generations ({}) and {} results ({}) {verb}, {all} in all\n",
        generations.files,
        ByteSize(generations.bytes),
        results.files,
        ByteSize(results.bytes)
    );
    let because: Vec<String> = kept.iter().map(|(because, count)| format!("{count} {because}")).collect();
    let because = if because.is_empty() { "none".to_owned() } else { because.join(", ") };
    text += &format!("stay: {results_kept} results; of generations {because}\n");
    for (why, LeftAlone { stars, first }) in left_alone {
        text += &format!("left alone: {stars} stars (first {first}): {why}\n");
    }
    if !referred_to.is_empty() {
        let mut list = table(["STAR", "QUARTER", "GENERATION", "STAYS"]);
        for ReferredGeneration { star, quarter, generation, because, by } in referred_to {
            let by = by.map(|by| format!(" ({by})")).unwrap_or_default();
            list.add_row([star.to_string(), quarter.to_string(), generation.to_string(), format!("{because}{by}")]);
        }
        text += &format!("\nolder ones that stay, for something refers to them\n{list}\n");
    }
    if !going.is_empty() {
        let more = if generations.files + results.files > going.len() as u64 { "\n…" } else { "" };
        let names: Vec<String> = going.iter().map(|file| file.display().to_string()).collect();
        text += &format!("\n{}{more}\n", names.join("\n"));
    }
    text
}
