//! `sas store`: what the store holds is looked after.

mod compare;
mod gc;
mod scrub;

use clap::Subcommand;

use crate::connect::SiteArgs;
use crate::output::Format;

/// The store: look at every file of it, and make again what is damaged; remove what nobody refers to; compare it with another.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    Scrub(scrub::Scrub),
    Gc(gc::Gc),
    Compare(compare::Compare),
}

impl StoreCommand {
    pub(crate) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        match self {
            Self::Scrub(command) => command.run(site, format).await,
            Self::Gc(command) => command.run(site, format).await,
            Self::Compare(command) => command.run(site, format).await,
        }
    }
}
